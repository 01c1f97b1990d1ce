package idempotency

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/purge"
	"github.com/penstock/penstock/internal/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// replicas makes keepers that share a store and a key ring.
func replicas(t testing.TB, n int, log *bytes.Buffer) (all []*Keeper, m *memory) {
	t.Helper()
	ring, _, err := seal.Open(filepath.Join(t.TempDir(), "keyring.json"))
	if err == nil {
		err = ring.EnsureKey(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	m = &memory{rows: map[name]*kept{}}
	for range n {
		k, err := NewKeeper(Options{Store: m, Ring: ring, Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	return all, m
}

var ids atomic.Int64

// an exchange of a project that was sent to a provider.
func exchange(project string) *pipeline.Exchange {
	return &pipeline.Exchange{
		ID: fmt.Sprint("ex_", ids.Add(1)), Received: time.Now(), Caller: &pipeline.Caller{Project: project},
		Tries: []pipeline.Try{{Outcome: pipeline.SettledActual}},
	}
}

func (k *Keeper) of(project, key, body string) *Call {
	return k.Call(exchange(project), key, []byte(body))
}

// first begins a call that must be the first.
func first(t *testing.T, c *Call) *Call {
	t.Helper()
	if resp, err := c.Begin(t.Context()); resp != nil || err != nil || !c.Claimed() {
		t.Fatalf("not the first: %v, %v", resp, err)
	}
	return c
}

func code(err error) fault.Code {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

var said = &Answer{Status: 200, Header: [][2]string{{"Content-Type", "application/json"}}, Body: []byte("{}"), Target: llm.Target{Provider: "p", Model: "m"}}

// TestCalls: what becomes of a call with a key, by what became of the first, at the same replica and at another.
func TestCalls(t *testing.T) {
	t.Parallel()
	stateless := exchange("prj")
	stateless.Caller = &pipeline.Caller{Project: "prj", Stateless: true}
	for what, c := range map[string]struct {
		first func(t *testing.T, k *Keeper)
		body  string
		want  fault.Code
	}{
		"none":      {func(*testing.T, *Keeper) {}, "b", ""},
		"answered":  {func(t *testing.T, k *Keeper) { first(t, k.of("prj", "k", "b")).Settle(t.Context(), said) }, "b", ""},
		"elsewhere": {func(t *testing.T, k *Keeper) { first(t, k.of("other", "k", "b")).Settle(t.Context(), said) }, "b", ""},
		"mismatch":  {func(t *testing.T, k *Keeper) { first(t, k.of("prj", "k", "b")).Settle(t.Context(), said) }, "c", fault.KeyReused},
		"meanwhile": {func(t *testing.T, k *Keeper) { first(t, k.of("prj", "k", "b")) }, "c", fault.KeyReused},
		"returned":  {func(t *testing.T, k *Keeper) { first(t, k.of("prj", "k", "c")).Return(t.Context()) }, "b", ""},
		"too large": {func(t *testing.T, k *Keeper) {
			first(t, k.of("prj", "k", "b")).Settle(t.Context(), &Answer{Status: 200, Over: true})
		}, "b", fault.KeyUnkept},
		"panicked": {func(t *testing.T, k *Keeper) { first(t, k.of("prj", "k", "b")).End(t.Context()) }, "b", fault.KeyOutcomeUnknown},
		"unsent": {func(t *testing.T, k *Keeper) {
			c := first(t, k.of("prj", "k", "b"))
			c.x.Tries = nil
			c.End(t.Context())
		}, "b", ""},
		"stateless": {func(t *testing.T, k *Keeper) {
			first(t, k.Call(stateless, "k", []byte("b"))).Settle(t.Context(), said)
		}, "b", fault.KeyUnkept},
		"died": {func(t *testing.T, k *Keeper) { first(t, k.of("prj", "k", "b")) }, "b", fault.KeyOutcomeUnknown},
		"a day": {func(t *testing.T, k *Keeper) {
			first(t, k.of("prj", "k", "c")).Settle(t.Context(), said)
			time.Sleep(KeepFor)
		}, "b", ""},
		"not yet": {func(t *testing.T, k *Keeper) {
			first(t, k.of("prj", "k", "c")).Settle(t.Context(), said)
			time.Sleep(KeepFor - 1)
		}, "b", fault.KeyReused},
		"the same": {func(t *testing.T, k *Keeper) {
			first(t, k.of("prj", "k", "b")).Settle(t.Context(), said)
			time.Sleep(KeepFor - 1)
		}, "b", ""},
	} {
		for _, at := range []int{0, 1} {
			if what == "died" && at == 0 {
				continue // it has no other half that could wait
			}
			t.Run(fmt.Sprint(what, at), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					all, m := replicas(t, 2, new(bytes.Buffer))
					c.first(t, all[0])
					claims := m.claims
					call := all[at].of("prj", "k", c.body)
					resp, err := call.Begin(t.Context())
					if code(err) != c.want {
						t.Fatalf("%v", err)
					}
					replays := what == "answered" || what == "the same"
					if a, _ := call.Replay(); (a != nil) != replays || (resp != nil) != replays || call.Claimed() != (c.want == "" && !replays) {
						t.Errorf("%v %v, claimed %v", resp, a, call.Claimed())
					}
					if err != nil && m.claims != claims {
						t.Error("the key was claimed again")
					}
					call.End(t.Context())
				})
			})
		}
	}
}

// TestTwins: of any number at any replicas one runs, however long, and all others have its answer or, after their patience, are
// told to come again; if the first gives its key back, one of them runs.
func TestTwins(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		runs := time.Duration(rapid.IntRange(0, 100).Draw(rt, "seconds")) * time.Second
		returns := rapid.IntRange(0, 2).Draw(rt, "given back")
		starts := rapid.SliceOfN(rapid.IntRange(0, 60000), 1, 20).Draw(rt, "milliseconds")
		synctest.Test(t, func(t *testing.T) {
			all, m := replicas(t, 3, new(bytes.Buffer))
			ctx, stop := context.WithCancel(t.Context())
			var group, workers sync.WaitGroup
			for _, k := range all {
				workers.Go(func() { _ = k.Renew(ctx) })
			}
			var running, ran atomic.Int64
			for i, at := range starts {
				group.Go(func() {
					time.Sleep(time.Duration(at)*time.Millisecond + time.Duration(i))
					begun := time.Now()
					c := all[i%3].of("prj", "k", "b")
					resp, err := c.Begin(t.Context())
					switch {
					case c.Claimed():
						if running.Add(1) > 1 {
							rt.Error("two run at once")
						}
						n := ran.Add(1)
						time.Sleep(runs)
						running.Add(-1)
						if n <= int64(returns) {
							c.Return(t.Context())
						} else {
							c.Settle(t.Context(), said)
						}
					case resp == nil && code(err) != fault.KeyBusy, err != nil && fault.From(err).RetryAfter == 0, time.Since(begun) > patience:
						rt.Errorf("%v after %v", err, time.Since(begun))
					}
				})
			}
			group.Wait()
			stop()
			workers.Wait()
			if n := ran.Load(); n < 1 || n > int64(returns)+1 || m.claims != int(n) {
				rt.Errorf("%d ran, %d claims", n, m.claims)
			}
			for _, k := range all {
				if len(k.here) != 0 || len(k.claims) != 0 || k.waiting != 0 {
					rt.Errorf("left behind: %d, %d, %d", len(k.here), len(k.claims), k.waiting)
				}
			}
		})
	})
}

// TestManyWait: more than may wait are told to come again at once.
func TestManyWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all, _ := replicas(t, 1, new(bytes.Buffer))
		c := first(t, all[0].of("prj", "k", "b"))
		var group sync.WaitGroup
		var refused atomic.Int64
		for range mostWaiting + 7 {
			group.Go(func() {
				if _, err := all[0].of("prj", "k", "b").Begin(t.Context()); code(err) == fault.KeyBusy {
					refused.Add(1)
				}
			})
		}
		synctest.Wait()
		if n := refused.Load(); n != 7 {
			t.Errorf("%d are refused", n)
		}
		c.Settle(t.Context(), said)
		group.Wait()
		if n := refused.Load(); n != 7 {
			t.Errorf("%d were refused", n)
		}
	})
}

// TestStoreAway: nobody runs who does not know that nobody did; who cannot keep an answer has given it all the same.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		all, m := replicas(t, 1, &log)
		m.fails = errors.New("away")
		_, err := all[0].of("prj", "k", "b").Begin(t.Context())
		if f := fault.From(err); f.Code != fault.KeyUnavailable || f.HTTPStatus() != http.StatusServiceUnavailable || f.RetryAfter == 0 {
			t.Errorf("%v", err)
		}
		m.unsure = true // it takes the claim, and cannot say so
		if _, err = all[0].of("prj", "k", "b").Begin(t.Context()); code(err) != fault.KeyUnavailable {
			t.Errorf("%v", err)
		}
		m.fails, m.unsure = nil, false
		c := first(t, all[0].of("prj", "k", "b")) // it was taken back
		m.fails = errors.New("away")
		c.Settle(t.Context(), said)
		m.fails = nil
		if _, err = all[0].of("prj", "k", "b").Begin(t.Context()); code(err) != fault.KeyOutcomeUnknown {
			t.Errorf("%v", err)
		}
		if n := testutil.ToFloat64(all[0].calls.WithLabelValues("unsettled")); n != 1 || !bytes.Contains(log.Bytes(), []byte("could not be kept")) {
			t.Errorf("%v, %s", n, &log)
		}
	})
}

// TestLeavers: a call that waits ends with its client; one that has its key goes on, for a minute, with 63 others, and until it is cut.
func TestLeavers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all, _ := replicas(t, 1, new(bytes.Buffer))
		c := first(t, all[0].of("prj", "k", "b"))
		client, leave := context.WithCancel(t.Context())
		ctx, end := all[0].of("prj", "k", "b").Stay(client, nil)
		time.AfterFunc(time.Second, leave)
		if _, err := all[0].of("prj", "k", "b").Begin(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a twin that left: %v", err)
		}
		end()

		client, leave = context.WithCancel(t.Context())
		ctx, end = c.Stay(client, nil)
		begun := time.Now()
		leave()
		<-ctx.Done()
		if took := time.Since(begun); took != stayFor {
			t.Errorf("it went on for %v", took)
		}
		end()

		cut := make(chan struct{})
		contexts := make([]context.Context, 0, mostStaying+1)
		for i := range mostStaying + 1 {
			client, leave := context.WithCancel(t.Context())
			ctx, end := first(t, all[0].of("prj", fmt.Sprint("l", i), "b")).Stay(client, cut)
			defer end()
			leave()
			synctest.Wait()
			contexts = append(contexts, ctx)
		}
		for i, ctx := range contexts {
			if (ctx.Err() != nil) != (i == mostStaying) {
				t.Errorf("client %d: %v", i, ctx.Err())
			}
		}
		close(cut)
		synctest.Wait()
		if f := fault.From(context.Cause(contexts[0])); f.Code != fault.ShuttingDown {
			t.Errorf("cut: %v", f)
		}
		stopped, stop := context.WithCancelCause(t.Context())
		ctx, end = c.Stay(stopped, cut)
		defer end()
		stop(fault.New(fault.Stopped, "An operator did."))
		<-ctx.Done()
		if f := fault.From(context.Cause(ctx)); f.Code != fault.Stopped {
			t.Errorf("stopped: %v", f)
		}
	})
}

// TestFinal is which errors are a key's for good.
func TestFinal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		outcomes []pipeline.Outcome
		status   int
		final    bool
	}{
		{nil, 503, false}, {nil, 400, false},
		{[]pipeline.Outcome{pipeline.Released}, 429, false}, {[]pipeline.Outcome{pipeline.Released}, 503, false},
		{[]pipeline.Outcome{pipeline.Released}, 502, false}, {[]pipeline.Outcome{pipeline.Released}, 504, false}, {[]pipeline.Outcome{pipeline.Released}, 408, false},
		{[]pipeline.Outcome{pipeline.Released}, 400, true}, {[]pipeline.Outcome{pipeline.Released}, 404, true},
		{[]pipeline.Outcome{pipeline.Unknown}, 504, true}, {[]pipeline.Outcome{pipeline.Released, pipeline.Unknown}, 429, true},
		{[]pipeline.Outcome{pipeline.SettledEstimated, pipeline.Released}, 503, true},
	} {
		call := &Call{x: &pipeline.Exchange{}}
		for _, o := range c.outcomes {
			call.x.Tries = append(call.x.Tries, pipeline.Try{Outcome: o})
		}
		if got := call.Final(&fault.Error{Status: c.status}); got != c.final {
			t.Errorf("%v %d: %v", c.outcomes, c.status, got)
		}
	}
}

// TestSealed: an answer opens as what it was, and as that of no other key, project or request.
func TestSealed(t *testing.T) {
	t.Parallel()
	all, _ := replicas(t, 1, new(bytes.Buffer))
	rapid.Check(t, func(t *rapid.T) {
		a := Answer{Status: rapid.IntRange(200, 599).Draw(t, "status"), Stream: rapid.Bool().Draw(t, "stream"), Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"), Code: "c", Message: rapid.String().Draw(t, "message")}
		a.Header = [][2]string{{"Content-Type", "text/event-stream"}}
		row := all[0].seal(name{"prj", "k"}, &a)
		row.Project, row.Key = "prj", "k"
		if len(a.Body) > 8 && bytes.Contains(row.Sealed, a.Body) {
			t.Error("it is in clear")
		}
		got, _, err := all[0].open(row)
		if err != nil || got.Status != a.Status || got.Stream != a.Stream || !bytes.Equal(got.Body, a.Body) || got.Header[0] != a.Header[0] {
			t.Fatalf("%+v: %+v, %v", a, got, err)
		}
		for _, n := range []name{{"prj", "l"}, {"other", "k"}, {"pr", "jk"}} {
			row.Project, row.Key = n.project, n.key
			if _, _, err := all[0].open(row); code(err) != fault.KeyUnkept {
				t.Errorf("opens as %v: %v", n, err)
			}
		}
	})
}

// TestAnswersThatDoNotOpen: what only this replica cannot read, another can, and it is asked for again; what nobody can read is said to be
// so for good. Neither runs again.
func TestAnswersThatDoNotOpen(t *testing.T) {
	t.Parallel()
	newer := func(all []*Keeper, r *Row) {
		plain, err := all[0].o.Ring.Unseal(nil, r.Sealed, bound(name{r.Project, r.Key}))
		if err == nil {
			plain[0] = format + 1
			r.Sealed, err = all[0].o.Ring.Seal(nil, plain, bound(name{r.Project, r.Key}))
		}
		if err != nil {
			t.Error(err)
		}
	}
	for what, c := range map[string]struct {
		change  func(all []*Keeper, r *Row)
		code    fault.Code
		says    string
		outcome string
	}{
		"by a newer version": {newer, fault.KeyUnavailable, "newer Penstock", "unavailable"},
		"sealed by a newer":  {func(_ []*Keeper, r *Row) { r.Sealed[0]++ }, fault.KeyUnavailable, "newer Penstock", "unavailable"},
		"changed":            {func(_ []*Keeper, r *Row) { r.Sealed[len(r.Sealed)-1] ^= 1 }, fault.KeyUnkept, "cannot be opened", "garbled"},
		"cut":                {func(_ []*Keeper, r *Row) { r.Sealed = r.Sealed[:len(r.Sealed)/2] }, fault.KeyUnkept, "cannot be opened", "garbled"},
		"gone":               {func(_ []*Keeper, r *Row) { r.Sealed = nil }, fault.KeyUnkept, "cannot be opened", "garbled"},
	} {
		all, m := replicas(t, 1, new(bytes.Buffer))
		first(t, all[0].of("prj", "k", "b")).Settle(t.Context(), said)
		for _, r := range m.rows {
			c.change(all, &r.Row)
		}
		call := all[0].of("prj", "k", "b")
		resp, err := call.Begin(t.Context())
		f := fault.From(err)
		if resp != nil || f.Code != c.code || !strings.Contains(f.Message, c.says) || call.Claimed() || m.claims != 1 {
			t.Errorf("%s: %v, %v, claimed %v", what, resp, err, call.Claimed())
		}
		if again := c.code == fault.KeyUnavailable; f.Spent == again || (f.RetryAfter > 0) != again || f.HTTPStatus() != map[bool]int{true: 503, false: 409}[again] {
			t.Errorf("%s: %d, after %v, for good: %v", what, f.HTTPStatus(), f.RetryAfter, f.Spent)
		}
		for _, outcome := range []string{"unavailable", "garbled", "unkept", "replayed"} {
			if n := testutil.ToFloat64(all[0].calls.WithLabelValues(outcome)); (n == 1) != (outcome == c.outcome) {
				t.Errorf("%s: %v are counted as %s", what, n, outcome)
			}
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{format})
	all, _ := replicas(f, 1, new(bytes.Buffer))
	packed, _ := said.pack()
	f.Add(all[0].encoder.EncodeAll(packed, []byte{format}))
	f.Add(all[0].encoder.EncodeAll([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, []byte{format}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := unpack(b); err == nil && (a.Status < 200 || a.Status > 599) {
			t.Errorf("%+v", a)
		}
	})
}

func TestPurge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all, m := replicas(t, 1, new(bytes.Buffer))
		for i := range 50 {
			first(t, all[0].of("prj", fmt.Sprint("k", i), "b")).Settle(t.Context(), said)
			time.Sleep(time.Minute)
		}
		ctx, stop := context.WithCancel(t.Context())
		var worker sync.WaitGroup
		worker.Go(func() { _ = all[0].Run(ctx) })
		left := func(want int) {
			t.Helper()
			synctest.Wait()
			m.set(func() {
				if len(m.rows) != want {
					t.Errorf("%d are left, want %d", len(m.rows), want)
				}
			})
		}
		time.Sleep(time.Minute)
		left(50)
		m.set(func() { m.other = true })
		time.Sleep(2 * KeepFor)
		left(50)
		m.set(func() { m.other = false })
		time.Sleep(2 * purge.Every)
		left(0)
		stop()
		worker.Wait()
	})
}
