//go:build linux

package chaos

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
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

// A ringStatus is what keyring status says.
type ringStatus struct {
	ID    string
	Keys  []struct{ ID string }
	Wraps []string
}

func (w *world) ring() (s ringStatus) {
	w.t.Helper()
	if err := w.admin(http.MethodGet, "/keyring", nil, &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// kek writes a key-encryption key.
func (w *world) kek(name string) {
	w.t.Helper()
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(w.rng.Uint32())
	}
	w.write(filepath.Join(w.dir, name), base64.StdEncoding.EncodeToString(key))
}

// command runs the program to its end, or until it is killed after a while if that is not 0.
func (w *world) command(killAfter time.Duration, args ...string) (out string, code int) {
	w.t.Helper()
	ctx := w.t.Context()
	if killAfter > 0 {
		killed, cancel := context.WithTimeout(ctx, killAfter)
		defer cancel()
		ctx = killed
	}
	c := exec.CommandContext(ctx, binary, args...)
	c.Dir, c.Env = w.dir, append(environment(), "SIM_KEY="+providerKey)
	text, err := c.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended && ctx.Err() == nil {
		w.t.Fatal(err)
	}
	return string(text), c.ProcessState.ExitCode()
}

// wantRefused expects that Penstock does not start.
func (w *world) wantRefused(says string) {
	w.t.Helper()
	if out, code := w.command(patience, "serve", "-c", w.file); code != 4 || !strings.Contains(out, says) {
		w.t.Errorf("exit code %d, want 4 and %q:\n%s", code, says, out)
	}
}

// Fault 64, and security 13: data keys are added, and the ring is wrapped anew, under load and without a call that fails. A
// backup of the database from before opens with the ring of today. Without the ring, or without what wraps it, nothing
// starts: it says so, and makes no other.
func TestFault64DataKeysAreRotatedUnderLoad(t *testing.T) {
	w := &world{t: t, rng: draws(t), dir: t.TempDir(), http: newClient(), plan: plan{sim: simulated}}
	w.file = filepath.Join(w.dir, "penstock.yaml")
	w.simulate("127.0.0.1:0")
	w.kek("kek")
	w.configure(providers + "keyring_wrap: file:kek\n")
	w.up()
	w.key = w.newKey("chaos")
	before := w.ring()
	if len(before.Keys) != 1 || len(before.Wraps) != 1 {
		t.Fatalf("the first ring is %+v", before)
	}

	clients := w.drive(8, func(int, int) call { return call{model: "sim-a/fast", stream: true} })
	const rotations = 20
	for i := range rotations {
		if err := w.admin(http.MethodPost, "/keyring/rotate", nil, nil); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			if out, code := w.command(0, "keyring", "rewrap", "-c", w.file); code != 0 {
				t.Fatalf("rewrap: %d\n%s", code, out)
			}
			soon(t, patience, "the process has the file", func() bool {
				return w.metric("penstock_keyring_unreadable") == 0
			})
		}
		pause(t.Context(), 50*time.Millisecond)
	}
	all := clients.home()
	if bad := count(all, func(a answer) bool { return !a.whole }); bad > 0 || len(all) < 100 {
		t.Errorf("%d of %d calls failed", bad, len(all))
	}
	if after := w.ring(); after.ID != before.ID || len(after.Keys) != 1+rotations || after.Keys[0] != before.Keys[0] {
		t.Errorf("the ring is %+v", after)
	}

	w.serve.end(t, syscall.SIGTERM, patience)
	ring, database := filepath.Join(w.dataDir(), "keyring.json"), filepath.Join(w.dataDir(), "penstock.db")
	backup, err := os.ReadFile(database)
	if err != nil {
		t.Fatal(err)
	}
	w.up()
	if err := w.admin(http.MethodPost, "/keyring/rotate", nil, nil); err != nil {
		t.Fatal(err)
	}
	w.serve.end(t, syscall.SIGTERM, patience)

	for _, missing := range []struct{ file, says string }{
		{ring, "the key ring is missing: the store belongs to key ring " + before.ID},
		{filepath.Join(w.dir, "kek"), "the key ring " + before.ID + " is sealed"},
	} {
		if err := os.Rename(missing.file, missing.file+".away"); err != nil {
			t.Fatal(err)
		}
		w.wantRefused(missing.says)
		if _, err := os.Stat(missing.file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was made anew", missing.file)
		}
		if err := os.Rename(missing.file+".away", missing.file); err != nil {
			t.Fatal(err)
		}
	}

	for _, left := range []string{"-wal", "-shm"} {
		if err := os.Remove(database + left); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(database, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	w.up()
	w.must(call{model: "sim-a/fast"})
	if got := w.ring(); len(got.Keys) != 2+rotations {
		t.Errorf("%d data keys", len(got.Keys))
	}
}

// Whenever a rewrap is killed, the ring opens by what wrapped it before or by what wraps it then.
func TestARewrapThatIsKilledLeavesARing(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: providers})
	w.serve.end(t, syscall.SIGTERM, patience)
	w.kek("kek-0")
	w.kek("kek-1")
	whole := 0
	for i := range longer(25, 400) {
		args := []string{"keyring", "rewrap", "-c", w.file}
		if now := w.wraps(); len(now) > 0 {
			args = append(args, "--from", now[w.rng.IntN(len(now))])
		}
		switch to := fmt.Sprintf("file:kek-%d", w.rng.IntN(2)); w.rng.IntN(3) {
		case 0:
			args = append(args, "--in-clear")
		case 1:
			args = append(args, "--to", to)
		case 2:
			args = append(args, "--to", to, "--add")
		}
		out, code := w.command(time.Duration(1+w.rng.IntN(120))*time.Millisecond, args...)
		switch code {
		case 0:
			whole++
		case -1:
		default:
			t.Fatalf("round %d: %v: %d\n%s", i, args, code, out)
		}
	}
	t.Logf("%d came to their ends", whole)
	config := providers
	if now := w.wraps(); len(now) > 0 {
		config += "keyring_wrap: " + now[0] + "\n"
	}
	w.configure(config)
	w.up()
	w.must(call{model: "sim-a/fast"})
}

// wraps is what the file says that wraps it.
func (w *world) wraps() []string {
	w.t.Helper()
	out, code := w.command(0, "keyring", "status", "-c", w.file, "--json")
	var s ringStatus
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil {
		w.t.Fatalf("%d, %v\n%s", code, err, out)
	}
	return s.Wraps
}

// Two replicas with copies of the ring: a data key that one adds changes nothing at the other until it is handed the file,
// and is in use there at once then.
func TestReplicasWithCopiesOfTheRing(t *testing.T) {
	a, b := newReplicas(t, pgtest.Database(t))
	shared, own := filepath.Join(a.dir, "keyring.json"), filepath.Join(a.dir, "copy.json")
	text, err := os.ReadFile(shared)
	if err != nil {
		t.Fatal(err)
	}
	a.write(own, string(text))
	b.serve.end(t, syscall.SIGTERM, patience)
	config, err := os.ReadFile(b.file)
	if err != nil {
		t.Fatal(err)
	}
	b.write(b.file, strings.Replace(string(config), "file:keyring.json", "file:copy.json", 1))
	b.begin()
	soon(t, patience, "the second is ready", func() bool { return b.status("/readyz") == 200 })

	if err := a.admin(http.MethodPost, "/keyring/rotate", nil, nil); err != nil {
		t.Fatal(err)
	}
	if n, m := len(a.ring().Keys), len(b.ring().Keys); n != 2 || m != 1 {
		t.Errorf("%d and %d data keys", n, m)
	}
	if got := b.ask(); got.status != 200 {
		t.Errorf("with the older copy: %s", got)
	}
	if text, err = os.ReadFile(shared); err != nil {
		t.Fatal(err)
	}
	a.write(own, string(text))
	soon(t, 5*time.Second, "the copy is taken over", func() bool { return len(b.ring().Keys) == 2 })

	// A ring that is missing is not made anew for a database that has one.
	b.serve.end(t, syscall.SIGTERM, patience)
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	b.wantRefused("the key ring is missing: the store belongs to key ring " + a.ring().ID)
	if _, err := os.Stat(own); !errors.Is(err, os.ErrNotExist) {
		t.Error("another ring was made")
	}
}
