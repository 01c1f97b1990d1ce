package pipeline

import (
	"context"
	"slices"
	"sync"

	"github.com/penstock/penstock/internal/llm"
)

// A Party takes part in an exchange for as long as that runs.
type Party interface {
	// Stays reports whether the exchange is to go on although its client's context has ended, and why that did. It may be asked again,
	// and by several at once; whoever says yes ends the life in the end if nobody else does.
	Stays(why error) bool
	// Over says once that the exchange is over.
	Over()
}

// A Life is how long an exchange runs: until its answer has been walked, until it fails, or until its client leaves and nobody wants the
// rest. All of what is inside [Living] has one context for it. The zero Life has not begun.
type Life struct {
	cancel  context.CancelCauseFunc
	unwatch func() bool // the client's context

	mu      sync.Mutex // guards the fields below
	parties []Party
	room    [3]Party
	over    bool
}

// Living is the stage that gives an exchange its life. What is inside ends with the answer, and not before because its client has left, if
// a [Party] stays.
func Living(next Handler) Handler {
	return func(ctx context.Context, x *Exchange) (*llm.Response, error) {
		l := &x.Life
		ctx = l.begin(ctx)
		resp, err := next(ctx, x)
		if err != nil {
			l.End(nil)
			return nil, err
		}
		events := resp.Events
		resp.Events = func(yield func(llm.Event, error) bool) {
			defer l.End(nil)
			events(yield)
		}
		return resp, nil
	}
}

// begin makes the context of what is inside. Whoever gets the answer walks it or ends the client's context, and so does a panic: then the
// exchange is over at the latest, but for whoever stays.
func (l *Life) begin(client context.Context) (inner context.Context) {
	l.mu.Lock() // until all is there that the end of client needs
	defer l.mu.Unlock()
	l.parties, l.over = l.room[:0], false
	inner, l.cancel = context.WithCancelCause(context.WithoutCancel(client))
	l.unwatch = context.AfterFunc(client, func() {
		if why := context.Cause(client); !l.Stays(why) {
			l.End(why)
		}
	})
	return inner
}

// Join has a party know of the end. If that has been, it is told at once.
func (l *Life) Join(p Party) {
	l.mu.Lock()
	over := l.over
	if !over {
		l.parties = append(l.parties, p)
	}
	l.mu.Unlock()
	if over {
		p.Over()
	}
}

// Stays reports whether a party stays although the client's context has ended.
func (l *Life) Stays(why error) bool {
	l.mu.Lock()
	parties := l.parties
	l.mu.Unlock()
	return slices.ContainsFunc(parties, func(p Party) bool { return p.Stays(why) })
}

// Cut ends the context of what is inside. The exchange is over once that has noticed.
func (l *Life) Cut(why error) { l.cancel(why) }

// End ends the exchange, and its context if it has not ended, and tells the parties, the last that joined first. It may be called again.
func (l *Life) End(why error) {
	l.mu.Lock()
	over, parties := l.over, l.parties
	l.over = true
	l.mu.Unlock()
	if over {
		return
	}
	l.unwatch()
	l.cancel(why)
	for _, p := range slices.Backward(parties) {
		p.Over()
	}
}
