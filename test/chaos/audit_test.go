//go:build linux

package chaos

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestControl45KilledAdministrators (security.md): Penstock is killed again and again while eight administrators change
// things. The audit chain is whole each time, and every act that was answered is in it, once.
func TestControl45KilledAdministrators(t *testing.T) {
	rng := draws(t)
	w := newWorld(t, rng, plan{config: killModels, targets: killTargets})
	var mu sync.Mutex // guards the field below
	answered := map[string]bool{}
	for round := range longer(4, 30) {
		if round > 0 {
			w.up()
		}
		var all sync.WaitGroup
		var answers atomic.Int32
		last := int32(15 + rng.IntN(50))
		enough := make(chan struct{}, 1) // a token when the round has had its answers
		for client := range 8 {
			all.Go(func() {
				for turn := 0; ; turn++ {
					var made struct {
						ID string `json:"id"`
					}
					in := map[string]string{"name": fmt.Sprintf("p %d %d %d", round, client, turn)}
					if w.admin(http.MethodPost, "/projects", in, &made) != nil {
						return // it was killed
					}
					mu.Lock()
					answered[made.ID] = true
					mu.Unlock()
					if answers.Add(1) == last {
						enough <- struct{}{}
					}
				}
			})
		}
		select {
		case <-enough:
		case <-time.After(patience):
			t.Fatalf("round %d has had %d answers in %v", round, answers.Load(), patience)
		}
		w.serve.end(t, syscall.SIGKILL, patience)
		all.Wait()
	}
	w.up()
	if out, words, code := command(t, w.dir, "audit", "verify", "-c", w.file); code != 0 || !strings.Contains(out, "is whole") {
		t.Errorf("exit code %d: %s%s", code, out, words)
	}
	found := map[string]int{}
	for after := ""; ; {
		var page struct {
			Data []struct {
				Object string `json:"object"`
			} `json:"data"`
			Next string `json:"next"`
		}
		if err := w.admin(http.MethodGet, "/audit?action=project.create&ascending=true&limit=1000"+after, nil, &page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Data {
			found[e.Object]++
		}
		if page.Next == "" {
			break
		}
		after = "&after=" + page.Next
	}
	for id := range answered {
		if found[id] != 1 {
			t.Errorf("project %s was made, and is in the chain %d times", id, found[id])
		}
	}
	t.Logf("%d acts answered, %d in the chain", len(answered), len(found))
}

// Fault 79: somebody with the database in his hands alters one entry. The running check says so at the next start, and the
// command names the entry.
func TestAlteredEntryIsNamed(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: killModels, targets: killTargets})
	if code := w.serve.end(t, syscall.SIGTERM, patience); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	db, err := sql.Open("sqlite", filepath.Join(w.dataDir(), "penstock.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec("DROP TRIGGER audit_entries_stay; UPDATE audit_entries SET actor_name = 'somebody else' WHERE seq = 3")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	w.up()
	if _, words, code := command(t, w.dir, "audit", "verify", "-c", w.file); code != 1 || !strings.Contains(words, "broken: entry 3 was altered") {
		t.Errorf("exit code %d: %s", code, words)
	}
	eventually(t, patience, "the process finds it too", func() error {
		if !strings.Contains(w.serve.log(t), "THE AUDIT CHAIN IS BROKEN") || w.metric("penstock_audit_intact") != 0 {
			return errors.New("it says nothing")
		}
		return nil
	})
}
