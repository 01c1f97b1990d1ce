package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/store/pgtest"
)

// replicasOf starts so many Penstocks on one database.
func replicasOf(t *testing.T, n int, config string) []*penstocktest.Env {
	t.Helper()
	config += "store: " + pgtest.Database(t) + "\n"
	all := []*penstocktest.Env{penstocktest.Start(t, penstocktest.Options{Config: config})}
	for range n - 1 {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"admin.key", "keyring.json"} { // which replicas share
			text, err := os.ReadFile(filepath.Join(all[0].Dir, "data", name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "data", name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, penstocktest.Start(t, penstocktest.Options{Config: config, Dir: dir}))
	}
	return all
}

// stateOf is how a replica sees a target.
func stateOf(t *testing.T, e *penstocktest.Env, target string) admin.TargetHealth {
	t.Helper()
	var list struct {
		Data []admin.Route `json:"data"`
	}
	if status := e.Admin(http.MethodGet, "/routes", nil, &list); status != http.StatusOK {
		t.Fatal(status)
	}
	for _, r := range list.Data {
		for _, one := range r.Targets {
			if one.Target == target {
				return one.Health
			}
		}
	}
	t.Fatalf("no target %s", target)
	return admin.TargetHealth{}
}

// TestFault45 has three replicas on one database, and a target that fails: what one has found out the others know, callers see no
// error, and when the ejection is over one call of hundreds, over all replicas, finds out.
func TestFault45(t *testing.T) {
	t.Parallel()
	const bad = "sim-a/bad?status=503"
	all := replicasOf(t, 3, settings(map[string][]string{"house": {bad, "sim-b/good"}}))
	key := all[0].Key("acme")
	for _, e := range all {
		if !penstocktest.Eventually(func() bool { return e.Do(http.MethodGet, key, "/penstock/v1/self", "").Status == http.StatusOK }) {
			t.Fatal("a replica does not know the key")
		}
	}
	asked := func() (n int) {
		for _, e := range all {
			for _, r := range e.Sim.Requests() {
				if r.Provider == "sim-a" { // each remembers 500, and is asked less
					n++
				}
			}
		}
		return n
	}
	body := penstocktest.Chat("house", "hello", false)
	ask := func(e *penstocktest.Env) penstocktest.Answer {
		a := e.Post(key, chatPath, body)
		if a.Status != http.StatusOK {
			t.Errorf("a caller saw %d %s", a.Status, a.Body)
		}
		return a
	}
	for range 5 {
		ask(all[0])
	}
	ejected := time.Now()
	if n := asked(); n != 5 {
		t.Fatalf("it was asked %d times, and ejected after that?", n)
	}
	for i, e := range all {
		if !penstocktest.Eventually(func() bool { return stateOf(t, e, bad).State == "ejected" }) {
			t.Errorf("replica %d: %+v", i, stateOf(t, e, bad))
		}
		if a := ask(e); a.Header.Get("X-Penstock-Tries") != "1" || a.Header.Get("X-Penstock-Target") != "sim-b/good" {
			t.Errorf("replica %d: %v", i, a.Header)
		}
	}
	// Hundreds of calls while it becomes half-open, which it does every 4 to 5 s at first.
	var callers sync.WaitGroup
	until := time.Now().Add(6 * time.Second)
	for i := range 30 {
		callers.Go(func() {
			for time.Now().Before(until) {
				ask(all[i%len(all)])
				<-time.After(300 * time.Millisecond)
			}
		})
	}
	callers.Wait()
	if n, most := asked()-5, int(time.Since(ejected)/(4*time.Second)); n < 1 || n > most {
		t.Errorf("%d calls found out that it still fails, want at most %d", n, most)
	}
	// An operator's word goes around.
	if status := all[2].Admin(http.MethodPost, "/routes/disable", admin.DisableInput{Target: "sim-b", Reason: "drill"}, nil); status != http.StatusOK {
		t.Fatal(status)
	}
	if !penstocktest.Eventually(func() bool { return stateOf(t, all[0], "sim-b/good").State == "disabled" }) {
		t.Errorf("%+v", stateOf(t, all[0], "sim-b/good"))
	}
	if a := all[0].Post(key, chatPath, body); a.Status < 500 {
		t.Errorf("only what fails is left: %d", a.Status)
	}
	if status := all[1].Admin(http.MethodPost, "/routes/enable", admin.EnableInput{Target: "sim-b"}, nil); status != http.StatusOK {
		t.Fatal(status)
	}
	if !penstocktest.Eventually(func() bool { return stateOf(t, all[0], "sim-b/good").State == "healthy" }) {
		t.Errorf("%+v", stateOf(t, all[0], "sim-b/good"))
	}
	ask(all[0])
}
