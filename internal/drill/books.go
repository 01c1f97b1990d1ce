package drill

import (
	"fmt"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/usage"
)

// Books are Penstock's records beside the twins' own bill, compared try by try.
type Books struct {
	// Agree says that every try whose cost is known is on the bill with the same money and tokens, and that nothing else is
	// on the bill but what the records call estimated or unknown.
	Agree  bool      `json:"agree"`
	Ledger llm.Money `json:"ledger_nano"`
	Bill   llm.Money `json:"bill_nano"`
	Tries  int       `json:"tries"`
	// Estimated are tries that broke off after something was generated, Unknown those of which only the provider knows what
	// they cost. Open is how much of the bill is for the two, Counted how much of the ledger.
	Estimated int       `json:"estimated"`
	Unknown   int       `json:"unknown"`
	Open      llm.Money `json:"open_nano"`
	Counted   llm.Money `json:"counted_nano"`
	Unpriced  int       `json:"unpriced"` // tries at targets without a price in the catalogue
	Problems  []string  `json:"problems"` // where they do not agree, at most a few
}

// maxProblems is how many problems of the books are told.
const maxProblems = 5

func (b *Books) problem(format string, args ...any) {
	b.Agree = false
	if len(b.Problems) < maxProblems {
		b.Problems = append(b.Problems, fmt.Sprintf(format, args...))
	}
}

// compare reads both books.
func compare(records []*usage.Record, bill sim.Bill) Books {
	b := Books{Agree: true, Bill: bill.Total.Cost, Problems: []string{}}
	billed := make(map[string]sim.Call, len(bill.Calls))
	for _, c := range bill.Calls {
		billed[c.ID] = c
	}
	if bill.Forgotten > 0 {
		b.problem("the bill has %d calls in its total alone", bill.Forgotten)
	}
	// Tries of which nothing came, not even the call's name, by target: such as those that a hedge made superfluous.
	nameless := map[llm.Target]int{}
	for _, r := range records {
		b.Ledger += r.CostNano
		for i := range r.Tries {
			try := &r.Tries[i]
			call, ok := billed[try.Upstream]
			delete(billed, try.Upstream)
			b.Tries++
			if try.Upstream == "" && (try.Outcome == pipeline.Unknown || try.Outcome == pipeline.SettledEstimated) {
				t, _ := llm.ParseTarget(try.Target)
				nameless[llm.Target{Provider: simName(t.Provider), Model: simModel(t.Model)}]++
			}
			b.try(r.ID, try, call, ok)
		}
	}
	for _, c := range billed {
		if c.Cost == 0 {
			continue
		}
		of := llm.Target{Provider: c.Provider, Model: c.Model}
		if nameless[of]--; nameless[of] < 0 {
			b.problem("a call to %s cost $%s and is in no record", c.Model, c.Cost)
			continue
		}
		b.Open += c.Cost
	}
	if b.Ledger-b.Counted != b.Bill-b.Open {
		b.problem("without what is estimated or unknown, the records have $%s and the bill $%s", b.Ledger-b.Counted, b.Bill-b.Open)
	}
	return b
}

// try compares one try with its call on the bill, if there is one.
func (b *Books) try(id string, try *pipeline.Try, call sim.Call, billed bool) {
	if try.Unpriced {
		b.Unpriced++
	}
	switch {
	case try.Outcome == pipeline.Unknown:
		b.Unknown++
		b.Open += call.Cost
		b.Counted += try.CostNano
		if try.CostNano != 0 {
			b.problem("%s: a try of unknown cost has one, $%s", id, try.CostNano)
		}
	case try.Outcome == pipeline.SettledEstimated:
		b.Estimated++
		b.Open += call.Cost
		b.Counted += try.CostNano
	case !billed && try.CostNano != 0:
		b.problem("%s: a try at %s cost $%s and is not on the bill", id, try.Target, try.CostNano)
	case !billed:
	case try.CostNano != call.Cost, try.Usage.Input+try.Usage.Output != call.Prompt+call.Completion && try.Outcome == pipeline.SettledActual:
		b.problem("%s: a try at %s has $%s and %d + %d tokens, the bill $%s and %d + %d", id, try.Target,
			try.CostNano, try.Usage.Input, try.Usage.Output, call.Cost, call.Prompt, call.Completion)
	}
}
