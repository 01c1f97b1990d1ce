package route

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
)

// fakeProvider answers or fails as it is told, target by target, and counts its calls.
type fakeProvider struct {
	fail  map[string]error
	calls []string
	then  error // after the first event
}

func (p *fakeProvider) Do(_ context.Context, _ provider.Via, t llm.Target, _ *llm.Request) (*llm.Response, error) {
	p.calls = append(p.calls, t.String())
	if err := p.fail[t.String()]; err != nil {
		return nil, err
	}
	events := func(yield func(llm.Event, error) bool) {
		if !yield(llm.Event{Has: llm.Content}, nil) {
			return
		}
		if p.then != nil {
			yield(llm.Event{}, p.then)
			return
		}
		yield(llm.Event{Has: llm.End}, nil)
	}
	return &llm.Response{Target: t, Stream: true, Events: iter.Seq2[llm.Event, error](events)}, nil
}

// ledger counts what the journal and the reserver were told. As a journal it prices what failed at a nano-dollar.
type ledger struct {
	intents, outcomes, reserved int
	settled                     []settled
	refuse, full                error // of Intent and of Outcome
}

type settled struct {
	id      string
	outcome pipeline.Outcome
	cost    llm.Money
}

func (l *ledger) Intent(context.Context, *pipeline.Exchange, *pipeline.Try) error {
	l.intents++
	return l.refuse
}
func (l *ledger) Outcome(_ *pipeline.Exchange, try *pipeline.Try) error {
	l.outcomes++
	try.CostNano = 1
	return l.full
}
func (l *ledger) Reserve(context.Context, *pipeline.Exchange, llm.Target, *pipeline.Try) (pipeline.Reservation, error) {
	l.reserved++
	return l, nil
}
func (l *ledger) Settle(try *pipeline.Try) {
	l.settled = append(l.settled, settled{try.ID, try.Outcome, try.CostNano})
}

// held counts the tries of an exchange that are not settled.
func held(x *pipeline.Exchange) (n int) {
	for i := range x.Tries {
		if x.Tries[i].Held != nil {
			n++
		}
	}
	return n
}

type noPrices struct{}

func (noPrices) PriceFor(llm.Target, catalog.Dispatch) (llm.Price, bool) { return llm.Price{}, false }

func setup(t *testing.T, p *fakeProvider) (*Router, *ledger, *pipeline.Exchange) {
	t.Helper()
	l := &ledger{}
	table := NewTable(Config{"support": {Targets: Targets("a/m", "b/m", "c/m"), Tries: 3}},
		Surroundings{Providers: map[string]Provider{"a": p, "b": p, "c": p}})
	x := &pipeline.Exchange{ID: "ex_1", Received: time.Now(), Request: &llm.Request{Model: "support"}}
	return New(Options{Table: table, Prices: noPrices{}, Journal: l, Reserver: l}), l, x
}

func status(code int) *provider.Failure {
	return &provider.Failure{Reason: provider.ReasonStatus, Status: code, Message: "answered " + http.StatusText(code), NothingBilled: code < 500}
}

func TestFallbackTakesTheNextTargetAndTriesEachOnce(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*provider.Failure{
		"refused":     {Reason: provider.ReasonConnect, NothingBilled: true},
		"first token": {Reason: provider.ReasonFirstToken, Timer: "first_token"},
		"408":         status(408), "409": status(409), "429": status(429), "500": status(500), "503": status(503), "529": status(529),
		"empty":   {Reason: provider.ReasonEmpty},
		"garbage": {Reason: provider.ReasonGarbage},
		"cut":     {Reason: provider.ReasonCut},
		"in band": {Reason: provider.ReasonInBand},
	} {
		p := &fakeProvider{fail: map[string]error{"a/m": f}}
		r, l, x := setup(t, p)
		resp, err := r.Handle(t.Context(), x)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		drain(t, resp)
		if want := []string{"a/m", "b/m"}; !slices.Equal(p.calls, want) {
			t.Errorf("%s: calls %v, want %v", name, p.calls, want)
		}
		if len(x.Tries) != 2 || x.Tries[0].Reason != string(f.Reason) || x.Tries[0].ID != "ex_1-1" || x.Tries[1].ID != "ex_1-2" {
			t.Errorf("%s: tries %+v", name, x.Tries)
		}
		outcome := pipeline.Unknown
		if f.NothingBilled {
			outcome = pipeline.Released
		}
		want := []settled{{"ex_1-1", outcome, 1}}
		if l.intents != 2 || l.outcomes != 1 || l.reserved != 2 || !slices.Equal(l.settled, want) {
			t.Errorf("%s: ledger %+v", name, *l)
		}
		if x.Tries[0].Held != nil || x.Tries[1].Held == nil {
			t.Errorf("%s: the try that answers is not left to be settled: %+v", name, x.Tries)
		}
	}
}

func TestARefusalOfTheRequestIsFinal(t *testing.T) {
	t.Parallel()
	for _, code := range []int{400, 404, 413, 422} {
		f := status(code)
		f.Body = []byte(`{"message":"no"}`)
		p := &fakeProvider{fail: map[string]error{"a/m": f}}
		r, _, x := setup(t, p)
		_, err := r.Handle(t.Context(), x)
		e := fault.From(err)
		if len(p.calls) != 1 || e.HTTPStatus() != code || string(e.Body) != `{"message":"no"}` {
			t.Errorf("%d: calls %v, error %+v", code, p.calls, e)
		}
	}
}

func TestOwnCredentialRefusedIsNotTheCallersFault(t *testing.T) {
	t.Parallel()
	for _, code := range []int{401, 403} {
		p := &fakeProvider{fail: map[string]error{"a/m": status(code)}}
		r, _, x := setup(t, p)
		_, err := r.Handle(t.Context(), x)
		if e := fault.From(err); e.Code != fault.ProviderAuth || e.HTTPStatus() != 502 || len(p.calls) != 1 {
			t.Errorf("%d: %+v after %v", code, e, p.calls)
		}
	}
}

func TestAllTargetsFail(t *testing.T) {
	t.Parallel()
	limited := status(429)
	limited.RetryAfter = 7 * time.Second
	later := status(429)
	later.RetryAfter = 20 * time.Second
	timer := &provider.Failure{Reason: provider.ReasonFirstToken, Timer: "first_token", Message: "sent no first token in 120 s"}
	for _, c := range []struct {
		name    string
		a, b, c *provider.Failure
		status  int
		retry   time.Duration
		text    string
	}{
		{"limits", later, limited, later, 429, 7 * time.Second, "3 targets tried, none answered: a/m"},
		{"timers", timer, timer, timer, 504, 0, "b/m sent no first token in 120 s"},
		{"one broken everywhere", status(500), status(500), status(500), 502, 0, "Record: ex_1."},
		{"overloaded everywhere", status(503), status(529), status(503), 503, 0, "Record: ex_1."},
		{"mixed", status(503), limited, timer, 502, 7 * time.Second, "What was billed is not known."},
	} {
		p := &fakeProvider{fail: map[string]error{"a/m": c.a, "b/m": c.b, "c/m": c.c}}
		r, l, x := setup(t, p)
		_, err := r.Handle(t.Context(), x)
		e := fault.From(err)
		if e.HTTPStatus() != c.status || e.RetryAfter != c.retry || !e.Spent || !strings.Contains(e.Message, c.text) {
			t.Errorf("%s: status %d, retry %v, spent %v, %q", c.name, e.HTTPStatus(), e.RetryAfter, e.Spent, e.Message)
		}
		if l.intents != 3 || l.outcomes != 3 || len(l.settled) != 3 || held(x) != 0 {
			t.Errorf("%s: ledger %+v", c.name, *l)
		}
	}
}

func TestNothingIsSentWithoutItsIntent(t *testing.T) {
	t.Parallel()
	p := &fakeProvider{}
	r, l, x := setup(t, p)
	l.refuse = fault.New(fault.StoreDown, "no")
	_, err := r.Handle(t.Context(), x)
	if e := fault.From(err); e.Code != fault.StoreDown || len(p.calls) != 0 || len(x.Tries) != 0 || !slices.Equal(l.settled, []settled{{"ex_1-1", pipeline.Released, 0}}) {
		t.Errorf("error %v, calls %v, tries %v, ledger %+v", err, p.calls, x.Tries, *l)
	}
}

func TestAFailureAfterContentIsAnEventAndNotAFallback(t *testing.T) {
	t.Parallel()
	p := &fakeProvider{then: &provider.Failure{Reason: provider.ReasonCut, Message: "closed the connection"}}
	r, l, x := setup(t, p)
	resp, err := r.Handle(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range resp.Events {
		last = err
	}
	var e *fault.Error
	if !errors.As(last, &e) || e.Code != fault.StreamCut || len(p.calls) != 1 || len(l.settled) != 0 || held(x) != 1 {
		t.Errorf("last %v, calls %v, ledger %+v", last, p.calls, *l)
	}
	if x.Tries[0].Reason != "cut" {
		t.Errorf("try %+v", x.Tries[0])
	}
}

func TestTheCallersDeadlineEndsTheTries(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fault.New(fault.DeadlinePassed, "too late"))
	p := &fakeProvider{}
	r, _, x := setup(t, p)
	_, err := r.Handle(ctx, x)
	if e := fault.From(err); e.Code != fault.DeadlinePassed || len(p.calls) != 0 {
		t.Errorf("error %v, calls %v", err, p.calls)
	}
}

// TestAFailedTryIsSettledAlsoIfItsOutcomeCannotBeWritten.
func TestAFailedTryIsSettledAlsoIfItsOutcomeCannotBeWritten(t *testing.T) {
	t.Parallel()
	r, l, x := setup(t, &fakeProvider{fail: map[string]error{"a/m": status(503)}})
	l.full = fault.New(fault.StoreDown, "no")
	_, err := r.Handle(t.Context(), x)
	if fault.From(err).Code != fault.StoreDown || !slices.Equal(l.settled, []settled{{"ex_1-1", pipeline.Unknown, 1}}) || held(x) != 0 {
		t.Errorf("error %v, ledger %+v", err, *l)
	}
}

// Whatever fails, every try is announced, settled once or left to be by who sees the answer's end, and made once.
func TestTriesBalance(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		fails := map[string]error{}
		for _, name := range []string{"a/m", "b/m", "c/m"} {
			switch rapid.IntRange(0, 3).Draw(rt, name) {
			case 1:
				fails[name] = status(rapid.SampledFrom([]int{400, 401, 404, 408, 429, 500, 503}).Draw(rt, name+" status"))
			case 2:
				fails[name] = &provider.Failure{Reason: rapid.SampledFrom([]provider.Reason{provider.ReasonConnect, provider.ReasonEmpty, provider.ReasonCanceled}).Draw(rt, name+" reason")}
			case 3:
				fails[name] = errors.New("a provider that breaks its contract")
			}
		}
		p := &fakeProvider{fail: fails}
		r, l, x := setup(t, p)
		resp, err := r.Handle(t.Context(), x)
		if err == nil {
			drain(t, resp)
		}
		if (resp == nil) == (err == nil) {
			rt.Fatalf("response %v and error %v", resp, err)
		}
		if l.intents != len(p.calls) || len(l.settled)+held(x) != l.reserved || held(x) > 1 || (held(x) == 1) != (err == nil) || len(x.Tries) != len(p.calls) {
			rt.Fatalf("calls %v, tries %d, ledger %+v", p.calls, len(x.Tries), *l)
		}
		if slices.Sort(p.calls); len(slices.Compact(p.calls)) != len(x.Tries) {
			rt.Fatal("a target was tried twice")
		}
	})
}

func drain(t *testing.T, resp *llm.Response) {
	t.Helper()
	for _, err := range resp.Events {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	p := map[string]Provider{"openai": &fakeProvider{}, "house": &fakeProvider{}}
	open := NewTable(nil, Surroundings{Providers: p, Offered: map[string][]string{"openai": {"gpt-5-mini", "shared"}, "house": {"qwen3-32b", "shared"}}})
	for asked, want := range map[string]string{
		"gpt-5-mini":     "openai/gpt-5-mini",
		"house/anything": "house/anything",
		"house/a/b":      "house/a/b",
		"house/shared":   "house/shared",
		"shared":         "", "nobody/gpt-5-mini": "", "gpt": "", "house/": "",
	} {
		got := ""
		if targets := open.Targets(asked); len(targets) > 0 {
			got = targets[0].String()
		}
		if got != want || open.Has(asked) != (want != "") {
			t.Errorf("%q resolves to %q, want %q", asked, got, want)
		}
	}
	if want := []string{"gpt-5-mini", "house/shared", "openai/shared", "qwen3-32b"}; !slices.Equal(open.Names(), want) {
		t.Errorf("names %v, want %v", open.Names(), want)
	}
	closed := NewTable(Config{"support": {Targets: Targets("openai/gpt-5-mini")}}, Surroundings{Providers: p})
	if closed.Has("openai/gpt-5-mini") || !closed.Has("support") {
		t.Error("with models configured, only those can be asked for")
	}
}

func TestNotFoundNamesNearModelsThatTheKeyMayUse(t *testing.T) {
	t.Parallel()
	table := NewTable(nil, Surroundings{
		Providers: map[string]Provider{"openai": &fakeProvider{}}, Offered: map[string][]string{"openai": {"gpt-5-mini", "gpt-5", "gpt-5-secret", "whisper"}},
	})
	err := table.NotFound("gpt5-mini", func(m string) bool { return m != "gpt-5-secret" })
	if want := `No model "gpt5-mini" for this key. Near: gpt-5-mini.`; err.Message != want {
		t.Errorf("got  %s\nwant %s", err.Message, want)
	}
	if err := table.NotFound(strings.Repeat("x", 1<<20), func(string) bool { return true }); len(err.Message) > 200 {
		t.Errorf("a long name makes a message of %d bytes", len(err.Message))
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	got := Config{"m": {Targets: Targets("a/x", "a/x", "nothing"), Route: "best"}}.Validate()
	want := []string{
		`models.m.route: "best" is not in this version (write failover, weighted, fastest, cheapest)`,
		`models.m.targets[1]: "a/x" is there twice (each stands once; remove one)`,
		`models.m.targets[2]: "nothing" is not a target (write PROVIDER/MODEL)`,
	}
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if got[i].Error() != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

// TestAFailedTryKeepsTheProvidersID: it is what an operator, and the bill, know the call by.
func TestAFailedTryKeepsTheProvidersID(t *testing.T) {
	t.Parallel()
	f := status(500)
	f.UpstreamID = "req_1"
	r, _, x := setup(t, &fakeProvider{fail: map[string]error{"a/m": f}})
	if _, err := r.Handle(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	if x.Tries[0].Upstream != "req_1" {
		t.Errorf("try %+v", x.Tries[0])
	}
}

// TestOpenNamesAreFitForHeaders: they come from callers, and stand in headers, records and metrics.
func TestOpenNamesAreFitForHeaders(t *testing.T) {
	t.Parallel()
	table := NewTable(nil, Surroundings{Providers: map[string]Provider{"a": &fakeProvider{}}})
	for name, want := range map[string]bool{
		"a/m": true, "a/m?x=1&y=a:b": true, "a/../m": true, "a/org/m:free": true,
		"a/m\r\nX-Evil: 1": false, "a/m\x00": false, "a/\x1b[31m": false, "a/m\u202e": false, "a/m n": false,
	} {
		if table.Has(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestTableAllocations(t *testing.T) {
	table := NewTable(Config{"support": {Targets: Targets("a/m")}}, Surroundings{Providers: map[string]Provider{"a": &fakeProvider{}}})
	open := NewTable(nil, Surroundings{Providers: map[string]Provider{"a": &fakeProvider{}}})
	if n := testing.AllocsPerRun(100, func() { table.Has("support"); open.Has("a/m") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

type cachePrices struct{}

func (cachePrices) PriceFor(llm.Target, catalog.Dispatch) (llm.Price, bool) {
	return llm.Price{Input: 1000, CacheWrite: 1250}, true
}

// TestThePriceOfAnHourInTheCache: what a call asks for decides what it is reserved and booked at.
func TestThePriceOfAnHourInTheCache(t *testing.T) {
	t.Parallel()
	r := New(Options{Prices: cachePrices{}})
	for body, want := range map[string]llm.Money{
		`{"cache_control":{"type":"ephemeral"}}`: 1250, `{"cache_control":{"type":"ephemeral","ttl":"1h"}}`: 2000,
	} {
		x := &pipeline.Exchange{Request: &llm.Request{Raw: []byte(body)}}
		p, ok := r.price(x, llm.Target{}, 1)
		written := p.Cost(llm.Usage{Input: 1000, CacheWrite: 1000})
		if !ok || written != want || p.Most(1000, 0) != want || p.Cost(llm.Usage{Input: 1000}) != 1000 {
			t.Errorf("%s: %d, %+v", body, written, p)
		}
		told := llm.Usage{Input: 1000, CacheWrite: 1000, Parts: llm.Parts{CacheWriteHour: 400, CacheWriteMinutes: 600}}
		if got := p.Cost(told); got != 400*2+600*5/4 {
			t.Errorf("%s, of which 600 are for minutes: %d", body, got)
		}
	}
}
