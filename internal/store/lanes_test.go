//go:build unix

package store

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/store/pgtest"
)

// Changes at the same moment on two replicas, on a server where somebody has set that a transaction sees the moment of its
// beginning: each sees what it changes, none is lost, and in the audit chain each begins where the one before has ended.
func TestChangesAtOnceOverReplicas(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			address := pgtest.Database(t)
			pgtest.Execute(t, address, fmt.Sprintf("DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET default_transaction_isolation = %%L', current_database(), '%s'); END $$", level))
			changeAtOnce(t, openAt(t, address), openAt(t, address))
		})
	}
}

func changeAtOnce(t *testing.T, replicas ...*Store) {
	t.Helper()
	ctx, s := t.Context(), replicas[0]
	if err := s.CreateProject(ctx, auth.Project{ID: "prj_1", Org: "default", Name: "checkout", Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	key := auth.Key{ID: "key_1", Project: "prj_1", Name: "k", Role: auth.RoleCaller, Created: time.Now()}
	if err := s.CreateKey(ctx, key); err != nil {
		t.Fatal(err)
	}
	const each = 8
	var wg sync.WaitGroup
	for r, s := range replicas {
		for i := range each {
			wg.Go(func() {
				_, err := s.UpdateProject(ctx, "prj_1", func(p *auth.Project) error {
					if p.Labels == nil {
						p.Labels = map[string]string{}
					}
					p.Labels[fmt.Sprintf("r%d-%d", r, i)] = "1"
					return nil
				})
				if err == nil { // each earlier than those before, so that each changes the key
					_, err = s.RevokeKey(ctx, "key_1", time.Now().Add(-time.Duration(i)*time.Hour))
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	p, err := s.FindProject(ctx, "", "prj_1")
	if err != nil || len(p.Labels) != each*len(replicas) {
		t.Errorf("%d labels, %v", len(p.Labels), err)
	}
	for _, object := range []string{"prj_1", "key_1"} {
		entries, err := s.AuditEntries(ctx, audit.Filter{Object: object, Ascending: true}, 1000)
		if err != nil || len(entries) != 1+each*len(replicas) {
			t.Fatalf("%s: %d entries, %v", object, len(entries), err)
		}
		for i := 1; i < len(entries); i++ {
			if string(entries[i].Before) != string(entries[i-1].After) {
				t.Fatalf("%s, entry %d: before it was %s, and the entry before says %s", object, i, entries[i].Before, entries[i-1].After)
			}
		}
	}
}
