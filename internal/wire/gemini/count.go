package gemini

import (
	"slices"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// counted are the members of a request that Vertex AI takes to count it; nothing else of one has tokens.
var counted = []string{contentsField, "systemInstruction", "tools", configField}

// EncodeCount writes a chat as the body of a request to count its tokens; model is the model as a resource, such as models/NAME.
// adapted and err are as those of [EncodeChat].
func EncodeCount(c *llm.Chat, model string, t llm.Traits, o Options) (body []byte, adapted []string, err error) {
	whole, adapted, err := EncodeChat(c, t, o)
	if err != nil {
		return nil, nil, err
	}
	w := rawjson.Writer{Dst: make([]byte, 0, len(whole)+64)}
	w.Dst = append(w.Dst, '{')
	if o.Vertex {
		for _, m := range rawjson.ObjectOf(whole).Rest() {
			if slices.Contains(counted, m.Name) {
				w.Raw(m.Name, m.Value)
			}
		}
		return append(w.Dst, '}'), adapted, nil
	}
	w.Name("generateContentRequest")
	w.Dst = append(w.Dst, '{')
	w.Member("model", model)
	w.Dst = append(append(w.Dst, ','), whole[1:]...)
	return append(w.Dst, '}'), adapted, nil
}

// ScanCount reads how many tokens were counted.
func ScanCount(body []byte) (int64, error) {
	if !rawjson.Valid(body) {
		return 0, garbage("not JSON")
	}
	n := rawjson.ObjectOf(body).Integer("totalTokens")
	if n == nil || *n < 0 || *n > maxCount {
		return 0, garbage("no count")
	}
	return *n, nil
}
