// Command bench compares Penstock with a plain reverse proxy: processor time per request, latency at a fixed rate, memory
// over many requests, and whether records are lost when it is driven beyond what it can do. It also compares calls that are
// translated with calls that are passed on, and measures how targets are chosen and what limits and budgets cost. The ceilings
// that it checks are promises of the project.
//
// It starts everything itself, each part as a process of its own on the loopback interface: a provider that answers at
// once (package mock), the plain proxy, and bin/penstock without records, with records in a file, and with records in a
// PostgreSQL server of the run's own. Figures are ratios within one run,
// because absolute ones move with the machine. It is not a tool for measuring a Penstock of yours: that is
// `penstock bench`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Options are the command line.
type options struct {
	role, upstream string // of a child
	binary         string
	only           []string
	stores         []string
	rounds         int
	round          time.Duration
	conns          int
	rate           float64
	requests       int64
	overload       time.Duration
	check          bool
	write          string
	command        string // how to repeat the run
}

// The parts that -only chooses from.
var parts = []string{"cpu", "latency", "memory", "lost", translatePart, routePart, limitsPart}

func parse(args []string) (options, error) {
	var o options
	var only, stores string
	var write bool
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.role, "role", "", "internal: be one of the processes (mock, proxy)")
	f.StringVar(&o.upstream, "upstream", "", "internal: where the proxy sends to")
	f.StringVar(&o.binary, "bin", "bin/penstock", "the program to measure")
	f.StringVar(&only, "only", strings.Join(parts, ","), "parts to run")
	f.StringVar(&stores, "store", "sqlite,postgres", "engines of the store; a PostgreSQL server is started for the second if its programs are here")
	f.IntVar(&o.rounds, "rounds", 5, "rounds, in each of which every target has its turn")
	f.DurationVar(&o.round, "for", 2*time.Second, "how long a turn is")
	f.IntVar(&o.conns, "conns", 64, "connections of the closed loop")
	f.Float64Var(&o.rate, "rate", 500, "requests a second of the latency part")
	f.Int64Var(&o.requests, "requests", 200_000, "requests of the memory part")
	f.DurationVar(&o.overload, "overload", 10*time.Second, "how long the part on lost records drives Penstock")
	f.BoolVar(&o.check, "check", false, "fail if a ceiling is missed")
	f.BoolVar(&write, "write", false, "write the results to docs/benchmarks.md; of a run of some parts, these parts only")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.only = strings.Split(only, ",")
	for _, part := range o.only {
		if !slices.Contains(parts, part) {
			return o, fmt.Errorf("-only %s: there is no part %q (there are %s)", only, part, strings.Join(parts, ", "))
		}
	}
	o.stores = strings.Split(stores, ",")
	for _, engine := range o.stores {
		if engine != "sqlite" && engine != "postgres" {
			return o, fmt.Errorf("-store %s: there is no engine %q (there are sqlite, postgres)", stores, engine)
		}
	}
	if !slices.Contains(o.stores, "sqlite") {
		o.stores = append(o.stores, "sqlite") // what all else is compared with
	}
	if o.rounds < 1 || o.conns < 1 || o.round <= 0 || o.rate <= 0 || o.requests < 1 || o.overload <= 0 {
		return o, errors.New("rounds, times, rates and counts must be above 0")
	}
	if write {
		o.write = "docs/benchmarks.md"
	}
	o.command = strings.Join(append([]string{"go run ./bench"}, withoutWrite(args)...), " ")
	return o, nil
}

// withoutWrite leaves out the flag that makes no difference to the figures.
func withoutWrite(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.TrimLeft(a, "-") == "write" })
}

func run(args []string) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.role != "" {
		return beChild(ctx, o)
	}
	r, err := measure(ctx, o)
	if err != nil {
		return err
	}
	fmt.Print("\n", r.page(""))
	if o.write != "" {
		if err := r.update(o.write); err != nil {
			return err
		}
	}
	if missed := r.missed(); o.check && len(missed) > 0 {
		return fmt.Errorf("missed:\n  %s", strings.Join(missed, "\n  "))
	}
	return nil
}
