package limit

import (
	"bytes"
	"math"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

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
	// unseenFile is for a document that is not in the body, where it is not known how much the model reads.
	unseenFile = 200_000
	// leastOutput is the smallest cap that a call is lowered to; what buys less is refused.
	leastOutput = 64
	// usualOutput is the cap of a call that names none, where nothing else does.
	usualOutput = 4096
)

// inputBound is the most tokens that the prompt of an exchange can have for a model of this context; 0 is an unknown context.
// Pictures count by what they may come to, and not by their bytes, and a document that the provider has or fetches may fill the
// context. What Penstock gives the model back of its reasoning counts where something depends on the bound.
func inputBound(x *pipeline.Exchange, model string, context int64) int64 {
	r := x.Request
	n := r.Size() + frame
	if len(r.Field("tools")) > 2 || len(r.Field("functions")) > 2 {
		n += toolFrame
	}
	returned := r.Completed != nil && x.Allowance != nil && hasAny(r.Raw, callMarks)
	if x.Op == llm.OpChat && (returned || hasAny(r.Raw, mediaMarks)) {
		if chat, err := chatOf(x); err == nil {
			c := contentsOf(chat)
			n += c.pictures*tokens.MaxImage(model) - c.data
			switch {
			case c.files > 0 && context > 0:
				n = context
			case c.files > 0:
				n += c.files * unseenFile
			}
			if returned {
				n += c.reasoning
			}
		}
	}
	if context > 0 {
		n = min(n, context)
	}
	return max(n, 1)
}

// mediaMarks are in every body with pictures or documents, whatever its dialect; a name may be written with escapes. callMarks are in
// every body with turns that a model may be given its reasoning of back.
var (
	mediaMarks = [][]byte{[]byte("image"), []byte("file_id"), []byte("file_data"), []byte("file_url"), []byte(`"document"`), []byte(`\u00`)}
	callMarks  = [][]byte{[]byte("tool_call"), []byte("tool_use"), []byte("function_call"), []byte(`\u00`)}
)

func hasAny(raw []byte, marks [][]byte) bool {
	return slices.ContainsFunc(marks, func(mark []byte) bool { return bytes.Contains(raw, mark) })
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
	files     int64 // that are not in the body
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
			if len(p.Data) == 0 && p.Text == "" {
				c.files++
			}
		case llm.PartToolResult:
			c.add(p.Result)
		case llm.PartReasoning:
			c.reasoning += int64(len(p.Text)+len(p.Redacted)+len(p.Signature)) + 64
		}
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

// paidTools are the beginnings of the types of tools that a provider runs itself, for a price that tokens do not bound.
var paidTools = []string{
	"web_search", "web_fetch", "file_search", "code_interpreter", "code_execution", "image_generation", "mcp", "google_search", "advisor", "shell",
}

// paidTool is the type of a tool of the request that its provider charges for beside tokens, "" if there is none.
func paidTool(r *llm.Request) string {
	switch {
	case filled(r.Field("mcp_servers"), '['):
		return "mcp_servers"
	case len(r.Field("web_search_options")) > 0 && r.Field("web_search_options")[0] == '{':
		return "web_search_options"
	case !filled(r.Field("tools"), '['):
		return ""
	}
	var tools []struct {
		Type jsontext.Value `json:"type"`
	}
	if json.Unmarshal(r.Field("tools"), &tools) != nil {
		return ""
	}
	for _, t := range tools {
		name, err := jsontext.AppendUnquote(nil, t.Type) // it may be written with escapes
		if err != nil {
			continue
		}
		for _, paid := range paidTools {
			if strings.HasPrefix(string(name), paid) {
				return string(name)
			}
		}
	}
	return ""
}

// filled reports whether a value is an array, or an object, with something in it.
func filled(raw []byte, opens byte) bool { return len(raw) > 2 && raw[0] == opens }
