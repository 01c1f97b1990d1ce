package route

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/admission"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
)

// Whatever fails and how: no more tries than there may be, everybody once before anybody twice, nothing kept, and each try settled once.
func TestTriesAreBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n, most := rapid.IntRange(1, 6).Draw(rt, "targets"), rapid.IntRange(1, 10).Draw(rt, "tries")
		c := &cast{roles: map[string]role{}}
		var names []string
		for i := range n {
			name := fmt.Sprintf("p%d/m", i)
			names = append(names, name)
			c.roles[name] = anyRole(rt, name)
		}
		policy := rapid.SampledFrom(Policies()).Draw(rt, "policy")
		deadline := time.Duration(rapid.SampledFrom([]int{0, 100, 1000, 5000}).Draw(rt, "deadline")) * time.Millisecond
		calls := rapid.IntRange(1, 8).Draw(rt, "calls")
		leaves := time.Duration(rapid.SampledFrom([]int{1, 50, 60_000}).Draw(rt, "leaves")) * time.Millisecond
		synctest.Test(t, func(t *testing.T) {
			s := play(t, c, ModelConfig{Targets: Targets(names...), Route: policy, Tries: most})
			var all sync.WaitGroup
			for i := range calls {
				all.Go(func() {
					x := exchange(100 * i)
					x.ID = strconv.Itoa(i)
					ctx, cancel := context.WithTimeout(t.Context(), leaves)
					defer cancel()
					if deadline > 0 {
						x.Deadline = time.Now().Add(deadline)
					}
					_ = s.call(ctx, x, -1)
					n := 0
					for j := range x.Tries {
						if x.Tries[j].Reason != string(provider.ReasonUnsupported) { // those were not sent
							n++
						}
						if !x.Deadline.IsZero() && x.Received.Add(time.Duration(x.Tries[j].StartNS)).After(x.Deadline) {
							t.Errorf("try %d began after the deadline", j)
						}
					}
					if n > most {
						t.Errorf("%d tries, at most %d", n, most)
					}
				})
			}
			all.Wait()
			synctest.Wait()
			if err := s.rest(); err != nil {
				t.Error(err)
			}
		})
	})
}

// anyRole is one that answers or fails in some way, now or in a while.
func anyRole(rt *rapid.T, name string) role {
	d := time.Duration(rapid.SampledFrom([]int{0, 10, 400}).Draw(rt, name+" takes")) * time.Millisecond
	switch rapid.IntRange(0, 3).Draw(rt, name+" fate") {
	case 0:
		return after(d)
	case 1:
		f := statusIn(rapid.SampledFrom([]int{408, 409, 424, 429, 500, 503, 529}).Draw(rt, name+" status"),
			time.Duration(rapid.SampledFrom([]int{0, 0, 1, 100}).Draw(rt, name+" retry after"))*time.Second)
		return failsAfter(d, f)
	case 2:
		return failsAfter(d, &provider.Failure{
			Reason: rapid.SampledFrom([]provider.Reason{
				provider.ReasonConnect, provider.ReasonCut, provider.ReasonEmpty, provider.ReasonGarbage, provider.ReasonInBand,
				provider.ReasonFirstToken, provider.ReasonUnsupported, provider.ReasonCredential,
			}).Draw(rt, name+" reason"), NothingBilled: true,
		})
	}
	class := rapid.SampledFrom([]provider.Class{provider.ClassQuota, provider.ClassCredential, provider.ClassPermission, provider.ClassContentPolicy}).Draw(rt, name+" class")
	return failsAfter(d, &provider.Failure{Reason: provider.ReasonStatus, Status: 403, Class: class})
}

// TestEverybodyOnceBeforeAnybodyTwice: in the order of the choice.
func TestEverybodyOnceBeforeAnybodyTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refuses := fails(&provider.Failure{Reason: provider.ReasonConnect, NothingBilled: true})
		s := play(t, &cast{roles: map[string]role{"a/m": refuses, "b/m": refuses, "c/m": refuses}}, ModelConfig{Targets: Targets("a/m", "b/m", "c/m"), Tries: 8})
		err := s.call(t.Context(), exchange(10), -1)
		got := s.cast.targets()
		if len(got) != 8 || !slices.Equal(got[:3], []string{"a/m", "b/m", "c/m"}) || fault.From(err).Code != fault.ProviderFailed {
			t.Errorf("%v: %v", got, err)
		}
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
}

// TestALoopInTheConfiguration43: a target stands once, so nothing can come back to where it was.
func TestALoopInTheConfiguration43(t *testing.T) {
	t.Parallel()
	for _, m := range []ModelConfig{
		{Targets: Targets("a/m", "b/m", "a/m")}, {Targets: Targets("a/m"), OnContextLength: []string{"b/m", "b/m"}},
	} {
		if len((Config{"m": m}).Validate()) == 0 {
			t.Errorf("%+v is taken", m)
		}
	}
	synctest.Test(t, func(t *testing.T) { // to itself, for a refusal
		long := fails(&provider.Failure{Reason: provider.ReasonStatus, Status: 400, Class: provider.ClassContextLength, NothingBilled: true})
		s := play(t, &cast{roles: map[string]role{"a/m": long, "b/m": long}},
			ModelConfig{Targets: Targets("a/m"), OnContextLength: []string{"a/m", "b/m"}})
		if err := s.call(t.Context(), exchange(10), -1); fault.From(err).HTTPStatus() != 400 || !slices.Equal(s.cast.targets(), []string{"a/m", "b/m"}) {
			t.Errorf("%v after %v", err, s.cast.targets())
		}
	})
}

// TestRetryAfter40: in all its forms the wait is kept up to retry_wait, the newest of a target decides, and what is too long is told.
func TestRetryAfter40(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 27, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"2": 2 * time.Second, now.Add(3 * time.Second).Format(http.TimeFormat): 3 * time.Second, "-5": 0, "0": 0,
		"1000000000": time.Hour, "soon": 0, now.Add(-time.Hour).Format(http.TimeFormat): 0, now.AddDate(5, 0, 0).Format(http.TimeFormat): time.Hour,
	} {
		got := provider.ParseRetryAfter(http.Header{"Retry-After": {value}}, now)
		if got != want {
			t.Errorf("%s is %v, want %v", value, got, want)
		}
		synctest.Test(t, func(t *testing.T) {
			unwell := statusIn(503, got)
			s := play(t, &cast{roles: map[string]role{"a/m": func(ctx context.Context, n int) (*llm.Response, error) {
				if n == 0 {
					return nil, unwell
				}
				return answers(ctx, n)
			}}}, ModelConfig{Targets: Targets("a/m")})
			begin := time.Now()
			err := s.call(t.Context(), exchange(10), -1)
			took := time.Since(begin)
			if want > defaultRetryWait {
				if e := fault.From(err); e.RetryAfter != want || took != 0 || len(s.cast.calls) != 1 {
					t.Errorf("%s: %v after %v, retry after %v", value, err, took, e.RetryAfter)
				}
				return
			}
			if err != nil || took < want || took > want+200*time.Millisecond {
				t.Errorf("%s: answered after %v: %v", value, took, err)
			}
		})
	}
}

func TestTheNewestRetryAfterDecides40(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		waits := []time.Duration{time.Second, 30 * time.Second}
		s := play(t, &cast{roles: map[string]role{"a/m": func(_ context.Context, n int) (*llm.Response, error) { return nil, statusIn(503, waits[n]) }}},
			ModelConfig{Targets: Targets("a/m")})
		err := s.call(t.Context(), exchange(10), -1)
		if e := fault.From(err); e.Code != fault.ProviderOverload || e.RetryAfter != 30*time.Second || len(s.cast.calls) != 2 {
			t.Errorf("%v, retry after %v, %d calls", err, e.RetryAfter, len(s.cast.calls))
		}
	})
	synctest.Test(t, func(t *testing.T) { // of several targets, the one that is ready first
		c := &cast{roles: map[string]role{"a/m": fails(statusIn(503, 40*time.Second)), "b/m": fails(statusIn(503, 20*time.Second))}}
		s := play(t, c, ModelConfig{Targets: Targets("a/m", "b/m")})
		if e := fault.From(s.call(t.Context(), exchange(10), -1)); e.RetryAfter != 20*time.Second {
			t.Errorf("retry after %v", e.RetryAfter)
		}
	})
	synctest.Test(t, func(t *testing.T) { // 429 is remembered: the next call is not even sent, and is told how long
		c := &cast{roles: map[string]role{"a/m": fails(statusIn(429, 40*time.Second)), "b/m": fails(statusIn(429, 20*time.Second))}}
		s := play(t, c, ModelConfig{Targets: Targets("a/m", "b/m")})
		for range 2 { // each target has two credentials
			_ = s.call(t.Context(), exchange(10), -1)
		}
		sent := len(c.calls)
		x := exchange(10)
		x.ID = "last"
		e := fault.From(s.call(t.Context(), x, -1))
		if e.Code != fault.ProviderLimited || e.RetryAfter < 19*time.Second || e.RetryAfter > 20*time.Second || len(c.calls) != sent {
			t.Errorf("%v, retry after %v, %d calls more", e, e.RetryAfter, len(c.calls)-sent)
		}
	})
}

// TestNoTryStartsThatCannotFinish41: neither a fallback, nor after a wait.
func TestNoTryStartsThatCannotFinish41(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // 4.9 of 5 s are gone, and a first token takes 0.3 s
		s := play(t, &cast{roles: map[string]role{"a/m": failsAfter(4900*time.Millisecond, status(503))}}, ModelConfig{Targets: Targets("a/m", "b/m")})
		x := exchange(10)
		x.Deadline = time.Now().Add(5 * time.Second)
		if err := s.call(t.Context(), x, -1); err == nil || len(s.cast.calls) != 1 {
			t.Errorf("%v, asked %v", err, s.cast.targets())
		}
	})
	synctest.Test(t, func(t *testing.T) { // there is time for the wait, and none for the answer
		s := play(t, &cast{roles: map[string]role{"a/m": fails(statusIn(503, 2900*time.Millisecond))}}, ModelConfig{Targets: Targets("a/m")})
		x := exchange(10)
		x.Deadline = time.Now().Add(3 * time.Second)
		begin := time.Now()
		if e := fault.From(s.call(t.Context(), x, -1)); e.RetryAfter != 2900*time.Millisecond || len(s.cast.calls) != 1 || time.Since(begin) != 0 {
			t.Errorf("%v after %v, asked %v", e, time.Since(begin), s.cast.targets())
		}
	})
	synctest.Test(t, func(t *testing.T) { // there is time
		s := play(t, &cast{roles: map[string]role{"a/m": failsAfter(time.Second, status(503))}}, ModelConfig{Targets: Targets("a/m", "b/m")})
		x := exchange(10)
		x.Deadline = time.Now().Add(5 * time.Second)
		if err := s.call(t.Context(), x, -1); err != nil || len(s.cast.calls) != 2 {
			t.Errorf("%v, asked %v", err, s.cast.targets())
		}
	})
}

func TestBackoffIsFullJitter(t *testing.T) {
	t.Parallel()
	for n, ms := range map[int]int{0: 200, 1: 400, 2: 800, 3: 1600, 4: 2000, 60: 2000} {
		most := time.Duration(ms) * time.Millisecond
		var sum, least, top time.Duration = 0, time.Hour, 0
		const draws = 2000
		for range draws {
			d := backoff(n)
			sum, least, top = sum+d, min(least, d), max(top, d)
		}
		mean := sum / draws
		if top > most || least < 0 || least > most/20 || top < most-most/20 || mean < most*45/100 || mean > most*55/100 {
			t.Errorf("backoff %d is from %v to %v, %v on average; want 0 to %v", n, least, top, mean, most)
		}
	}
}

// TestTheRetryBudget: a fifth of what is under way, three at least, and a tenth of the tokens of ten seconds.
func TestTheRetryBudget(t *testing.T) {
	t.Parallel()
	s := play(t, &cast{}, ModelConfig{Targets: Targets("a/m")})
	u, now := s.upstream("a/m"), time.Now()
	retry := func() bool {
		if !u.allow(now, 100) {
			return false
		}
		u.load.begin(now, 100, 0, true, true)
		u.note(now, 100, true)
		return true
	}
	for i := range 4 {
		if got := retry(); got != (i < 3) {
			t.Errorf("retry %d with nothing under way: %v", i+1, got)
		}
	}
	for range 37 { // 40 under way
		u.load.begin(now, 100, 0, true, false)
		u.note(now, 100, false)
	}
	// 3 are retried of 40. By calls, 8 may be; by tokens only 0.1 * 4000 / 100 = 4.
	if !retry() || retry() {
		t.Errorf("%d are retried of %d", u.load.retries.Load(), u.load.inflight.Load())
	}
	for range 60 {
		u.load.begin(now, 100, 0, true, false)
		u.note(now, 10_000, false)
	}
	for u.load.retries.Load() < 60 && retry() { // tokens are plenty
	}
	if got, of := u.load.retries.Load(), u.load.inflight.Load(); got < of/5-1 || got > of/5 {
		t.Errorf("%d are retried of %d", got, of)
	}
	now = now.Add(11 * time.Second) // the tokens are forgotten
	u.load.inflight.Add(100)
	if u.allow(now, 100) {
		t.Error("what was sent long ago still counts")
	}
}

// TestManyFailuresAreFewRetries: where everybody fails, and all calls would be tried as often as they may be.
func TestManyFailuresAreFewRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := failsAfter(100*time.Millisecond, status(500))
		s := play(t, &cast{roles: map[string]role{"a/m": broken, "b/m": broken}}, ModelConfig{Targets: Targets("a/m", "b/m"), Tries: 10})
		const calls = 500
		var all sync.WaitGroup
		for i := range calls {
			all.Go(func() {
				x := exchange(400)
				x.ID = strconv.Itoa(i)
				_ = s.call(t.Context(), x, -1)
			})
			time.Sleep(5 * time.Millisecond)
		}
		all.Wait()
		// Two for each call are outside of the budget: the first, and its fallback.
		if n := len(s.cast.calls); n > calls*2*12/10 {
			t.Errorf("%d tries for %d calls", n, calls)
		}
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
}

// TestRefusalsGoOnlyToNamedTargets: a prompt that is too long, or that a provider will not have, is not tried elsewhere by itself.
func TestRefusalsGoOnlyToNamedTargets(t *testing.T) {
	t.Parallel()
	for class, named := range map[provider.Class]ModelConfig{
		provider.ClassContextLength: {OnContextLength: []string{"big/m"}},
		provider.ClassContentPolicy: {OnContentPolicy: []string{"big/m"}},
	} {
		refuses := fails(&provider.Failure{Reason: provider.ReasonStatus, Status: 400, Class: class, Body: []byte(`{}`), NothingBilled: true})
		for i, m := range []ModelConfig{{}, named} {
			m.Targets = Targets("a/m", "b/m")
			s := play(t, &cast{roles: map[string]role{"a/m": refuses}}, m)
			err := s.call(t.Context(), exchange(10), -1)
			got := s.cast.targets()
			if i == 0 && (fault.From(err).HTTPStatus() != 400 || !slices.Equal(got, []string{"a/m"})) {
				t.Errorf("%s: %v after %v", class, err, got)
			}
			if i == 1 && (err != nil || !slices.Equal(got, []string{"a/m", "big/m"})) {
				t.Errorf("%s, with a target named for it: %v after %v", class, err, got)
			}
			if got := s.upstream("a/m").health.State(time.Now()); got.Kind != health.Healthy {
				t.Errorf("%s is no illness: %+v", class, got)
			}
		}
	}
}

// TestACredentialWithoutMoneyIsReplaced: the same call is answered with the next one, or by another provider.
func TestACredentialWithoutMoneyIsReplaced42(t *testing.T) {
	t.Parallel()
	for _, class := range []provider.Class{provider.ClassQuota, provider.ClassCredential} {
		broke := &provider.Failure{Reason: provider.ReasonStatus, Status: 429, Class: class, NothingBilled: true}
		c := &cast{}
		c.roles = map[string]role{"a/m": func(ctx context.Context, n int) (*llm.Response, error) {
			if n == 0 {
				return nil, broke
			}
			return answers(ctx, n)
		}}
		s := play(t, c, ModelConfig{Targets: Targets("a/m")})
		for i := range 3 {
			x := exchange(10)
			x.ID = strconv.Itoa(i)
			if err := s.call(t.Context(), x, -1); err != nil {
				t.Errorf("%s: %v", class, err)
			}
		}
		var shown []int
		for _, one := range c.calls {
			shown = append(shown, one.via.Credential)
		}
		outs := s.quotas.Outs()
		if !slices.Equal(shown, []int{0, 1, 1, 1}) || len(outs) != 1 || outs[0].Number != 1 || outs[0].Class != string(class) {
			t.Errorf("%s: shown %v, out %+v", class, shown, outs)
		}
		if s.upstream("a/m").health.State(time.Now()).Kind != health.Healthy {
			t.Errorf("%s is no illness of the target", class)
		}
		all := fails(broke)
		c = &cast{roles: map[string]role{"a/m": all}}
		s = play(t, c, ModelConfig{Targets: Targets("a/m", "b/m")})
		if err := s.call(t.Context(), exchange(10), -1); err != nil || c.targets()[len(c.calls)-1] != "b/m" {
			t.Errorf("%s: %v after %v", class, err, c.targets())
		}
	}
}

// TestNoSlotFree: a call that finds none is refused with the wait, and one that failed before says that instead.
func TestNoSlotFree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cast{roles: map[string]role{"a/m": after(time.Minute)}}
		s := playWithin(t, admission.Options{MinLimit: 1, MaxLimit: 1, MaxWait: [admission.Classes]time.Duration{time.Second, time.Second, time.Second}}, c, ModelConfig{Targets: Targets("a/m")})
		var all sync.WaitGroup
		all.Go(func() { _ = s.call(t.Context(), exchange(10), -1) })
		synctest.Wait()
		x := exchange(10)
		x.ID = "second"
		e := fault.From(s.call(t.Context(), x, -1))
		if e.Code != fault.NoCapacity || e.RetryAfter <= 0 || len(x.Tries) != 0 {
			t.Errorf("%v, retry after %v", e, e.RetryAfter)
		}
		all.Wait()
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
}

// TestAFirstTokenLimit: a target that is slow beyond all that was seen of it makes room for another, but not if none is left.
func TestAFirstTokenLimit(t *testing.T) {
	t.Parallel()
	s := play(t, &cast{}, ModelConfig{Targets: Targets("a/m", "b/m")})
	for range 60 {
		s.warm("a/m", 3*time.Second)
		s.warm("b/m", 100*time.Millisecond)
	}
	x := exchange(100)
	if err := s.call(t.Context(), x, -1); err != nil {
		t.Fatal(err)
	}
	if got := s.cast.calls[0].via.FirstToken; got < 9*time.Second || got > 12*time.Second {
		t.Errorf("limit %v, want three times 3 s", got)
	}
	alone := play(t, &cast{}, ModelConfig{Targets: Targets("a/m")})
	for range 60 {
		alone.warm("a/m", 100*time.Millisecond)
	}
	if _ = alone.call(t.Context(), exchange(100), -1); alone.cast.calls[0].via.FirstToken != 0 {
		t.Errorf("the only target has a limit of %v", alone.cast.calls[0].via.FirstToken)
	}
}
