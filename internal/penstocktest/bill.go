package penstocktest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/usage"
)

// Record reads an exchange's record from the control plane; nil if there is none.
func (e *Env) Record(id string) *usage.Record {
	e.T.Helper()
	var r usage.Record
	if e.Admin(http.MethodGet, "/exchanges/"+id, nil, &r) != http.StatusOK {
		return nil
	}
	return &r
}

// Records reads all records, the newest first.
func (e *Env) Records() []usage.Record {
	e.T.Helper()
	var all []usage.Record
	after := ""
	for {
		var p struct {
			Data []usage.Record `json:"data"`
			Next string         `json:"next"`
		}
		if status := e.Admin(http.MethodGet, fmt.Sprintf("/exchanges?limit=1000&after=%s", after), nil, &p); status != http.StatusOK {
			e.T.Fatalf("exchanges: status %d", status)
		}
		all = append(all, p.Data...)
		if p.Next == "" {
			return all
		}
		after = p.Next
	}
}

// CheckBill fails the test unless Penstock's records and the providers' own bill are one, call by call: every billed call
// is a try of a record with the same tokens and money, and no record claims more. What Penstock counted itself may be off
// by 15 % and a few tokens; where an answer broke off, the provider may have generated more than was seen. Tries that say "unknown" claim nothing, and only they may have cost something that no record
// tells; their number is returned. A try that was cancelled before the provider had named it is an estimate of such a cost.
func (e *Env) CheckBill() (unknown int) {
	e.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := e.Sim.Idle(ctx); err != nil {
		e.T.Fatalf("simulated providers do not come to rest: %v", err)
	}
	e.AtRest()
	billed := map[string]sim.Call{}
	for _, c := range e.Sim.Bill().Calls {
		billed[c.ID] = c
	}
	nameless := 0
	for _, r := range e.Records() {
		for _, try := range r.Tries {
			call, ok := billed[try.Upstream]
			delete(billed, try.Upstream)
			if try.Outcome == pipeline.Unknown {
				unknown++
				if try.Upstream == "" {
					nameless++
				}
			}
			if !ok && try.Reason == "canceled" && try.Outcome == pipeline.SettledEstimated { // lost to a hedge before it had a name
				nameless++
				continue
			}
			if wrong := compare(try, call, ok); wrong != "" {
				e.T.Errorf("%s: try %s (%s, %s) %s: it has %d in, %d out, %s; the bill has %d, %d, %s", r.ID, try.ID, try.Reason,
					try.Outcome, wrong, try.Usage.Input, try.Usage.Output, try.CostNano, call.Prompt, call.Completion, call.Cost)
			}
		}
	}
	for _, c := range billed {
		if c.Cost == 0 {
			continue
		}
		if nameless--; nameless < 0 {
			e.T.Errorf("call %s to %s (%s) cost %s, and is in no record", c.ID, c.Model, c.Do, c.Cost)
		}
	}
	return unknown
}

// compare says what is wrong with a try, beside the call on the bill, if that is there.
func compare(try pipeline.Try, call sim.Call, billed bool) string {
	same := try.CostNano == call.Cost && try.Usage.Input == call.Prompt && try.Usage.Output == call.Completion
	if try.Unpriced {
		same = try.CostNano == 0 && try.Usage.Input == call.Prompt && try.Usage.Output == call.Completion
	}
	switch {
	case try.Outcome == pipeline.Unknown && (try.CostNano != 0 || try.Usage != usage0):
		return "claims what it does not know"
	case try.Outcome == pipeline.Unknown:
		return ""
	case !billed && try.CostNano != 0:
		return "is not on the bill"
	case !billed:
		return ""
	case try.Outcome == pipeline.Released && call.Cost != 0:
		return "was billed"
	case try.Usage.Estimated != (try.Outcome == pipeline.SettledEstimated):
		return "is an estimate, and not marked as one"
	case try.Usage.Estimated && !estimated(try, call):
		return "is estimated badly"
	case !try.Usage.Estimated && !same:
		return "is not what was billed"
	}
	return ""
}

// estimated reports whether an estimate is good enough.
func estimated(try pipeline.Try, call sim.Call) bool {
	brokeOff := (try.Reason != "ok" || try.Cut) && try.Usage.Output <= call.Completion
	return Near(try.Usage.Input, call.Prompt) && (brokeOff || Near(try.Usage.Output, call.Completion))
}

var usage0 = pipeline.Try{}.Usage

// Near reports whether a count is within 15 % of the true one, or within ten tokens: the simulator's words and quarters of
// bytes are no vocabulary's tokens, and it does not bill for what stands around messages.
func Near(count, truth int64) bool {
	off := max(count-truth, truth-count)
	return off <= 10 || 100*off <= 15*truth
}
