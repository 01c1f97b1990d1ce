package limit

import (
	"math"
	"slices"

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
	// unseenFile is for a document that is not in the body, or not as text, where it is not known how much the model reads: as much as
	// models do of which nothing is known, but that they read documents.
	unseenFile = 1 << 20
	// leastOutput is the smallest cap that a call is lowered to; what buys less is refused.
	leastOutput = 64
	// usualOutput is the cap of a call that names none, where nothing else does.
	usualOutput = 4096
)

// inputBound is the most tokens that the prompt of an exchange can have for a model of this context; 0 is an unknown context.
// Pictures and sound count by what they may come to, and not by their bytes. A document may fill the context, unless it is text that is
// there: the provider has or fetches it, or its format is packed, so that a few bytes may be a thousand pages. What Penstock gives the
// model back of its reasoning counts where something depends on the bound.
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
	var l look
	found := &l
	if a, ok := x.Allowance.(*allowance); ok {
		found = &a.look
	}
	if c := found.of(x, model); c != nil {
		n += c.pictures*tokens.MaxImage(model) + c.sound - c.data + c.reasoning
		unseen += c.files
	}
	if unseen > 0 {
		n = max(n+unseen*unseenFile, context)
	}
	if context > 0 {
		n = min(n, context)
	}
	return max(n, 1)
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
