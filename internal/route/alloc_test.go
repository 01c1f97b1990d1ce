//go:build !race

package route

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// TestDecisionAllocations: what is recorded, and the place for it; nothing else.
func TestDecisionAllocations(t *testing.T) {
	for _, policy := range Policies() {
		s, x := decision(t, policy)
		if n := testing.AllocsPerRun(200, func() { decide(s, x) }); n > 2 {
			t.Errorf("%s: %v allocations, at most 2", policy, n)
		}
	}
}

// BenchmarkChoose is the decision among 8 targets with its record, for a prompt of 8,000 bytes: at most 5 us and 2 allocations.
// cpu-ns/op says what it costs on a machine that others use as well.
func BenchmarkChoose(b *testing.B) {
	for _, policy := range Policies() {
		b.Run(policy, func(b *testing.B) {
			s, x := decision(b, policy)
			b.ReportAllocs()
			used := cpuTime()
			for b.Loop() {
				decide(s, x)
			}
			b.ReportMetric(float64(cpuTime()-used)/float64(b.N), "cpu-ns/op")
		})
	}
}

func cpuTime() time.Duration {
	var use syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &use) != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func decision(tb testing.TB, policy string) (*theatre, *pipeline.Exchange) {
	var targets []string
	for i := range 8 {
		targets = append(targets, fmt.Sprintf("p%d/m", i))
	}
	s := play(tb, &cast{}, ModelConfig{Targets: Targets(targets...), Route: policy})
	for i, key := range targets {
		s.prices[key] = llm.Price{Input: llm.Rate(1000 + i), Output: 2000}
		s.warm(key, time.Duration(100+i)*time.Millisecond)
	}
	x := exchange(8000)
	copy(x.Request.Raw, strings.Repeat("What is the answer to this question? ", 300))
	x.Caller = &pipeline.Caller{Regions: []string{"eu*"}}
	for _, u := range s.pool().upstreams {
		u.region = "eu-1"
	}
	return s, x
}

func decide(s *theatre, x *pipeline.Exchange) {
	x.Decisions = x.Decisions[:0]
	c := s.choose(x, s.pool())
	c.record()
	c.free()
}
