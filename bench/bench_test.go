package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/bench/proc"
)

func TestFlags(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-only", "lost,cpu", "-rounds", "3", "-write", "-check"})
	if err != nil || !slices.Equal(o.only, []string{"lost", "cpu"}) || o.rounds != 3 || o.write != "docs/benchmarks.md" {
		t.Errorf("got %+v, %v", o, err)
	}
	if want := "go run ./bench -only lost,cpu -rounds 3 -check"; o.command != want {
		t.Errorf("command: got %q, want %q", o.command, want)
	}
	for _, bad := range [][]string{{"-only", "cpu,disk"}, {"-rounds", "0"}, {"-for", "-1s"}, {"-rate", "0"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestMedianAndRatio(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median of %v: got %v, want %v", tt.values, got, tt.want)
		}
	}
	if got, want := ratio([]float64{1, 3, 6}, []float64{2, 2, 2}), "1.50 [0.50-3.00]"; got != want {
		t.Errorf("ratio: got %q, want %q", got, want)
	}
}

// measured makes results in which Penstock costs so many times the proxy.
func measured(off, on, latency float64) *results {
	r := &results{options: options{command: "go run ./bench", rounds: 1, round: time.Second, conns: 64, rate: 500, requests: 8000}}
	for _, w := range workloads {
		r.cpu = append(r.cpu, turn{proxyName, w.name, 100, 10}, turn{offName, w.name, 100 * off, 10}, turn{onName, w.name, 100 * on, 10}, turn{keptName, w.name, 110 * on, 10})
	}
	ms := func(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
	r.latency = []delay{{proxyName, ms(1), ms(2)}, {offName, ms(1), ms(2)}, {onName, ms(1), ms(2 * latency)}}
	for range memorySteps {
		r.memory = append(r.memory, proc.Memory{Resident: 60 << 20, Anon: 40 << 20})
	}
	for _, w := range ways {
		for _, load := range translated {
			r.translated = append(r.translated, turn{w.name, load.name, 100, 10})
		}
	}
	r.lost = &lost{answered: 1000, rows: 1000, behind: time.Second, overload: 5000}
	return r
}

func TestMissedCeilingsAreNamed(t *testing.T) {
	t.Parallel()
	if got := measured(1.3, 1.5, 1.5).missed(); len(got) != 0 {
		t.Errorf("at the ceilings: %q", got)
	}
	if got := measured(1.31, 1.51, 1.51).missed(); len(got) != 7 {
		t.Errorf("over every ceiling by a little: got %d lines, want 7: %q", len(got), got)
	}
	r := measured(1, 1, 1)
	for i := range r.cpu {
		if r.cpu[i].target == keptName {
			r.cpu[i].micros = 190 // too much for the stream only
		}
	}
	if got := r.missed(); len(got) != 1 || !strings.Contains(got[0], "stream of 50 events, bodies kept: 1.90, ceiling 1.80") {
		t.Errorf("with bodies kept: %q", got)
	}
	r = measured(1, 1, 1)
	r.memory[memorySteps-1].Anon = 51 << 20
	r.lost.rows--
	got := strings.Join(r.missed(), "\n")
	if !strings.Contains(got, "memory at the end") || !strings.Contains(got, "1000 answered, 999 in the store") {
		t.Errorf("got %q", got)
	}
}

func TestACeilingOfTranslationIsHeld(t *testing.T) {
	t.Parallel()
	for micros, want := range map[float64]string{
		200: "", 201: "CPU of stream of 50 events, OpenAI to Anthropic: 2.01, ceiling 2.00",
	} {
		r := measured(1, 1, 1)
		for i := range r.translated {
			if r.translated[i].target == "OpenAI to Anthropic" {
				r.translated[i].micros = micros
			}
		}
		if got := strings.Join(r.missed(), "\n"); got != want {
			t.Errorf("%v µs: got %q, want %q", micros, got, want)
		}
	}
}

// limited makes results of the part on limits, in which everything on costs so many times what a call costs without.
func limited(times, added, user, usable float64) *results {
	l := &limiting{
		bare: []float64{500, 600, 700}, limited: []float64{500 + added, 600 + added, 700 + added}, allocs: 10, calls: 600_000, waits: 3, trades: 50,
		users: "1000000", resting: user, leased: 2 * user, usable: usable, callsTo: "2429", asked: "63",
	}
	for _, busy := range []float64{1, 2, 3} { // the machine; a round meets the same
		l.turns = append(l.turns, turn{bareName, workloads[0].name, 90 * busy, 10}, turn{limitedName, workloads[0].name, 100 * times * busy, 10},
			turn{bareAgain, workloads[0].name, 110 * busy, 10})
	}
	return &results{options: options{command: "go run ./bench -only limits", rounds: 1, only: []string{limitsPart}}, limiting: l}
}

func TestTheCeilingsOfLimitsAreHeld(t *testing.T) {
	t.Parallel()
	if got := limited(1.10, 3000, 500, 95).missed(); len(got) != 0 {
		t.Errorf("at the ceilings: %q", got)
	}
	if got := limited(1.11, 3001, 501, 94.9).missed(); len(got) != 4 {
		t.Errorf("over every ceiling by a little: got %d lines, want 4: %q", len(got), got)
	}
	r := limited(1, 1, 1, 99)
	r.limiting.waits = 61
	if got := strings.Join(r.missed(), "\n"); !strings.Contains(got, "waited for the store") {
		t.Errorf("one call in 9836 waits: got %q", got)
	}
	page := limited(1.05, 2500, 358, 97.2).page("")
	for _, want := range []string{
		"| what limits add, ns | 2500 [2500-2500] | 3000 |\n", "| known | 358 | 358 | 500 |\n", "97.2 % is spent before",
		"| without limits | 200 | 1.22 [1.22-1.22] | |\n", "| everything on | 210 | 1.05 [1.05-1.05] | 1.10 |\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

func TestABenchmarkOfAdmissionIsRead(t *testing.T) {
	t.Parallel()
	const out = "BenchmarkAdmission/nothing-2  \t  200000\t  1398 ns/op\t  1053 cpu-ns/op\t  0 trades\t  0 waits\t  1288 B/op\t  6 allocs/op\n" +
		"BenchmarkAdmission/budgets=4,rates=3-2\t200000\t 7643 ns/op\t 4313 cpu-ns/op\t 24.00 trades\t 1.000 waits\t 3416 B/op\t 16 allocs/op\n"
	lines := admissionLine.FindAllStringSubmatch(out, -1)
	if len(lines) != 2 || !slices.Equal(numbers(lines[1][2:]), []float64{200_000, 4313, 24, 1, 16}) {
		t.Errorf("got %q", lines)
	}
}

// A run of some parts changes these and nothing else on the page.
func TestAPartIsWrittenAlone(t *testing.T) {
	t.Parallel()
	whole := measured(0.7, 0.9, 0.95)
	whole.options.only = parts
	before := whole.page("")
	r := &results{options: options{command: "go run ./bench -only translate", rounds: 1, only: []string{translatePart}}}
	r.translated = []turn{{ways[0].name, translated[0].name, 100, 10}, {ways[1].name, translated[0].name, 170, 10}}
	after := r.page(before)
	kept, _, _ := strings.Cut(before, heading+"Translation")
	if !strings.HasPrefix(after, kept) {
		t.Errorf("other parts changed:\n%s", after)
	}
	for _, want := range []string{"| OpenAI to Anthropic | 170: 1.70 [1.70-1.70] | 2.5 |", "with `go run ./bench -only translate`.\n"} {
		if !strings.Contains(after, want) {
			t.Errorf("the page lacks %q:\n%s", want, after)
		}
	}
	if again := r.page(after); again != after {
		t.Errorf("written again, it is another page:\n%s", again)
	}
	if added := r.page(strings.TrimSpace(kept)); added != after {
		t.Errorf("where it was not, it is not added:\n%s", added)
	}
}

func TestThePageHasAllParts(t *testing.T) {
	t.Parallel()
	page := measured(0.7, 0.9, 0.95).page("")
	for _, want := range []string{
		"| Penstock, records off | 70: 0.70 [0.70-0.70] | 70: 0.70 [0.70-0.70] | 70: 0.70 [0.70-0.70] |\n",
		"| Penstock, records on | 1000 | 1900 | 0.95 [0.95-0.95] |\n",
		"| 8000 | 60 | 40 |\n",
		"gave 1000 answers and kept 1000\nrecords: 0 lost.",
		"make build && go run ./bench\n",
		"| OpenAI to Anthropic | 100: 1.00 [1.00-1.00] | 2.5 | 100: 1.00 [1.00-1.00] | 2.0 |\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}
