// Package purge is the pace at which a worker deletes much while others use the store: little at a time, and resting longer
// than it works, so that others hardly notice.
//
// It knows nothing of what is deleted, and for what reason: that is the worker's.
package purge

import (
	"context"
	"time"
)

// How many times as long as the work took a worker rests. What waited for others counts as work, so where there is much to wait
// for, it rests longer.
const (
	Gently  = 99 // so that the slowest of a hundred is slow for other reasons
	Briskly = 4  // what comes due would else be more than what goes
)

// Every is how often workers look for what is due.
const Every = time.Minute

// LeaseFor is how long one of several replicas may purge without saying that it lives.
const LeaseFor = 2 * time.Minute

// A Pace finds out how many rows are little, which depends on their size and on the store: as many as take between a short
// and a long time.
type Pace struct {
	rows, least, most int
	short, long       time.Duration
}

// NewPace begins with some rows at a time. There are never more than most, and never fewer than least: where a batch of one
// row takes nearly as long as one of many, fewer would only mean more batches.
func NewPace(first, least, most int, short, long time.Duration) *Pace {
	return &Pace{rows: first, least: least, most: most, short: short, long: long}
}

// Rows is how many rows to delete next.
func (p *Pace) Rows() int { return p.rows }

// Did says that so many rows were deleted, and for how long others had to wait for it.
func (p *Pace) Did(rows int, took time.Duration) {
	switch {
	case took > p.long:
		p.rows = max(p.rows/2, p.least)
	case took < p.short && rows >= p.rows: // fewer say nothing of more
		p.rows = min(2*p.rows, p.most)
	}
}

// Rest rests after work that took so long, so many times as long. The error is that of ctx, if it ended meanwhile.
func Rest(ctx context.Context, took time.Duration, times int) error {
	timer := time.NewTimer(time.Duration(times) * took)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// GiveBack calls f, which makes some of what was deleted free for others, until there is no more, and rests between.
func GiveBack(ctx context.Context, f func(context.Context) (more bool, err error)) error {
	for {
		begun := time.Now()
		more, err := f(ctx)
		if err != nil || !more {
			return err
		}
		if err := Rest(ctx, time.Since(begun), Briskly); err != nil {
			return err
		}
	}
}

// Loop calls once some time after the start, and then every minute, until ctx ends; told is given what it did. An error that
// is only the end of ctx is not told.
func Loop(ctx context.Context, first time.Duration, once func(context.Context) (deleted int, err error), told func(deleted int, err error)) error {
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		n, err := once(ctx)
		if ctx.Err() != nil {
			err = nil
		}
		told(n, err)
		timer.Reset(Every)
	}
}

// Rows deletes batch after batch, by del, until fewer are deleted than asked for, and rests between: little at a time, and
// briskly. mine is false if del says that another replica is at it; then no more is deleted.
func Rows(ctx context.Context, del func(limit int) (n int, mine bool, err error)) (deleted int, mine bool, err error) {
	pace := NewPace(16, 1, 1024, 15*time.Millisecond, 40*time.Millisecond)
	for {
		limit, begun := pace.Rows(), time.Now()
		n, mine, err := del(limit)
		if err != nil || !mine {
			return deleted, mine, err
		}
		deleted += n
		if n < limit {
			return deleted, true, nil
		}
		took := time.Since(begun)
		pace.Did(n, took)
		if err := Rest(ctx, took, Briskly); err != nil {
			return deleted, true, err
		}
	}
}
