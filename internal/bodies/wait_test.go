package bodies

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
)

// A disk that confirms nothing makes strict projects wait, and nobody else, however many of them there are.
func TestOnlyStrictProjectsWaitForTheDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := make(chan struct{})
		b := newBench(t, DefaultConfig(), journal.Options{SyncWait: time.Minute, BeforeSync: func() error { <-disk; return nil }})
		var strict sync.WaitGroup
		for i := range cap(b.slots) + 1 {
			x := exchange(ids(i), "{}")
			x.Caller.Strict = true
			strict.Go(func() { b.walk(t, answering(false, nil, data("one", llm.End)), x, 0) })
		}
		synctest.Wait()
		begun := time.Now()
		x := exchange("ex_other", "{}")
		b.walk(t, answering(false, nil, data("one", llm.End)), x, 0)
		if took := time.Since(begun); took != 0 || !strings.HasPrefix(x.Decisions[0].Decision, "kept: ") {
			t.Errorf("another project waited %s, and its bodies are %q", took, x.Decisions[0].Decision)
		}
		close(disk)
		strict.Wait()
		if n := testutil.ToFloat64(b.m.unconfirmed); n != 0 {
			t.Errorf("%v were not confirmed", n)
		}
	})
}

// Bodies of which the disk said nothing are in the journal, and called what they are.
func TestBodiesThatTheDiskDidNotConfirm(t *testing.T) {
	t.Parallel()
	b := newBench(t, DefaultConfig(), journal.Options{BeforeSync: func() error { return errors.New("no disk") }})
	for strict, want := range map[bool]string{
		true: "kept, not confirmed by the disk: request 2 B, answer 3 B", false: "kept: request 2 B, answer 3 B",
	} {
		x := exchange("ex_"+want[:5], "{}")
		x.Caller.Strict = strict
		b.walk(t, answering(false, nil, data("one", llm.End)), x, 0)
		if d := x.Decisions[0].Decision; d != want {
			t.Errorf("strict %v: %q", strict, d)
		}
	}
	if n := testutil.ToFloat64(b.m.unconfirmed); n != 1 {
		t.Errorf("%v were counted", n)
	}
}

// Whoever has left gets no slot for ever, but one that comes free in time; whoever is there waits.
func TestWaitingForASlotEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, DefaultConfig(), journal.Options{})
		var taken []*slot
		for range cap(b.slots) {
			taken = append(taken, <-b.slots)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		for name, at := range map[string]struct {
			ctx  context.Context
			free time.Duration // when a slot comes free
			want string
			took time.Duration
		}{
			"left, nothing comes free":      {gone, time.Hour, droppedWords[droppedBusy], leftWait},
			"left, a slot comes free":       {gone, time.Second, "kept: request 2 B, answer 3 B", time.Second},
			"is there, a slot comes free":   {t.Context(), time.Hour, "kept: request 2 B, answer 3 B", time.Hour},
			"left, another one was quicker": {gone, leftWait + time.Second, droppedWords[droppedBusy], leftWait},
		} {
			x, begun := exchange("ex_1", "{}"), time.Now()
			timer := time.AfterFunc(at.free, func() { b.slots <- taken[0] })
			resp, err := b.Stage()(answering(false, nil, data("one", llm.End)))(at.ctx, x)
			if err != nil {
				t.Fatal(err)
			}
			for range resp.Events {
			}
			if took := time.Since(begun); took != at.took || x.Decisions[0].Decision != at.want {
				t.Errorf("%s: %q after %s", name, x.Decisions[0].Decision, took)
			}
			if !timer.Stop() {
				<-b.slots
			}
		}
		if n := testutil.ToFloat64(b.m.dropped.WithLabelValues(droppedBusy)); n != 2 || b.held.Load() != 0 {
			t.Errorf("%v counted, %d bytes held", n, b.held.Load())
		}
	})
}

// The longest request and the longest answer fit into the least bodies.in_flight, whatever is cut off of them.
func TestTheLeastRoomIsEnough(t *testing.T) {
	t.Parallel()
	for _, most := range []int64{1, 1000, 9000, 20_000, 1_000_000} {
		c := Config{Max: most, InFlight: 4 * most, Journal: 1e9}
		if problems := c.Validate(); len(problems) != 0 {
			t.Fatal(problems)
		}
		b := newBench(t, c, journal.Options{})
		var events []llm.Event
		for range 40 {
			events = append(events, data(strings.Repeat("a", int(most)/20+1), llm.Content))
		}
		x := exchange("ex_1", strings.Repeat("q", 20*int(most)))
		b.walk(t, answering(true, nil, append(events, data("[DONE]", llm.End))...), x, 0)
		if d := x.Decisions[0].Decision; !strings.HasPrefix(d, "kept: request the first") {
			t.Errorf("of %d bytes each: %s", most, d)
		}
		b.write(t)
		if got := b.read(t, "ex_1"); int64(len(got.Request.Text)) != most || int64(len(got.Answer.Text)) != most {
			t.Errorf("%d bytes of the request and %d of the answer came back, not %d", len(got.Request.Text), len(got.Answer.Text), most)
		}
	}
	if problems := (Config{Max: 1e6, InFlight: 4e6 - 1, Journal: 1e9}).Validate(); len(problems) != 1 {
		t.Errorf("too little room: %v", problems)
	}
}
