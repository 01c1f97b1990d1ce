package sim

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// A capacity is what a model's server can do at once: so many calls, and so many prompt tokens a second.
//
// Servers such as vLLM give each step a budget of tokens and fill it with the prompts of the admitted calls in the order in
// which they came. Prompts that are read together are so not read faster, but one after the other, and that is what is
// played here. Decoding goes on beside it at its own pace, which is the model's gap.
type capacity struct {
	slots   *lane // nil: as many as come
	prefill *lane // of one call; nil: prompts take no time
	speed   float64
}

func newCapacity(m Model) capacity {
	var c capacity
	if m.Slots > 0 {
		c.slots = newLane(m.Slots)
	}
	if m.Prefill > 0 {
		c.prefill, c.speed = newLane(1), float64(m.Prefill)
	}
	return c
}

// enter waits for a slot. leave gives it back.
func (c *capacity) enter(ctx context.Context) (leave func(), err error) {
	if c.slots == nil {
		return func() {}, nil
	}
	if err := c.slots.take(ctx); err != nil {
		return nil, err
	}
	return c.slots.free, nil
}

// read takes the time that a prompt of so many tokens takes, after those that came before.
func (c *capacity) read(ctx context.Context, tokens int) error {
	if c.prefill == nil || tokens <= 0 {
		return nil
	}
	if err := c.prefill.take(ctx); err != nil {
		return err
	}
	defer c.prefill.free()
	return sleep(ctx, max(time.Duration(float64(tokens)/c.speed*float64(time.Second)), 1))
}

// A lane lets n in at once; the others wait in the order in which they came.
type lane struct {
	mu      sync.Mutex // guards the fields below
	left    int
	waiting list.List // of chan struct{}, closed for whoever has got in
}

func newLane(n int) *lane { return &lane{left: n} }

func (l *lane) take(ctx context.Context) error {
	l.mu.Lock()
	if l.left > 0 {
		l.left--
		l.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	place := l.waiting.PushBack(turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-turn: // both at once: the next one's
		l.pass()
	default:
		l.waiting.Remove(place)
	}
	return errCanceled
}

func (l *lane) free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pass()
}

// pass lets the next one in.
func (l *lane) pass() {
	first := l.waiting.Front()
	if first == nil {
		l.left++
		return
	}
	close(l.waiting.Remove(first).(chan struct{}))
}
