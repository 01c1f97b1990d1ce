//go:build linux

package chaos

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/store/pgtest"
)

// firstOnPostgres is the first commit whose program works with PostgreSQL: the oldest one that any later one must share a
// database with, for as long as none says otherwise (the row compatible_from).
const firstOnPostgres = "95991b1"

// older gives the program of before: PENSTOCK_OLD_BIN, or in a soak built from the history. A clone need not have that, so
// a usual run leaves the test out, in words; what old programs write on new schemas is tested beside the migrations.
func older(t *testing.T) string {
	t.Helper()
	if given := os.Getenv("PENSTOCK_OLD_BIN"); given != "" {
		return given
	}
	if !soak() {
		t.Skip("LEFT OUT: it builds an older program; PENSTOCK_SOAK=1 or PENSTOCK_OLD_BIN=FILE runs it")
	}
	dir := t.TempDir()
	made := filepath.Join(dir, "penstock")
	for _, words := range [][]string{
		{"git", "clone", "--quiet", "--no-checkout", "../..", dir + "/src"},
		{"git", "-C", dir + "/src", "checkout", "--quiet", firstOnPostgres},
		{"go", "build", "-C", dir + "/src", "-o", made, "./cmd/penstock"},
	} {
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s\nin a shallow clone, get the history first: git fetch --unshallow", words, err, out)
		}
	}
	return made
}

// Fault 65: the program of before and this one on one database, both ways. The old one makes it; the new one migrates it
// while the old one serves; the old one is killed and begins again on the newer schema; each sees the keys of the other,
// and every exchange that either answered is there once, and summed once.
func TestTwoVersionsShareADatabase(t *testing.T) {
	rng := draws(t)
	before := older(t)
	w := &world{t: t, rng: rng, dir: t.TempDir(), http: newClient(), plan: plan{sim: simulated}}
	w.simulate("127.0.0.1:0")
	database := pgtest.Database(t)
	answered := 0
	drive := func(replicas ...*replica) {
		t.Helper()
		for i := range longer(60, 3000) {
			r := replicas[i%len(replicas)]
			if got := r.ask(); got.status != 200 {
				t.Fatalf("%s: %s", r.name, got)
			}
			answered++
		}
	}
	known := func(r *replica, key string, status int, what string) {
		t.Helper()
		was := r.key
		r.key = key
		soon(t, 5*time.Second, what, func() bool {
			got := r.ask()
			if got.status == 200 {
				answered++
			}
			return got.status == status
		})
		r.key = was
	}

	a := w.joinAs("old", database, before)
	soon(t, patience, "the old one is ready", func() bool { return a.status("/readyz") == 200 })
	a.learn()
	a.key = a.newKey("shared")
	drive(a)

	b := w.joinAs("new", database, binary)
	soon(t, patience, "the new one is ready", func() bool { return b.status("/readyz") == 200 })
	b.adminKey, b.key = a.adminKey, a.key
	drive(a, b)

	made := b.newKey("made-new")
	known(a, made, 200, "a key of the new one is the old one's")
	made = a.newKey("made-old")
	known(b, made, 200, "a key of the old one is the new one's")
	var keys struct {
		Data []struct{ ID, Prefix string }
	}
	if err := a.admin(http.MethodGet, "/keys?limit=100", nil, &keys); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys.Data {
		if len(k.Prefix) > 0 && len(made) >= len(k.Prefix) && made[:len(k.Prefix)] == k.Prefix {
			if err := a.admin(http.MethodPost, "/keys/"+k.ID+"/revoke", map[string]any{}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	known(b, made, 401, "a key that the old one revokes is dead on the new one")

	a.serve.end(t, syscall.SIGKILL, patience)
	a.begin()
	soon(t, patience, "the old one goes on with the newer schema", func() bool { return a.status("/readyz") == 200 })
	drive(a, b)
	b.serve.end(t, syscall.SIGKILL, patience)
	b.begin()
	soon(t, patience, "the new one is back", func() bool { return b.status("/readyz") == 200 })
	drive(b, a)

	soon(t, 2*patience, "every exchange is there once, and summed once", func() bool {
		seen := map[string]bool{}
		for _, r := range b.records() {
			if seen[r.ID] {
				t.Fatalf("%s is there twice", r.ID)
			}
			seen[r.ID] = true
		}
		for _, r := range []*replica{a, b} {
			var sums struct{ Data []struct{ Requests int } }
			if err := r.admin(http.MethodGet, "/usage?group_by=org&from=2000-01-01", nil, &sums); err != nil || len(sums.Data) != 1 || sums.Data[0].Requests != len(seen) {
				return false
			}
		}
		return len(seen) >= answered
	})
	out, words, code := command(t, b.dir, "audit", "verify", "-c", b.file, "--admin-key-file", filepath.Join(a.dir, a.name, "admin.key"))
	if code != 0 {
		t.Errorf("audit verify: %d %s%s", code, out, words)
	}
	t.Logf("%d calls over two versions", answered)
}
