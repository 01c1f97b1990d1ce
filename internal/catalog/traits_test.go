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
	var models []Model
	for i, row := range rows {
		if !slices.ContainsFunc(rows[:i], func(t trait) bool { return t.Vendor == row.Vendor }) {
			models = append(models, Default().Models(row.Vendor)...)
		}
	}
	for _, m := range models {
		found := false
		for i, row := range rows {
			if row.Vendor == m.Vendor && llm.MatchName(row.Model, m.Name) {
				used[i], found = true, true
				break
			}
		}
		got := m.Traits()
		if !strings.Contains(m.Name, "claude-") || m.Vendor == "google-vertex" { // where it speaks Anthropic's dialect only
			continue
		}
		if !found || got.MaxOutput == 0 || m.Can(Reasoning) != (got.Thinking != llm.ThinkingNone) {
			t.Errorf("%s: found %t, %+v, reasons %t", m.Name, found, got, m.Can(Reasoning))
		}
	}
	for i, row := range rows {
		if !used[i] {
			t.Errorf("no model fits %s/%s, or an earlier row takes it", row.Vendor, row.Model)
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
	if m, ok := Default().Find("openai", "gpt-5"); !ok || m.Traits().Thinking != llm.ThinkingNone {
		t.Errorf("%+v", m.Traits())
	}
}
