package limit

import (
	"sync"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// A quarantine is how long a target that billed more than calls were capped at gets no calls with a budget.
const quarantine = 10 * time.Minute

// A ward remembers which targets are in quarantine.
type ward struct {
	mu    sync.Mutex // guards the field below
	until map[llm.Target]time.Time
}

func (l *Limiter) quarantined(t llm.Target) string {
	l.ward.mu.Lock()
	defer l.ward.mu.Unlock()
	if until, ok := l.ward.until[t]; ok {
		if time.Now().Before(until) {
			return "billed more than a call was capped at"
		}
		delete(l.ward.until, t)
	}
	return ""
}

// overrun notes that a provider billed more than was reserved: it took no notice of its cap, or the price is not what it charges.
func (l *Limiter) overrun(t llm.Target, try *pipeline.Try) {
	l.m.overruns.Inc()
	l.confine(t)
	l.o.Log.Warn("a provider billed more than was reserved: its target gets no calls with a budget for a while",
		"target", t.String(), "try", try.ID, "cost_nano", int64(try.CostNano), "bound_nano", int64(try.BoundNano), "for", quarantine)
	if l.o.Overrun != nil {
		l.o.Overrun(t, try)
	}
}

// deaf notes that a stream had to be ended, since its provider takes no notice of the cap. What that bills is not known then: the try is
// marked, budgets count all that they reserved for it, and the rest comes in with the provider's bill.
func (l *Limiter) deaf(t llm.Target, x *pipeline.Exchange, try *pipeline.Try) {
	try.Cut = true
	x.Note("budget", t.String()+" took no notice of the cap: ended, and it may bill more than is booked", 0)
	l.m.cuts.Inc()
	l.confine(t)
	l.o.Log.Warn("a provider generated more than it was asked for, and its stream was ended: its target gets no calls with a budget for a while",
		"target", t.String(), "try", try.ID, "for", quarantine)
	if l.o.Overrun != nil {
		l.o.Overrun(t, try)
	}
}

// confine puts a target in quarantine.
func (l *Limiter) confine(t llm.Target) {
	l.ward.mu.Lock()
	defer l.ward.mu.Unlock()
	if l.ward.until == nil {
		l.ward.until = map[llm.Target]time.Time{}
	}
	l.ward.until[t] = time.Now().Add(quarantine)
}
