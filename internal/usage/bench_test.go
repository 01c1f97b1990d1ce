package usage

import (
	"context"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// oneExchange is a request without what others add to it: the stage, an intent, and an answer of n events.
func oneExchange(tb testing.TB, b bench, n int) func() {
	tb.Helper()
	events := []llm.Event{hello}
	for len(events) < n-3 {
		events = append(events, world)
	}
	events = append(events, stopped, counted, end)
	var resp llm.Response
	inner := func(yield func(llm.Event, error) bool) {
		for _, ev := range events {
			if !yield(ev, nil) {
				return
			}
		}
	}
	caller := &pipeline.Caller{Org: "default", Project: "prj_01K97K2QJ4Z0", Key: "key_01K97K2QJ4Z0"}
	request := &llm.Request{Model: "support", Stream: true}
	tries := make([]pipeline.Try, 1)
	x := new(pipeline.Exchange)
	handler := b.Stage()(func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		tries[0] = pipeline.Try{ID: "ex_01K97K2QJ4Z0A1B2C3D4E5F6G7-1", Target: "openai/gpt-5-mini", StartNS: int64(time.Since(x.Received)), Price: testPrice}
		x.Tries = tries
		if err := b.Intent(ctx, x, &tries[0]); err != nil {
			return nil, err
		}
		resp = llm.Response{Target: llm.Target{Provider: "openai", Model: "gpt-5-mini"}, Stream: true, Events: inner}
		return &resp, nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	tb.Cleanup(cancel)
	return func() {
		*x = pipeline.Exchange{
			ID: "ex_01K97K2QJ4Z0A1B2C3D4E5F6G7", Received: time.Now(), Caller: caller, Request: request, Dialect: llm.OpenAI, Op: llm.OpChat,
		}
		resp, err := handler(ctx, x)
		if err != nil {
			tb.Fatal(err)
		}
		for ev, err := range resp.Events {
			if err != nil {
				tb.Fatal(err)
			}
			if ev.Is(llm.End) {
				break
			}
		}
		if b.journal != nil && b.journal.Room() < b.journal.MaxBytes()*3/4 {
			if err := b.journal.Trim(b.journal.End()); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// small is a journal that does not fill the disk of a benchmark.
var small = journal.Options{MaxBytes: 256 << 20}

func BenchmarkExchange(b *testing.B) {
	for name, n := range map[string]int{"plain": 4, "stream of 50": 50} {
		b.Run(name, func(b *testing.B) {
			one := oneExchange(b, newBench(b, small, Options{}), n)
			b.ReportAllocs()
			for b.Loop() {
				one()
			}
		})
	}
	b.Run("records off", func(b *testing.B) {
		one := oneExchange(b, newBenchOver(b, nil, Options{Off: true}), 4)
		b.ReportAllocs()
		for b.Loop() {
			one()
		}
	})
}

func TestAnExchangeAllocatesLittle(t *testing.T) {
	one := oneExchange(t, newBench(t, small, Options{}), 50)
	one() // metrics are resolved, buffers made
	if n := testing.AllocsPerRun(200, one); n > 12 {
		t.Errorf("an exchange makes %v allocations in the stage and the intent, limit 12", n)
	}
}

func BenchmarkEncode(b *testing.B) {
	rec := fullRecord()
	buf := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendRecord(buf[:0], rec)
	}
	b.ReportMetric(float64(len(buf)), "bytes")
}

func BenchmarkDecode(b *testing.B) {
	payload := appendRecord(nil, fullRecord())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeRecord(string(payload)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWriter is what the worker does for a record, without the store: an intent and a record read and decoded.
func BenchmarkWriter(b *testing.B) {
	bench := newBench(b, small, Options{})
	one := oneExchange(b, bench, 4)
	w := bench.writer(b, newStore())
	w.in = bench.journal.Reader(0)
	defer w.in.Close()
	w.settled = true
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for range maxBatch {
			one()
		}
		b.StartTimer()
		if _, err := w.fill(b.Context()); err != nil {
			b.Fatal(err)
		}
		if len(w.batch) != maxBatch {
			b.Fatalf("%d records", len(w.batch))
		}
		w.advance()
		w.trim()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/maxBatch, "ns/record")
}
