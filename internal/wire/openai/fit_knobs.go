package openai

import (
	"slices"

	"github.com/penstock/penstock/internal/llm"
)

// ranks are all efforts, from least to most.
var ranks = []string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}

// plainEfforts are those that every server knows which knows efforts.
var plainEfforts = []string{"low", "medium", "high"}

// budgets are up to how many tokens of reasoning are which effort; more is the last.
var budgets = []struct {
	most   int64
	effort string
}{{2048, "low"}, {8192, "medium"}, {1<<63 - 1, "high"}}

// asked is the effort that the caller asks for, "" for none in particular.
func asked(r *llm.Reasoning) string {
	switch {
	case r.Off:
		return "none"
	case r.Effort != "":
		return r.Effort
	case r.Budget < 0:
		return "medium"
	case r.Budget > 0:
		for _, b := range budgets {
			if r.Budget <= b.most {
				return b.effort
			}
		}
	}
	return ""
}

// effort says how much the model shall reason, in the nearest of the words that it takes.
func (f *fitter) effort() {
	want := asked(&f.Chat.Reasoning)
	known := f.server.Traits.EffortList()
	switch {
	case want == "":
		return
	case len(known) == 0 && !f.takes(llm.TakesEffort):
		if want != "none" {
			f.Adapt("reasoning")
		}
		return
	case len(known) == 0:
		known = plainEfforts
	}
	if want == "none" && known[0] != "none" && len(f.server.Traits.EffortList()) == 0 {
		f.Adapt("reasoning") // whether it reasons at all is not known
		return
	}
	given := nearest(want, known)
	if given != want {
		f.Adapt("reasoning")
	}
	f.out.Reasoning.Effort = given
}

// nearest is the effort of known that is the nearest to want; words that are not known here are the provider's to judge.
func nearest(want string, known []string) string {
	rank := slices.Index(ranks, want)
	if rank < 0 || slices.Contains(known, want) {
		return want
	}
	best := known[0]
	for _, k := range known[1:] {
		if distance(slices.Index(ranks, k), rank) < distance(slices.Index(ranks, best), rank) {
			best = k
		}
	}
	return best
}

func distance(a, b int) int { return max(a-b, b-a) }

// sampling takes over the knobs of sampling, but for those that the model refuses. Models that reason refuse them, some of them
// only while they do.
func (f *fitter) sampling() {
	s, t := f.Chat.Sampling, &f.server.Traits
	effort := f.out.Reasoning.Effort
	switch {
	case t.NoSampling, effort != "" && effort != "none" && slices.Contains(t.EffortList(), "none"):
		f.drop("temperature", &s.Temperature, 1)
		f.drop("top_p", &s.TopP, 1)
		f.drop("frequency_penalty", &s.FrequencyPenalty, 0)
		f.drop("presence_penalty", &s.PresencePenalty, 0)
		if s.LogitBias != nil {
			s.LogitBias = nil
			f.Adapt("logit_bias")
		}
	case t.OneSampling && s.Temperature != nil:
		f.drop("top_p", &s.TopP, 1)
	}
	if t.NoPenalties {
		f.drop("frequency_penalty", &s.FrequencyPenalty, 0)
		f.drop("presence_penalty", &s.PresencePenalty, 0)
	}
	if s.TopK != nil && !f.takes(llm.TakesTopK) {
		s.TopK = nil
		f.Adapt("top_k")
	}
	if n := s.TopLogprobs; n != nil && s.Logprobs == nil { // not all dialects have two members for it
		if some := *n > 0; some {
			s.Logprobs = &some
		} else {
			s.TopLogprobs = nil
		}
	}
	f.out.Sampling = s
}

// drop leaves a knob out, and says so if it was turned.
func (f *fitter) drop(name string, knob **float64, usual float64) {
	if *knob != nil && **knob != usual {
		f.Adapt(name)
	}
	*knob = nil
}
