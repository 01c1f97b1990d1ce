package reconcile_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/reconcile"
)

// A book is a ledger of one provider, "p", in memory.
type book struct {
	entries  []entry
	unknowns []ledger.Unknown
	recorded map[string]map[string]reconcile.Recorded // by day and target
	prices   map[string]llm.Price
	written  int
	notes    map[string]bool

	configured []string
}

type entry struct {
	at         time.Time
	project    string
	target     string
	credential int
	kind       ledger.Kind
	amount     llm.Money
}

func at(date string, hour int) time.Time {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		panic(err)
	}
	return t.Add(time.Duration(hour) * time.Hour)
}

func (b *book) LedgerTotals(_ context.Context, from, to time.Time) ([]ledger.Total, error) {
	sums := map[string]*ledger.Total{}
	for _, e := range b.entries {
		if e.at.Before(from) || !e.at.Before(to) {
			continue
		}
		key := fmt.Sprint(e.project, e.target, e.credential, e.kind)
		if sums[key] == nil {
			sums[key] = &ledger.Total{Org: "o", Project: e.project, Provider: "p", Credential: e.credential, Target: e.target, Kind: e.kind}
		}
		sums[key].Entries++
		sums[key].Amount += e.amount
	}
	var all []ledger.Total
	for _, key := range slices.Sorted(maps.Keys(sums)) {
		all = append(all, *sums[key])
	}
	return all, nil
}

func (b *book) LedgerUnknowns(context.Context, int) ([]ledger.Unknown, []ledger.DeadLease, error) {
	return slices.Clone(b.unknowns), nil, nil
}

func (b *book) SettleTry(_ context.Context, r ledger.Resolution) (ledger.Entry, error) {
	i := slices.IndexFunc(b.unknowns, func(u ledger.Unknown) bool { return u.Try == r.Try })
	if i < 0 {
		return ledger.Entry{}, fault.New(fault.NotThere, "no such try")
	}
	b.written++
	if u := b.unknowns[i]; !r.Void {
		b.entries = append(b.entries, entry{u.At, u.Project, u.Target, u.Credential, ledger.Settled, r.Amount})
	}
	b.unknowns = slices.Delete(b.unknowns, i, i+1)
	return ledger.Entry{}, nil
}

func (b *book) AdjustLedger(_ context.Context, a ledger.Adjustment) (ledger.Entry, error) {
	if b.notes == nil {
		b.notes = map[string]bool{}
	}
	key := a.Target + a.Project + a.Reason
	if b.notes[key] && a.Once {
		return ledger.Entry{}, fault.New(fault.AlreadyThere, "it is there")
	}
	b.notes[key] = true
	b.written++
	b.entries = append(b.entries, entry{a.At, a.Project, a.Target, a.Credential, ledger.Adjusted, a.Amount})
	return ledger.Entry{}, nil
}

func (b *book) sources() reconcile.Sources {
	return reconcile.Sources{
		Ledger: b,
		Recorded: func(_ context.Context, from, _ time.Time) (map[string]reconcile.Recorded, error) {
			return b.recorded[from.Format(time.DateOnly)], nil
		},
		Price: func(t llm.Target) (llm.Price, bool) {
			p, ok := b.prices[t.String()]
			return p, ok
		},
		Models: func(string) []string { return b.configured },
		Known:  func(_, model string) bool { return model == "m-1000-mini" },
	}
}

// run compares and settles, and compares again.
func (b *book) run(t testing.TB, file string, adjust bool, change func(*reconcile.Options)) (before, after *reconcile.Report, done reconcile.Done) {
	t.Helper()
	e, err := reconcile.Read([]byte(file), "")
	if err != nil {
		t.Fatal(err)
	}
	o := reconcile.Options{Provider: "p", Threshold: reconcile.DefaultThreshold, Now: at("2026-12-01", 0)}
	if change != nil {
		change(&o)
	}
	if before, err = reconcile.Compare(t.Context(), b.sources(), e, o); err != nil {
		t.Fatal(err)
	}
	if done, err = reconcile.Settle(t.Context(), b, before, o, adjust); err != nil {
		t.Fatal(err)
	}
	if after, err = reconcile.Compare(t.Context(), b.sources(), e, o); err != nil {
		t.Fatal(err)
	}
	return before, after, done
}

func unknown(try string, when time.Time, target string, bound llm.Money) ledger.Unknown {
	return ledger.Unknown{Try: try, At: when, Org: "o", Project: "prj_1", Target: target, Bound: bound}
}

// said is a report as text.
func said(r *reconcile.Report) string {
	var b strings.Builder
	for _, l := range r.Lines {
		fmt.Fprintf(&b, "%s %s %s", l.Date, strings.Join(l.Models, "+"), l.State)
		if l.Money {
			fmt.Fprintf(&b, " %s-%s=%s", l.Billed, l.Books, l.Drift)
		}
		for _, s := range l.Steps {
			fmt.Fprintf(&b, " %s:%s", s.Try, s.Amount)
		}
		if l.Left != 0 {
			fmt.Fprintf(&b, " left %s", l.Left)
		}
		for _, s := range l.Shares {
			fmt.Fprintf(&b, " %s:%s", s.Project, s.Amount)
		}
		if l.Why != "" {
			fmt.Fprintf(&b, " (%s)", l.Why)
		}
		b.WriteString("\n")
	}
	return b.String()
}

const head = "day,provider,model,cost_usd\n"

func TestCompare(t *testing.T) {
	t.Parallel()
	const d = "2026-11-27"
	spent := func(project string, amount llm.Money) entry {
		return entry{at(d, 3), project, "p/m", 0, ledger.Posted, amount}
	}
	for name, c := range map[string]struct {
		book   book
		file   string
		adjust bool
		change func(*reconcile.Options)
		want   string
		after  string
	}{
		"it fits": {
			book: book{entries: []entry{spent("a", llm.Dollar)}}, file: head + d + ",p,m,1.005\n",
			want: "2026-11-27 m fits 1.005-1=0.005 left 0.005 a:0.005\n",
		},
		"the surplus is spread over what is unknown": {
			book: book{entries: []entry{spent("a", llm.Dollar)}, unknowns: []ledger.Unknown{unknown("x", at(d, 1), "p/m", 300), unknown("y", at(d, 2), "p/m", 100)}},
			file: head + d + ",p,m,1.00000021\n",
			want: "2026-11-27 m explained 1.00000021-1=0.00000021 x:0.000000157 y:0.000000053\n", after: "2026-11-27 m fits 1.00000021-1.00000021=0\n",
		},
		"without a surplus it is void": {
			book: book{entries: []entry{spent("a", llm.Dollar)}, unknowns: []ledger.Unknown{unknown("x", at(d, 1), "p/m", 300)}},
			file: head + d + ",p,m,1\n",
			want: "2026-11-27 m explained 1-1=0 x:0\n", after: "2026-11-27 m fits 1-1=0\n",
		},
		"more than can be explained is left": {
			book: book{entries: []entry{spent("a", llm.Dollar)}, unknowns: []ledger.Unknown{unknown("x", at(d, 1), "p/m", llm.Dollar/10)}},
			file: head + d + ",p,m,1.5\n",
			want: "2026-11-27 m drifts 1.5-1=0.5 x:0.1 left 0.4 a:0.363636363 prj_1:0.036363637\n", after: "2026-11-27 m drifts 1.5-1.1=0.4 left 0.4 a:0.363636363 prj_1:0.036363637\n",
		},
		"and corrected": {
			book: book{entries: []entry{spent("a", llm.Dollar), spent("b", 3*llm.Dollar)}}, file: head + d + ",p,m,3.8\n", adjust: true,
			want: "2026-11-27 m drifts 3.8-4=-0.2 left -0.2 a:-0.05 b:-0.15\n", after: "2026-11-27 m fits 3.8-3.8=0\n",
		},
		"an export that has less than the books settles nothing": {
			book: book{entries: []entry{spent("a", llm.Dollar)}, unknowns: []ledger.Unknown{unknown("x", at(d, 1), "p/m", 300)}},
			file: head + d + ",p,m,0.5\n",
			want: "2026-11-27 m drifts 0.5-1=-0.5 left -0.5 (the export has less than the books: it may not be of the whole account)\n",
		},
		"what the export has not at all": {
			book: book{entries: []entry{spent("a", llm.Dollar)}}, file: head + d + ",p,other,0.001\n",
			want: "2026-11-27  fits 0.001-0=0.001 left 0.001\n2026-11-27 m drifts 0-1=-1 left -1 (the export has nothing under this name on the day, but has names that were not matched)\n",
		},
		"nothing is voided for want of a name that was not matched": {
			book: book{unknowns: []ledger.Unknown{unknown("x", at(d, 1), "p/m", 300)}}, file: head + d + ",p,mm,0.001\n",
			want: "2026-11-27  fits 0.001-0=0.001 left 0.001\n2026-11-27 m fits 0-0=0 (the export has nothing under this name on the day, but has names that were not matched)\n",
		},
		"a target that nobody used here": {
			book: book{configured: []string{"m", "n"}}, file: head + d + ",p,n,0.5\n",
			want: "2026-11-27 n drifts 0.5-0=0.5 left 0.5\n",
		},
		"unless somebody says what it is": {
			book: book{unknowns: []ledger.Unknown{unknown("x", at(d, 1), "p/m", 2_000_000)}}, file: head + d + ",p,mm,0.001\n",
			change: func(o *reconcile.Options) { o.Names = map[string]string{"mm": "p/m"} },
			want:   "2026-11-27 m explained 0.001-0=0.001 x:0.001\n", after: "2026-11-27 m fits 0.001-0.001=0\n",
		},
		"or that it is no business of ours": {
			book: book{unknowns: []ledger.Unknown{unknown("x", at(d, 1), "p/m", 300)}}, file: head + d + ",p,mm,9\n" + d + ",p,m,0\n",
			change: func(o *reconcile.Options) { o.Ignore = []string{"mm*"} },
			want:   "2026-11-27 m explained 0-0=0 x:0\n", after: "",
		},
		"a day that is not over": {
			book: book{entries: []entry{spent("a", llm.Dollar)}, unknowns: []ledger.Unknown{unknown("x", at(d, 1), "p/m", 300)}}, file: head + d + ",p,m,7\n",
			change: func(o *reconcile.Options) { o.Now = at(d, 20) },
			want:   "2026-11-27 m unfinished 7-1=6 left 6 (the day is not over, or not wholly in the export)\n",
		},
		"all models together": {
			book: book{entries: []entry{spent("a", llm.Dollar), {at(d, 3), "a", "p/n", 0, ledger.Posted, llm.Dollar}}, unknowns: []ledger.Unknown{unknown("x", at(d, 1), "p/n", llm.Dollar)}},
			file: head + d + ",p,,2.5\n",
			want: "2026-11-27 m+n explained 2.5-2=0.5 x:0.5\n", after: "2026-11-27 m+n fits 2.5-2.5=0\n",
		},
		"a snapshot and the name that leads to it are one": {
			book: book{entries: []entry{{at(d, 3), "a", "p/m", 0, ledger.Posted, 5}, {at(d, 3), "a", "p/m-2026-01-02", 0, ledger.Posted, 6}}},
			file: head + d + ",p,m-2026-01-02,0.000000011\n",
			want: "2026-11-27 m+m-2026-01-02 fits 0.000000011-0.000000011=0\n",
		},
		"only what was sent with one credential": {
			book: book{entries: []entry{{at(d, 3), "a", "p/m", 1, ledger.Posted, 5}, {at(d, 3), "a", "p/m", 2, ledger.Posted, 6}}},
			file: head + d + ",p,m,0.000000006\n", change: func(o *reconcile.Options) { o.Credential = 2 },
			want: "2026-11-27 m fits 0.000000006-0.000000006=0\n",
		},
		"a try without a bound is for people": {
			book:  book{unknowns: []ledger.Unknown{unknown("x", at(d, 1), "p/m", 0), unknown("y", at(d, 1), "p/m", 100)}},
			file:  head + d + ",p,m,0.0000005\n",
			want:  "2026-11-27 m explained 0.0000005-0=0.0000005 y:0.0000001 left 0.0000004 (the most that a try may have cost is not known; settle it by hand)\n",
			after: "2026-11-27 m fits 0.0000005-0.0000001=0.0000004 left 0.0000004 (the most that a try may have cost is not known; settle it by hand)\n",
		},
		"a try just before midnight may be billed tomorrow": {
			book: book{unknowns: []ledger.Unknown{unknown("x", at(d, 24).Add(-time.Minute), "p/m", 100)}},
			file: head + d + ",p,m,0\n",
			want: "2026-11-27 m fits 0-0=0 (a try was sent just before the end of the day: the provider may have it on the next)\n",
		},
		"and is void once tomorrow is over": {
			book: book{unknowns: []ledger.Unknown{unknown("x", at(d, 24).Add(-time.Minute), "p/m", 100)}},
			file: head + d + ",p,m,0\n2026-11-28,p,m,0\n",
			want: "2026-11-27 m explained 0-0=0 x:0\n", after: "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, after, _ := c.book.run(t, c.file, c.adjust, c.change)
			if got := said(before); got != c.want {
				t.Errorf("before:\n%swant:\n%s", got, c.want)
			}
			if len(before.Lines) > 0 && len(before.Lines[0].Steps) == 0 && !c.adjust {
				c.after = c.want
			}
			if got := said(after); got != c.after {
				t.Errorf("after:\n%swant:\n%s", got, c.after)
			}
		})
	}
}

func TestMoneyIsToldFromTokensOnlyIfTheBooksAgree(t *testing.T) {
	t.Parallel()
	const d = "2026-11-27"
	price := llm.Price{Input: 1_000_000, Output: 4_000_000, CachedInput: 1_000_000, CacheWrite: 1_000_000} // $1 and $4 a million
	booked := func(cost llm.Money) *book {
		return &book{
			entries:  []entry{{at(d, 3), "a", "p/m", 0, ledger.Posted, cost}},
			unknowns: []ledger.Unknown{unknown("x", at(d, 1), "p/m", llm.Dollar)},
			prices:   map[string]llm.Price{"p/m": price},
			recorded: map[string]map[string]reconcile.Recorded{d: {"p/m": {Usage: llm.Usage{Input: 1000, Output: 100}, Requests: 1}}},
		}
	}
	const file = "day,provider,model,input_tokens,output_tokens\n" + d + ",p,m,1500,150\n"
	b := booked(1_400_000)
	before, after, done := b.run(t, file, true, nil)
	const want, then = "2026-11-27 m explained 0.0021-0.0014=0.0007 x:0.0007\n", "2026-11-27 m fits 0.0021-0.0021=0\n"
	if said(before) != want || said(after) != then || done.Adjusted != 0 || !before.Lines[0].Priced {
		t.Errorf("before %safter %s%+v", said(before), said(after), done)
	}
	if _, _, again := b.run(t, file, true, nil); again != (reconcile.Done{}) {
		t.Errorf("the same file again wrote %+v", again)
	}
	b = booked(2_000_000) // the price was another one on that day
	if before, _, done := b.run(t, file, true, nil); before.Lines[0].Money || done != (reconcile.Done{}) || before.Lines[0].State != reconcile.NoPrice {
		t.Errorf("%s %+v", said(before), done)
	}
	b = booked(6_400_000) // with what the call itself costs: tokens do not say how many were billed
	price.Call = 5_000_000
	b.prices["p/m"] = price
	if before, _, done := b.run(t, file, true, nil); before.Lines[0].Money || done != (reconcile.Done{}) || before.Lines[0].State != reconcile.NoPrice {
		t.Errorf("%s %+v", said(before), done)
	}
}

// TestSettling checks on random books and bills: what is settled adds up to the surplus as far as the bounds go, no try comes to more
// than its bound, with corrections the books equal the bill, and the same file again writes nothing.
func TestSettling(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		const d = "2026-11-27"
		b := &book{}
		for range rapid.IntRange(0, 4).Draw(rt, "calls") {
			b.entries = append(b.entries, entry{
				at(d, rapid.IntRange(0, 23).Draw(rt, "hour")), rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "project"), "p/m", 0,
				rapid.SampledFrom([]ledger.Kind{ledger.Posted, ledger.Estimated}).Draw(rt, "kind"), llm.Money(rapid.Int64Range(1, 1e12).Draw(rt, "cost")),
			})
		}
		limits := map[string]llm.Money{}
		for i := range rapid.IntRange(0, 6).Draw(rt, "tries") {
			u := unknown(fmt.Sprint("try", i), at(d, rapid.IntRange(0, 22).Draw(rt, "hour")), "p/m", llm.Money(rapid.Int64Range(1, 1e12).Draw(rt, "bound")))
			limits[u.Try], b.unknowns = u.Bound, append(b.unknowns, u)
		}
		booked := llm.Money(0)
		for _, e := range b.entries {
			booked += e.amount
		}
		bill := max(booked+llm.Money(rapid.Int64Range(-1e11, 4e12).Draw(rt, "surplus")), 0)
		file := head + d + ",p,m," + bill.String() + "\n"
		adjust := rapid.Bool().Draw(rt, "adjust")
		before, after, done := b.run(t, file, adjust, nil)
		if len(before.Lines) == 0 {
			return
		}
		l := before.Lines[0]
		sum, most := llm.Money(0), llm.Money(0)
		for _, s := range l.Steps {
			if s.Amount < 0 || s.Amount > limits[s.Try] {
				rt.Fatalf("%s is settled at %s, and cannot have cost more than %s", s.Try, s.Amount, limits[s.Try])
			}
			sum, most = sum+s.Amount, most+limits[s.Try]
		}
		if want := min(max(l.Drift, 0), most); sum != want || done.Amount != want {
			rt.Fatalf("settled at %s, and wrote %+v, want %s", sum, done, want)
		}
		if l.Left != l.Drift-sum {
			rt.Fatalf("left %s of %s after %s", l.Left, l.Drift, sum)
		}
		if end := after.Lines; adjust && len(l.Shares) > 0 && len(end) > 0 && end[0].Drift != 0 {
			rt.Fatalf("after all of %+v: %s", done, said(after))
		}
		written := b.written
		if _, _, again := b.run(t, file, adjust, nil); b.written != written {
			rt.Fatalf("the same file again wrote %+v", again)
		}
	})
}

func TestSplit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		weights := rapid.SliceOfN(rapid.Int64Range(0, 1<<62), 0, 3).Draw(rt, "weights")
		var sum uint64
		for _, w := range weights {
			sum += uint64(w)
		}
		total := rapid.Int64Range(0, 1<<63-1).Draw(rt, "total")
		var got uint64
		parts := reconcile.Split(total, weights)
		for i, p := range parts {
			if p < 0 || uint64(total) <= sum && p > weights[i] {
				rt.Fatalf("part %d of %d over %v is %d", i, total, weights, p)
			}
			got += uint64(p)
		}
		if want := uint64(total); sum > 0 && got != want || sum == 0 && got != 0 {
			rt.Fatalf("%d over %v is %v", total, weights, parts)
		}
	})
}

func TestNames(t *testing.T) {
	t.Parallel()
	models := []string{"gpt-4o", "gpt-4", "claude-haiku-4-5-20251001", "claude-3-5-sonnet-latest", "o1-2024-12-17", "m-1000"}
	b := &book{}
	for _, m := range models {
		b.entries = append(b.entries, entry{at("2026-11-27", 1), "a", "p/" + m, 0, ledger.Posted, llm.Dollar})
	}
	for name, want := range map[string]string{
		"gpt-4o":                            "gpt-4o by name",
		"gpt-4o-2024-08-06":                 "gpt-4o by family",
		"gpt-4o-mini":                       " by ",
		"gpt-4-0613":                        "gpt-4 by family",
		"gpt-4-1106-preview":                "gpt-4 by version",
		"Claude Haiku 4.5":                  "claude-haiku-4-5-20251001 by family",
		"claude-haiku-4-5-20250101":         " by ", // another snapshot
		"Claude 3.5 Sonnet 2024-10-22":      "claude-3-5-sonnet-latest by family",
		"o1-20241217":                       "o1-2024-12-17 by name",
		"m-1000-mini":                       " by ",
		"m-1000-preview":                    "m-1000 by version",
		"web search tool calls":             " by ",
		"claude-haiku-4-5-20251001-preview": "claude-haiku-4-5-20251001 by version",
	} {
		e, err := reconcile.Read([]byte(head+"2026-11-27,p,"+name+",1\n"), "")
		if err != nil {
			t.Fatal(err)
		}
		r, err := reconcile.Compare(t.Context(), b.sources(), e, reconcile.Options{Now: at("2026-12-01", 0)})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(r.Names[0].Models, "+") + " by " + r.Names[0].By; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestParseThreshold(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"1": 10_000, "1%": 10_000, "0.5 %": 5_000, "0": 0, "100%": 1_000_000, "x": -1, "-1": -1, "101": -1, "": -1} {
		got, err := reconcile.ParseThreshold(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q is %d (%v), want %d", text, got, err, want)
		}
	}
}
