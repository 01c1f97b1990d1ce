package usage

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

func TestAnAnswerThatNobodyWalks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, journal.Options{}, counting())
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := b.Stage()(answering(b.Recorder, nil, stream()...))(ctx, newExchange("ex_1"))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		want := outcome{499, fault.ClientGone, "canceled", pipeline.Unknown, llm.Usage{}}
		if diff := cmp.Diff(want, outcomeOf(b.record(t, "ex_1"))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if events, err := walk(resp, 0); err == nil || len(events) > 0 {
			t.Errorf("walked too late: %d events, %v", len(events), err)
		}
		b.record(t, "ex_1") // still one
	})
}

// TestTheRequestIsNotOverBeforeItsRecord: ctx ends before the answer is walked, and the record is being made meanwhile.
func TestTheRequestIsNotOverBeforeItsRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, journal.Options{}, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		handler := func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			resp, err := answering(b.Recorder, nil, stream()...)(ctx, x)
			x.Tries[0].Held = slowly{}
			return resp, err
		}
		resp, err := b.Stage()(handler)(ctx, newExchange("ex_1"))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := walk(resp, 0); fault.From(err).Code != fault.ClientGone {
			t.Errorf("walked with %v", err)
		}
		b.record(t, "ex_1")
		if n := b.value(t, "penstock_in_flight"); n != 0 {
			t.Errorf("%v in flight", n)
		}
	})
}

// slowly is a reservation that takes its time.
type slowly struct{}

func (slowly) Settle(*pipeline.Try) { time.Sleep(time.Second) }

// TestAnAnswerIsWalkedOnce: whoever walks it again gets nothing, and does not wait for anything.
func TestAnAnswerIsWalkedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, journal.Options{}, Options{})
		resp, err := b.Stage()(answering(b.Recorder, nil, stream()...))(t.Context(), newExchange("ex_1"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{5, 0} {
			if events, err := walk(resp, 0); len(events) != want || (err == nil) != (want > 0) {
				t.Errorf("%d events, %v", len(events), err)
			}
		}
	})
}

func TestPanics(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"stage", "events", "client", "no answer"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, journal.Options{}, Options{})
			handler := func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
				resp, err := answering(b.Recorder, nil, stream()...)(ctx, x)
				switch where {
				case "stage":
					panic("in a stage")
				case "no answer":
					return nil, err
				case "events":
					resp.Events = func(yield func(llm.Event, error) bool) {
						yield(hello, nil)
						panic("in the events")
					}
				}
				return resp, err
			}
			p, err := call(func() error {
				resp, err := b.Stage()(handler)(t.Context(), newExchange("ex_1"))
				if err != nil {
					return err
				}
				for range resp.Events {
					if where == "client" {
						panic("in the client")
					}
				}
				return nil
			})
			if where == "no answer" {
				if p != nil || err == nil {
					t.Errorf("panic %v, error %v", p, err)
				}
			} else if p == nil {
				t.Error("the panic was swallowed")
			}
			if got := outcomeOf(b.record(t, "ex_1")); got.Code != fault.InternalError {
				t.Errorf("record %+v", got)
			}
			if n := b.value(t, "penstock_in_flight"); n != 0 {
				t.Errorf("%v in flight", n)
			}
		})
	}
}

// call calls f and catches its panic.
func call(f func() error) (p any, err error) {
	defer func() { p = recover() }()
	return nil, f()
}
