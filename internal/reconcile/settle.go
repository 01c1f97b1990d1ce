package reconcile

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/llm"
)

// plan finds what tries whose end is unknown came to. The surplus is spread over them in proportion to the most that each may have
// cost; what they cannot have cost is left.
func (d *dayOf) plan(l *Line, surplus llm.Money) {
	o := &d.c.o
	settles := len(l.pending) > 0
	switch {
	case (settles || surplus != 0) && d.to.After(d.c.upTo):
		l.Why = "more calls are unknown than are looked at in one go; settle the days before first"
	case (settles || surplus != 0) && len(l.Names) == 0 && d.unheard:
		l.Why = "the export has nothing under this name on the day, but has names that were not matched"
	case settles && !l.Whole && !o.Unfinished:
		l.Why = "the day is not over, or not wholly in the export"
	case settles && surplus < 0 && past(int64(surplus), int64(l.Billed), int64(l.Books), o.Threshold, int64(leastMoney)):
		l.Why = "the export has less than the books: it may not be of the whole account"
	}
	if !settles || l.Why != "" {
		return
	}
	slices.SortFunc(l.pending, func(a, b ledger.Unknown) int { return a.At.Compare(b.At) })
	amount := min(max(surplus, 0), l.Most)
	amounts := Split(int64(amount), bounds(l.pending))
	tokens := d.tokens(l)
	for i := range l.pending {
		if l.pending[i].Bound <= 0 && surplus > l.Most {
			l.Why = "the most that a try may have cost is not known; settle it by hand"
			continue
		}
		s := Step{Try: l.pending[i].Try, Amount: llm.Money(amounts[i]), Tokens: -1, of: &l.pending[i]}
		if tokens != nil {
			s.Tokens = min(tokens[i], held(&l.pending[i]))
		}
		l.Steps = append(l.Steps, s)
	}
	l.Left = surplus.Plus(-amount)
}

func bounds(tries []ledger.Unknown) []int64 {
	all := make([]int64, len(tries))
	for i := range tries {
		all[i] = max(int64(tries[i].Bound), 0)
	}
	return all
}

// held is what a try holds of budgets in tokens at most.
func held(u *ledger.Unknown) (most int64) {
	for _, p := range u.Held {
		if p.Tokens {
			most = max(most, p.Amount)
		}
	}
	return most
}

// tokens are what the tries used, as far as the export says: nil if it does not.
func (d *dayOf) tokens(l *Line) []int64 {
	if !l.Tokens || !l.Priced { // records and books were not seen to agree
		return nil
	}
	return Split(max(all64(l.Usage)-all64(l.Recorded), 0), bounds(l.pending))
}

// Split spreads a total over weights, neither below 0, in proportion to them. The parts add up to the total exactly, and if that is at
// most the sum of the weights, no part is above its weight. With no weight at all, all parts are 0.
func Split(total int64, weights []int64) []int64 {
	parts := make([]int64, len(weights))
	var sum uint64
	for _, w := range weights {
		sum = saturated(sum, uint64(max(w, 0)))
	}
	if sum == 0 || total <= 0 {
		return parts
	}
	// A part is the difference of two running shares, each rounded down: so all that is rounded comes out again.
	var upTo, before uint64
	for i, w := range weights {
		upTo = min(saturated(upTo, uint64(max(w, 0))), sum)
		hi, lo := bits.Mul64(uint64(total), upTo)
		share, _ := bits.Div64(hi, lo, sum) // hi is below sum, as total is below 2^63 and upTo at most sum
		parts[i], before = int64(share-before), share
	}
	return parts
}

func saturated(a, b uint64) uint64 {
	if s := a + b; s >= a {
		return s
	}
	return ^uint64(0)
}

// spread says whose what is left is, in proportion to what each has in the line: what is booked of it, and what the tries are settled
// at. Money told from tokens is no bill, so nobody is charged for it.
func (d *dayOf) spread(l *Line) {
	for _, s := range l.Steps {
		t, _ := llm.ParseTarget(s.of.Target)
		d.share(l, Share{s.of.Org, s.of.Project, s.of.Credential, t.Model, s.Amount})
	}
	if l.Left == 0 || l.Priced || !l.Money || !l.Whole && !d.c.o.Unfinished || l.Why != "" {
		l.Shares = nil
		return
	}
	weights := make([]int64, len(l.Shares))
	for i := range l.Shares {
		weights[i] = max(int64(l.Shares[i].Amount), 0)
	}
	parts, sign := Split(int64(min(size(int64(l.Left)), 1<<63-1)), weights), int64(1)
	if l.Left < 0 {
		sign = -1
	}
	var kept []Share
	for i := range l.Shares {
		if l.Shares[i].Amount = llm.Money(sign * parts[i]); parts[i] != 0 {
			kept = append(kept, l.Shares[i])
		}
	}
	l.Shares = kept
}

// Done is what was written.
type Done struct {
	Settled, Voided, Adjusted int64     // entries
	Amount                    llm.Money // what tries were settled at, together
	Correction                llm.Money // of the adjusting entries, together
	Elsewhere                 int64     // what somebody else had settled or adjusted meanwhile
}

// Settle writes what a report says: entries that settle tries, and if adjust is set, those that correct what is left. Each is an act of
// whoever the context says. With an error, what came before it was written; the next run finds the rest.
func Settle(ctx context.Context, b Ledger, r *Report, o Options, adjust bool) (done Done, err error) {
	for i := range r.Lines {
		l := &r.Lines[i]
		why := fmt.Sprintf("reconcile %s %s: export %.12s", l.Date, l.name(), r.Export.Hash)
		for _, s := range l.Steps {
			void := s.Amount == 0 && s.Tokens <= 0
			_, err := b.SettleTry(ctx, ledger.Resolution{Try: s.Try, Void: void, Amount: s.Amount, Tokens: s.Tokens, Reason: why})
			switch {
			case taken(err):
				done.Elsewhere++
			case err != nil:
				return done, err
			case void:
				done.Voided++
			default:
				done.Settled++
				done.Amount = done.Amount.Plus(s.Amount)
			}
		}
		if !adjust {
			continue
		}
		for _, s := range l.Shares {
			a := l.adjustment(s, o.Zone)
			a.Reason = fmt.Sprintf("%s, billed %s, booked %s", why, l.Billed, l.Books)
			_, err := b.AdjustLedger(ctx, a)
			switch {
			case taken(err):
				done.Elsewhere++
			case err != nil:
				return done, err
			default:
				done.Adjusted++
				done.Correction = done.Correction.Plus(s.Amount)
			}
		}
	}
	return done, nil
}

func taken(err error) bool {
	if err == nil {
		return false
	}
	code := fault.From(err).Code
	return code == fault.AlreadyThere || code == fault.NotThere
}

// adjustment is the entry of a share: at noon of the day, so that it belongs to it.
func (l *Line) adjustment(s Share, zone *time.Location) ledger.Adjustment {
	if zone == nil {
		zone = time.UTC
	}
	at, _ := time.ParseInLocation(time.DateOnly, l.Date, zone) // it is a day: Compare has read it
	target := ""
	if s.Model != "" {
		target = llm.Target{Provider: l.Provider, Model: s.Model}.String()
	}
	return ledger.Adjustment{
		Org: s.Org, Project: s.Project, Provider: l.Provider, Credential: s.Credential, Target: target, Amount: s.Amount,
		At: at.Add(12 * time.Hour), Once: true,
	}
}

// name is the line's targets, for people.
func (l *Line) name() string {
	switch {
	case len(l.Models) == 1:
		return l.Provider + "/" + l.Models[0]
	case len(l.Models) > 1:
		return fmt.Sprintf("%s/%s and %d more", l.Provider, l.Models[0], len(l.Models)-1)
	}
	return l.Provider
}

// late is how long before the end of a day a try may have been sent that the provider counts for the next day.
const late = 15 * time.Minute

// keepLate takes back that tries are voided which the provider may have on the next day: unless the export has that day too, and no
// more of the target than the books.
func keepLate(lines []Line, days []books) {
	next := map[string]*books{}
	for i := range days[min(1, len(days)):] {
		next[days[i].Date] = &days[i+1]
	}
	for i := range lines {
		l := &lines[i]
		l.Steps = slices.DeleteFunc(l.Steps, func(s Step) bool {
			if s.Amount > 0 {
				return false
			}
			after := next[l.Date]
			if s.of.At.Before(l.ends.Add(-late)) || after != nil && after.from.Equal(l.ends) && after.Whole && !surplusOn(lines, after.Date, l) {
				return false
			}
			l.Why = "a try was sent just before the end of the day: the provider may have it on the next"
			return true
		})
		if l.State == Explained && len(l.Steps) == 0 {
			l.State = Fits
		}
	}
}

// surplusOn reports whether the export has more than the books on a day for what a line is about.
func surplusOn(lines []Line, date string, of *Line) bool {
	return slices.ContainsFunc(lines, func(l Line) bool {
		same := slices.ContainsFunc(l.Models, func(model string) bool { return slices.Contains(of.Models, model) })
		return l.Date == date && l.Provider == of.Provider && same && (l.Left > 0 || !l.Whole)
	})
}
