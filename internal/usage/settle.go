package usage

import (
	"runtime/debug"
	"slices"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
)

// settle writes how the tries ended, what they used and what they cost, and then settles what is still held for them. For
// those that failed before the answer, route has done that.
func (a *answer) settle(now int64, f *fault.Error) {
	tries := a.x.Tries
	for i := range tries {
		try := &tries[i]
		if a.answered && i == a.x.Answering {
			a.settleAnswering(try, now, f)
			a.tellTier(try)
		}
		if try.Outcome == "" {
			try.Outcome = pipeline.Unknown
		}
		price(try)
		try.Settle()
	}
}

func (a *answer) settleAnswering(try *pipeline.Try, now int64, f *fault.Error) {
	try.TookNS = now - try.StartNS
	if try.FirstNS == 0 {
		try.FirstNS = a.first
	}
	switch {
	case f == nil:
		try.Reason = "ok"
	case try.Reason != "": // route knows what went wrong
	case f.Kind == fault.Canceled:
		try.Reason = string(provider.ReasonCanceled)
	default:
		try.Reason = string(f.Code)
	}
	try.Usage, try.Outcome = a.used(try, f == nil)
	if m := a.meta; m != nil {
		try.AnswerID, try.Model, try.Finish, try.Tier, try.Region = m.ID, m.Model, m.Finish, m.Tier, m.Region
		if slices.Contains(m.Finish, "") {
			try.Finish = slices.DeleteFunc(slices.Clone(m.Finish), func(r llm.FinishReason) bool { return r == "" })
		}
	}
}

// used is what the answering try used, and how sure that is. What the provider reported at the end counts, zeros too.
// What it did not report is counted; a provider that reported on the way used at least that.
func (a *answer) used(try *pipeline.Try, complete bool) (llm.Usage, pipeline.Outcome) {
	u := a.usage
	if a.x.Op == llm.OpCount { // counting uses nothing
		return llm.Usage{}, pipeline.SettledActual
	}
	if a.x.Op == llm.OpModerations && a.content && !a.reported { // judging uses no tokens, unless the provider says so
		return llm.Usage{}, pipeline.SettledActual
	}
	if a.reported && !u.Estimated && (complete || a.final) {
		return u, pipeline.SettledActual
	}
	if !a.content && !a.reported {
		return llm.Usage{}, pipeline.Unknown
	}
	if u.Input == 0 {
		u.Input = a.count(a.countInput)
	}
	u.Output = max(u.Output, a.count(func() int64 { return a.countOutput(try) }))
	if u.Input == 0 && u.Output == 0 {
		return llm.Usage{}, pipeline.Unknown
	}
	u.Estimated = true
	return u, pipeline.SettledEstimated
}

// count counts with code that is fed whatever callers and models say: its panic must not cost the record.
func (a *answer) count(counting func() int64) (n int64) {
	defer func() {
		if p := recover(); p != nil {
			a.r.o.Log.Error("panic while counting tokens", "exchange", a.x.ID, "panic", p, "stack", string(debug.Stack()))
			n = 0
		}
	}()
	return counting()
}

func (a *answer) countInput() int64 {
	if a.r.o.EstimateInput == nil {
		return 0
	}
	return a.r.o.EstimateInput(a.x)
}

func (a *answer) countOutput(try *pipeline.Try) int64 {
	if a.text == nil || len(*a.text) == 0 || a.r.o.Count == nil {
		return 0
	}
	target, _ := llm.ParseTarget(try.Target)
	n, kept := a.r.o.Count(target.Model, *a.text), int64(len(*a.text))
	return n + n*a.over/kept
}

// tellTier notes that a try was served by a tier that has no price here, so that its cost is not right.
func (a *answer) tellTier(try *pipeline.Try) {
	if try.Price == nil {
		return
	}
	if _, known := try.Price.As(try.Tier, try.Region); !known {
		a.x.Note("price", try.Target+" served this as "+try.Tier+", which has no price: it is booked as what was asked for", 0)
	}
}

// price puts what a try cost at the prices of its dispatch, as it was served. Without a price that is not known, unless nothing was
// billed.
func price(try *pipeline.Try) {
	if try.Price == nil {
		try.CostNano, try.Unpriced = 0, try.Outcome != pipeline.Released
		return
	}
	p, _ := try.Price.As(try.Tier, try.Region)
	try.CostNano, try.FeeNano, try.Unpriced = p.Cost(try.Usage), 0, false
	if try.Outcome == pipeline.SettledActual || try.Outcome == pipeline.SettledEstimated {
		try.CostNano, try.FeeNano = p.ForCall(try.Usage), p.Fees(try.Usage)
	}
}
