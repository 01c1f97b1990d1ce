package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// wholeChain reads the audit chain and fails the test if it is not whole.
func wholeChain(t testing.TB, s Store) []audit.Entry {
	t.Helper()
	head, err := s.AuditHead(t.Context())
	must(t, err)
	v, err := audit.NewVerifier(audit.Head{Chain: head.Chain}, nil)
	must(t, err)
	var all []audit.Entry
	for {
		some, err := s.AuditEntries(t.Context(), audit.Filter{Ascending: true, After: v.At().Seq}, 7)
		must(t, err)
		for i := range some {
			must(t, v.Next(&some[i]))
		}
		all = append(all, some...)
		if len(some) < 7 {
			must(t, v.End(head))
			return all
		}
	}
}

func testAudit(t *testing.T, s Store) {
	head, err := s.AuditHead(t.Context())
	must(t, err)
	if head.Chain != "" || head.Seq != 0 || len(wholeChain(t, s)) != 0 {
		t.Errorf("the chain of an empty store: %+v", head)
	}
	who := audit.Actor{Key: "key_1", Name: "é", Prefix: "psk_7f3a", Role: "admin", Org: "o", Project: "p", Address: "::1", Agent: "a", Request: "ad_1"}
	ctx := audit.As(t.Context(), who)
	must(t, s.CreateProject(ctx, project("prj_1", "default", "checkout")))
	_, err = s.UpdateProject(ctx, "prj_1", rename("search"))
	must(t, err)
	must(t, s.CreateKey(ctx, key("key_1", "prj_1", "a")))
	must(t, s.RotateKey(ctx, "key_1", day, key("key_2", "prj_1", "b")))
	_, err = s.RevokeKey(ctx, "key_2", day)
	must(t, err)
	_, err = s.RevokeKey(ctx, "key_2", day) // changes nothing, and was asked for
	must(t, err)
	prices := make([]catalog.Override, 250)
	for i := range prices {
		prices[i] = catalog.Override{Target: llm.Target{Provider: "p", Model: fmt.Sprint(i)}, Set: day, Source: "import"}
	}
	must(t, s.SetPrices(ctx, prices))
	must(t, s.SetPrices(ctx, prices[:1]))
	must(t, s.AppendAudit(ctx, audit.Act{Action: "body.read", Object: "ex_1", Project: "prj_1", Reason: "ticket 7"}))
	_, _, err = s.AdminKeyHash(t.Context(), auth.Hash{1})
	must(t, err)
	_, _, err = s.AdminKeyHash(t.Context(), auth.Hash{2}) // there is one
	must(t, err)
	var got []string
	for _, e := range wholeChain(t, s) {
		got = append(got, string(e.Action)+" "+e.Object+" of "+e.Project)
		if want := map[bool]audit.Actor{true: who, false: audit.Process()}[e.Action != audit.AdminKeyMade]; e.Actor != want {
			t.Errorf("%s by %+v", e.Action, e.Actor)
		}
	}
	same(t, "acts", got, []string{
		"project.create prj_1 of prj_1", "project.set prj_1 of prj_1", "key.create key_1 of prj_1", "key.rotate key_1 of prj_1",
		"key.revoke key_2 of prj_1", "key.revoke key_2 of prj_1", "price.set  of ", "price.set  of ", "price.set  of ", "price.set p/0 of ",
		"body.read ex_1 of prj_1", "admin_key.create admin of ",
	})
}

// testAuditIsAtomic: what was refused or failed leaves no entry.
func testAuditIsAtomic(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.CreateProject(ctx, project("prj_1", "default", "checkout")))
	must(t, s.CreateKey(ctx, key("key_1", "prj_1", "a")))
	refused(t, s.CreateProject(ctx, project("prj_2", "default", "checkout")), fault.AlreadyThere)
	refused(t, s.CreateKey(ctx, key("key_1", "prj_1", "b")), fault.AlreadyThere)
	refused(t, s.CreateKey(ctx, key("key_2", "prj_9", "b")), fault.NotThere)
	refused(t, s.RotateKey(ctx, "key_9", day, key("key_3", "prj_1", "c")), fault.NotThere)
	refused(t, s.RotateKey(ctx, "key_1", day, key("key_1", "prj_1", "c")), fault.AlreadyThere)
	_, err := s.RevokeKey(ctx, "key_9", day)
	refused(t, err, fault.NotThere)
	_, err = s.UpdateProject(ctx, "prj_1", func(*auth.Project) error { return fault.New(fault.InvalidRequest, "No.") })
	refused(t, err, fault.InvalidRequest)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.CreateProject(ended, project("prj_3", "default", "late")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// What cannot be told in the chain is not done either.
	if s.AppendAudit(ctx, audit.Act{Action: "x", After: func() {}}) == nil {
		t.Error("an act that JSON does not have")
	}
	if n := len(wholeChain(t, s)); n != 2 {
		t.Errorf("%d entries, want 2", n)
	}
}

// testAuditAtOnce: many at once continue one chain.
func testAuditAtOnce(t *testing.T, s Store) {
	const writers, each = 8, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := s.AppendAudit(t.Context(), audit.Act{Action: "x", Object: fmt.Sprintf("%d/%d", w, i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(wholeChain(t, s)); n != writers*each {
		t.Errorf("%d entries, want %d", n, writers*each)
	}
}

func testAuditFilters(t *testing.T, s Store) {
	for i := range 30 {
		ctx := audit.As(t.Context(), audit.Actor{Key: fmt.Sprintf("key_%d", i%3), Role: "admin"})
		must(t, s.AppendAudit(ctx, audit.Act{Action: audit.Action(fmt.Sprintf("act.%d", i%2)), Object: fmt.Sprint(i % 5), Project: fmt.Sprint(i % 7)}))
	}
	all := wholeChain(t, s)
	for _, f := range []audit.Filter{
		{}, {Actor: "key_1"}, {Action: "act.0"}, {Object: "3"}, {Project: "6"}, {Actor: "key_2", Action: "act.1", Object: "0"}, {Actor: "nobody"},
		{From: all[10].Time}, {To: all[10].Time}, {From: all[3].Time, To: all[20].Time, Object: "1"}, {After: 7}, {After: 7, Ascending: true},
		{Object: "' OR 1=1 --"},
	} {
		var want []int64
		for _, e := range all {
			in := func(filter, is string) bool { return filter == "" || filter == is }
			if in(f.Actor, e.Actor.Key) && in(string(f.Action), string(e.Action)) && in(f.Object, e.Object) && in(f.Project, e.Project) &&
				!e.Time.Before(f.From) && (f.To.IsZero() || e.Time.Before(f.To)) &&
				(f.After == 0 || f.Ascending && e.Seq > f.After || !f.Ascending && e.Seq < f.After) {
				if f.Ascending {
					want = append(want, e.Seq)
				} else {
					want = append([]int64{e.Seq}, want...)
				}
			}
		}
		for _, limit := range []int{100, 4} {
			rows, err := s.AuditEntries(t.Context(), f, limit)
			must(t, err)
			var got []int64
			for _, e := range rows {
				got = append(got, e.Seq)
			}
			same(t, fmt.Sprintf("%+v", f), got, want[:min(limit, len(want))])
		}
	}
}
