package limit

import (
	"bytes"
	"math"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/tokens"
)

// What bounds the tokens of a prompt beside its text. No vocabulary in use makes more tokens than bytes, and what JSON puts around a
// message is longer than the 16 tokens that the longest chat format adds to it; so the bytes of a body bound its text.
const (
	// frame is for what a chat format adds to a whole prompt, toolFrame for what vendors write before the definitions of tools: the
	// longest known is some 530 tokens.
	frame     = 64
	toolFrame = 1024
	// unseenFile is for a document that is not in the body, or not as text, where it is not known how much the model reads.
	unseenFile = 200_000
	// leastOutput is the smallest cap that a call is lowered to; what buys less is refused.
	leastOutput = 64
	// usualOutput is the cap of a call that names none, where nothing else does.
	usualOutput = 4096
)

// inputBound is the most tokens that the prompt of an exchange can have for a model of this context; 0 is an unknown context.
// Pictures count by what they may come to, and not by their bytes. A document may fill the context, unless it is text that is there: the
// provider has or fetches it, or its format is packed, so that a few bytes may be a thousand pages. What Penstock gives the model back of
// its reasoning counts where something depends on the bound.
func inputBound(x *pipeline.Exchange, model string, context int64) int64 {
	r := x.Request
	n := r.Size() + frame
	if len(r.Field("tools")) > 2 || len(r.Field("functions")) > 2 {
		n += toolFrame
	}
	unseen := int64(0)
	if keptPrompt(r) {
		unseen++
	}
	returned := r.Completed != nil && x.Allowance != nil && hasAny(r.Raw, callMarks)
	if x.Op == llm.OpChat && (returned || hasAny(r.Raw, mediaMarks)) {
		if chat, err := chatOf(x); err == nil {
			c := contentsOf(chat)
			n += c.pictures*tokens.MaxImage(model) - c.data
			unseen += c.files
			if returned {
				n += c.reasoning
			}
		} else {
			unseen++
		}
	}
	if unseen > 0 {
		n = max(n+unseen*unseenFile, context)
	}
	if context > 0 {
		n = min(n, context)
	}
	return max(n, 1)
}

// mediaMarks are in every body with pictures or documents, whatever its dialect; a name may be written with escapes. callMarks are in
// every body with turns that a model may be given its reasoning of back.
var (
	imageMark    = []byte("image")
	documentMark = []byte(`"document"`)
	fileMarks    = [][]byte{[]byte("file_id"), []byte("file_data"), []byte("file_url"), []byte("item_reference"), []byte(`\u00`)}
	awayMarks    = [][]byte{[]byte(`"url"`), []byte(`"base64"`)}
	mediaMarks   = append([][]byte{imageMark, documentMark}, fileMarks...)
	callMarks    = [][]byte{[]byte("tool_call"), []byte("tool_use"), []byte("function_call"), []byte(`\u00`)}
)

func hasAny(raw []byte, marks [][]byte) bool {
	return slices.ContainsFunc(marks, func(mark []byte) bool { return has(raw, mark) })
}

// has is bytes.Contains, faster on text: it looks for a mark's underscore, which is rare there, instead of its first letter. Where it is
// not rare, it gives that up.
func has(raw, mark []byte) bool {
	in, at := bytes.IndexByte(mark, '_'), 0
	for misses := 0; in >= 0 && misses < 64; misses++ {
		i := bytes.IndexByte(raw[at:], '_')
		if i < 0 {
			return false
		}
		if at += i; at >= in && bytes.HasPrefix(raw[at-in:], mark) {
			return true
		}
		at++
	}
	return bytes.Contains(raw[max(at-max(in, 0), 0):], mark)
}

// chatOf is the chat as it is sent where it is translated, with all that is given back. It is not the exchange's own: that is made, and
// noted, when it is sent.
func chatOf(x *pipeline.Exchange) (*llm.Chat, error) {
	chat, err := x.Request.DecodeChat(x.Request.AppendBody(nil))
	if err != nil || x.Request.Completed == nil {
		return chat, err
	}
	noted := len(x.Decisions)
	x.Request.Completed(chat)
	x.Decisions = x.Decisions[:noted]
	return chat, nil
}

// contents are what of a chat is not to be bounded by its bytes.
type contents struct {
	pictures  int64
	data      int64 // bytes that the body has for those that are in it
	files     int64 // that are not in the body, or not as text
	reasoning int64 // bytes
}

func contentsOf(c *llm.Chat) (all contents) {
	for i := range c.Messages {
		all.add(c.Messages[i].Parts)
	}
	return all
}

func (c *contents) add(parts []llm.Part) {
	for i := range parts {
		switch p := &parts[i]; p.Kind {
		case llm.PartImage:
			c.pictures++
			c.data += int64(len(p.Data)) / 3 * 4 // in base64, without what fills it up
		case llm.PartFile:
			if len(p.Data) == 0 && p.Text == "" || !strings.HasPrefix(p.MediaType, "text/") {
				c.files++
			}
		case llm.PartOther:
			c.other(p.Extra)
		case llm.PartToolResult:
			c.add(p.Result)
		case llm.PartReasoning:
			c.reasoning += int64(len(p.Text)+len(p.Redacted)+len(p.Signature)) + 64
		}
	}
}

// other adds a part that is passed on as it is, and may be a picture or a document with something more than is known here. Pieces of text
// that are called a document are bounded by their bytes.
func (c *contents) other(members []llm.Member) {
	file, document, away := false, false, false
	for i := range members {
		raw := members[i].Value
		c.pictures += int64(bytes.Count(raw, imageMark))
		file = file || hasAny(raw, fileMarks)
		document = document || bytes.Contains(raw, documentMark)
		away = away || hasAny(raw, awayMarks)
	}
	if file || document && away {
		c.files++
	}
}

// capNames are the members of a body that cap what is generated: those that the caller set, for it is not known which of them the
// provider heeds, or else the dialect's.
func capNames(r *llm.Request) []string {
	switch r.Dialect {
	case llm.Anthropic:
		return []string{"max_tokens"}
	case llm.Responses:
		return []string{"max_output_tokens"}
	}
	var set []string
	for _, name := range []string{"max_completion_tokens", "max_tokens"} {
		if _, ok := ownCap(r, name); ok {
			set = append(set, name)
		}
	}
	if set == nil {
		set = []string{"max_completion_tokens"}
	}
	return set
}

// ownCap is what the caller set as a cap, whatever it was made since. ok is false if that is nothing.
func ownCap(r *llm.Request, name string) (raw []byte, ok bool) {
	i := slices.IndexFunc(r.Fields, func(f llm.Field) bool { return f.Name == name })
	if i < 0 {
		return nil, false
	}
	raw = r.Fields[i].Value.Of(r.Raw)
	return raw, string(raw) != "null"
}

// floor is the least cap that a call can be lowered to: a model that is to think for a number of tokens must be let.
func floor(r *llm.Request) int64 {
	raw := r.Field("thinking")
	if len(raw) == 0 {
		return leastOutput
	}
	var thinking struct {
		Budget int64 `json:"budget_tokens"`
	}
	if json.Unmarshal(raw, &thinking) != nil || thinking.Budget < 0 || thinking.Budget > math.MaxInt32 {
		return leastOutput
	}
	return thinking.Budget + leastOutput
}
