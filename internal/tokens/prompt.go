package tokens

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
)

// What OpenAI's chat format adds to texts, as its documentation has it for models without reasoning: three tokens and the
// role for each message, one more for a name, and three for the beginning of the answer. Others' formats are alike.
const (
	perMessage = 4
	perName    = 1
	perAnswer  = 3
	// perCall and perTool are for what is put around the names and arguments of tool calls and definitions; estimates.
	perCall = 8
	perTool = 10
)

// Prompt counts the prompt tokens of a request as sent to a model: texts, names, tool definitions and calls, schemas and
// what the chat format adds. Images, audio and files are estimated (see media.go). It is exact for requests with nothing
// but text to OpenAI's models whose chat format is known; of embeddings, for all of OpenAI's.
//
// It decodes the request, and is meant for the rare one whose usage nobody reported.
func Prompt(model string, r *llm.Request) (n int64, exact bool) {
	t := tally{model: model, exact: true}
	if r.Op == llm.OpEmbeddings || r.Op == llm.OpModerations {
		t.inputs(r.Field("input"))
		return t.total()
	}
	chat := decode(r)
	if chat == nil {
		n, _ = Count(model, r.AppendBody(nil))
		return n, false
	}
	t.exact = plainFormat(baseName(model))
	t.chat(chat)
	return t.total()
}

// decode gives the canonical form, or nil if there is none: the request has been sent, so it will do as it is.
func decode(r *llm.Request) *llm.Chat {
	if r.DecodeChat == nil {
		return nil
	}
	chat, err := r.Chat()
	if err != nil {
		return nil
	}
	return chat
}

// plainFormat reports whether a model has the chat format that the constants describe.
func plainFormat(model string) bool {
	for _, prefix := range []string{"gpt-4", "gpt-3.5-turbo", "gpt-35-turbo", "chatgpt-4o"} {
		if strings.HasPrefix(model, prefix) {
			return true
		}
	}
	return false
}

// A tally gathers what a prompt consists of.
type tally struct {
	model string
	texts []string
	bytes int
	extra int64 // tokens that are not in texts
	exact bool
}

func (t *tally) text(s string) {
	if s != "" {
		t.texts = append(t.texts, s)
		t.bytes += len(s)
	}
}

// guess adds tokens that are known roughly.
func (t *tally) guess(tokens int64) {
	t.extra += tokens
	t.exact = false
}

// total counts the texts one by one, or as one long text if they are too long for that.
func (t *tally) total() (n int64, exact bool) {
	if t.bytes > MaxExact {
		n, _ = Count(t.model, strings.Join(t.texts, "\n"))
		return n + t.extra, false
	}
	n, exact = t.extra, t.exact
	for _, s := range t.texts {
		k, sure := Count(t.model, s)
		n += k
		exact = exact && sure
	}
	return n, exact
}

func (t *tally) chat(c *llm.Chat) {
	t.extra += perAnswer
	for i := range c.Messages {
		m := &c.Messages[i]
		t.extra += perMessage
		if m.Name != "" {
			t.extra += perName
			t.text(m.Name)
		}
		t.parts(m.Parts)
	}
	for i := range c.Tools {
		t.guess(perTool)
		t.text(c.Tools[i].Name)
		t.text(c.Tools[i].Description)
		t.schema(c.Tools[i].Schema)
	}
	if c.Format.Schema != nil {
		t.guess(perTool)
		t.schema(c.Format.Schema)
	}
}

func (t *tally) parts(parts []llm.Part) {
	for i := range parts {
		switch p := &parts[i]; p.Kind {
		case llm.PartText, llm.PartRefusal:
			t.text(p.Text)
		case llm.PartReasoning: // what a provider makes of its own reasoning that is sent back is not known
			t.guess(0)
			t.text(p.Text)
		case llm.PartToolCall:
			t.guess(perCall)
			t.text(p.ToolName)
			t.text(p.Arguments)
		case llm.PartToolResult:
			t.guess(0)
			t.parts(p.Result)
		case llm.PartImage:
			t.guess(imageTokens(t.model, p))
		case llm.PartAudio:
			t.guess(audioTokens(p))
		case llm.PartFile:
			t.guess(fileTokens(p))
		default:
			t.guess(0)
			for _, m := range p.Extra {
				t.text(string(m.Value))
			}
		}
	}
}

// schema adds a JSON Schema. Providers write it anew in a form of their own, without white space and most punctuation.
func (t *tally) schema(raw []byte) {
	t.exact = false
	v := jsontext.Value(bytes.Clone(raw))
	if v.Compact() == nil {
		raw = v
	}
	t.text(string(raw))
}

// inputs adds what is to be embedded: texts, and what was sent as tokens already.
func (t *tally) inputs(raw []byte) {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return // its end: that it is JSON was checked before
		}
		switch token.Kind() {
		case '"':
			t.text(token.String())
		case '0':
			t.extra++
		}
	}
}
