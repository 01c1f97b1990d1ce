package storetest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/llm"
)

func testUpdateKey(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.CreateProject(ctx, project("prj_1", "acme", "checkout")))
	k := key("key_1", "prj_1", "trial")
	must(t, s.CreateKey(ctx, k))
	must(t, s.CreateKey(ctx, key("key_2", "prj_1", "taken")))
	before := version(t, s)
	want := k
	want.Name, want.Models, want.Role, want.Expires = "other", []string{"a*", "b"}, auth.RoleViewer, day.Add(time.Hour)
	got, err := s.UpdateKey(ctx, "key_1", func(to *auth.Key) error {
		same(t, "key to change", *to, k)
		*to = want
		to.Project, to.Prefix, to.Hash, to.Created = "prj_2", "psk_x", auth.Hash{1}, day.Add(time.Hour) // which do not change
		return nil
	})
	must(t, err)
	same(t, "changed key", got, want)
	got, err = s.FindKey(ctx, "key_1")
	must(t, err)
	same(t, "changed key, read again", got, want)
	same(t, "version", version(t, s), before+1)
	_, err = s.UpdateKey(ctx, "key_1", func(k *auth.Key) error { k.Name = "taken"; return nil })
	refused(t, err, fault.AlreadyThere)
	_, err = s.UpdateKey(ctx, "key_9", func(*auth.Key) error { t.Error("changes a key that is not there"); return nil })
	refused(t, err, fault.NotThere)
	_, err = s.UpdateKey(ctx, "key_1", func(k *auth.Key) error { k.Name = "half"; return fault.New(fault.InvalidRequest, "No.") })
	refused(t, err, fault.InvalidRequest)
	got, err = s.FindKey(ctx, "key_1")
	must(t, err)
	same(t, "key after changes that were refused", got, want)
}

// testDeclare: all changes of a declaration or none, and none on what has changed since.
func testDeclare(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.CreateProject(ctx, project("prj_1", "acme", "checkout")))
	must(t, s.CreateKey(ctx, key("key_1", "prj_1", "trial")))
	must(t, s.CreateKey(ctx, key("key_2", "prj_1", "old")))
	prices := func() int64 {
		v, err := s.PriceVersion(ctx)
		must(t, err)
		return v
	}
	target := llm.Target{Provider: "sim-a", Model: "m"}
	price := catalog.Override{Target: target, Price: catalog.NewPrice(1, 2, nil, nil), Source: "apply", Set: day}
	set := project("prj_1", "acme", "checkout")
	set.Strict = true
	key1 := key("key_1", "prj_1", "trial")
	key1.Models = []string{"a"}
	c := auth.Changes{
		Version: version(t, s), At: day.Add(time.Minute), NewProjects: []auth.Project{project("prj_2", "new", "search")}, Projects: []auth.Project{set},
		NewKeys: []auth.Key{key("key_3", "prj_2", "a"), key("key_4", "prj_1", "old")}, Keys: []auth.Key{key1}, Ended: []string{"key_2"},
	}
	ended, err := s.SetBudget(ctx, limit.Budget{Scope: limit.Scope{Project: "prj_1"}, Terms: dollars(1)}, limit.Whatever)
	must(t, err)
	limits := limit.Changes{
		Version: definitions(t, s, t).Version, Tiers: []limit.Tier{{Name: "gold"}}, EndedBudgets: []string{ended.ID},
		Budgets:  []limit.Budget{{Scope: limit.Scope{Project: "prj_2", Key: "key_3"}, Terms: dollars(2)}},
		Limits:   []limit.Limit{{Rate: limit.Rate{Measure: limit.Requests, Amount: 1, Mode: limit.Enforce}}},
		Assigned: []limit.Assignment{{Project: "prj_2", Tier: "gold"}},
	}
	head, err := s.AuditHead(ctx)
	must(t, err)

	stale := c
	stale.Version--
	refused(t, s.Declare(ctx, stale, prices(), []catalog.Override{price}, limits), fault.ChangedMeanwhile)
	refused(t, s.Declare(ctx, c, prices()+1, []catalog.Override{price}, limits), fault.ChangedMeanwhile)
	late := limits
	late.Version--
	refused(t, s.Declare(ctx, c, prices(), []catalog.Override{price}, late), fault.ChangedMeanwhile)
	half := c
	half.NewKeys = append(slices.Clip(c.NewKeys), key("key_5", "prj_9", "nowhere"))
	refused(t, s.Declare(ctx, half, prices(), []catalog.Override{price}, limits), fault.NotThere)
	_, projects, keys, err := s.AllKeys(ctx)
	must(t, err)
	same(t, "projects and keys after refusals", []int{len(projects), len(keys)}, []int{1, 2})
	unchanged, err := s.AuditHead(ctx)
	must(t, err)
	same(t, "audit chain after refusals", unchanged, head)

	was := prices()
	must(t, s.Declare(ctx, c, was, []catalog.Override{price}, limits))
	now, projects, keys, err := s.AllKeys(ctx)
	must(t, err)
	same(t, "version", now, c.Version+1)
	defined := definitions(t, s, t)
	same(t, "definitions", []int{len(defined.Budgets), len(defined.Limits), len(defined.Tiers), len(defined.Assigned)}, []int{1, 1, 1, 1})
	same(t, "version of definitions", defined.Version, limits.Version+1)
	same(t, "version of prices", prices(), was+1)
	same(t, "projects", projects, []auth.Project{set, c.NewProjects[0]})
	old := key("key_2", "prj_1", "old")
	old.Revoked = c.At
	same(t, "keys", keys, []auth.Key{key1, old, c.NewKeys[0], c.NewKeys[1]})
	after, err := s.AuditHead(ctx)
	must(t, err)
	same(t, "entries of the audit chain", after.Seq-head.Seq, int64(12))
	refused(t, s.Declare(ctx, c, was, nil, limits), fault.ChangedMeanwhile)

	// Of declarations at once that were planned on the same, one is made.
	c = auth.Changes{Version: version(t, s), Projects: []auth.Project{set}}
	var wg sync.WaitGroup
	made := make(chan error, 8)
	for range cap(made) {
		wg.Go(func() { made <- s.Declare(ctx, c, was+1, nil, limit.Changes{Version: limits.Version + 1}) })
	}
	wg.Wait()
	close(made)
	n := 0
	for err := range made {
		if err == nil {
			n++
			continue
		}
		refused(t, err, fault.ChangedMeanwhile)
	}
	same(t, "declarations made", n, 1)
}
