package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/w3c"
)

func openTest(tb testing.TB) *Store {
	tb.Helper()
	s, err := Open(context.Background(), "sqlite:"+filepath.Join(tb.TempDir(), "penstock.db"), Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// workload makes records with the shape of real traffic: 17 projects with three keys each, eight models, some users and
// tags, three calls in a hundred failing. The n-th record is always the same.
func workload(n int) *usage.Record {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * 2 * time.Millisecond)
	project := r.IntN(17)
	model := fmt.Sprintf("gpt-%d-mini", r.IntN(8))
	u := llm.Usage{Input: 200 + r.Int64N(3000), Output: 20 + r.Int64N(500), CachedInput: r.Int64N(200)}
	rec := &usage.Record{
		ID: fmt.Sprintf("ex_01KA%022d", n), Time: at, Org: "default", Project: fmt.Sprintf("prj_01K97K2QABCDEFGHJKMNPQRS%02d", project),
		Key: fmt.Sprintf("key_01K97K2QABCDEFGHJKMNPQRS%02d%d", project, r.IntN(3)), Model: model, Target: "openai/" + model,
		Op: llm.OpChat, Dialect: llm.OpenAI, Stream: n%2 == 0, Status: 200, Usage: u, CostNano: llm.Money(u.Input*150 + u.Output*600),
		Timings: usage.Timings{TotalNS: 1_553_000_000, FirstNS: 238_000_000, OverheadNS: 900_000},
		Tries: []pipeline.Try{{
			ID: fmt.Sprintf("try_01KA%021d", n), Target: "openai/" + model, StartNS: 600_000, TookNS: 1_552_000_000, FirstNS: 237_000_000,
			Status: 200, Reason: "ok", Upstream: "chatcmpl-B1xyzabcdef0123456789", Outcome: pipeline.SettledActual, Usage: u,
			CostNano: llm.Money(u.Input*150 + u.Output*600),
		}},
		Stages: []pipeline.Decision{
			{Stage: "auth", Decision: "key trial (psk_7f3a2b), project support"},
			{Stage: "route", Decision: "3 of 3 targets eligible: openai/" + model + ", claude/claude-haiku-4-5, house/qwen3-32b", TookNS: 4200},
		},
	}
	if r.IntN(5) == 0 {
		rec.User = fmt.Sprintf("user-%d", r.IntN(500))
	}
	if r.IntN(10) == 0 {
		rec.Tags = []string{fmt.Sprintf("team-%d", r.IntN(4))}
	}
	if r.IntN(33) == 0 {
		rec.Status, rec.Error = 502, &usage.Error{Code: "provider_failed", Message: "1 target tried, none answered: openai 503."}
	}
	if n%3 == 0 {
		binary.BigEndian.PutUint64(rec.Trace[:], r.Uint64())
		binary.BigEndian.PutUint64(rec.Trace[8:], r.Uint64())
	}
	return rec
}

func workloads(from, n int) []*usage.Record {
	all := make([]*usage.Record, n)
	for i := range all {
		all[i] = workload(from + i)
	}
	return all
}

// parted are exchanges of which every third has parts of its usage.
func parted(from, n int) []*usage.Record {
	all := workloads(from, n)
	for i, r := range all {
		if n := int64(from + i); n%3 == 0 {
			r.Usage.Parts = llm.Parts{CacheWriteHour: n%7 + 1, CacheWriteMinutes: n % 5, InputAudio: n % 2 * n, CachedAudio: n % 4, OutputAudio: n % 11, OutputImage: n % 9, Searches: n / 3 % 3}
			r.Tries[0].Usage = r.Usage
		}
	}
	return all
}

// cpu is the process's own time, user and system, in nanoseconds. It is steadier than the clock on a shared machine.
func cpu() float64 {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return float64(r.Utime.Nano() + r.Stime.Nano())
}

func BenchmarkAddRecords(b *testing.B) {
	for _, batch := range []int{1, 100, 500, 2000} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			s := openTest(b)
			b.ReportAllocs()
			var spent float64
			for n := 0; n < b.N; n += batch {
				b.StopTimer()
				records := workloads(n, batch)
				began := cpu()
				b.StartTimer()
				if err := s.AddRecords(b.Context(), "j", int64(n), records); err != nil {
					b.Fatal(err)
				}
				spent += cpu() - began
			}
			b.ReportMetric(spent/float64(b.N), "cpu-ns/row")
		})
	}
}

// BenchmarkAddTracedRecords is BenchmarkAddRecords where every caller sends a trace, whose index is then written too: the
// price of finding it.
func BenchmarkAddTracedRecords(b *testing.B) {
	for _, traced := range []bool{false, true} {
		b.Run(fmt.Sprint("traced=", traced), func(b *testing.B) {
			s := openTest(b)
			var spent float64
			for n := 0; n < b.N; n += 500 {
				b.StopTimer()
				records := workloads(n, 500)
				for _, r := range records {
					r.Trace = w3c.TraceID{}
					if traced {
						binary.BigEndian.PutUint64(r.Trace[:], rand.Uint64())
						binary.BigEndian.PutUint64(r.Trace[8:], rand.Uint64())
					}
				}
				began := cpu()
				b.StartTimer()
				if err := s.AddRecords(b.Context(), "j", int64(n), records); err != nil {
					b.Fatal(err)
				}
				spent += cpu() - began
			}
			b.ReportMetric(spent/float64(b.N), "cpu-ns/row")
			b.ReportMetric(float64(s.Status().Bytes)/float64(b.N), "disk-B/row")
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	records := workloads(0, 500)
	var c recorder
	b.ReportAllocs()
	var n int
	for b.Loop() {
		texts, err := c.encode(records)
		if err != nil {
			b.Fatal(err)
		}
		n = 0
		for _, t := range texts {
			n += len(t)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/record")
	b.ReportMetric(float64(n)/500, "B/record")
}

// BenchmarkSumUp is what it costs to keep sums of records, besides writing them.
func BenchmarkSumUp(b *testing.B) {
	for name, apart := range map[string]time.Duration{"500 a second": 2 * time.Millisecond, "a million a month": 2600 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			s := openTest(b)
			b.ReportAllocs()
			var spent float64
			n := 0
			for range b.N / summedAtOnce {
				b.StopTimer()
				for range 8 {
					records := workloads(n, summedAtOnce/8)
					for i := range records {
						records[i].Time = records[0].Time.Truncate(time.Hour).Add(time.Duration(n+i) * apart)
					}
					if err := s.AddRecords(b.Context(), "j", int64(n), records); err != nil {
						b.Fatal(err)
					}
					n += len(records)
				}
				began := cpu()
				b.StartTimer()
				if _, _, err := s.SumUp(b.Context()); err != nil {
					b.Fatal(err)
				}
				spent += cpu() - began
			}
			b.ReportMetric(spent/float64(max(n, 1)), "cpu-ns/row")
		})
	}
}
