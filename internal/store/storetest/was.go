package storetest

import (
	"context"
	"sync"
	"testing"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/limit"
)

// Of changes at once that were made on top of the same version, one is made, and the others are told of it; what somebody means that
// is not there any more is not made anew.
func testChangesOnAVersion(t *testing.T, s Store) {
	scope := limit.Scope{Project: "prj_1"}
	for name, set := range map[string]func(ctx context.Context, amount int64, was limit.Was) (version int64, err error){
		"budget": func(ctx context.Context, amount int64, was limit.Was) (int64, error) {
			b, err := s.SetBudget(ctx, limit.Budget{Scope: scope, Terms: dollars(amount)}, was)
			return b.Version, err
		},
		"limit": func(ctx context.Context, amount int64, was limit.Was) (int64, error) {
			l, err := s.SetLimit(ctx, limit.Limit{Scope: scope, Rate: limit.Rate{Measure: limit.Requests, Amount: amount, Mode: limit.Enforce}}, was)
			return l.Version, err
		},
		"limits": func(ctx context.Context, amount int64, was limit.Was) (int64, error) {
			l := limit.Limit{Scope: scope, Rate: limit.Rate{Measure: limit.Tokens, Amount: amount, Mode: limit.Enforce}}
			other := limit.Limit{Scope: scope, Rate: limit.Rate{Measure: limit.Concurrent, Amount: amount, Mode: limit.Enforce}}
			set, err := s.SetLimits(ctx, []limit.Limit{other, l}, []limit.Was{limit.Whatever, was})
			if err != nil {
				return 0, err
			}
			return set[1].Version, nil
		},
		"tier": func(ctx context.Context, amount int64, was limit.Was) (int64, error) {
			tier, err := s.SetTier(ctx, limit.Tier{Name: "gold", MaxOutput: amount}, was)
			return tier.Version, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			_, err := set(ctx, 1, 7)
			refused(t, err, fault.ChangedMeanwhile)
			version := int64(limit.NotYet)
			for round, code := range []fault.Code{fault.AlreadyThere, fault.ChangedMeanwhile, fault.ChangedMeanwhile} {
				const n = 8
				var wg sync.WaitGroup
				var mu sync.Mutex
				var winners []int64
				for i := range n {
					wg.Go(func() {
						v, err := set(ctx, int64(100*round+i+1), limit.Was(version))
						mu.Lock()
						defer mu.Unlock()
						if err == nil {
							winners = append(winners, v)
							return
						}
						refused(t, err, code)
					})
				}
				wg.Wait()
				if len(winners) != 1 || winners[0] <= version {
					t.Fatalf("on version %d, changes were made with the versions %d, want one", version, winners)
				}
				version = winners[0]
			}
			before := definitions(t, s, t)
			_, err = set(ctx, 1, limit.Was(version+1))
			refused(t, err, fault.ChangedMeanwhile)
			same(t, "definitions after a refusal", definitions(t, s, t), before)
			next, err := set(ctx, 1, limit.Whatever)
			must(t, err)
			if next <= version {
				t.Errorf("version %d after %d", next, version)
			}
		})
	}

	ctx := t.Context()
	b, err := s.SetBudget(ctx, limit.Budget{Scope: limit.Scope{User: "ann"}, Terms: dollars(1)}, limit.NotYet)
	must(t, err)
	_, err = s.DeleteBudget(ctx, b.ID)
	must(t, err)
	again, err := s.SetBudget(ctx, limit.Budget{Scope: b.Scope, Terms: b.Terms}, limit.NotYet)
	must(t, err)
	_, err = s.SetBudget(ctx, b, limit.Was(b.Version)) // another budget
	refused(t, err, fault.ChangedMeanwhile)
	_, err = s.SetBudget(ctx, again, limit.Was(again.Version))
	must(t, err)
}

// Versions only grow: what is deleted and set again has none that it had before, so that whoever read it then does not overwrite it; and
// not the next one either, by which replicas know that no terms were in force between. What is changed has the next, whatever else was
// changed meanwhile.
func testVersionsGoOn(t *testing.T, s Store) {
	ctx := t.Context()
	scope := limit.Scope{Project: "prj_1"}
	rate := func(m limit.Measure) limit.Rate { return limit.Rate{Measure: m, Amount: 1, Mode: limit.Enforce} }
	drop := func(_ any, err error) error { return err }
	for name, of := range map[string]struct {
		set    func(was limit.Was) (id string, version int64, err error)
		remove func(id string) error
	}{
		"budget": {
			func(was limit.Was) (string, int64, error) {
				b, err := s.SetBudget(ctx, limit.Budget{Scope: scope, Terms: dollars(1)}, was)
				return b.ID, b.Version, err
			},
			func(id string) error { return drop(s.DeleteBudget(ctx, id)) },
		},
		"budget with an id": {
			func(was limit.Was) (string, int64, error) {
				b, err := s.SetBudget(ctx, limit.Budget{ID: "bgt_own", Scope: limit.Scope{Project: "prj_2"}, Terms: dollars(1)}, was)
				return b.ID, b.Version, err
			},
			func(id string) error { return drop(s.DeleteBudget(ctx, id)) },
		},
		"limit": {
			func(was limit.Was) (string, int64, error) {
				l, err := s.SetLimit(ctx, limit.Limit{Scope: scope, Rate: rate(limit.Requests)}, was)
				return l.ID, l.Version, err
			},
			func(id string) error { return drop(s.DeleteLimit(ctx, id)) },
		},
		"limits": {
			func(was limit.Was) (string, int64, error) {
				l, err := s.SetLimits(ctx, []limit.Limit{{Scope: scope, Rate: rate(limit.Tokens)}}, []limit.Was{was})
				if err != nil {
					return "", 0, err
				}
				return l[0].ID, l[0].Version, nil
			},
			func(id string) error { return drop(s.DeleteLimit(ctx, id)) },
		},
		"tier": {
			func(was limit.Was) (string, int64, error) {
				tier, err := s.SetTier(ctx, limit.Tier{Name: "gold"}, was)
				return tier.Name, tier.Version, err
			},
			func(id string) error { return drop(s.DeleteTier(ctx, id)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			var read []int64
			for range 3 {
				id, version, err := of.set(limit.NotYet)
				must(t, err)
				if n := len(read); n > 0 && version <= read[n-1]+1 {
					t.Errorf("set again it has the version %d, and had %d", version, read)
				}
				for _, stale := range read {
					_, _, err := of.set(limit.Was(stale))
					refused(t, err, fault.ChangedMeanwhile)
				}
				read = append(read, version)
				for range 3 {
					_, err := s.SetBudget(ctx, limit.Budget{Scope: limit.Scope{User: "ann"}, Terms: dollars(1)}, limit.Whatever)
					must(t, err)
					_, next, err := of.set(limit.Was(version))
					must(t, err)
					same(t, "the next version", next, version+1)
					version = next
					read = append(read, version)
				}
				must(t, of.remove(id))
			}
		})
	}
}
