package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/bench/mock"
)

// limitsPart is the part on limits, budgets and tiers: what they cost a call, what end users cost in memory, and how much of a budget
// replicas can use before the store decides on each call.
const limitsPart = "limits"

// What limits may cost.
const (
	ceilingAdmission = 3000 // ns of CPU time
	ceilingUser      = 500  // bytes of an end user that is known: a million under 500 MB
	floorUsable      = 95.0 // percent of a budget
	ceilingLimited   = 1.10 // times the CPU time per request without limits
	admissionRuns    = 7    // of the benchmark; what counts is the median of the differences
	limitedTurns     = 3    // turns of the target with limits in each round: the figure is small, and the machine is not quiet
)

// A limiting is what was measured of limits.
type limiting struct {
	bare, limited []float64 // CPU ns of a call that nothing limits and of one with four budgets and three rates, run by run
	allocs        float64   // that limits add
	trades, waits float64   // with the store, and calls that waited for one, over all runs
	calls         float64   // of all these runs

	users           string // how many
	resting, leased float64

	usable         float64 // percent
	callsTo, asked string  // the calls until then, and their trades

	turns []turn // of the real binary: bareName, limitedName, bareAgain
	wire  struct{ calls, asked, trades float64 }
}

// The targets of the part. The one without limits has its turn before and after the one with limits.
const (
	bareName    = "without limits"
	bareAgain   = "without limits, again"
	limitedName = "everything on"
)

func measureLimits(ctx context.Context, r *results) error {
	r.limiting = &limiting{}
	for _, measure := range []func(context.Context, *results) error{measureAdmission, measureUsers, measureUsable, measureLimited} {
		if err := measure(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

var admissionLine = regexp.MustCompile(`(?m)^BenchmarkAdmission/(nothing|budgets)\S*\s+(\d+)\s.*?([0-9.e+]+) cpu-ns/op.*?([0-9.e+]+) trades.*?([0-9.e+]+) waits.*?([0-9.]+) allocs/op`)

// measureAdmission runs the two benchmarks by turns, so that both meet the same machine.
func measureAdmission(ctx context.Context, r *results) error {
	l := r.limiting
	for run := range admissionRuns {
		out, err := goTest(ctx, "./internal/limit", "-run", "^$", "-bench", "^BenchmarkAdmission$", "-benchtime", "200000x")
		if err != nil {
			return err
		}
		lines := admissionLine.FindAllStringSubmatch(out, -1)
		if len(lines) != 2 {
			return fmt.Errorf("the benchmark of package limit gave no figures:\n%s", out)
		}
		allocs := 0.0
		for _, m := range lines {
			n := numbers(m[2:])
			if m[1] == "nothing" {
				l.bare, allocs = append(l.bare, n[1]), allocs-n[4]
				continue
			}
			l.limited, allocs = append(l.limited, n[1]), allocs+n[4]
			l.calls, l.trades, l.waits = l.calls+n[0], l.trades+n[2], l.waits+n[3]
		}
		l.allocs = allocs
		say("admission            run %d    %.0f ns CPU more than without limits", run+1, l.limited[run]-l.bare[run])
	}
	return nil
}

// numbers reads what an expression has found to be numbers.
func numbers(texts []string) []float64 {
	all := make([]float64, len(texts))
	for i, text := range texts {
		all[i], _ = strconv.ParseFloat(text, 64)
	}
	return all
}

var usersLine = regexp.MustCompile(`(\d+) users: (\d+) bytes each, (\d+) with a lease`)

func measureUsers(ctx context.Context, r *results) error {
	out, err := goTestWith(ctx, []string{"PENSTOCK_MILLION=1"}, "./internal/limit", "-v", "-run", "^TestMillionUsers$")
	if err != nil {
		return err
	}
	m := usersLine.FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("the test of a million users gave no figures:\n%s", out)
	}
	n := numbers(m[2:])
	r.limiting.users, r.limiting.resting, r.limiting.leased = m[1], n[0], n[1]
	say("%s", m[0])
	return nil
}

var usableLine = regexp.MustCompile(`the tail begins when ([0-9.]+) % are spent, by (\d+) calls with (\d+) trades`)

func measureUsable(ctx context.Context, r *results) error {
	out, err := goTest(ctx, "./internal/escrow", "-v", "-run", "^TestMostIsUsableBeforeTheTail$")
	if err != nil {
		return err
	}
	m := usableLine.FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("the test of package escrow gave no figures:\n%s", out)
	}
	r.limiting.usable, r.limiting.callsTo, r.limiting.asked = numbers(m[1:2])[0], m[2], m[3]
	say("%s", m[0])
	return nil
}

// everything are the commands that limit the callers of a Penstock in all ways that there are, with room for all that the part sends.
var everything = []string{
	"budget set --org bench --amount 1000000 --per month",
	"budget set --project bench --amount 1000000 --per day --zone Europe/Berlin",
	"budget set --project bench --key bench --tokens 1000000000000 --per week",
	"budget set --project bench --user * --amount 1000000 --per day",
	"limit set --project bench --requests 100000000 --tokens 100000000000 --concurrent 100000",
	"tier set all --requests 100000000 --max-input 100000 --max-output 4000 --models " + asked + ",other-*",
	"tier assign all --project bench --user *",
}

// startLimited starts the two Penstocks of the part.
func startLimited(ctx context.Context, o options, dir, address string) (bare, limited *target, err error) {
	for _, t := range []struct {
		name string
		into **target
	}{{bareName, &bare}, {limitedName, &limited}} {
		data := filepath.Join(dir, strings.ReplaceAll(t.name, " ", "-"))
		*t.into, err = startPenstock(ctx, o.binary, data, penstock{
			configuration: fmt.Sprintf(configuration, "on", address, mock.Model, asked, mock.Model),
			project:       []string{"--org", "bench"}, keyName: "bench", providers: []string{"mock"},
		})
		if err != nil {
			return bare, limited, fmt.Errorf("the Penstock %s: %w", t.name, err)
		}
		(*t.into).name, (*t.into).model = t.name, asked
		if t.name != limitedName {
			continue
		}
		for _, command := range everything {
			if _, err := output(ctx, o.binary, append(strings.Fields(command), "-c", filepath.Join(data, "penstock.yaml"))...); err != nil {
				return bare, limited, err
			}
		}
	}
	// Definitions are looked for each second.
	return bare, limited, pause(ctx, 2*time.Second)
}

// measureLimited takes turns between the Penstocks: without limits, with them, without. The ratio is to the mean of the two around it,
// so that a machine that gets busier or quieter over a round does not count.
func measureLimited(ctx context.Context, r *results) error {
	bare, limited := r.bare, r.limited
	call, err := bare.callOfUser(workloads[0], "ann@example.org")
	if err != nil {
		return err
	}
	limitedCall, err := limited.callOfUser(workloads[0], "ann@example.org")
	if err != nil {
		return err
	}
	l := r.limiting
	for round := range r.options.rounds*limitedTurns + 1 {
		d := r.options.round
		if round == 0 {
			d = 3 * warmUp // leases find their size, too
		}
		for _, name := range []string{bareName, limitedName, bareAgain} {
			t, c := bare, call
			if name == limitedName {
				t, c = limited, limitedCall
			}
			turn, err := t.drive(ctx, c, turn{target: name, workload: workloads[0].name}, r.options.conns, d)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if round > 0 {
				l.turns = append(l.turns, turn)
				say("%-20s round %d  %-22s %7.1f µs CPU a request  %8.0f answers/s", workloads[0].name, round, name, turn.micros, turn.rate)
			}
		}
		if round > 0 {
			continue
		}
		if err := l.readWire(ctx, limited, -1); err != nil { // from here on
			return err
		}
	}
	return l.readWire(ctx, limited, 1)
}

// readWire adds to what is known of the calls to the Penstock with limits what it says now, times sign.
func (l *limiting) readWire(ctx context.Context, t *target, sign float64) error {
	l.wire.calls += sign * float64(t.sent)
	for name, into := range map[string]*float64{"penstock_escrow_calls_that_asked_total": &l.wire.asked, "penstock_escrow_trades_total": &l.wire.trades} {
		n, err := t.metric(ctx, name)
		if err != nil {
			return err
		}
		*into += sign * n
	}
	return nil
}

// metric asks the control plane for a metric without labels.
func (t *target) metric(ctx context.Context, name string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+t.adminKey)
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("the control plane answered %s to a question for metrics, without %s", resp.Status, name)
}

// more is by how much limits add to a call, in ns of CPU time, run by run.
func (l *limiting) more() []float64 {
	all := make([]float64, len(l.limited))
	for i := range all {
		all[i] = l.limited[i] - l.bare[i]
	}
	return all
}

// around are the CPU times without limits around each turn with limits: the mean of both, and both.
func (l *limiting) around() (mean, before, after []float64) {
	before, _ = turnsOf(l.turns, bareName, workloads[0].name)
	after, _ = turnsOf(l.turns, bareAgain, workloads[0].name)
	for i := range min(len(before), len(after)) {
		mean = append(mean, (before[i]+after[i])/2)
	}
	return mean, before, after
}

// times is how many times the CPU time without limits a request with everything on used, round by round.
func (l *limiting) times() []float64 {
	micros, _ := turnsOf(l.turns, limitedName, workloads[0].name)
	mean, _, _ := l.around()
	return ratios(micros, mean)
}

// missed holds the part to its ceilings.
func (l *limiting) missed(hold func(what string, got, ceiling float64)) {
	hold("CPU ns of admission and reservation", median(l.more()), ceilingAdmission)
	if l.calls > 0 {
		hold("percent of these calls that waited for the store", 100*l.waits/l.calls, 0.01)
	}
	hold("bytes of a known end user", l.resting, ceilingUser)
	hold("percent of a budget that is left when central decisions begin", 100-l.usable, 100-floorUsable)
	hold("CPU of 1 KB plain with everything on to that without limits", median(l.times()), ceilingLimited)
}

func (r *results) writeLimits(p printer) {
	l := r.limiting
	p("## Limits, budgets and tiers\n")
	p("Admission and reservation, from the tiers to the settlement of one try, with four nested budgets (organisation, project, key, each")
	p("end user), requests and tokens a minute and calls at once: the CPU time of a call with them less that of one without, medians of")
	p("%d runs [least-most], each of 200000 calls in one process with a heap of 64 MB.\n", len(l.bare))
	p("| | | ceiling |")
	p("| --- | --- | --- |")
	p("| without limits, ns | %s | |", spread(l.bare))
	p("| what limits add, ns | %s | %d |", spread(l.more()), ceilingAdmission)
	p("| allocations that they add | %.0f | |", l.allocs)
	p("| calls that waited for the store, of %.0f | %.0f | 1 in 10000 |", l.calls, l.waits)
	p("| trades with the store meanwhile, off the path of calls | %.0f | |\n", l.trades)
	p("End users that need no registration, %s of them, each with a budget and two rates of its own: the heap in use after a collection.\n", l.users)
	p("| | bytes a user | MB in all | ceiling, MB |")
	p("| --- | --- | --- | --- |")
	n := numbers([]string{l.users})[0]
	p("| known | %.0f | %.0f | %.0f |", l.resting, l.resting*n/1e6, ceilingUser*n/1e6)
	p("| all called within the last minute, each with a lease | %.0f | %.0f | |\n", l.leased, l.leased*n/1e6)
	p("A budget of 1,000 calls' reservations, spent by three replicas of which one has ten times the calls of another, on a clock of its own:")
	p("%.1f %% is spent before any call needs a decision of the store (at least %.0f %%), by %s calls with %s trades.\n", l.usable, floorUsable, l.callsTo, l.asked)
	p("CPU time per request of the real program, 1 KB plain, records on, closed loop with %d connections, %d rounds of %s. With everything", r.options.conns, r.options.rounds*limitedTurns, r.options.round)
	p("on, four budgets, four rates and a tier with caps and models hold for the caller, an end user; answers have their headers of limits.")
	p("A turn with limits is compared with the mean of the turns without before and after it, and these two with each other, which says")
	p("what a run resolves. Medians in µs; median of the ratios [least-most].\n")
	p("| | CPU | ratio | ceiling |")
	p("| --- | --- | --- | --- |")
	mean, before, after := l.around()
	micros, _ := turnsOf(l.turns, limitedName, workloads[0].name)
	p("| %s | %.0f | %s | |", bareName, median(mean), ratio(after, before))
	p("| %s | %.0f | %s | %.2f |\n", limitedName, median(micros), ratio(micros, mean), ceilingLimited)
	p("Of the %.0f calls with everything on, %.0f waited for the store, which had %.0f trades meanwhile.", l.wire.calls, l.wire.asked, l.wire.trades)
	p("")
}
