// Package alert tells people outside of the process what is wrong with it: one signed webhook for every kind of trouble.
//
// Whoever sees a condition reports it for as long as it holds, and clears it when it is over. A [Board] makes alerts of
// that: one for each kind and object, told when it is raised, again now and then while it lasts, and when it is resolved.
// Conditions that come and go are damped. A worker off the request path sends what is to be told; while the receiver does
// not take it, only the latest state of each alert waits, so memory is bounded and no last word is lost.
//
// The package measures nothing but shares of failures ([Window]), knows no receiver's product, and keeps nothing over a
// restart. An alert holds no secrets and no tenants' names: its words are ours, its objects configured names.
package alert

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// A State is where an alert is in its life.
type State string

// The states.
const (
	Raised   State = "raised"
	Still    State = "still" // a reminder
	Resolved State = "resolved"
)

// An Alert is one trouble as people are told of it. Its JSON is a contract: the body of the webhook, and of
// GET /admin/v1/alerts.
type Alert struct {
	ID       string    `json:"id"` // of this trouble, from raised to resolved
	Kind     Kind      `json:"kind"`
	Severity Severity  `json:"severity"`
	State    State     `json:"state"`
	Object   string    `json:"object"` // what it is about: a provider, a target, a file; "" for the whole process
	Text     string    `json:"text"`   // one line
	Since    time.Time `json:"since"`  // when the condition began
	Runbook  string    `json:"runbook"`
	Instance string    `json:"instance"` // which replica
}

// Options are what a Board works with. All are needed.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// A Board knows which alerts are open. It is safe for concurrent use; its methods never wait for the network, save for
// [Board.Test].
type Board struct {
	log     *slog.Logger
	metrics *metrics
	wake    chan struct{} // there is something to send

	mu      sync.Mutex // guards the fields below
	webhook *Webhook   // nil: nobody is told
	items   map[ref]*item
}

// New makes a board that tells nobody until [Board.Use].
func New(o Options) *Board {
	b := &Board{log: o.Log, wake: make(chan struct{}, 1), items: map[ref]*item{}}
	b.metrics = newMetrics(o.Metrics, b)
	return b
}

// Use has the board tell a receiver from now on, instead of the one before; nil is nobody.
func (b *Board) Use(w *Webhook) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.webhook = w
	b.poke()
}

// maxItems bounds how many alerts are kept. There are few objects; the bound is for a mistake of ours.
const maxItems = 500

// A ref is what alerts are told apart by.
type ref struct {
	kind   Kind
	object string
}

// An item is a condition that holds, or held a while ago.
type item struct {
	alert Alert     // as it is, or was told last
	since time.Time // when the condition began
	last  time.Time // when it was reported last
	ended time.Time // when it ceased to hold; zero while it holds
	open  bool      // people were told of it
	told  time.Time // when, last
	flaps int       // how often it came back soon after it had ended
	// waiting is what the receiver has not taken yet, nil if it knows.
	waiting *message
}

// Set reports a condition if it holds, and clears it if not.
func (b *Board) Set(kind Kind, object string, holds bool, text string) {
	if holds {
		b.Report(kind, object, text)
	} else {
		b.Clear(kind, object)
	}
}

// Report says that a condition holds now. Say it again for as long as it does: a kind says how long one report is good
// for. The text is one line without secrets and without tenants' names; that of the last report counts.
func (b *Board) Report(kind Kind, object, text string) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	it := b.items[ref{kind, object}]
	if it == nil {
		if len(b.items) >= maxItems {
			b.metrics.lost.Inc()
			return
		}
		it = &item{since: now, alert: Alert{Kind: kind, Object: object}}
		b.items[ref{kind, object}] = it
	}
	if !it.ended.IsZero() { // it is back
		it.flaps++
		it.ended = time.Time{}
		if !it.open {
			it.since = now
		}
	}
	it.last, it.alert.Text = now, text
	b.review(it, now)
}

// Clear says that a condition does not hold now.
func (b *Board) Clear(kind Kind, object string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if it := b.items[ref{kind, object}]; it != nil && it.ended.IsZero() {
		it.ended = time.Now()
		b.review(it, it.ended)
	}
}

// ClearOthers clears every object of a kind that keep does not name, for conditions about things that may go away.
func (b *Board) ClearOthers(kind Kind, keep map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for r, it := range b.items {
		if r.kind == kind && !keep[r.object] && it.ended.IsZero() {
			it.ended = now
			b.review(it, now)
		}
	}
}

// Open lists the alerts that were raised and not resolved, the most severe first, then the oldest.
func (b *Board) Open() []Alert {
	b.mu.Lock()
	defer b.mu.Unlock()
	open := []Alert{}
	for _, it := range b.items {
		if it.open {
			open = append(open, b.shown(it.alert))
		}
	}
	slices.SortFunc(open, func(x, y Alert) int {
		if x.Severity != y.Severity {
			return y.Severity.rank() - x.Severity.rank()
		}
		if c := x.Since.Compare(y.Since); c != 0 {
			return c
		}
		return strings.Compare(string(x.Kind)+x.Object, string(y.Kind)+y.Object)
	})
	return open
}

// memory is how long a condition that is over is remembered, to notice that it comes and goes; and the longest time that
// it must stay away to count as over.
const memory = time.Hour

// calm is how long a condition must be away to be resolved: twice as long for each time that it came back.
func (it *item) calm(m *Meaning) time.Duration {
	d := m.Calm
	for range it.flaps {
		if d >= memory/2 {
			return memory
		}
		d *= 2
	}
	return d
}

// review moves an alert on in its life, and reports whether it may be forgotten. It is called with b.mu held.
func (b *Board) review(it *item, now time.Time) (over bool) {
	m := kinds[it.alert.Kind]
	if it.ended.IsZero() && m.Lasts > 0 && now.Sub(it.last) >= m.Lasts {
		it.ended = it.last.Add(m.Lasts)
	}
	holds := it.ended.IsZero()
	switch {
	case !it.open && holds && it.last.Sub(it.since) >= m.For:
		it.open = true
		it.alert.ID, it.alert.Severity = "al_"+ulid.Make().String(), m.Severity
		it.alert.Since = it.since.UTC().Truncate(time.Second)
		b.tell(it, Raised, now)
	case it.open && !holds && now.Sub(it.ended) >= it.calm(m):
		it.open = false
		b.tell(it, Resolved, now)
	case it.open && holds && b.webhook != nil && b.webhook.repeat > 0 && now.Sub(it.told) >= b.webhook.repeat:
		b.tell(it, Still, now)
	case !it.open && !holds && it.waiting == nil:
		return now.Sub(it.ended) >= memory || it.told.IsZero()
	}
	return false
}

// reviewAll moves all alerts on. What depends on time alone happens here.
func (b *Board) reviewAll(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for r, it := range b.items {
		if b.review(it, now) {
			delete(b.items, r)
		}
	}
}

// tell notes a change: one line in the log, and a message for the receiver.
func (b *Board) tell(it *item, state State, now time.Time) {
	it.alert.State, it.told = state, now
	level := slog.LevelInfo
	if state != Resolved {
		level = it.alert.Severity.level()
	}
	a := it.alert
	b.log.Log(context.Background(), level, "alert", "state", string(state), "alert", a.ID, "kind", string(a.Kind), "severity", string(a.Severity),
		"object", a.Object, "text", a.Text, "since", a.Since)
	if b.webhook == nil {
		return
	}
	next := newMessage(b.shown(a), now)
	if before := it.waiting; before != nil { // the receiver is away: it is not asked more often because there is news
		b.metrics.superseded.Inc()
		next.due, next.attempts = before.due, before.attempts
	}
	it.waiting = next
	b.poke()
}

// shown completes an alert with what the receiver's settings say.
func (b *Board) shown(a Alert) Alert {
	a.Runbook, a.Instance = runbook(defaultRunbooks, a.Kind), hostname()
	if b.webhook != nil {
		a.Runbook, a.Instance = runbook(b.webhook.runbooks, a.Kind), b.webhook.instance
	}
	return a
}

// poke wakes the sender.
func (b *Board) poke() {
	select {
	case b.wake <- struct{}{}:
	default: // it is awake
	}
}
