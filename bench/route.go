package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// routePart is the part on the choice of targets. It needs no process: its figures are made by the tests of package route, the
// simulation of servers on a clock of its own, and the benchmark of a decision.
const routePart = "route"

// What a decision among 8 targets may cost.
const (
	ceilingDecision = 5000 // ns
	ceilingAllocs   = 2
)

// A routing is what the tests of package route measured.
type routing struct {
	seed      string
	late      []string // rows: share of capacity, policy, p99, against least requests, against round robin
	affinity  []string // rows: with or without, p50, p99
	decisions []decision
}

// A decision is what one costs by a policy.
type decision struct {
	policy     string
	ns, allocs float64
}

func measureRoute(ctx context.Context, r *results) error {
	simulated, err := goTest(ctx, "./internal/route", "-v", "-run", "^(TestFastestIsFaster|TestAffinityPays)$")
	if err != nil {
		return err
	}
	found := &routing{}
	for line := range strings.Lines(simulated) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case strings.HasPrefix(text, "seed "):
			found.seed = strings.TrimPrefix(text, "seed ")
		case strings.HasPrefix(text, "| with"):
			found.affinity = append(found.affinity, text)
		case strings.HasPrefix(text, "| "):
			found.late = append(found.late, text)
		}
	}
	timed, err := goTest(ctx, "./internal/route", "-run", "^$", "-bench", "^BenchmarkChoose$", "-benchtime", r.options.round.String())
	if err != nil {
		return err
	}
	for _, m := range decisionLine.FindAllStringSubmatch(timed, -1) {
		ns, _ := strconv.ParseFloat(m[2], 64)
		allocs, _ := strconv.ParseFloat(m[3], 64)
		found.decisions = append(found.decisions, decision{m[1], ns, allocs})
	}
	if len(found.late) == 0 || len(found.affinity) == 0 || len(found.decisions) == 0 {
		return fmt.Errorf("the tests of package route gave no figures:\n%s%s", simulated, timed)
	}
	r.routing = found
	return nil
}

// decisionLine is that of a policy: its processor time, for the machine may have other things to do, and its allocations.
var decisionLine = regexp.MustCompile(`(?m)^BenchmarkChoose/(\w+)\S*\s.*?([0-9.]+) cpu-ns/op.*?([0-9.]+) allocs/op`)

// goTest runs tests or benchmarks of a package.
func goTest(ctx context.Context, pkg string, args ...string) (string, error) {
	return goTestWith(ctx, nil, pkg, args...)
}

// goTestWith does so with more in the environment.
func goTestWith(ctx context.Context, more []string, pkg string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1"}, append(args, pkg)...)...)
	cmd.Env = append(os.Environ(), more...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

func (r *results) writeRoute(p printer) {
	p("## Routing: who is asked\n")
	p("Simulated, on a clock of its own, with the router's own code: eight servers with 16 slots each, two of them 40 %% slower; prompts")
	p("and answers as long as in published traces of chats, in bursts, for two hours. Seconds to the first token at p99, at a share of")
	p("what all servers can do, and against other policies with the same calls; medians of five runs [least-most], seeds from %s", r.routing.seed)
	p("(`PENSTOCK_SEED` sets another). Ceilings: 0.9 of least requests (0.95 where slots are not known), 0.2 of round robin. From two")
	p("thirds on round robin gives the slow servers more than they can do: then its times say how long the run was, and no more.\n")
	p("| capacity used | policy | p99 | to least requests | to round robin |")
	p("| --- | --- | --- | --- | --- |")
	for _, row := range r.routing.late {
		p("%s", row)
	}
	p("\nThe same at 70 %% with 40 beginnings of 4,000 tokens that prompts share, of which a server keeps eight:\n")
	p("| | p50 | p99 |")
	p("| --- | --- | --- |")
	for _, row := range r.routing.affinity {
		p("%s", row)
	}
	p("\nA decision among eight targets with its record, for a prompt of 8,000 bytes; ceilings %d ns and %d allocations:\n", ceilingDecision, ceilingAllocs)
	p("| policy | CPU ns | allocations |")
	p("| --- | --- | --- |")
	for _, d := range r.routing.decisions {
		p("| %s | %.0f | %.0f |", d.policy, d.ns, d.allocs)
	}
	p("")
}
