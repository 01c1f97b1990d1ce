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
}

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
	l.mark(r, k, percentOf(int64(llm.Money(s.Settled).Plus(llm.Money(s.Unknown))), r.Amount))
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
	if percent < slices.Min(r.alerts()) {
		delete(l.watch.marks, k) // its amount was raised
		return
	}
	if l.watch.marks == nil {
		l.watch.marks = map[escrow.Key]mark{}
	}
	was, ok := l.watch.marks[k]
	if !ok && len(l.watch.marks) >= maxMarks {
		return
	}
	if was.percent >= 100 && percent < 100 && percent >= 90 {
		percent = was.percent // a call was refused; what came to less than was reserved does not undo that
	}
	l.watch.marks[k] = mark{percent, r.calendar.At(time.UnixMicro(k.Start)).End}
}

// A Notice is a budget that is used to a share at which somebody wants to be told.
type Notice struct {
	Budget  string // id
	Share   int    // percent that was passed
	Used    int    // percent
	Observe bool
	// Each says how many projects, keys or end users have passed it, where the budget holds for each; 0 where it is one.
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
			if m.percent < share {
				continue
			}
			n := found[at{k.Rule, share}]
			if n == nil {
				n = &Notice{Budget: k.Rule, Share: share, Observe: r.Mode == Observe, End: m.end}
				found[at{k.Rule, share}] = n
			}
			n.Used = max(n.Used, m.percent)
			if k.Subject != "" {
				n.Each++
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
