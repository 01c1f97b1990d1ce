package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/window"
)

// definitions reads what there is, of one version.
func definitions(t rapid.TB, s Store, test *testing.T) limit.Definitions {
	t.Helper()
	d, err := s.Definitions(test.Context())
	if err != nil {
		t.Fatal(err)
	}
	version, err := s.LimitVersion(test.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "version", version, d.Version)
	return d
}

func dollars(n int64) limit.Terms {
	return limit.Terms{Unit: limit.USD, Amount: n * 1_000_000_000, Per: window.Day, Mode: limit.Enforce}
}

func testBudgets(t *testing.T, s Store) {
	ctx := t.Context()
	none := definitions(t, s, t)
	same(t, "budgets of an empty store", len(none.Budgets), 0)

	full := limit.Budget{
		Scope: limit.Scope{Org: "acme", Project: "prj_1", Key: "key_1", User: "ann@example.org", Model: "openai/*"},
		Terms: limit.Terms{
			Unit: limit.USD, Amount: 1, Per: window.Term, Zone: "Europe/Berlin", From: day, To: day.Add(time.Hour), Mode: limit.Observe,
			Alerts: []int{10, 99}, Kept: []limit.Kept{{Tag: "gold", Share: 20}, {Tag: "vip", Share: 80}},
		},
	}
	set, err := s.SetBudget(ctx, full, limit.Whatever)
	must(t, err)
	if set.ID == "" || set.Set.IsZero() {
		t.Errorf("no id or time: %+v", set)
	}
	full.ID, full.Version, full.Set = set.ID, set.Version, set.Set
	same(t, "set", set, full)
	plain, err := s.SetBudget(ctx, limit.Budget{ID: "bgt_zz", Terms: dollars(5)}, limit.Whatever)
	must(t, err)
	same(t, "id that was given", plain.ID, "bgt_zz")
	after := definitions(t, s, t)
	same(t, "budgets", after.Budgets, []limit.Budget{full, plain})
	if after.Version <= none.Version {
		t.Errorf("version %d, before %d", after.Version, none.Version)
	}

	// The same scope, unit, length and beginning is the same budget, and keeps its id.
	change := full
	change.ID, change.Amount, change.Zone, change.To, change.Mode, change.Alerts, change.Kept = "", 7, "", day.Add(2*time.Hour), limit.Enforce, nil, nil
	set, err = s.SetBudget(ctx, change, limit.Whatever)
	must(t, err)
	change.ID, change.Version, change.Set = full.ID, full.Version+1, set.Set
	same(t, "changed", set, change)
	same(t, "budgets", definitions(t, s, t).Budgets, []limit.Budget{change, plain})
	// What differs in any of them is another.
	for i, other := range []func(*limit.Budget){
		func(b *limit.Budget) { b.Org = "" },
		func(b *limit.Budget) { b.Project = limit.Each },
		func(b *limit.Budget) { b.Key = "" },
		func(b *limit.Budget) { b.User = limit.Each },
		func(b *limit.Budget) { b.Model = "" },
		func(b *limit.Budget) { b.Unit = limit.TokenCount },
		func(b *limit.Budget) { b.Per, b.From, b.To = window.Day, time.Time{}, time.Time{} },
		func(b *limit.Budget) { b.From = b.From.Add(time.Minute) },
	} {
		b := full
		b.ID = ""
		other(&b)
		set, err := s.SetBudget(ctx, b, limit.Whatever)
		must(t, err)
		if set.ID == full.ID || set.Version < 1 {
			t.Errorf("budget %d is taken for another: %+v", i, set)
		}
	}

	was, err := s.DeleteBudget(ctx, full.ID)
	must(t, err)
	same(t, "deleted", was, change)
	_, err = s.DeleteBudget(ctx, full.ID)
	refused(t, err, fault.NotThere)
	same(t, "budgets left", len(definitions(t, s, t).Budgets), 9)

	entries, err := s.AuditEntries(ctx, audit.Filter{Object: full.ID, Ascending: true}, 10)
	must(t, err)
	var acts []string
	for _, e := range entries {
		acts = append(acts, fmt.Sprintf("%s %s %s > %s", e.Action, e.Project, string(e.Before), string(e.After)))
	}
	one := `{"alerts":[10,99],"amount":"0.000000001","from":"2026-11-24T13:40:00.123456Z","kept":[{"share":20,"tag":"gold"},{"share":80,"tag":"vip"}],` +
		`"key":"key_1","mode":"observe","model":"openai/*","org":"acme","per":"term","project":"prj_1","to":"2026-11-24T14:40:00.123456Z",` +
		`"unit":"usd","user":"ann@example.org","zone":"Europe/Berlin"}`
	two := `{"amount":"0.000000007","from":"2026-11-24T13:40:00.123456Z","key":"key_1","mode":"enforce","model":"openai/*","org":"acme","per":"term",` +
		`"project":"prj_1","to":"2026-11-24T15:40:00.123456Z","unit":"usd","user":"ann@example.org"}`
	same(t, "entries", acts, []string{
		"budget.set prj_1  > " + one, "budget.set prj_1 " + one + " > " + two, "budget.delete prj_1 " + two + " > ",
	})
}

func testLimits(t *testing.T, s Store) {
	ctx := t.Context()
	l := limit.Limit{Scope: limit.Scope{Project: "prj_1", User: limit.Each}, Rate: limit.Rate{Measure: limit.Requests, Amount: 60, Mode: limit.Enforce}}
	first, err := s.SetLimit(ctx, l, limit.Whatever)
	must(t, err)
	l.Measure = limit.Concurrent
	second, err := s.SetLimit(ctx, l, limit.Whatever)
	must(t, err)
	if first.ID == "" || first.ID == second.ID {
		t.Fatalf("limits have the ids %q and %q", first.ID, second.ID)
	}
	l.Amount, l.Mode = 5, limit.Observe
	again, err := s.SetLimit(ctx, l, limit.Whatever)
	must(t, err)
	same(t, "id", again.ID, second.ID)
	before := definitions(t, s, t)
	want := []limit.Limit{first, again}
	slices.SortFunc(want, func(a, b limit.Limit) int { return strings.Compare(a.ID, b.ID) })
	same(t, "limits", before.Limits, want)
	was, err := s.DeleteLimit(ctx, again.ID)
	must(t, err)
	same(t, "deleted", was, again)
	_, err = s.DeleteLimit(ctx, again.ID)
	refused(t, err, fault.NotThere)
	after := definitions(t, s, t)
	same(t, "limits", after.Limits, []limit.Limit{first})
	if after.Version <= before.Version {
		t.Errorf("version %d, before %d", after.Version, before.Version)
	}
	first.Amount, l.Measure = 61, limit.Tokens
	set, err := s.SetLimits(ctx, []limit.Limit{first, l}, nil)
	must(t, err)
	if len(set) != 2 || set[0].ID != first.ID || set[1].ID == "" {
		t.Fatalf("set together: %+v", set)
	}
	want = slices.Clone(set)
	slices.SortFunc(want, func(a, b limit.Limit) int { return strings.Compare(a.ID, b.ID) })
	same(t, "set together", definitions(t, s, t).Limits, want)
	entries, err := s.AuditEntries(ctx, audit.Filter{}, 2)
	must(t, err)
	for i, e := range entries {
		if e.Action != audit.LimitSet || e.Object != set[1-i].ID {
			t.Errorf("entry %d is %s of %s", i, e.Action, e.Object)
		}
	}
}

func testTiers(t *testing.T, s Store) {
	ctx := t.Context()
	gold := limit.Tier{
		Name: "gold", Class: "priority", Models: []string{"a*", "b/*"}, MaxInput: 10_000, MaxOutput: 500,
		Rates:   []limit.Rate{{Measure: limit.Tokens, Amount: 1000, Mode: limit.Observe}},
		Budgets: []limit.Terms{dollars(1), {Unit: limit.TokenCount, Per: window.Term, From: day, To: day.Add(time.Hour), Mode: limit.Enforce, Alerts: []int{50}}},
	}
	set, err := s.SetTier(ctx, gold, limit.Whatever)
	must(t, err)
	gold.Version, gold.Set = set.Version, set.Set
	same(t, "set", set, gold)
	silver, err := s.SetTier(ctx, limit.Tier{Name: "silver"}, limit.Whatever)
	must(t, err)

	refused(t, s.Assign(ctx, limit.Assignment{Project: "prj_1", Tier: "none"}), fault.NotThere)
	refused(t, s.Assign(ctx, limit.Assignment{Project: "prj_1"}), fault.NotThere)
	for _, a := range []limit.Assignment{
		{Project: "prj_1", Tier: "silver"}, {Project: "prj_1", User: limit.Each, Tier: "silver"}, {Project: "prj_1", Key: "key_1", Tier: "silver"},
		{Project: "prj_1", Tier: "gold"}, // instead of the first
	} {
		must(t, s.Assign(ctx, a))
	}
	d := definitions(t, s, t)
	same(t, "tiers", d.Tiers, []limit.Tier{gold, silver})
	if diff := cmp.Diff([]limit.Assignment{
		{Project: "prj_1", Tier: "gold"}, {Project: "prj_1", User: limit.Each, Tier: "silver"}, {Project: "prj_1", Key: "key_1", Tier: "silver"},
	}, d.Assigned, cmpopts.IgnoreFields(limit.Assignment{}, "Set")); diff != "" {
		t.Error(diff)
	}

	gold.Budgets, gold.MaxInput = nil, 0
	set, err = s.SetTier(ctx, gold, limit.Whatever)
	must(t, err)
	same(t, "version", set.Version, gold.Version+1)
	gold.Version, gold.Set = set.Version, set.Set
	same(t, "changed", set, gold)

	_, err = s.DeleteTier(ctx, "gold")
	refused(t, err, fault.InUse)
	must(t, s.Assign(ctx, limit.Assignment{Project: "prj_1"}))
	was, err := s.DeleteTier(ctx, "gold")
	must(t, err)
	same(t, "deleted", was, gold)
	_, err = s.DeleteTier(ctx, "gold")
	refused(t, err, fault.NotThere)
	d = definitions(t, s, t)
	same(t, "tiers", d.Tiers, []limit.Tier{silver})
	same(t, "assignments", len(d.Assigned), 2)
	anew, err := s.SetTier(ctx, gold, limit.Whatever)
	must(t, err)
	if anew.Version <= gold.Version { // or windows that it had would keep their terms
		t.Errorf("a tier that is set again has version %d, and had %d", anew.Version, gold.Version)
	}
	_, err = s.DeleteTier(ctx, "gold")
	must(t, err)

	entries, err := s.AuditEntries(ctx, audit.Filter{Object: "gold", Ascending: true}, 10)
	must(t, err)
	var acts []string
	for _, e := range entries {
		acts = append(acts, string(e.Action)+" "+e.Project)
	}
	same(t, "entries", acts, []string{"tier.set ", "tier.assign prj_1", "tier.set ", "tier.take prj_1", "tier.delete ", "tier.set ", "tier.delete "})
	same(t, "what it was instead of", string(entries[1].Before), `{"project":"prj_1","tier":"silver"}`)
}

// What is set is what is read, whatever is set and deleted in whatever order.
func testBudgetsAgainstModel(t *testing.T, s Store) {
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		if n++; n > checks {
			return
		}
		project := fmt.Sprintf("prj_%d", n)
		model, highest := map[string]limit.Budget{}, map[string]int64{}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			b := limit.Budget{Scope: limit.Scope{Project: project, User: rapid.SampledFrom([]string{"", limit.Each, "ann"}).Draw(rt, "user")}, Terms: limit.Terms{
				Unit: rapid.SampledFrom([]limit.Unit{limit.USD, limit.TokenCount}).Draw(rt, "unit"), Amount: rapid.Int64Min(0).Draw(rt, "amount"),
				Per: rapid.SampledFrom(window.Pers()[:4]).Draw(rt, "per"), Mode: rapid.SampledFrom([]limit.Mode{limit.Enforce, limit.Observe}).Draw(rt, "mode"),
				Alerts: rapid.SliceOfN(rapid.IntRange(1, 100), 0, 3).Draw(rt, "alerts"),
			}}
			slot := fmt.Sprint(b.User, b.Unit, b.Per)
			was, there := model[slot]
			if there && rapid.Bool().Draw(rt, "delete") {
				if _, err := s.DeleteBudget(t.Context(), was.ID); err != nil {
					rt.Fatal(err)
				}
				delete(model, slot)
				continue
			}
			set, err := s.SetBudget(t.Context(), b, limit.Whatever)
			if err != nil {
				rt.Fatal(err)
			}
			b.ID, b.Version, b.Set = set.ID, was.Version+1, set.Set
			if !there { // or it was deleted: then it goes on from there
				b.Version = set.Version
			}
			if set.Version <= highest[slot] {
				rt.Errorf("%s has the version %d, and had %d", slot, set.Version, highest[slot])
			}
			highest[slot] = set.Version
			if there && set.ID != was.ID {
				rt.Errorf("%s has the id %s, before %s", slot, set.ID, was.ID)
			}
			same(rt, "set", set, b)
			model[slot] = b
		}
		read := map[string]limit.Budget{}
		for _, b := range definitions(rt, s, t).Budgets {
			if b.Project == project {
				read[fmt.Sprint(b.User, b.Unit, b.Per)] = b
			}
		}
		same(rt, "budgets", read, model)
	})
}

// How windows stand is what their pools hold: what is free in leases is held, and what only observes has no end.
func testWindows(t *testing.T, s Store) {
	ctx := t.Context()
	hour := func(n int) int64 { return day.Truncate(time.Hour).Add(time.Duration(n) * time.Hour).UnixMicro() }
	at := func(n int) time.Time { return time.UnixMicro(hour(n)).UTC() }
	for i, tr := range []escrow.Trade{
		{Key: escrow.Key{Rule: "bgt_1", Start: hour(0)}, Terms: escrow.Terms{Limit: 100, Version: 1, End: hour(1)}, Need: 60, Want: 60},
		{Key: escrow.Key{Rule: "bgt_1", Start: hour(1)}, Terms: escrow.Terms{Limit: 100, Version: 2, End: hour(2)}, Need: 10, Want: 10},
		{Key: escrow.Key{Rule: "bgt_2", Subject: "ann", Start: hour(1)}, Terms: escrow.Terms{Limit: 5, Version: 1, End: hour(2)}, Need: 5, Want: 5},
		{Key: escrow.Key{Rule: "bgt_2", Subject: "bob", Start: hour(1)}, Terms: escrow.Terms{Limit: 5, Version: 1, End: hour(2)}},
		{Key: escrow.Key{Rule: "rate without a window"}, Terms: escrow.Terms{Limit: 5, Version: 1}, Need: 1, Want: 1},
	} {
		tr.Lease, tr.Replicas = fmt.Sprintf("lease_%d", i), 1
		trade(t, s, escrow.Holder{Journal: "j", Run: "r"}, tr)
	}
	one := limit.Standing{Budget: "bgt_1", Start: at(0), End: at(1), Limit: 100, Held: 60, Free: 40}
	two := limit.Standing{Budget: "bgt_1", Start: at(1), End: at(2), Limit: 100, Held: 10, Free: 90}
	ann := limit.Standing{Budget: "bgt_2", Subject: "ann", Start: at(1), End: at(2), Limit: 5, Held: 5}
	bob := limit.Standing{Budget: "bgt_2", Subject: "bob", Start: at(1), End: at(2), Limit: 5, Free: 5}
	for name, c := range map[string]struct {
		q    limit.WindowQuery
		want []limit.Standing
	}{
		"all, the newest first":  {limit.WindowQuery{}, []limit.Standing{two, ann, bob, one}},
		"some":                   {limit.WindowQuery{Limit: 2}, []limit.Standing{two, ann}},
		"of a budget":            {limit.WindowQuery{Budget: "bgt_1"}, []limit.Standing{two, one}},
		"of a subject":           {limit.WindowQuery{Budget: "bgt_2", Subject: "bob"}, []limit.Standing{bob}},
		"at the last of one":     {limit.WindowQuery{At: at(1).Add(-time.Microsecond)}, []limit.Standing{one}},
		"at the first of others": {limit.WindowQuery{At: at(1)}, []limit.Standing{two, ann, bob}},
		"of keys": {limit.WindowQuery{Keys: []escrow.Key{
			{Rule: "bgt_2", Subject: "ann", Start: hour(1)}, {Rule: "bgt_1", Start: hour(0)}, {Rule: "bgt_2", Subject: "bob", Start: hour(0)}, {Rule: "bgt_3"},
		}}, []limit.Standing{ann, one}},
		"before all": {limit.WindowQuery{At: at(-1)}, nil},
	} {
		got, err := s.Windows(ctx, c.q)
		must(t, err)
		same(t, name, got, c.want)
	}
}
