package rate

import (
	"context"
	"errors"
	"sync"
	"time"
)

// memory is a Store of several books in one process, by the same rules as the real one.
type memory struct {
	mu      sync.Mutex
	holders map[string]*member
	held    map[Key]map[string]part
	wants   map[Key]time.Time
	down    bool // it does not answer
	trades  int
}

type member struct {
	since, renewed time.Time
	gone           bool
}

type part struct {
	amount int64
	keeps  time.Duration
	back   time.Time
}

func newMemory() *memory {
	return &memory{holders: map[string]*member{}, held: map[Key]map[string]part{}, wants: map[Key]time.Time{}}
}

var errDown = errors.New("down")

// enter waits as a real one does: a way to a server, or for ever if that is away.
func (m *memory) enter(ctx context.Context) error {
	<-time.After(time.Millisecond)
	m.mu.Lock()
	if !m.down {
		return nil
	}
	m.mu.Unlock()
	<-ctx.Done()
	return errDown
}

func (m *memory) RenewRates(ctx context.Context, h Holder) (bool, error) {
	if err := m.enter(ctx); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	now := time.Now()
	is := m.holders[h.ID]
	switch {
	case is == nil:
		m.holders[h.ID] = &member{since: now, renewed: now}
		return true, nil
	case is.gone:
		return false, nil
	case now.Sub(is.renewed) > h.Life/2:
		is.since = now
	}
	is.renewed = now
	return true, nil
}

// counts reports whether what a holder holds is its own.
func (m *memory) counts(holder string, p part) bool {
	is := m.holders[holder]
	return !is.gone || is.renewed.Add(p.keeps).After(time.Now())
}

func (m *memory) others(k Key, me string) (sum int64) {
	for holder, p := range m.held[k] {
		if holder != me && m.counts(holder, p) {
			sum += p.amount
		}
	}
	return sum
}

func (m *memory) TradeRates(ctx context.Context, h Holder, trades []Trade) ([]Result, bool, error) {
	if err := m.enter(ctx); err != nil {
		return nil, false, err
	}
	defer m.mu.Unlock()
	m.trades++
	me := m.holders[h.ID]
	if me == nil || me.gone {
		return nil, false, nil
	}
	var all []Result
	for i := range trades {
		t := &trades[i]
		free := t.Limit - m.others(t.Key, h.ID) - t.Has
		if free < t.Need {
			for holder := range m.held[t.Key] {
				from := m.holders[holder].renewed
				if me.since.After(from) {
					from = me.since
				}
				if holder != h.ID && me.renewed.Sub(from) >= h.Life {
					m.holders[holder].gone = true
				}
			}
			free = t.Limit - m.others(t.Key, h.ID) - t.Has
		}
		granted, tail := t.Grant(free)
		if granted < t.Need {
			m.wants[t.Key] = time.Now()
		}
		if m.held[t.Key] == nil {
			m.held[t.Key] = map[string]part{}
		}
		back := time.Time{}
		if t.Back > 0 {
			back = time.Now().Add(t.Back)
		}
		m.held[t.Key][h.ID] = part{t.Has + granted, t.Keeps, back}
		if t.Has+granted == 0 {
			delete(m.held[t.Key], h.ID)
		}
		r := Result{Granted: granted, Free: max(free-granted, 0), Tail: tail}
		for holder, p := range m.held[t.Key] {
			if holder != h.ID && m.counts(holder, p) {
				back := max(time.Until(p.back), time.Second)
				if r.Back == 0 || back < r.Back {
					r.Back = back
				}
			}
		}
		all = append(all, r)
	}
	return all, true, nil
}

func (m *memory) WantedRates(ctx context.Context, h Holder, since time.Time) (now time.Time, keys []Key, err error) {
	if err := m.enter(ctx); err != nil {
		return now, nil, err
	}
	defer m.mu.Unlock()
	for k, at := range m.wants {
		if _, ok := m.held[k][h.ID]; ok && at.After(since) {
			keys = append(keys, k)
		}
	}
	return time.Now(), keys, nil
}

func (m *memory) LeaveRates(ctx context.Context, h Holder) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if is := m.holders[h.ID]; is != nil {
		is.gone, is.renewed = true, time.Now()
	}
	return nil
}

// A wire is a book's way to a store; it can be cut.
type wire struct {
	Store
	mu  sync.Mutex
	cut bool
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	w.cut = cut
	w.mu.Unlock()
}

func (w *wire) enter(ctx context.Context) error {
	w.mu.Lock()
	cut := w.cut
	w.mu.Unlock()
	if cut {
		<-ctx.Done()
		return errDown
	}
	return nil
}

func (w *wire) RenewRates(ctx context.Context, h Holder) (bool, error) {
	if err := w.enter(ctx); err != nil {
		return false, err
	}
	return w.Store.RenewRates(ctx, h)
}

func (w *wire) TradeRates(ctx context.Context, h Holder, t []Trade) ([]Result, bool, error) {
	if err := w.enter(ctx); err != nil {
		return nil, false, err
	}
	r, is, err := w.Store.TradeRates(ctx, h, t)
	if lost := w.enter(ctx); lost != nil { // it was cut meanwhile: the trade was made, and nobody knows here
		return nil, false, lost
	}
	return r, is, err
}

func (w *wire) WantedRates(ctx context.Context, h Holder, since time.Time) (time.Time, []Key, error) {
	if err := w.enter(ctx); err != nil {
		return time.Time{}, nil, err
	}
	return w.Store.WantedRates(ctx, h, since)
}

func (w *wire) LeaveRates(ctx context.Context, h Holder) error {
	if err := w.enter(ctx); err != nil {
		return err
	}
	return w.Store.LeaveRates(ctx, h)
}
