package catalog

import (
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// Every row is of use, every Claude has its traits, and those that reason can be asked to.
func TestEveryModelHasTraits(t *testing.T) {
	t.Parallel()
	rows := traits()
	used := make([]bool, len(rows))
	for _, vendor := range Default().VendorNames() {
		for _, m := range Default().Models(vendor) {
			i := slices.IndexFunc(rows, func(row trait) bool { return row.of(m.Vendor, m.Name) })
			if i >= 0 {
				used[i] = true
			}
			got := m.Traits()
			switch vendor {
			case "anthropic", "amazon-bedrock": // where Claude is asked in the words of its vendor
			default:
				continue
			}
			if !strings.Contains(m.Name, "claude-") {
				continue
			}
			if i < 0 || got.MaxOutput == 0 || m.Can(Reasoning) != (got.Thinking != llm.ThinkingNone) {
				t.Errorf("%s: row %d, %+v, reasons %t", m.Name, i, got, m.Can(Reasoning))
			}
		}
	}
	for i, row := range rows {
		if !used[i] {
			t.Errorf("no model fits %s/%s, or an earlier row takes it", row.Vendors, row.Model)
		}
	}
}

func TestTraits(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]llm.Traits{
		"claude-opus-4-8":           {MaxOutput: 128000, Thinking: llm.ThinkingAdaptive, NoSampling: true, LateSystem: true},
		"claude-opus-4-5-20251101":  {MaxOutput: 64000, Thinking: llm.ThinkingBudget, OneSampling: true},
		"claude-3-5-haiku-20241022": {MaxOutput: 8192, NoSchema: true},
	} {
		m, ok := Default().Find("anthropic", name)
		if got := m.Traits(); !ok || got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for name, want := range map[string]llm.Traits{
		"gemini-3-pro-preview":   {MaxOutput: 65536, Thinking: llm.ThinkingEffort, Efforts: "low high", NoPenalties: true, Signatures: true, AlwaysThinks: true},
		"gemini-2.5-pro":         {MaxOutput: 65536, Thinking: llm.ThinkingBudget, LeastThinking: 128, MostThinking: 32768, NoPenalties: true, AlwaysThinks: true},
		"gemini-2.5-flash-image": {MaxOutput: 32768, NoPenalties: true},
		"gemini-2.0-flash":       {MaxOutput: 8192},
	} {
		m, ok := Default().Find("google", name)
		if got := m.Traits(); !ok || got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for name, want := range map[string]llm.Traits{
		"gpt-5":       {MaxOutput: 128000, NoSampling: true, Efforts: "minimal low medium high", Takes: llm.TakesCompletionCap | llm.TakesResponses},
		"gpt-4o":      {MaxOutput: 16384, Takes: llm.TakesCompletionCap | llm.TakesResponses},
		"gpt-9-omega": {Takes: llm.TakesCompletionCap | llm.TakesResponses}, // of which nothing is known but who made it
	} {
		got := TraitsOf("openai", name)
		if m, ok := Default().Find("openai", name); ok {
			got = m.Traits()
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if got := TraitsOf("", "gpt-5"); got != (llm.Traits{}) {
		t.Errorf("a model of nobody: %+v", got)
	}
}
