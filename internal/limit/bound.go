package limit

import (
	"bytes"
	"math"
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
	// leastOutput is the smallest cap that a call is lowered to; what buys less is refused.
	leastOutput = 64
	// usualOutput is the cap of a call that names none, where nothing else does.
	usualOutput = 4096
)

// inputBound is the most tokens that the prompt of an exchange can have for a model of this context; 0 is an unknown context.
// Pictures count by what they may come to, and not by their bytes.
func inputBound(x *pipeline.Exchange, model string, context int64) int64 {
	r := x.Request
	n := r.Size() + frame
	if len(r.Field("tools")) > 2 || len(r.Field("functions")) > 2 {
		n += toolFrame
	}
	if x.Op == llm.OpChat && hasMedia(r.Raw) {
		if chat, err := r.Chat(); err == nil {
			pictures, data := picturesOf(chat)
			n += pictures*tokens.MaxImage(model) - data
		}
	}
	if context > 0 {
		n = min(n, context)
	}
	return max(n, 1)
}

// pictureMarks are in every body with pictures, whatever its dialect.
var pictureMarks = [][]byte{[]byte(`image`), []byte(`file_id`), []byte(`file_data`)}

func hasMedia(raw []byte) bool {
	for _, mark := range pictureMarks {
		if bytes.Contains(raw, mark) {
			return true
		}
	}
	return false
}

// picturesOf counts the pictures of a chat, and the bytes that the body has for those that are in it.
func picturesOf(c *llm.Chat) (n, data int64) {
	for i := range c.Messages {
		k, d := picturesIn(c.Messages[i].Parts)
		n, data = n+k, data+d
	}
	return n, data
}

func picturesIn(parts []llm.Part) (n, data int64) {
	for i := range parts {
		switch p := &parts[i]; p.Kind {
		case llm.PartImage:
			n++
			data += int64(len(p.Data)) / 3 * 4 // in base64, without what fills it up
		case llm.PartToolResult:
			k, d := picturesIn(p.Result)
			n, data = n+k, data+d
		}
	}
	return n, data
}

// capName is the member of a body that caps what is generated.
func capName(r *llm.Request) string {
	switch r.Dialect {
	case llm.Anthropic:
		return "max_tokens"
	case llm.Responses:
		return "max_output_tokens"
	}
	if r.Field("max_tokens") != nil && r.Field("max_completion_tokens") == nil {
		return "max_tokens"
	}
	return "max_completion_tokens"
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
	case len(r.Field("mcp_servers")) > 2:
		return "mcp_servers"
	case len(r.Field("web_search_options")) > 0:
		return "web_search_options"
	}
	raw := r.Field("tools")
	if len(raw) <= 2 {
		return ""
	}
	var tools []struct {
		Type jsontext.Value `json:"type"`
	}
	if json.Unmarshal(raw, &tools) != nil {
		return ""
	}
	for _, t := range tools {
		name := strings.Trim(string(t.Type), `"`)
		for _, paid := range paidTools {
			if strings.HasPrefix(name, paid) {
				return name
			}
		}
	}
	return ""
}
