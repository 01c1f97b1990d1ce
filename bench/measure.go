package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/penstock/penstock/bench/load"
	"github.com/penstock/penstock/internal/store/pgtest"
)

const (
	// warmUp comes before the first round of a workload: connections, pools and heap find their size.
	warmUp = time.Second
	// settle is how long a process may go on working after a turn; what it uses then counts as well.
	settle = 3 * time.Second
	// latencyRound is how long a target has its turn at the fixed rate.
	latencyRound = 3 * time.Second
	// overloadConns is far more than the machine can serve at once.
	overloadConns = 256
	// catchUp is how long records may take to be in the store after the last answer.
	catchUp = 2 * time.Minute
)

// measure starts the targets and runs the parts that were asked for.
func measure(ctx context.Context, o options) (*results, error) {
	dir, err := os.MkdirTemp("", "penstock-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	database, end, err := startDatabase(o)
	if err != nil {
		return nil, err
	}
	defer end()
	ctx, cancel := context.WithCancel(ctx)
	r := &results{options: o}
	defer func() {
		cancel()
		for _, t := range append(r.targets, r.translator, r.bare, r.limited) {
			if t != nil {
				t.process.Stop()
			}
		}
	}()
	if err := r.start(ctx, dir, database); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		name string
		run  func(context.Context, *results) error
	}{{"cpu", measureCPU}, {"latency", measureLatency}, {"memory", measureMemory}, {"lost", measureLost}, {translatePart, measureTranslation}, {routePart, measureRoute}, {limitsPart, measureLimits}} {
		if !slices.Contains(o.only, part.name) {
			continue
		}
		if err := part.run(ctx, r); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return r, nil
}

// start starts what the parts that were asked for need.
func (r *results) start(ctx context.Context, dir, database string) error {
	address, err := startMock(ctx, dir)
	if err != nil {
		return err
	}
	if compares(r.options) {
		if r.targets, err = startTargets(ctx, r.options, dir, address, database); err != nil {
			return err
		}
	}
	if slices.Contains(r.options.only, translatePart) {
		if r.translator, err = startTranslator(ctx, r.options, filepath.Join(dir, "translate"), address); err != nil {
			return err
		}
	}
	if slices.Contains(r.options.only, limitsPart) {
		r.bare, r.limited, err = startLimited(ctx, r.options, filepath.Join(dir, "limits"), address)
	}
	return err
}

// compares reports whether there is a part that needs the plain proxy and the Penstocks beside it.
func compares(o options) bool {
	return slices.ContainsFunc(o.only, func(part string) bool { return !slices.Contains([]string{translatePart, routePart, limitsPart}, part) })
}

// startDatabase starts a PostgreSQL server, if one is to be measured and its programs are here.
func startDatabase(o options) (address string, end func(), err error) {
	if !slices.Contains(o.stores, "postgres") || !compares(o) {
		return "", func() {}, nil
	}
	server, end, err := pgtest.Start("fsync=on", "full_page_writes=on", "shared_buffers=256MB")
	if errors.Is(err, pgtest.ErrNone) {
		say("LEFT OUT: records in PostgreSQL: %v", err)
		return "", func() {}, nil
	}
	if err != nil {
		return "", nil, err
	}
	return server.URL("postgres"), end, nil
}

// say tells whoever waits what is going on.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// measureCPU takes turns between the targets, for each workload.
func measureCPU(ctx context.Context, r *results) error {
	for _, w := range workloads {
		for round := range r.options.rounds + 1 {
			for _, t := range r.targets {
				d := r.options.round
				if round == 0 {
					d = warmUp
				}
				turn, err := t.turn(ctx, w, r.options.conns, d)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", w.name, t.name, err)
				}
				if round == 0 {
					continue
				}
				r.cpu = append(r.cpu, turn)
				say("%-20s round %d  %-22s %7.1f µs CPU a request  %8.0f answers/s", w.name, round, t.name, turn.micros, turn.rate)
			}
		}
	}
	return nil
}

// turn drives the target in a closed loop and reads what it used for it.
func (t *target) turn(ctx context.Context, w workload, conns int, d time.Duration) (turn, error) {
	call, err := t.call(w)
	if err != nil {
		return turn{}, err
	}
	return t.drive(ctx, call, turn{target: t.name, workload: w.name}, conns, d)
}

// drive makes the calls of a turn.
func (t *target) drive(ctx context.Context, call *load.Call, as turn, conns int, d time.Duration) (turn, error) {
	before, err := t.process.Quiet(ctx, settle)
	if err != nil {
		return turn{}, err
	}
	seen, err := load.For(ctx, t.addr, call, conns, d)
	t.sent += seen.Answers
	if err != nil {
		return turn{}, err
	}
	after, err := t.process.Quiet(ctx, settle)
	as.micros, as.rate = float64((after-before).Microseconds())/float64(seen.Answers), seen.Rate()
	return as, err
}

// measureLatency takes turns at a fixed rate.
func measureLatency(ctx context.Context, r *results) error {
	for round := range r.options.rounds {
		for _, t := range r.targets {
			call, err := t.call(workloads[0])
			if err != nil {
				return err
			}
			seen, err := load.At(ctx, t.addr, call, r.options.conns, r.options.rate, latencyRound)
			t.sent += seen.Answers
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			p50, p99 := seen.Quantile(50), seen.Quantile(99)
			r.latency = append(r.latency, delay{t.name, p50, p99})
			say("%.0f requests/s       round %d  %-22s p50 %s  p99 %s", r.options.rate, round+1, t.name, p50, p99)
		}
	}
	return nil
}

// memorySteps is how often memory is looked at.
const memorySteps = 8

// measureMemory sends many requests to the Penstock with records and looks at its memory on the way.
func measureMemory(ctx context.Context, r *results) error {
	t := r.find(onName)
	call, err := t.call(workloads[1])
	if err != nil {
		return err
	}
	for step := range memorySteps {
		seen, err := load.Count(ctx, t.addr, call, r.options.conns, r.options.requests/memorySteps)
		t.sent += seen.Answers
		if err != nil {
			return err
		}
		m, err := t.process.Memory()
		if err != nil {
			return err
		}
		r.memory = append(r.memory, m)
		say("memory after %d requests: %.1f MB resident, %.1f MB of it heap and stacks", int64(step+1)*r.options.requests/memorySteps,
			mega(m.Resident), mega(m.Anon))
	}
	return nil
}

// measureLost drives Penstock with more connections than it can serve at once, and compares the rows in the store with all
// that it has answered since it was started.
func measureLost(ctx context.Context, r *results) error {
	t := r.find(onName)
	call, err := t.call(workloads[0])
	if err != nil {
		return err
	}
	seen, err := load.For(ctx, t.addr, call, overloadConns, r.options.overload)
	t.sent += seen.Answers
	if err != nil {
		return err
	}
	begin := time.Now()
	var rows int64
	for rows < t.sent && time.Since(begin) < catchUp {
		if rows, err = t.records(ctx); err != nil {
			return err
		}
		if rows < t.sent {
			if err := pause(ctx, 500*time.Millisecond); err != nil {
				return err
			}
		}
	}
	r.lost = &lost{answered: t.sent, rows: rows, behind: time.Since(begin), overload: seen.Rate()}
	say("overload: %.0f answers/s; %d answered in all, %d records, the last %.1f s later", seen.Rate(), t.sent, rows, r.lost.behind.Seconds())
	return nil
}

// pause waits, or ends with the context.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func mega(bytes int64) float64 { return float64(bytes) / (1 << 20) }
