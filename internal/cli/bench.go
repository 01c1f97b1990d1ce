package cli

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/figure"
)

// A benchFlags says what load is put on.
type benchFlags struct {
	callerFlags
	rate        float64
	concurrency int
	length      time.Duration
	stream      bool
	promptBytes int
	maxTokens   int
	json        bool
}

// A benchResult is what came of a load. Times are nanoseconds.
type benchResult struct {
	Requests  int64            `json:"requests"`
	Cut       int64            `json:"cut"` // open when the load was ended by hand; they are in no other figure
	Errors    map[string]int64 `json:"errors"`
	Seconds   float64          `json:"seconds"`
	PerSecond float64          `json:"per_second"`
	Took      map[string]int64 `json:"took_ns"`
	First     map[string]int64 `json:"first_token_ns,omitempty"` // of streams
}

func (a *app) benchCommand() *cobra.Command {
	f := &benchFlags{}
	c := &cobra.Command{
		Use:   "bench MODEL",
		Short: "Put load on a model, check every answer, and print the distribution of times",
		Long: `Put load on a model, check every answer, and print the distribution of times.

With --rate calls start on a schedule, and time counts from when each was due, so that a stall is
not hidden by the calls that it held up. Without it, --concurrency callers go one after another.`,
		Example: "  penstock bench gpt-5-mini --rate 50 --for 30s\n  penstock bench gpt-5-mini --concurrency 64 --stream",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			base, key, err := a.caller(&f.callerFlags)
			if err != nil {
				return err
			}
			if f.concurrency < 1 || f.length <= 0 || f.rate < 0 || f.promptBytes < 1 {
				return fail(exitUsage, "see: penstock bench --help", "--concurrency, --for and --prompt-bytes must be positive, --rate not negative")
			}
			return a.bench(cmd.Context(), f, base, key, args[0])
		},
	}
	f.add(c)
	c.Flags().Float64Var(&f.rate, "rate", 0, "calls a second, on a schedule (0: closed loop)")
	c.Flags().IntVar(&f.concurrency, "concurrency", 16, "callers in a closed loop; most calls open at once with --rate is 64 times this")
	c.Flags().DurationVar(&f.length, "for", 10*time.Second, "how long")
	c.Flags().BoolVar(&f.stream, "stream", false, "stream the answers")
	c.Flags().IntVar(&f.promptBytes, "prompt-bytes", 1000, "length of the prompt")
	c.Flags().IntVar(&f.maxTokens, "max-tokens", 64, "most tokens of an answer")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return c
}

// A tally gathers hits; it is safe for concurrent use.
type tally struct {
	mu     sync.Mutex // guards the fields below
	took   *hdrhistogram.Histogram
	first  *hdrhistogram.Histogram
	errors map[string]int64
	n      int64
	cut    int64 // by our own end
}

func newTally() *tally {
	const most = int64(10 * time.Minute)
	return &tally{took: hdrhistogram.New(1, most, 3), first: hdrhistogram.New(1, most, 3), errors: map[string]int64{}}
}

// add counts a call. One that failed because ctx has ended says nothing about the other side.
func (t *tally) add(ctx context.Context, h hit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.err != nil && ctx.Err() != nil {
		t.cut++
		return
	}
	t.n++
	if h.err != nil {
		t.errors[h.err.Error()]++
		return
	}
	_ = t.took.RecordValue(int64(h.took)) // a time over ten minutes is not in the picture
	if h.first > 0 {
		_ = t.first.RecordValue(int64(h.first))
	}
}

func (a *app) bench(ctx context.Context, f *benchFlags, base, key, model string) error {
	shot := chatShot(key, model, words(f.promptBytes), f.stream, f.maxTokens)
	g := newGunner(base, f.concurrency*64)
	defer g.close()
	tally := newTally()
	begun := time.Now()
	until, cancel := context.WithTimeout(ctx, f.length)
	defer cancel()
	stop := a.progress(begun, f.length, func() string {
		tally.mu.Lock()
		defer tally.mu.Unlock()
		return fmt.Sprintf("%s requests, %d errors", figure.Count(tally.n), errorCount(tally.errors))
	})
	if f.rate > 0 {
		openLoop(ctx, until, g, shot, f, tally)
	} else {
		closedLoop(ctx, until, g, shot, f.concurrency, tally)
	}
	stop()
	return a.printBench(f, tally, time.Since(begun))
}

// closedLoop lets a number of callers go one after another until the time is over; calls that are open then finish.
func closedLoop(ctx, until context.Context, g *gunner, s *shot, callers int, t *tally) {
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for until.Err() == nil {
				t.add(ctx, g.fire(ctx, s, time.Now()))
			}
		})
	}
	wg.Wait()
}

// openLoop starts calls when they are due, whatever became of the ones before. If too many are open, a call waits, and
// its time counts from when it was due.
func openLoop(ctx, until context.Context, g *gunner, s *shot, f *benchFlags, t *tally) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, f.concurrency*64)
	begun := time.Now()
	for i := 0; ; i++ {
		due := begun.Add(time.Duration(float64(i) / f.rate * float64(time.Second)))
		if !sleepUntil(until, due) {
			break
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue // and find that it is over
		}
		wg.Go(func() {
			defer func() { <-slots }()
			t.add(ctx, g.fire(ctx, s, due))
		})
	}
	wg.Wait()
}

// sleepUntil waits for an instant; it reports false if ctx ended first.
func sleepUntil(ctx context.Context, due time.Time) bool {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func errorCount(errors map[string]int64) (n int64) {
	for _, c := range errors {
		n += c
	}
	return n
}

var quantiles = []struct {
	name string
	q    float64
}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}}

func (a *app) printBench(f *benchFlags, t *tally, took time.Duration) error {
	out := benchResult{
		Requests: t.n, Cut: t.cut, Errors: t.errors, Seconds: took.Seconds(), PerSecond: float64(t.n) / took.Seconds(),
		Took: map[string]int64{},
	}
	type row struct {
		name string
		h    *hdrhistogram.Histogram
	}
	rows := []row{{"whole answer", t.took}}
	if f.stream {
		rows = append(rows, row{"first token", t.first})
		out.First = map[string]int64{}
	}
	for _, q := range quantiles {
		out.Took[q.name] = t.took.ValueAtQuantile(q.q)
		if f.stream {
			out.First[q.name] = t.first.ValueAtQuantile(q.q)
		}
	}
	if f.json {
		if err := a.printJSON(out); err != nil {
			return err
		}
		return benchVerdict(t)
	}
	fmt.Fprintf(a.out, "%s requests in %s, %.1f a second, %d errors.\n", figure.Count(t.n), figure.Duration(took), out.PerSecond, errorCount(t.errors))
	if t.cut > 0 {
		fmt.Fprintf(a.out, "%s more were open when it was interrupted; they are not counted.\n", figure.Count(t.cut))
	}
	tab := table{head: []string{"TIME", "p50", "p90", "p99", "p99.9", "MAX"}, right: []string{"p50", "p90", "p99", "p99.9", "MAX"}}
	for _, row := range rows {
		cells := []string{row.name}
		for _, q := range quantiles {
			cells = append(cells, figure.Duration(time.Duration(row.h.ValueAtQuantile(q.q))))
		}
		tab.add(cells...)
	}
	if err := tab.print(a.out); err != nil {
		return err
	}
	return benchVerdict(t)
}

func benchVerdict(t *tally) error {
	if n := errorCount(t.errors); n > 0 {
		example := ""
		for text := range t.errors {
			example = text
			break
		}
		return fail(exitFailure, "", "%d of %d calls failed, one of them so: %s", n, t.n, example)
	}
	return nil
}

// progress shows how far a long piece of work is: one line redrawn on a terminal, else a plain line every five seconds.
// The function that it returns ends it.
func (a *app) progress(begun time.Time, length time.Duration, state func() string) (stop func()) {
	_, plain := a.env("ACCESSIBLE")
	redraw := a.ttyErr && !plain
	every := 5 * time.Second
	if redraw {
		every = 200 * time.Millisecond
	}
	done := make(chan struct{})
	var ended sync.WaitGroup
	var drawn atomic.Bool
	ended.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				drawn.Store(true)
				a.drawProgress(redraw, time.Since(begun), length, state())
			}
		}
	})
	return func() {
		close(done)
		ended.Wait()
		if redraw && drawn.Load() {
			fmt.Fprint(a.err, "\r\x1b[2K")
		}
	}
}

func (a *app) drawProgress(redraw bool, took, length time.Duration, state string) {
	line := fmt.Sprintf("%.0f s   %s", took.Seconds(), state)
	if length > 0 {
		const cells = 20
		filled := min(int(cells*took/length), cells)
		line += "   [" + bar(filled, cells) + "]"
	}
	if redraw {
		fmt.Fprint(a.err, "\r\x1b[2K"+line)
		return
	}
	fmt.Fprintln(a.err, line)
}

func bar(filled, cells int) string {
	b := make([]byte, cells)
	for i := range b {
		b[i] = ' '
		if i < filled {
			b[i] = '#'
		}
	}
	return string(b)
}

// words makes a prompt of n bytes.
func words(n int) string {
	const text = "water flows through the gate and turns the wheel that lights the town below the hill "
	b := make([]byte, n)
	for i := range b {
		b[i] = text[i%len(text)]
	}
	return string(b)
}
