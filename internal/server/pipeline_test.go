package server

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/recall"
	"github.com/penstock/penstock/internal/route"
	"github.com/penstock/penstock/internal/usage"
)

// A lender reserves for every try, and keeps how each was settled.
type lender struct {
	reserved int
	settled  []string
}

func (l *lender) Reserve(context.Context, *pipeline.Exchange, llm.Target, *pipeline.Try) (pipeline.Reservation, error) {
	l.reserved++
	return l, nil
}

func (l *lender) Settle(try *pipeline.Try) {
	l.settled = append(l.settled, try.ID+" "+string(try.Outcome)+" "+try.CostNano.String())
}

// PriceFor is a dollar a million tokens, for all.
func (l *lender) PriceFor(llm.Target, catalog.Dispatch) (llm.Price, bool) {
	return llm.Price{Input: 1e6, Output: 1e6}, true
}

// A provided is a provider that is a function.
type provided func() (*llm.Response, error)

func (p provided) Do(context.Context, provider.Via, llm.Target, *llm.Request) (*llm.Response, error) {
	return p()
}

// chain is the pipeline over two targets, of which the first fails if failing, and the second does what do says.
func chain(t *testing.T, l *lender, off, failing bool, do provided) pipeline.Handler {
	t.Helper()
	o := usage.Options{
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Off: off,
		Count:         func(_ string, text []byte) int64 { return int64(len(text)) },
		EstimateInput: func(*pipeline.Exchange) int64 { return 10 },
	}
	var j *journal.Journal
	if !off {
		var err error
		if j, err = journal.Open(t.TempDir(), journal.Options{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = j.Close() })
	}
	records, err := usage.NewRecorder(j, o)
	if err != nil {
		t.Fatal(err)
	}
	targets := []string{"good/m"}
	if failing {
		targets = []string{"bad/m", "good/m"}
	}
	table := route.NewTable(route.Config{"m": {Targets: route.Targets(targets...)}}, route.Surroundings{Providers: map[string]route.Provider{
		"good": do,
		"bad": provided(func() (*llm.Response, error) {
			return nil, &provider.Failure{Reason: provider.ReasonStatus, Status: 500, Message: "failed"}
		}),
	}})
	return buildPipeline(records, through, through, through, nil, recall.New(recall.Options{}), route.New(route.Options{Table: table, Prices: l, Journal: records, Reserver: l}))
}

func asked() *pipeline.Exchange {
	return &pipeline.Exchange{ID: "ex", Received: time.Now(), Caller: &pipeline.Caller{}, Request: &llm.Request{Model: "m", Stream: true}}
}

// answers is a stream of two words; the provider reports 100 and 50 tokens at its end.
func answers() (*llm.Response, error) {
	return &llm.Response{Stream: true, Events: func(yield func(llm.Event, error) bool) {
		for _, ev := range []llm.Event{
			{Has: llm.Content, Text: []byte("four")}, {Has: llm.Content, Text: []byte("five!")}, {Has: llm.Finish},
			{Has: llm.UsageIn, Usage: llm.Usage{Input: 100, Output: 50}}, {Has: llm.End},
		} {
			if !yield(ev, nil) {
				return
			}
		}
	}}, nil
}

// cut is a stream that breaks after its first word.
func cut() (*llm.Response, error) {
	return &llm.Response{Stream: true, Events: func(yield func(llm.Event, error) bool) {
		if yield(llm.Event{Has: llm.Content, Text: []byte("four")}, nil) {
			yield(llm.Event{}, &provider.Failure{Reason: provider.ReasonCut, Message: "was cut"})
		}
	}}, nil
}

// What clients do with an answer. end ends their ctx.
func takeAll(resp *llm.Response, _ func()) {
	for ev := range resp.Events {
		if ev.Is(llm.End) {
			return
		}
	}
}

func takeOne(resp *llm.Response, _ func()) {
	for range resp.Events {
		return
	}
}

func leaveAfterOne(resp *llm.Response, end func()) {
	for range resp.Events {
		end()
		return
	}
}

// Reservations are settled exactly once, with the outcome and the cost that are in the record, however an exchange ends.
func TestReservationsAreSettledOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		failing bool
		do      provided
		client  func(resp *llm.Response, end func())
		want    []string
	}{
		{"whole", false, answers, takeAll, []string{"ex-1 settled_actual 0.00015"}},
		{"after a failed try", true, answers, takeAll, []string{"ex-1 unknown 0", "ex-2 settled_actual 0.00015"}},
		{"left after one event", false, answers, takeOne, []string{"ex-1 settled_estimated 0.000014"}},
		{"gone after one event", false, answers, leaveAfterOne, []string{"ex-1 settled_estimated 0.000014"}},
		{"cut", false, cut, takeAll, []string{"ex-1 settled_estimated 0.000014"}},
		{"nobody walks", false, answers, func(_ *llm.Response, end func()) { end() }, []string{"ex-1 unknown 0"}},
		{"walked after ctx has ended", false, answers, func(resp *llm.Response, end func()) { end(); takeAll(resp, end) }, []string{"ex-1 unknown 0"}},
		{"panic in Do", true, func() (*llm.Response, error) { panic("in Do") }, nil, []string{"ex-1 unknown 0", "ex-2 unknown 0"}},
		{"panic in the answer", false, func() (*llm.Response, error) {
			return &llm.Response{Stream: true, Events: func(func(llm.Event, error) bool) { panic("in the answer") }}, nil
		}, takeAll, []string{"ex-1 unknown 0"}},
		{"panic in the consumer", false, answers, func(resp *llm.Response, _ func()) {
			for range resp.Events {
				panic("in the consumer")
			}
		}, []string{"ex-1 settled_estimated 0.000014"}},
		{"all tries fail", true, func() (*llm.Response, error) {
			return nil, &provider.Failure{Reason: provider.ReasonConnect, Message: "refused", NothingBilled: true}
		}, nil, []string{"ex-1 unknown 0", "ex-2 released 0"}},
		{"canceled within", false, func() (*llm.Response, error) { return nil, context.Canceled }, nil, []string{"ex-1 unknown 0"}},
	} {
		for _, off := range []bool{false, true} {
			t.Run(c.name+map[bool]string{true: ", records off"}[off], func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					l, x := &lender{}, asked()
					handler := chain(t, l, off, c.failing, c.do)
					panicked := converse(t, handler, x, c.client)
					synctest.Wait()
					if !slices.Equal(l.settled, c.want) || l.reserved != len(c.want) {
						t.Errorf("%d reserved, settled %q, want %q", l.reserved, l.settled, c.want)
					}
					if panicked != strings.HasPrefix(c.name, "panic") {
						t.Errorf("panicked: %v", panicked)
					}
					for _, try := range x.Tries {
						if try.Held != nil {
							t.Errorf("try %s still holds its reservation", try.ID)
						}
					}
				})
			})
		}
	}
}

// converse runs an exchange as a server does, and says whether it panicked.
func converse(t *testing.T, handler pipeline.Handler, x *pipeline.Exchange, client func(*llm.Response, func())) (panicked bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer func() { panicked = recover() != nil }()
	if resp, err := handler(ctx, x); err == nil {
		client(resp, cancel)
	}
	return false
}

// TestWhatTheGatewayRefusedGoesNoFurther.
func TestWhatTheGatewayRefusedGoesNoFurther(t *testing.T) {
	t.Parallel()
	l, x := &lender{}, asked()
	x.Request, x.Refused = nil, fault.New(fault.InvalidJSON, "no JSON")
	_, err := chain(t, l, false, false, answers)(t.Context(), x)
	if fault.From(err).Code != fault.InvalidJSON || l.reserved != 0 || len(x.Tries) != 0 {
		t.Errorf("error %v, %d reserved, tries %v", err, l.reserved, x.Tries)
	}
}

// through is a stage that does nothing.
func through(next pipeline.Handler) pipeline.Handler { return next }
