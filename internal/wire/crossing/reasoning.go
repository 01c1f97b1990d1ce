package crossing

import (
	"slices"

	"github.com/penstock/penstock/internal/llm"
)

// Budgets are what efforts mean, in tokens, to models that are given a number of them: the ones that vendors of other models name.
var Budgets = map[string]int64{"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 32768}

// ProvenByClaude reports whether a part is reasoning that Claude takes back, wherever it runs: its own, or one of which it is not
// known whose it is.
func ProvenByClaude(p llm.Part) bool {
	return p.Kind == llm.PartReasoning && (p.Signature != "" || p.Redacted != nil) &&
		(p.Signer == "" || p.Signer == llm.Anthropic || p.Signer == llm.Bedrock)
}

// LostByCaller reports whether the conversation stands in the middle of a tool loop whose last turn of the model lacks the reasoning
// that it began with: callers of dialects without signatures cannot send it back.
func LostByCaller(messages []llm.Message) bool {
	for i := len(messages) - 1; i >= 0; i-- {
		switch m := &messages[i]; m.Role {
		case llm.RoleTool, llm.RoleFunction:
		case llm.RoleAssistant:
			calls := slices.ContainsFunc(m.Parts, func(p llm.Part) bool { return p.Kind == llm.PartToolCall })
			return calls && !slices.ContainsFunc(m.Parts, ProvenByClaude)
		default:
			return false
		}
	}
	return false
}
