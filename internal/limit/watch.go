package limit

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/llm"
)

// A watch remembers which budgets are used so far that somebody wants to know.
type watch struct {
	mu    sync.Mutex // guards the field below
	marks map[escrow.Key]mark
}

// A mark is how far a window of a budget is used.
type mark struct {
	percent int
	end     time.Time
	refused refusal
}

// A refusal is the last call that a budget had not enough left for.
type refusal struct {
	why    string    // "" if there was none
	amount int64     // of the budget at the time: when it is another one, the refusal is old
	until  time.Time // zero as long as the window lasts
}

func (r *refusal) holds(now time.Time, amount int64) bool {
	return r.why != "" && r.amount == amount && (r.until.IsZero() || now.Before(r.until))
}

const (
	// nearlySpent is the share in percent from which on a budget that refused a call is spent until its window ends. Before that it
	// was the call that was large, or others that ran beside it: that is told of for as long as refusedFor says.
	nearlySpent = 90
	refusedFor  = 10 * time.Minute
)

// maxMarks bounds what is remembered: with a budget for each end user there may be any number.
const maxMarks = 20_000

// defaultAlerts are the shares at which somebody is told where a budget does not say.
var defaultAlerts = []int{50, 80, 90, 100}

func (t *Terms) alerts() []int {
	if len(t.Alerts) > 0 {
		return t.Alerts
	}
	return defaultAlerts
}

// Changed takes note of how a pool stands; it is for the bank.
func (l *Limiter) Changed(k escrow.Key, s escrow.State) {
	r := l.o.Board.inForce.Load().byID[k.Rule]
	if r == nil || r.Amount <= 0 {
		return // the rest of a budget that keeps a share for others has no alerts of its own
	}
	l.mark(r, k, percentOf(spentOf(s), r.Amount))
}

// percentOf is how much of an amount is used, in percent, rounded down and at most 1000; of nothing it is 0.
func percentOf(used, amount int64) int {
	if used <= 0 || amount <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(used), 100)
	if hi >= uint64(amount) {
		return 1000
	}
	percent, _ := bits.Div64(hi, lo, uint64(amount))
	return int(min(percent, 1000))
}

// mark notes a percentage, if it is one that somebody wants to know of.
func (l *Limiter) mark(r *budgetRule, k escrow.Key, percent int) {
	l.watch.mu.Lock()
	defer l.watch.mu.Unlock()
	m, ok := l.watch.marks[k]
	if percent < slices.Min(r.alerts()) && (!ok || !m.refused.holds(l.o.Now(), r.Amount)) {
		delete(l.watch.marks, k) // its amount was raised
		return
	}
	m.percent = percent
	l.watch.put(r, k, m)
}

// markRefused notes that a budget, or what of it is not kept for others, has refused a call.
func (l *Limiter) markRefused(h *held, s escrow.State, need int64) {
	last := refusal{amount: h.Amount, why: "the last one may have come to " + h.show(need) + ", and " + h.show(s.Free()) + " of " + h.show(h.limit()) + " were free"}
	if h.part >= 0 {
		last.why += " for calls without the tag " + h.Kept[h.part].Tag
	}
	if percentOf(spentOf(s), h.limit()) < nearlySpent {
		last.until = l.o.Now().Add(refusedFor)
	}
	k := escrow.Key{Rule: h.budgetRule.id, Subject: h.key.Subject, Start: h.key.Start}
	used, known := l.o.Bank.Pool(k, h.budgetRule.terms(h.in)).Used()
	l.watch.mu.Lock()
	defer l.watch.mu.Unlock()
	m := l.watch.marks[k]
	m.refused = last
	if known {
		m.percent = percentOf(used, h.Amount)
	}
	l.watch.put(h.budgetRule, k, m)
}

// put keeps a mark, as long as there are not too many. The caller holds the mutex.
func (w *watch) put(r *budgetRule, k escrow.Key, m mark) {
	if w.marks == nil {
		w.marks = map[escrow.Key]mark{}
	}
	if _, ok := w.marks[k]; !ok && len(w.marks) >= maxMarks {
		return
	}
	m.end = r.calendar.At(time.UnixMicro(k.Start)).End
	w.marks[k] = m
}

// spentOf is what is settled of a window, and what nobody knows better than that it may be.
func spentOf(s escrow.State) int64 { return int64(llm.Money(s.Settled).Plus(llm.Money(s.Unknown))) }

// A Notice is a budget that is used to a share at which somebody wants to be told.
type Notice struct {
	Budget  string // id
	Name    string // "$10 a day"
	Share   int    // percent that was passed
	Used    int    // percent
	Observe bool
	Refused string // why it refused a call, of a share of 100; "" if it did not, or is one for each
	// Each says how many projects, keys or end users have passed it, or were refused, where the budget holds for each; 0 where it is one.
	Each int
	End  time.Time // of the window
}

// Notices are those of now, by budget and share.
func (l *Limiter) Notices(now time.Time) []Notice {
	c := l.o.Board.inForce.Load()
	type at struct {
		budget string
		share  int
	}
	found := map[at]*Notice{}
	l.watch.mu.Lock()
	for k, m := range l.watch.marks {
		r := c.byID[k.Rule]
		if r == nil || !m.end.IsZero() && !now.Before(m.end) {
			delete(l.watch.marks, k)
			continue
		}
		for _, share := range r.alerts() {
			refused := share == 100 && m.refused.holds(now, r.Amount)
			if m.percent < share && !refused {
				continue
			}
			n := found[at{k.Rule, share}]
			if n == nil {
				n = &Notice{Budget: k.Rule, Name: r.name, Share: share, Observe: r.Mode == Observe, End: m.end}
				found[at{k.Rule, share}] = n
			}
			n.Used = max(n.Used, m.percent)
			if k.Subject != "" {
				n.Each++
			} else if refused {
				n.Refused = m.refused.why
			}
		}
	}
	l.watch.mu.Unlock()
	list := make([]Notice, 0, len(found))
	for _, n := range found {
		list = append(list, *n)
	}
	slices.SortFunc(list, func(a, b Notice) int { return cmp.Or(cmp.Compare(a.Budget, b.Budget), a.Share-b.Share) })
	return list
}
