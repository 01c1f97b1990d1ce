package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/bench/proc"
)

// The ceilings: how many times the plain proxy's value Penstock's may be.
const (
	ceilingOff     = 1.3
	ceilingOn      = 1.5
	ceilingPG      = 1.6
	ceilingLatency = 1.5
	// ceilingGrowth is how many times the memory after a quarter of the requests the memory at the end may be.
	ceilingGrowth = 1.25
)

// ceilingsKept are those of a project that keeps bodies, by workload.
var ceilingsKept = [...]float64{2.0, 2.0, 1.8}

// A turn is what one target used in one round of a workload.
type turn struct {
	target, workload string
	micros           float64 // CPU µs per request
	rate             float64 // answers a second
}

// A delay is one round of a target at the fixed rate.
type delay struct {
	target   string
	p50, p99 time.Duration
}

// Lost compares what was answered with what is in the store.
type lost struct {
	answered, rows int64
	behind         time.Duration
	overload       float64 // answers a second
}

// results is all that was measured; parts that did not run are empty.
type results struct {
	options    options
	targets    []*target
	translator *target
	cpu        []turn
	latency    []delay
	memory     []proc.Memory
	lost       *lost
	translated []turn // whose targets are the names of ways
	routing    *routing
	bare       *target // without limits, and limited the one with everything on
	limited    *target
	limiting   *limiting
}

// names are those of the targets that were measured, the plain proxy first.
func (r *results) names() []string {
	all := []string{proxyName, offName, onName}
	for _, name := range []string{pgName, keptName} {
		if slices.ContainsFunc(r.cpu, func(t turn) bool { return t.target == name }) ||
			slices.ContainsFunc(r.latency, func(d delay) bool { return d.target == name }) {
			all = append(all, name)
		}
	}
	return all
}

func (r *results) find(name string) *target {
	for _, t := range r.targets {
		if t.name == name {
			return t
		}
	}
	panic("bench: no target " + name)
}

// micros lists a target's rounds of a workload in their order, and rates the answers a second.
func (r *results) micros(target, workload string) (micros, rates []float64) {
	return turnsOf(r.cpu, target, workload)
}

func turnsOf(all []turn, target, workload string) (micros, rates []float64) {
	for _, t := range all {
		if t.target == target && t.workload == workload {
			micros = append(micros, t.micros)
			rates = append(rates, t.rate)
		}
	}
	return micros, rates
}

// delays lists a target's rounds at the fixed rate, in microseconds.
func (r *results) delays(target string) (p50, p99 []float64) {
	for _, d := range r.latency {
		if d.target == target {
			p50 = append(p50, float64(d.p50.Microseconds()))
			p99 = append(p99, float64(d.p99.Microseconds()))
		}
	}
	return p50, p99
}

// median of values, 0 if there are none. Of an even number it is the mean of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// ratios divides round by round: targets of one round met the same machine.
func ratios(of, to []float64) []float64 {
	all := make([]float64, 0, len(of))
	for i := range min(len(of), len(to)) {
		all = append(all, of[i]/to[i])
	}
	return all
}

// ratio writes the median of ratios with the least and the most.
func ratio(of, to []float64) string {
	all := ratios(of, to)
	if len(all) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f [%.2f-%.2f]", median(all), slices.Min(all), slices.Max(all))
}

// spread writes the median of values with the least and the most.
func spread(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f [%.0f-%.0f]", median(values), slices.Min(values), slices.Max(values))
}

// missed has one line for every ceiling that does not hold.
func (r *results) missed() []string {
	var lines []string
	hold := func(what string, got, ceiling float64) {
		if got > ceiling {
			lines = append(lines, fmt.Sprintf("%s: %.2f, ceiling %.2f", what, got, ceiling))
		}
	}
	for i, w := range workloads {
		base, _ := r.micros(proxyName, w.name)
		kept, _ := r.micros(keptName, w.name)
		hold("CPU of "+w.name+", bodies kept", median(ratios(kept, base)), ceilingsKept[i])
		off, _ := r.micros(offName, w.name)
		on, _ := r.micros(onName, w.name)
		hold("CPU of "+w.name+", records off", median(ratios(off, base)), ceilingOff)
		hold("CPU of "+w.name+", records on", median(ratios(on, base)), ceilingOn)
		pg, _ := r.micros(pgName, w.name)
		hold("CPU of "+w.name+", records in PostgreSQL", median(ratios(pg, base)), ceilingPG)
	}
	_, base := r.delays(proxyName)
	_, on := r.delays(onName)
	hold("p99 at the fixed rate", median(ratios(on, base)), ceilingLatency)
	if n := len(r.memory); n >= memorySteps {
		hold("memory at the end to memory after a quarter", growth(r.memory), ceilingGrowth)
	}
	if r.lost != nil && r.lost.rows != r.lost.answered {
		lines = append(lines, fmt.Sprintf("records: %d answered, %d in the store", r.lost.answered, r.lost.rows))
	}
	for _, w := range ways {
		for i, load := range translated {
			if w.ceilings[i] > 0 {
				hold("CPU of "+load.name+", "+w.name, median(r.timesPassedOn(w, load)), w.ceilings[i])
			}
		}
	}
	if r.routing != nil { // its simulation fails by itself
		for _, d := range r.routing.decisions {
			hold("CPU ns of a decision, "+d.policy, d.ns, ceilingDecision)
			hold("allocations of a decision, "+d.policy, d.allocs, ceilingAllocs)
		}
	}
	if r.limiting != nil {
		r.limiting.missed(hold)
	}
	return lines
}

// growth is the heap of the last two looks to that after a quarter of the requests; the larger of the two, since garbage
// that is not yet collected counts too.
func growth(m []proc.Memory) float64 {
	n := len(m)
	return float64(max(m[n-1].Anon, m[n-2].Anon)) / float64(max(m[n/4-1].Anon, m[n/4].Anon))
}

type printer = func(format string, args ...any)

func (r *results) writeCPU(p printer) {
	p("## CPU time per request\n")
	p("Closed loop, %d connections, %d rounds of %s in which the targets take turns. User and system time of the target's",
		r.options.conns, r.options.rounds, r.options.round)
	p("process, until it is quiet again after a turn, so that work which it put off counts. Medians in µs; beside them the median")
	p("of the ratios to the plain proxy, round by round [least-most].\n")
	p("| | %s | %s | %s |", workloads[0].name, workloads[1].name, workloads[2].name)
	p("| --- | --- | --- | --- |")
	for _, t := range r.names() {
		row := "| " + t
		for _, w := range workloads {
			base, _ := r.micros(proxyName, w.name)
			micros, _ := r.micros(t, w.name)
			row += fmt.Sprintf(" | %.0f", median(micros))
			if t != proxyName {
				row += ": " + ratio(micros, base)
			}
		}
		p("%s |", row)
	}
	row := "| ceilings: off, on, PostgreSQL, kept |"
	for _, kept := range ceilingsKept {
		row += fmt.Sprintf(" %.1f, %.1f, %.1f, %.1f |", ceilingOff, ceilingOn, ceilingPG, kept)
	}
	p("%s\n", row)
	p("Answers a second in the same rounds, medians:\n")
	p("| | %s | %s | %s |", workloads[0].name, workloads[1].name, workloads[2].name)
	p("| --- | --- | --- | --- |")
	for _, t := range r.names() {
		row := "| " + t
		for _, w := range workloads {
			_, rates := r.micros(t, w.name)
			row += fmt.Sprintf(" | %.0f", median(rates))
		}
		p("%s |", row)
	}
	p("")
}

func (r *results) writeLatency(p printer) {
	p("## Latency at %.0f requests a second\n", r.options.rate)
	p("Open loop: latency counts from when a request was due, so a stall is charged for all that it kept waiting. 1 KB plain,")
	p("%d rounds of %s, medians in µs.\n", r.options.rounds, latencyRound)
	p("| | p50 | p99 | p99 to the plain proxy |")
	p("| --- | --- | --- | --- |")
	_, base := r.delays(proxyName)
	for _, t := range r.names() {
		p50, p99 := r.delays(t)
		p("| %s | %.0f | %.0f | %s |", t, median(p50), median(p99), ratio(p99, base))
	}
	p("| ceiling, records on | | | %.1f |\n", ceilingLatency)
}

func (r *results) writeMemory(p printer) {
	p("## Memory over %d requests\n", r.options.requests)
	p("10 KB plain, %d connections, records on; MB. Resident memory holds the program too, so growth is", r.options.conns)
	p("judged by heap and stacks: %.2f times from a quarter of the requests to the end (ceiling %.2f).\n", growth(r.memory), ceilingGrowth)
	p("| after | resident | heap and stacks |")
	p("| --- | --- | --- |")
	for i, m := range r.memory {
		p("| %d | %.0f | %.0f |", int64(i+1)*r.options.requests/memorySteps, mega(m.Resident), mega(m.Anon))
	}
	p("")
}

func (r *results) writeLost(p printer) {
	p("## Records under overload\n")
	p("Closed loop with %d connections for %s, %.0f answers a second. Over the whole run Penstock gave %d answers and kept %d",
		overloadConns, r.options.overload, r.lost.overload, r.lost.answered, r.lost.rows)
	p("records: %d lost. The last one was in the store %.1f s after the last answer.", r.lost.answered-r.lost.rows, r.lost.behind.Seconds())
}

// cpuModel is the processor's name as the kernel gives it, or the architecture.
func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
