package gemini

import (
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// levels are what efforts mean to models that are given a level, from the least.
var levels = []string{"minimal", "low", "medium", "high"}

// takes reports whether the model takes a level. All that take levels take these two.
func (e *encoder) takes(level string) bool {
	if e.traits.Efforts == "" {
		return level == "low" || level == "high"
	}
	return slices.Contains(strings.Fields(e.traits.Efforts), level)
}

// thinking writes how much the model shall think, and asks to be shown what it thinks where it shall.
func (e *encoder) thinking(w *rawjson.Writer, given rawjson.Extra) {
	r := &e.Chat.Reasoning
	off := r.Off || r.Effort == "none"
	if !off && r.Effort == "" && r.Budget == 0 || given.Has(thinkingField) {
		return
	}
	inner := rawjson.Writer{Dst: []byte{'{'}}
	switch e.traits.Thinking {
	case llm.ThinkingBudget:
		n := e.budget(off)
		inner.Integer(nil, "thinkingBudget", &n)
	case llm.ThinkingEffort:
		inner.Member("thinkingLevel", e.level(off))
	default:
		if !off { // where it is not known that a model reasons, there is nothing to turn off
			e.Adapt("reasoning")
		}
		return
	}
	if shown := true; !off && r.Summary != "omitted" {
		inner.Boolean(nil, "includeThoughts", &shown)
	}
	w.Raw(thinkingField, append(inner.Dst, '}'))
}

const thinkingField = "thinkingConfig"

// budget is how many tokens the model may think: what was asked for, within what it takes. -1 leaves it to the model.
func (e *encoder) budget(off bool) int64 {
	r, t := &e.Chat.Reasoning, &e.traits
	n := r.Budget
	switch {
	case off && t.AlwaysThinks:
		e.Adapt("reasoning")
		return t.LeastThinking
	case off:
		return 0
	case n < 0:
		return -1
	case n == 0:
		if n = crossing.Budgets[r.Effort]; n == 0 {
			return -1 // an effort that is not known
		}
		n = max(n, t.LeastThinking)
		if t.MostThinking > 0 {
			n = min(n, t.MostThinking)
		}
		return n
	}
	switch {
	case n < t.LeastThinking:
		n = t.LeastThinking
		e.Adapt("reasoning")
	case t.MostThinking > 0 && n > t.MostThinking:
		n = t.MostThinking
		e.Adapt("reasoning")
	}
	return n
}

// level is the nearest level that the model takes.
func (e *encoder) level(off bool) string {
	r, effort := &e.Chat.Reasoning, e.Chat.Reasoning.Effort
	if effort == "" && r.Budget > 0 {
		effort = "high"
		switch {
		case r.Budget <= crossing.Budgets["low"]:
			effort = "low"
		case r.Budget <= crossing.Budgets["medium"]:
			effort = "medium"
		}
	}
	if off {
		effort = levels[0]
		e.Adapt("reasoning") // no level is none
	}
	at := slices.Index(levels, effort)
	if at < 0 {
		at = len(levels) - 1
	}
	for i := at; i < len(levels); i++ {
		if e.takes(levels[i]) {
			return levels[i]
		}
	}
	for i := at; i > 0; i-- {
		if e.takes(levels[i-1]) {
			return levels[i-1]
		}
	}
	return levels[at]
}
