//go:build linux

package chaos

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/store/pgtest"
)

// A replica is one of several Penstocks on one database. Each has its own data directory; the key ring is the first one's.
type replica struct {
	*world
	name     string
	sections string // of its file
	program  string
}

// join starts a replica in the world of another. Its admin key is the database's, whoever made it.
func (w *world) join(name, database string) *replica {
	w.t.Helper()
	return w.joinAs(name, database, binary)
}

// joinAs is join with a program of another version.
func (w *world) joinAs(name, database, program string, env ...string) *replica {
	w.t.Helper()
	r := &replica{&world{t: w.t, rng: w.rng, dir: w.dir, plan: w.plan, simAddr: w.simAddr, http: newClient(), key: w.key, adminKey: w.adminKey}, name, providers + "store: " + database + "\nkeyring: file:keyring.json\n", program}
	r.plan.env = env
	r.file, r.plan.data = filepath.Join(w.dir, name+".yaml"), name
	r.configure(r.sections)
	r.begin()
	return r
}

// begin starts the replica's process.
func (r *replica) begin() {
	r.t.Helper()
	var line struct {
		Data, Admin string
		KeyFile     string `json:"admin_key_file"`
	}
	r.serve = start(r.t, launch{dir: r.dir, args: []string{"serve", "-c", r.file, "--json"}, env: append([]string{"SIM_KEY=" + providerKey}, r.plan.env...), program: r.program}, &line)
	r.url, r.adminURL = "http://"+line.Data, "http://"+line.Admin
}

// learn reads the admin key from the file of the replica that made it.
func (r *replica) learn() bool {
	text, err := os.ReadFile(filepath.Join(r.dir, r.name, "admin.key"))
	r.adminKey = strings.TrimSpace(string(text))
	return err == nil
}

// status is that of a path without key on the data plane.
func (r *replica) status(path string) int { return r.get(r.url+path, "").status }

// soon waits until something holds.
func soon(t *testing.T, most time.Duration, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(most); !holds(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within %s: %s", most, what)
		}
	}
}

// newReplicas makes two replicas that start at the same moment on an empty database, with a key in w.key.
func newReplicas(t *testing.T, database string) (a, b *replica) {
	t.Helper()
	return newReplicasAt(t, database, database)
}

// newReplicasAt is newReplicas where each has a way of its own to the database.
func newReplicasAt(t *testing.T, first, second string) (a, b *replica) {
	t.Helper()
	w := &world{t: t, rng: draws(t), dir: t.TempDir(), http: newClient(), plan: plan{sim: simulated}}
	w.simulate("127.0.0.1:0")
	a, b = w.join("a", first), w.join("b", second)
	soon(t, patience, "both are ready", func() bool { return a.status("/readyz") == 200 && b.status("/readyz") == 200 })
	if !a.learn() {
		b.learn()
		a.adminKey = b.adminKey
	}
	b.adminKey = a.adminKey
	a.key = a.newKey("shared")
	b.key = a.key
	soon(t, 5*time.Second, "a key of one is the other's", func() bool { return b.ask().status == 200 })
	return a, b
}

func (r *replica) ask() answer {
	return r.chat(r.t.Context(), call{model: "sim-a/plain?events=3"})
}

// Two replicas are one Penstock: keys made and revoked on one are so on the other within 5 s; records of both are read at
// either, in one order; a replica that is killed loses none; and both may be killed at once.
func TestReplicasShareADatabase(t *testing.T) {
	a, b := newReplicas(t, pgtest.Database(t))
	answered := map[string]bool{}
	for i := range 40 {
		r := []*replica{a, b}[i%2]
		if got := r.ask(); got.status != 200 {
			t.Fatalf("%s: %s", r.name, got)
		} else {
			answered[got.id()] = true
		}
	}
	b.serve.end(t, syscall.SIGKILL, patience)
	b.begin()
	soon(t, patience, "the killed one is back", func() bool { return b.status("/readyz") == 200 })
	a.serve.end(t, syscall.SIGKILL, patience)
	b.serve.end(t, syscall.SIGKILL, patience)
	a.begin()
	b.begin()
	soon(t, patience, "both are back", func() bool { return a.status("/readyz") == 200 && b.status("/readyz") == 200 })
	soon(t, patience, "all records are there", func() bool {
		left := len(answered)
		seen := map[string]bool{}
		for _, r := range a.records() {
			if seen[r.ID] {
				t.Fatalf("%s is there twice", r.ID)
			}
			if seen[r.ID] = true; answered[r.ID] {
				left--
			}
		}
		return left == 0
	})

	var keys struct{ Data []struct{ ID string } }
	if err := a.admin(http.MethodGet, "/keys?limit=10", nil, &keys); err != nil || len(keys.Data) != 1 {
		t.Fatalf("%+v, %v", keys, err)
	}
	if err := a.admin(http.MethodPost, "/keys/"+keys.Data[0].ID+"/revoke", map[string]any{}, nil); err != nil {
		t.Fatal(err)
	}
	soon(t, 5*time.Second, "a revoked key is dead everywhere", func() bool { return b.ask().status == 401 })
}

// Fault 52: the database is not there at the start. Penstock is alive and not ready, refuses keys with 503 and is ready by
// itself when the database comes.
func TestControl52DatabaseMissingAtTheStart(t *testing.T) {
	server := pgtest.New(t)
	database := server.Database(t)
	server.Stop(t)
	w := &world{t: t, rng: draws(t), dir: t.TempDir(), http: newClient(), plan: plan{sim: simulated}, key: "psk_" + strings.Repeat("a", 43)}
	w.simulate("127.0.0.1:0")
	r := w.join("a", database)
	if alive, ready := r.status("/healthz"), r.status("/readyz"); alive != 200 || ready != 503 {
		t.Fatalf("alive %d, ready %d", alive, ready)
	}
	if got := r.ask(); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("%s", got)
	}
	server.Start(t)
	soon(t, patience, "ready without a restart", func() bool { return r.status("/readyz") == 200 })
	r.learn()
	r.key = r.newKey("shared")
	if got := r.ask(); got.status != 200 {
		t.Errorf("%s", got)
	}
}

// Fault 51: the database is restarted, and frozen, under calls. No key is ever called wrong; what was answered has its
// record; and all is well again without a restart.
func TestControl51DatabaseRestartedAndFrozen(t *testing.T) {
	for name, fault := range map[string]struct {
		begin, end func(*pgtest.Server, *testing.T)
	}{
		"restarted": {func(s *pgtest.Server, t *testing.T) { s.Stop(t) }, func(s *pgtest.Server, t *testing.T) { s.Start(t) }},
		"frozen":    {func(s *pgtest.Server, t *testing.T) { s.Freeze(t) }, func(s *pgtest.Server, t *testing.T) { s.Thaw(t) }},
	} {
		t.Run(name, func(t *testing.T) {
			server := pgtest.New(t)
			a, b := newReplicas(t, server.Database(t))
			answered := map[string]bool{}
			call := func(r *replica) int {
				got := r.ask()
				if got.status == 200 {
					answered[got.id()] = true
				} else if got.status != 503 || got.took > 5*time.Second {
					t.Errorf("%s after %s", got, got.took)
				}
				return got.status
			}
			call(a)
			fault.begin(server, t)
			soon(t, patience, "keys are not checked for ever", func() bool { return call(a) == 503 && call(b) == 503 })
			fault.end(server, t)
			soon(t, patience, "well again", func() bool { return call(a) == 200 && call(b) == 200 })
			soon(t, 2*patience, "all records are there", func() bool {
				left := len(answered)
				for _, r := range a.records() {
					if answered[r.ID] {
						left--
					}
				}
				return left == 0
			})
		})
	}
}

// Fault 51: a server with fewer connections than three replicas might take.
func TestControl51FewConnections(t *testing.T) {
	server := pgtest.New(t, "max_connections=10")
	database := server.Database(t)
	a, b := newReplicas(t, database)
	c := a.join("c", database)
	soon(t, patience, "the third is ready", func() bool { return c.status("/readyz") == 200 })
	for i := range 120 {
		r := []*replica{a, b, c}[i%3]
		if got := r.ask(); got.status != 200 {
			t.Fatalf("%s: %s", r.name, got)
		}
		<-time.After(20 * time.Millisecond)
	}
	soon(t, patience, "all records are there", func() bool { return len(a.records()) >= 120 })
}

// A Penstock with another key ring is refused: with it no key would be known.
func TestAnotherKeyRingIsRefused(t *testing.T) {
	database := pgtest.Database(t)
	newReplicas(t, database)
	dir := t.TempDir()
	file := filepath.Join(dir, "penstock.yaml")
	text := fmt.Sprintf("listen: 127.0.0.1:0\nadmin: { listen: \"127.0.0.1:0\" }\nstore: %s\n%s", database, strings.ReplaceAll(providers, "$SIM", "127.0.0.1:1"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := exec.CommandContext(t.Context(), binary, "serve", "-c", file)
	serve.Env, serve.Dir = append(environment(), "SIM_KEY="+providerKey), dir
	if out, err := serve.CombinedOutput(); err == nil || !strings.Contains(string(out), "the store belongs to key ring") {
		t.Errorf("%v: %s", err, out)
	}
}

// Control 51 (security.md): what is stopped at one replica is refused by the others within 5 s, and served again within
// 5 s of being lifted; a database that is away lifts nothing, and neither does a replica that starts.
func TestControl51StopOnAllReplicas(t *testing.T) {
	server := pgtest.New(t)
	a, b := newReplicas(t, server.Database(t))
	var made struct{ ID string }
	if err := a.admin(http.MethodPost, "/stops", map[string]any{"model": "sim-a/*", "reason": "a drill"}, &made); err != nil {
		t.Fatal(err)
	}
	if got := a.ask(); got.status != 403 {
		t.Errorf("the replica that was told: %s", got)
	}
	soon(t, 5*time.Second, "the other refuses", func() bool { return b.ask().status == 403 })
	server.Freeze(t)
	for until := time.Now().Add(8 * time.Second); time.Now().Before(until); <-time.After(250 * time.Millisecond) {
		if got := b.ask(); got.status == 200 {
			t.Fatalf("the database is away, and the stop with it: %s", got)
		}
	}
	server.Thaw(t)
	soon(t, patience, "the database is back", func() bool { return b.ask().status == 403 })
	b.serve.end(t, syscall.SIGKILL, patience)
	b.begin()
	soon(t, patience, "the killed one is back", func() bool { return b.status("/readyz") == 200 })
	if got := b.ask(); got.status != 403 {
		t.Errorf("a restart lifts it: %s", got)
	}
	if err := b.admin(http.MethodPost, "/stops/"+made.ID+"/lift", map[string]any{}, nil); err != nil {
		t.Fatal(err)
	}
	soon(t, 5*time.Second, "both serve", func() bool { return a.ask().status == 200 && b.ask().status == 200 })
}
