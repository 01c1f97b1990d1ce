package usage

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

func TestAWholeStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, journal.Options{}, Options{})
		x := newExchange("ex_1")
		handler := func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			time.Sleep(time.Millisecond)
			x.Note("route", "1 target", 0)
			resp, err := answering(b.Recorder, nil)(ctx, x)
			*resp.Meta = llm.Meta{ID: "chatcmpl-1", Model: "gpt-5-mini-2026", Finish: []llm.FinishReason{"", llm.FinishStop}}
			resp.Events = func(yield func(llm.Event, error) bool) {
				time.Sleep(300 * time.Millisecond)
				for _, ev := range stream() {
					if !yield(ev, nil) {
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
			}
			return resp, err
		}
		resp, err := b.Stage()(handler)(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		if events, err := walk(resp, 0); err != nil || len(events) != 5 {
			t.Fatalf("%d events, %v", len(events), err)
		}
		used := llm.Usage{Input: 1000, Output: 100, CachedInput: 400}
		want := &Record{
			ID: "ex_1", Time: x.Received.UTC().Truncate(time.Microsecond), Org: "default", Project: "prj_1", Key: "key_1", User: "user-1",
			Model: "support", Target: "openai/gpt-5-mini", Op: llm.OpChat, Dialect: llm.OpenAI, Stream: true, Status: 200,
			Usage: used, CostNano: 180_000, Tags: []string{"blue"}, ClientID: "client-1",
			Timings: Timings{TotalNS: 701e6, FirstNS: 301e6, OverheadNS: 1e6},
			Tries: []pipeline.Try{{ID: "ex_1-1", Target: "openai/gpt-5-mini", StartNS: 1e6, TookNS: 700e6, FirstNS: 301e6, Reason: "ok",
				Outcome: pipeline.SettledActual, Usage: used, CostNano: 180_000,
				AnswerID: "chatcmpl-1", Model: "gpt-5-mini-2026", Finish: []llm.FinishReason{llm.FinishStop}}},
			Stages: []pipeline.Decision{{Stage: "route", Decision: "1 target", AtNS: 1e6}},
		}
		if diff := cmp.Diff(want, b.record(t, "ex_1")); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
		if x.Tries[0].Outcome != pipeline.SettledActual || x.Tries[0].CostNano != 180_000 {
			t.Errorf("the exchange's own try was not settled: %+v", x.Tries[0])
		}
	})
}

// TestTheRecordIsThereBeforeTheEnd: when the last event comes out, its record is in the journal.
func TestTheRecordIsThereBeforeTheEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t, journal.Options{}, Options{})
	resp, err := b.Stage()(answering(b.Recorder, nil, stream()...))(t.Context(), newExchange("ex_1"))
	if err != nil {
		t.Fatal(err)
	}
	for ev := range resp.Events {
		kinds, _ := b.entries(t)
		if want := map[bool]int{false: 1, true: 2}[ev.Is(llm.End)]; len(kinds) != want {
			t.Errorf("with event %v there are %d entries, want %d", ev.Has, len(kinds), want)
		}
	}
}

// An outcome is what a test looks at in a record.
type outcome struct {
	Status  int
	Code    fault.Code
	Reason  string
	Outcome pipeline.Outcome
	Usage   llm.Usage
}

func outcomeOf(rec *Record) outcome {
	o := outcome{Status: rec.Status, Usage: rec.Usage}
	if rec.Error != nil {
		o.Code = fault.Code(rec.Error.Code)
	}
	if n := len(rec.Tries); n > 0 {
		o.Reason, o.Outcome = rec.Tries[n-1].Reason, rec.Tries[n-1].Outcome
	}
	return o
}

// counting options count a token for each byte of the answer, and 7 for the prompt.
func counting() Options {
	return Options{
		Count: func(model string, text []byte) int64 {
			if model != "gpt-5-mini" {
				return -1000
			}
			return int64(len(text))
		},
		EstimateInput: func(*pipeline.Exchange) int64 { return 7 },
		AnswerText:    func(ev llm.Event) []byte { return ev.Raw[:3] },
	}
}

func TestHowExchangesEnd(t *testing.T) {
	t.Parallel()
	cut := fault.New(fault.StreamCut, "The provider ended the stream.")
	reported := llm.Usage{Input: 1000, Output: 100, CachedInput: 400}
	event := func(has llm.Has, u llm.Usage) llm.Event { return llm.Event{Has: has, Usage: u} }
	for _, tt := range []struct {
		name   string
		events []llm.Event
		err    error
		take   int // events that the client takes; 0 is all
		plain  bool
		op     llm.Operation
		cause  error // of the end of ctx, before the client leaves
		want   outcome
	}{
		{name: "whole", events: stream(), want: outcome{200, "", "ok", pipeline.SettledActual, reported}},
		{name: "plain, whole", plain: true,
			events: []llm.Event{{Has: llm.Content | llm.Finish | llm.UsageIn | llm.End, Usage: reported, Raw: []byte("answer")}},
			want:   outcome{200, "", "ok", pipeline.SettledActual, reported}},
		{name: "zero usage is a number", events: []llm.Event{hello, stopped, event(llm.UsageIn, llm.Usage{}), end},
			want: outcome{200, "", "ok", pipeline.SettledActual, llm.Usage{}}},
		{name: "the last usage counts", events: []llm.Event{event(llm.UsageIn, llm.Usage{Input: 1000, Output: 1}), hello, counted, end},
			want: outcome{200, "", "ok", pipeline.SettledActual, reported}},
		{name: "no usage", events: []llm.Event{hello, world, end},
			want: outcome{200, "", "ok", pipeline.SettledEstimated, llm.Usage{Input: 7, Output: 11, Estimated: true}}},
		{name: "a part of the usage", events: []llm.Event{hello, world, event(llm.UsageIn, llm.Usage{Input: 1000, Estimated: true}), end},
			want: outcome{200, "", "ok", pipeline.SettledEstimated, llm.Usage{Input: 1000, Output: 11, Estimated: true}}},
		{name: "plain, no usage", plain: true, events: []llm.Event{{Has: llm.Content | llm.End, Raw: []byte("yes, indeed")}},
			want: outcome{200, "", "ok", pipeline.SettledEstimated, llm.Usage{Input: 7, Output: 3, Estimated: true}}},
		{name: "embeddings, no usage", plain: true, op: llm.OpEmbeddings, events: []llm.Event{{Has: llm.Content | llm.End, Raw: []byte("[0.1]")}},
			want: outcome{200, "", "ok", pipeline.SettledEstimated, llm.Usage{Input: 7, Estimated: true}}},
		{name: "cut", events: []llm.Event{hello, world}, err: cut,
			want: outcome{200, fault.StreamCut, "stream_interrupted", pipeline.SettledEstimated, llm.Usage{Input: 7, Output: 11, Estimated: true}}},
		{name: "cut before the first event", err: cut, // the 200 of a stream goes out before
			want: outcome{200, fault.StreamCut, "stream_interrupted", pipeline.Unknown, llm.Usage{}}},
		{name: "plain, cut", plain: true, err: cut,
			want: outcome{502, fault.StreamCut, "stream_interrupted", pipeline.Unknown, llm.Usage{}}},
		{name: "cut after the usage", events: []llm.Event{hello, stopped, counted}, err: cut,
			want: outcome{200, fault.StreamCut, "stream_interrupted", pipeline.SettledActual, reported}},
		{name: "cut with usage on the way", events: []llm.Event{event(llm.UsageIn, llm.Usage{Input: 1000, Output: 3}), hello}, err: cut,
			want: outcome{200, fault.StreamCut, "stream_interrupted", pipeline.SettledEstimated, llm.Usage{Input: 1000, Output: 6, Estimated: true}}},
		{name: "cut after content that came after the usage", events: []llm.Event{stopped, counted, hello}, err: cut,
			want: outcome{200, fault.StreamCut, "stream_interrupted", pipeline.SettledEstimated,
				llm.Usage{Input: 1000, Output: 100, CachedInput: 400, Estimated: true}}},
		{name: "without an end", events: []llm.Event{hello},
			want: outcome{200, fault.StreamCut, "stream_interrupted", pipeline.SettledEstimated, llm.Usage{Input: 7, Output: 6, Estimated: true}}},
		{name: "timer", events: []llm.Event{hello}, err: fault.New(fault.TimerExpired, "gap"),
			want: outcome{200, fault.TimerExpired, "timeout", pipeline.SettledEstimated, llm.Usage{Input: 7, Output: 6, Estimated: true}}},
		{name: "client gone", events: stream(), take: 1,
			want: outcome{499, fault.ClientGone, "canceled", pipeline.SettledEstimated, llm.Usage{Input: 7, Output: 6, Estimated: true}}},
		{name: "client gone at the end", events: stream(), take: 5, want: outcome{200, "", "ok", pipeline.SettledActual, reported}},
		{name: "shutdown", events: stream(), take: 1, cause: fault.New(fault.ShuttingDown, "stopping"),
			want: outcome{200, fault.ShuttingDown, "shutting_down", pipeline.SettledEstimated, llm.Usage{Input: 7, Output: 6, Estimated: true}}},
		{name: "deadline", events: stream(), take: 1, cause: context.DeadlineExceeded,
			want: outcome{200, fault.DeadlinePassed, "deadline_exceeded", pipeline.SettledEstimated, llm.Usage{Input: 7, Output: 6, Estimated: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, journal.Options{}, counting())
			x := newExchange("ex_1")
			x.Request.Stream = !tt.plain
			if tt.op != "" {
				x.Op = tt.op
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			resp, err := b.Stage()(answering(b.Recorder, tt.err, tt.events...))(ctx, x)
			if err != nil {
				t.Fatal(err)
			}
			taken := 0
			for range resp.Events {
				if taken++; taken == tt.take {
					cancel(tt.cause)
					break
				}
			}
			if diff := cmp.Diff(tt.want, outcomeOf(b.record(t, "ex_1"))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := b.value(t, "penstock_in_flight"); n != 0 {
				t.Errorf("%v in flight", n)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	limited := &fault.Error{Kind: fault.RateLimited, Code: fault.ProviderLimited, Message: "later", Err: errors.New("429 of 10.0.0.7")}
	for _, tt := range []struct {
		name string
		err  error
		want outcome
	}{
		{"by the gateway", fault.New(fault.InvalidJSON, "no JSON"), outcome{Status: 400, Code: fault.InvalidJSON}},
		{"by a stage", limited, outcome{Status: 429, Code: fault.ProviderLimited}},
		{"with a status of its own", &fault.Error{Kind: fault.BadRequest, Code: fault.ProviderRefused, Status: 422}, outcome{Status: 422, Code: fault.ProviderRefused}},
		{"ordinary error", errors.New("boom"), outcome{Status: 500, Code: fault.InternalError}},
		{"client gone", context.Canceled, outcome{Status: 499, Code: fault.ClientGone}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, journal.Options{}, Options{})
			x := newExchange("ex_1")
			x.Request = nil // of a body that could not be understood
			_, err := b.Stage()(func(context.Context, *pipeline.Exchange) (*llm.Response, error) {
				return nil, tt.err
			})(t.Context(), x)
			if !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
			rec := b.record(t, "ex_1")
			if diff := cmp.Diff(tt.want, outcomeOf(rec)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if rec.Target != "" || rec.Timings.TotalNS != rec.Timings.OverheadNS {
				t.Errorf("target %q, timings %+v", rec.Target, rec.Timings)
			}
		})
	}
}

func TestTheCauseIsInTheRecord(t *testing.T) {
	t.Parallel()
	b := newBench(t, journal.Options{}, Options{})
	failing := func(context.Context, *pipeline.Exchange) (*llm.Response, error) {
		return nil, fault.Wrap(fault.ProviderFailed, errors.New("dial 10.0.0.7"), "openai did not answer.")
	}
	_, _ = b.Stage()(failing)(t.Context(), newExchange("ex_1"))
	want := &Error{Code: "provider_failed", Message: "openai did not answer.", Detail: "dial 10.0.0.7"}
	if diff := cmp.Diff(want, b.record(t, "ex_1").Error); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFallbackIsSummed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, journal.Options{}, Options{})
		handler := func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			try, err := send(ctx, b.Recorder, x, "claude/claude-haiku-4-5")
			if err != nil {
				return nil, err
			}
			time.Sleep(50 * time.Millisecond)
			try.TookNS, try.Status, try.Reason, try.Outcome = 50e6, 500, "status", pipeline.SettledActual
			try.Usage = llm.Usage{Input: 10, Output: 10}
			if err := b.Outcome(x, try); err != nil {
				return nil, err
			}
			if try.CostNano != 7500 {
				t.Errorf("the failed try cost %d, want 7500", try.CostNano)
			}
			x.Answering = 1
			return answering(b.Recorder, nil, stream()...)(ctx, x)
		}
		resp, err := b.Stage()(handler)(t.Context(), newExchange("ex_1"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := walk(resp, 0); err != nil {
			t.Fatal(err)
		}
		kinds, _ := b.entries(t)
		if diff := cmp.Diff([]journal.Kind{kindIntent, kindOutcome, kindIntent, kindRecord}, kinds); diff != "" {
			t.Errorf("entries (-want +got):\n%s", diff)
		}
		rec := b.record(t, "ex_1")
		if rec.CostNano != 187_500 || rec.Usage.Input != 1010 || rec.Target != "openai/gpt-5-mini" || len(rec.Tries) != 2 {
			t.Errorf("record: cost %d, usage %+v, target %s, %d tries", rec.CostNano, rec.Usage, rec.Target, len(rec.Tries))
		}
		if rec.Timings.OverheadNS != 0 {
			t.Errorf("overhead %d", rec.Timings.OverheadNS)
		}
	})
}

func TestPrices(t *testing.T) {
	t.Parallel()
	used := llm.Usage{Input: 1000, Output: 100}
	free := &llm.Price{}
	for _, tt := range []struct {
		name    string
		try     pipeline.Try
		cost    llm.Money
		without bool
	}{
		{"priced", pipeline.Try{Price: testPrice, Usage: used, Outcome: pipeline.SettledActual}, 210_000, false},
		{"a price of zero", pipeline.Try{Price: free, Usage: used, Outcome: pipeline.SettledActual}, 0, false},
		{"no price", pipeline.Try{Usage: used, Outcome: pipeline.SettledActual}, 0, true},
		{"no price, nothing billed", pipeline.Try{Outcome: pipeline.Released}, 0, false},
		{"no price, unknown", pipeline.Try{Outcome: pipeline.Unknown}, 0, true},
	} {
		price(&tt.try)
		if tt.try.CostNano != tt.cost || tt.try.Unpriced != tt.without {
			t.Errorf("%s: cost %d, unpriced %v", tt.name, tt.try.CostNano, tt.try.Unpriced)
		}
	}
}

func TestWithoutCountersTheTryIsUnknown(t *testing.T) {
	t.Parallel()
	b := newBench(t, journal.Options{}, Options{})
	resp, err := b.Stage()(answering(b.Recorder, nil, hello, end))(t.Context(), newExchange("ex_1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := walk(resp, 0); err != nil {
		t.Fatal(err)
	}
	want := outcome{200, "", "ok", pipeline.Unknown, llm.Usage{}}
	if diff := cmp.Diff(want, outcomeOf(b.record(t, "ex_1"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAPanicWhileCountingCostsNoRecord(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"prompt", "answer"} {
		o := counting()
		if where == "prompt" {
			o.EstimateInput = func(*pipeline.Exchange) int64 { panic("in the prompt") }
		} else {
			o.Count = func(string, []byte) int64 { panic("in the answer") }
		}
		b := newBench(t, journal.Options{}, o)
		resp, err := b.Stage()(answering(b.Recorder, nil, hello, end))(t.Context(), newExchange("ex_1"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := walk(resp, 0); err != nil {
			t.Errorf("%s: %v", where, err)
		}
		if rec := b.record(t, "ex_1"); rec.Status != 200 || !rec.Usage.Estimated {
			t.Errorf("%s: record %+v", where, rec)
		}
	}
}

func TestLongAnswersAreCountedInProportion(t *testing.T) {
	t.Parallel()
	b := newBench(t, journal.Options{}, counting())
	chunk := llm.Event{Has: llm.Content, Text: []byte(strings.Repeat("x", 300<<10))}
	resp, err := b.Stage()(answering(b.Recorder, nil, chunk, chunk, chunk, chunk, chunk, end))(t.Context(), newExchange("ex_1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := walk(resp, 0); err != nil {
		t.Fatal(err)
	}
	if got := b.record(t, "ex_1").Usage.Output; got != 1500<<10 {
		t.Errorf("counted %d, want %d", got, 1500<<10)
	}
}

func TestAnswersWithoutATry(t *testing.T) {
	t.Parallel()
	b := newBench(t, journal.Options{}, Options{})
	cached := func(context.Context, *pipeline.Exchange) (*llm.Response, error) {
		return &llm.Response{Target: llm.Target{Provider: "openai", Model: "m"}, Events: func(yield func(llm.Event, error) bool) { yield(end, nil) }}, nil
	}
	resp, err := b.Stage()(cached)(t.Context(), newExchange("ex_1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := walk(resp, 0); err != nil {
		t.Fatal(err)
	}
	if rec := b.record(t, "ex_1"); rec.Target != "openai/m" || rec.Status != 200 || rec.Unpriced {
		t.Errorf("record %+v", rec)
	}
}

func TestRecordsOff(t *testing.T) {
	t.Parallel()
	b := newBenchOver(t, nil, Options{Off: true})
	x := newExchange("ex_1")
	resp, err := b.Stage()(answering(b.Recorder, nil, stream()...))(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	if events, err := walk(resp, 0); err != nil || len(events) != 5 {
		t.Errorf("%d events, %v", len(events), err)
	}
	if err := b.Outcome(x, &x.Tries[0]); err != nil {
		t.Error(err)
	}
	if x.Tries[0].CostNano != 180_000 {
		t.Errorf("cost %d", x.Tries[0].CostNano)
	}
	if _, err := NewWriter(b.Recorder, newStore()); err == nil {
		t.Error("a writer with nothing to write")
	}
	if _, err := NewRecorder(nil, Options{Metrics: b.metrics}); err == nil {
		t.Error("records on, and no journal")
	}
}
