package alert

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// How a message is sent again.
const (
	firstRetry = time.Second     // doubles up to lastRetry, plus or minus a fifth
	lastRetry  = 5 * time.Minute //
	giveUp     = 24 * time.Hour  // after that a message says nothing any more
	reviewing  = time.Second     // how often alerts are looked at for what time alone changes
)

// Run moves alerts on and sends messages, until ctx ends. It returns nil.
func (b *Board) Run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error { b.watch(ctx); return nil })
	group.Go(func() error { b.deliver(ctx); return nil })
	return group.Wait()
}

func (b *Board) watch(ctx context.Context) {
	tick := time.NewTicker(reviewing)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			b.reviewAll(now)
		}
	}
}

// deliver sends what is due, one message after the other.
func (b *Board) deliver(ctx context.Context) {
	for ctx.Err() == nil {
		w, m, wait := b.next(time.Now())
		if m == nil {
			b.rest(ctx, wait)
			continue
		}
		err := w.send(ctx, m, time.Now())
		if ctx.Err() != nil {
			return
		}
		b.sent(m, err)
	}
}

// rest waits until something may be due.
func (b *Board) rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-b.wake:
	case <-timer.C:
	}
}

// next gives the message that has been due for the longest, of several that of the oldest alert, or how long there is none.
func (b *Board) next(now time.Time) (*Webhook, *message, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var first *message
	for _, it := range b.items {
		if m := it.waiting; m != nil && (first == nil || m.before(first)) {
			first = m
		}
	}
	switch {
	case first == nil || b.webhook == nil:
		return nil, nil, time.Hour
	case first.due.After(now):
		return nil, nil, first.due.Sub(now)
	}
	return b.webhook, first, 0
}

// before reports whether m is to be sent before other. Ids are made in the order in which alerts are raised.
func (m *message) before(other *message) bool {
	return cmp.Or(m.due.Compare(other.due), strings.Compare(m.alert.ID, other.alert.ID)) < 0
}

// sent notes what became of an attempt.
func (b *Board) sent(m *message, err error) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	m.attempts++
	switch {
	case err == nil:
		b.metrics.sent.Inc()
		b.forget(m)
	case now.Sub(m.made) >= giveUp:
		b.metrics.failed.Inc()
		b.log.Error("an alert could not be told: given up", "alert", m.alert.ID, "kind", string(m.alert.Kind), "attempts", m.attempts, "error", err)
		b.forget(m)
	default:
		b.metrics.failed.Inc()
		if m.attempts == 1 {
			b.log.Error("an alert could not be told; trying again", "alert", m.alert.ID, "kind", string(m.alert.Kind), "error", err)
		}
		m.due = now.Add(backoff(m.attempts, err))
	}
}

// forget ends a message, unless a later one about the same has taken its place.
func (b *Board) forget(m *message) {
	if it := b.items[ref{m.alert.Kind, m.alert.Object}]; it != nil && it.waiting == m {
		it.waiting = nil
	}
}

// backoff is how long to wait after so many attempts.
func backoff(attempts int, err error) time.Duration {
	d := firstRetry
	for range attempts - 1 {
		if d *= 2; d >= lastRetry {
			d = lastRetry
			break
		}
	}
	d += time.Duration((rand.Float64() - 0.5) * 0.4 * float64(d)) //nolint:gosec // jitter is no secret
	if r, ok := errors.AsType[*refusal](err); ok {
		d = max(d, r.after)
	}
	return d
}

// ErrNobody is that there is no receiver to tell.
var ErrNobody = errors.New("the file names none: set alerts.webhook and alerts.secret (docs/alerts.md)")

// Test sends a message of the kind test at once, past everything that waits, and gives it with what became of it.
func (b *Board) Test(ctx context.Context) (Alert, error) {
	now := time.Now()
	b.mu.Lock()
	w := b.webhook
	m := newMessage(b.shown(Alert{
		Kind: Test, Severity: Info, State: Raised, Text: "This is a test: alerts of this Penstock arrive here.",
		Since: now.UTC().Truncate(time.Second),
	}), now)
	b.mu.Unlock()
	m.alert.ID = "al_" + m.id[len("msg_"):]
	if w == nil {
		return m.alert, ErrNobody
	}
	err := w.send(ctx, m, now)
	if err == nil {
		b.metrics.sent.Inc()
	} else {
		b.metrics.failed.Inc()
	}
	b.log.Info("test alert", "alert", m.alert.ID, "error", err)
	return m.alert, err
}
