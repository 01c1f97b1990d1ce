package quota

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/penstock/penstock/internal/llm"
)

var start = time.Date(2026, 1, 27, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return start.Add(d) }

var one = Need{Requests: 1, Input: 100, Output: 50}

func book() *Book { return New(Options{Random: func() float64 { return 0.5 }}) }

func account(references ...string) *Account {
	return book().Account(Provider{Name: "p", References: references})
}

func told(left, most int64, reset time.Duration) llm.Limit {
	return llm.Limit{Told: true, Left: left, Most: most, Reset: reset}
}

// answer makes a call that is answered at once, with so many requests left of so many.
func answer(a *Account, now time.Time, index int, left, most int64) {
	t := a.Take(now, index, "m", one)
	t.Answered(now, llm.Limits{Requests: told(left, most, 0)})
	t.Done(now, 100, 50)
}

func refuse(a *Account, now time.Time, index int, f Failure) {
	t := a.Take(now, index, "m", one)
	t.Failed(now, f)
}

// pick is what Pick says, in one word.
func pick(a *Account, now time.Time) string {
	index, wait, reason := a.Pick(now, "m", one)
	if wait > 0 {
		return fmt.Sprintf("%d in %v: %s", index, wait, reason)
	}
	return strings.TrimSuffix(fmt.Sprintf("%d: %s", index, reason), ": ")
}

func expect(t *testing.T, a *Account, now time.Time, want string) {
	t.Helper()
	if got := pick(a, now); got != want {
		t.Errorf("after %v: %s, want %s", now.Sub(start), got, want)
	}
}

func TestPickStaysUntilThereIsNoRoom(t *testing.T) {
	t.Parallel()
	a := account("env:A", "env:B", "env:C")
	expect(t, a, at(0), "0")
	answer(a, at(0), 0, 50, 100)
	answer(a, at(0), 2, 90, 100)
	answer(a, at(0), 0, 40, 100)
	expect(t, a, at(0), "0")
	answer(a, at(0), 0, 6, 100)
	expect(t, a, at(0), "0") // one more, and 5 % stay
	answer(a, at(0), 0, 5, 100)
	expect(t, a, at(0), "1: "+Spilled) // that of which nothing is known, so with all its room
	answer(a, at(0), 1, 5, 100)
	expect(t, a, at(0), "2: "+Spilled)
	answer(a, at(0), 2, 5, 100)
	expect(t, a, at(0), "0 in 600ms: "+Limited) // 100 a minute
	expect(t, a, at(600*time.Millisecond), "2") // with the room of all the same, it stays
}

func TestPickLeavesModelsAlone(t *testing.T) {
	t.Parallel()
	a := account("env:A", "env:B")
	answer(a, at(0), 0, 0, 100)
	if index, wait, reason := a.Pick(at(0), "other", one); index != 0 || wait != 0 || reason != "" {
		t.Errorf("%d %v %s", index, wait, reason)
	}
}

func TestTokensAreDrawnAtDispatch(t *testing.T) {
	t.Parallel()
	for _, atOnce := range []bool{false, true} {
		a := book().Account(Provider{Name: "p", AtOnce: atOnce})
		first := a.Take(at(0), 0, "m", Need{1, 10, 10})
		first.Answered(at(0), llm.Limits{Tokens: told(1000, 1000, 0)})
		first.Done(at(0), 10, 10)
		big := Need{Requests: 1, Input: 300, Output: 400}
		if _, wait, _ := a.Pick(at(0), "m", big); wait != 0 {
			t.Fatalf("wait %v", wait)
		}
		ticket := a.Take(at(0), 0, "m", big)
		if _, wait, reason := a.Pick(at(0), "m", big); wait != 27*time.Second || reason != Limited { // 450 of 1000 a minute are missing
			t.Errorf("at once %t: wait %v %s", atOnce, wait, reason)
		}
		// The provider tells of the prompt alone, or of all.
		left := int64(700)
		if atOnce {
			left = 300
		}
		ticket.Answered(at(0), llm.Limits{Tokens: told(left, 1000, 0)})
		if got := a.credentials[0].models["m"].buckets[tokens].left; got != 300 {
			t.Errorf("at once %t: %v left while it generates, want 300", atOnce, got)
		}
		ticket.Done(at(0), 300, 100)
		want := map[bool]float64{false: 600, true: 300}[atOnce] // what was not generated comes back, or does not
		if got := a.credentials[0].models["m"].buckets[tokens].left; got != want {
			t.Errorf("at once %t: %v left, want %v", atOnce, got, want)
		}
	}
}

// What is more than there ever is must go out all the same, when all is there: the provider may count otherwise.
func TestANeedAboveTheLimitGoesOutWhenItIsWhole(t *testing.T) {
	t.Parallel()
	a := account()
	answer(a, at(0), 0, 3, 3)
	big := Need{Requests: 5}
	if _, wait, _ := a.Pick(at(0), "m", big); wait != 0 {
		t.Errorf("wait %v of a whole limit", wait)
	}
	answer(a, at(0), 0, 2, 3)
	if _, wait, _ := a.Pick(at(0), "m", big); wait <= 0 || wait > 21*time.Second {
		t.Errorf("wait %v", wait)
	}
}

// Fault 40 at this level: the newest Retry-After counts, up to a minute; else the reset; else a growing wait.
func TestFault40TooMany(t *testing.T) {
	t.Parallel()
	limited := func(after time.Duration) Failure { return Failure{Status: 429, RetryAfter: after} }
	a := account("env:A")
	refuse(a, at(0), 0, limited(7*time.Second))
	expect(t, a, at(0), "0 in 7s: "+Limited)
	refuse(a, at(time.Second), 0, limited(2*time.Second)) // newer, and shorter
	expect(t, a, at(time.Second), "0 in 2s: "+Limited)
	expect(t, a, at(3*time.Second), "0")
	refuse(a, at(3*time.Second), 0, limited(time.Hour))
	expect(t, a, at(3*time.Second), "0 in 1m0s: "+Limited)

	b := account("env:A")
	refuse(b, at(0), 0, Failure{Status: 429, Limits: llm.Limits{Requests: told(5, 10, 50*time.Second), Tokens: told(0, 1000, 20*time.Second)}})
	expect(t, b, at(0), "0 in 20s: "+Limited)

	c := account("env:A", "env:B")
	now := at(0)
	for _, want := range []string{"1.5s", "2.5s", "4.5s", "8.5s", "16.5s", "30.5s", "30.5s"} { // half of what it is at most
		refuse(c, now, 0, limited(0))
		if _, wait, _ := c.of0().Pick(now, "m", one); wait.String() != want {
			t.Errorf("wait %v, want %s", wait, want)
		}
		expect(t, c, now, "1: "+Spilled)
		now = now.Add(time.Minute)
	}
	answer(c, now, 0, 100, 100)
	refuse(c, now.Add(time.Second), 0, limited(0))
	if _, wait, _ := c.of0().Pick(now.Add(time.Second), "m", one); wait != 1500*time.Millisecond {
		t.Errorf("wait %v after an answer", wait)
	}
}

// of0 is the same account with its first credential alone.
func (a *Account) of0() *Account {
	only := *a
	only.credentials = a.credentials[:1]
	return &only
}

// A burst of refusals is one.
func TestABurstOf429IsOneStrike(t *testing.T) {
	t.Parallel()
	a := account()
	var tickets []Ticket
	for range 50 {
		tickets = append(tickets, a.Take(at(0), 0, "m", one))
	}
	for i := range tickets {
		tickets[i].Failed(at(time.Second), Failure{Status: 429})
	}
	if _, wait, _ := a.Pick(at(time.Second), "m", one); wait != 1500*time.Millisecond {
		t.Errorf("wait %v", wait)
	}
}

// Fault 42: a key that is refused is out, alone, for longer each time; one call tries it.
func TestFault42RefusedCredential(t *testing.T) {
	t.Parallel()
	a := account("env:A", "env:B")
	answer(a, at(0), 0, 100, 100)
	stale := a.Take(at(0), 0, "m", one)
	refuse(a, at(0), 0, Failure{Status: 401, Class: Refused})
	expect(t, a, at(0), "1: "+Spilled)
	stale.Failed(at(time.Second), Failure{Status: 401, Class: Refused}) // is no second refusal
	stale.Answered(at(time.Second), llm.Limits{})                       // and does not bring it back
	answer(a, at(time.Second), 1, 100, 100)
	now := at(0)
	for _, seconds := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600} {
		wait := time.Duration(seconds) * time.Second
		expect(t, a, now.Add(wait-time.Second), "1")
		now = now.Add(wait)
		expect(t, a, now, "0: "+Probing)
		probe := a.Take(now, 0, "m", one)
		expect(t, a, now, "1: "+Spilled) // one call alone
		now = now.Add(time.Second)
		probe.Failed(now, Failure{Status: 401, Class: Refused})
		a.Take(now, 1, "m", one)
		expect(t, a, now, "1")
	}
	now = now.Add(10 * time.Minute)
	probe := a.Take(now, 0, "m", one)
	probe.Failed(now, Failure{Status: 503}) // tells nothing
	expect(t, a, now, "0: "+Probing)
	lost := a.Take(now, 0, "m", one) // never comes to an end
	_ = lost
	expect(t, a, now.Add(probing-time.Second), "1: "+Spilled)
	expect(t, a, now.Add(probing), "0: "+Probing)
	answer(a, now.Add(probing), 0, 100, 100)
	expect(t, a, now.Add(probing), "0")
}

func TestAllCredentialsOut(t *testing.T) {
	t.Parallel()
	a := account("env:A", "env:B")
	refuse(a, at(0), 0, Failure{Status: 401, Class: Refused})
	refuse(a, at(200*time.Millisecond), 1, Failure{Status: 429, Class: Exhausted})
	expect(t, a, at(200*time.Millisecond), "0 in 800ms: "+NotValid)
	refuse(a, at(400*time.Millisecond), 0, Failure{Status: 429, Class: Exhausted, RetryAfter: time.Second}) // a route that tries all the same
	expect(t, a, at(400*time.Millisecond), "0 in 600ms: "+NotValid)
}

// A credential is back as soon as its value is another, and old refusals say nothing of the new one. That is fault 63 with several.
func TestFault63RotatedCredential(t *testing.T) {
	t.Parallel()
	marks := []uint64{1, 2}
	a := book().Account(Provider{Name: "p", References: []string{"env:A", "env:B"}, Mark: func(i int) uint64 { return marks[i] }})
	old := a.Take(at(0), 0, "m", one)
	refuse(a, at(0), 0, Failure{Status: 401, Class: Refused})
	expect(t, a, at(0), "1: "+Spilled)
	marks[0] = 0 // just now being written
	expect(t, a, at(time.Second/2), "1: "+Spilled)
	marks[0] = 3
	expect(t, a, at(time.Second/2), "0")
	old.Failed(at(2*time.Second), Failure{Status: 401, Class: Refused})
	expect(t, a, at(2*time.Second), "0")
	// One that cannot be read is back when it can.
	marks[0] = 0
	refuse(a, at(3*time.Second), 0, Failure{Class: Refused})
	expect(t, a, at(3*time.Second), "1: "+Spilled)
	marks[0] = 4
	expect(t, a, at(3500*time.Millisecond), "0")
}

// TestADenialIsNobodyElses: some providers say 403 of what a caller asked, and that must not take a model away from the others.
func TestADenialIsNobodyElses(t *testing.T) {
	t.Parallel()
	a := account("env:A", "env:B")
	refuse(a, at(0), 0, Failure{Status: 403, Class: "permission"})
	expect(t, a, at(0), "0")
}

func TestReloadsForgetNothing(t *testing.T) {
	t.Parallel()
	b := book()
	before := b.Account(Provider{Name: "p", References: []string{"env:A", "env:B"}})
	refuse(before, at(0), 1, Failure{Status: 401, Class: Refused})
	answer(before, at(0), 0, 0, 100)
	b.Use(map[string]*Account{"p": before}, nil)
	after := b.Account(Provider{Name: "p", References: []string{"env:C", "env:B", "env:A"}})
	if outs := b.Outs(); len(outs) != 1 || outs[0].Number != 2 || outs[0].Of != 2 {
		t.Errorf("out: %+v", outs)
	}
	b.Use(map[string]*Account{"p": after}, nil)
	if _, wait, reason := after.only(1).Pick(at(0), "m", one); wait != time.Second || reason != NotValid {
		t.Errorf("%v %s", wait, reason)
	}
	if _, wait, reason := after.only(2).Pick(at(0), "m", one); wait == 0 || reason != Limited {
		t.Errorf("%v %s", wait, reason)
	}
	refuse(before, at(0), 0, Failure{Status: 401, Class: Refused}) // of the configuration before
	outs := b.Outs()
	if len(outs) != 2 || outs[0].Number != 2 || outs[0].Reference != "env:B" || outs[1].Number != 3 || outs[1].Reference != "env:A" || outs[0].Of != 3 {
		t.Errorf("out: %+v", outs)
	}
	if !b.Enable("p", 2) || b.Enable("p", 2) || b.Enable("q", 0) || !b.Enable("p", 0) || len(b.Outs()) != 0 {
		t.Error("enabled otherwise")
	}
	b.Use(nil, nil)
	if len(b.providers) != 0 {
		t.Error("a provider is kept")
	}
}

func (a *Account) only(i int) *Account {
	only := *a
	only.credentials = a.credentials[i : i+1]
	return &only
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	a := account("env:A", "env:B")
	for i := range 10 * maxModels {
		ticket := a.Take(at(0), i%2, fmt.Sprint("m", i), one)
		ticket.Answered(at(0), llm.Limits{Requests: told(5, 10, 0)})
	}
	if n := len(a.credentials[0].models); n > maxModels || len(a.of.last) > maxModels {
		t.Errorf("%d models, %d remembered", n, len(a.of.last))
	}
	late := at(2 * idle)
	ticket := a.Take(late, 0, "new", one)
	ticket.Answered(late, llm.Limits{Requests: told(5, 10, 0)})
	if a.credentials[0].models["new"] == nil {
		t.Error("idle models are not forgotten")
	}
}

func TestTheZeroTicketDoesNothing(t *testing.T) {
	t.Parallel()
	var ticket Ticket
	ticket.Answered(start, llm.Limits{})
	ticket.Done(start, 1, 1)
	ticket.Failed(start, Failure{Status: 429})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	b := New(Options{Metrics: reg, Random: rand.Float64})
	a := b.Account(Provider{Name: "p", References: []string{"env:A", "env:B"}})
	b.Use(map[string]*Account{"p": a}, func(_, model string) bool { return model == "m" })
	now := time.Now()
	answer(a, now, 0, 1000, 1000)
	answer(a, now, 1, 1000, 1000)
	invented := a.Take(now, 0, "invented", one)
	invented.Answered(now, llm.Limits{Requests: told(1000, 1000, 0)})
	refuse(a, now, 1, Failure{Status: 429, RetryAfter: time.Second})
	refuse(a, now, 0, Failure{Status: 429, Class: Exhausted})
	want := `
# HELP penstock_provider_credential_out 1 while a credential is out of use, by why: credential if the provider refuses it, quota_exhausted if its account has nothing left to spend.
# TYPE penstock_provider_credential_out gauge
penstock_provider_credential_out{credential="1",provider="p",reason="credential"} 0
penstock_provider_credential_out{credential="1",provider="p",reason="quota_exhausted"} 1
penstock_provider_credential_out{credential="2",provider="p",reason="credential"} 0
penstock_provider_credential_out{credential="2",provider="p",reason="quota_exhausted"} 0
# HELP penstock_provider_limited_total Answers 429 of a provider, by the number of the credential.
# TYPE penstock_provider_limited_total counter
penstock_provider_limited_total{credential="1",provider="p"} 0
penstock_provider_limited_total{credential="2",provider="p"} 1
# HELP penstock_provider_spills_total Tries that went out with another credential than the one before for their model.
# TYPE penstock_provider_spills_total counter
penstock_provider_spills_total{provider="p"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "penstock_provider_credential_out", "penstock_provider_limited_total", "penstock_provider_spills_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg, "penstock_provider_limit_remaining_ratio"); n != 2 || err != nil {
		t.Errorf("%d shares, %v", n, err)
	}
}

func TestAllocations(t *testing.T) {
	a := account("env:A", "env:B", "env:C")
	for i := range 3 {
		answer(a, at(0), i, 1<<30, 1<<30)
	}
	limits := llm.Limits{Requests: told(1<<30, 1<<30, 0)}
	if n := testing.AllocsPerRun(100, func() {
		i, _, _ := a.Pick(at(0), "m", one)
		ticket := a.Take(at(0), i, "m", one)
		ticket.Answered(at(0), limits)
		ticket.Done(at(0), 1, 1)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPick(b *testing.B) {
	a := account("env:A", "env:B", "env:C")
	for i := range 3 {
		answer(a, at(0), i, 1<<30, 1<<30)
	}
	b.ReportAllocs()
	for b.Loop() {
		a.Pick(at(0), "m", one)
	}
}

func BenchmarkTake(b *testing.B) {
	a := account("env:A", "env:B", "env:C")
	answer(a, at(0), 0, 1<<30, 1<<30)
	limits := llm.Limits{Requests: told(1<<30, 1<<30, 0)}
	b.ReportAllocs()
	for b.Loop() {
		ticket := a.Take(at(0), 0, "m", one)
		ticket.Answered(at(0), limits)
		ticket.Done(at(0), 1, 1)
	}
}
