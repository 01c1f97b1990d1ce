package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A fakeStore is a chain in memory that tests may tamper with.
type fakeStore struct {
	mu   sync.Mutex // guards the fields below
	all  []Entry
	head Head
	down error
	read int // entries that were read
}

func (s *fakeStore) AppendAudit(ctx context.Context, act Act) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := NewEntry(ctx, time.Now(), act)
	if err != nil {
		return err
	}
	if s.head.Chain == "" {
		s.head = Head{Chain: "chain_1", Hash: Genesis("chain_1")}
	}
	s.head = e.Link(s.head)
	s.all = append(s.all, e)
	return nil
}

func (s *fakeStore) AuditEntries(_ context.Context, f Filter, limit int) ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Entry
	for _, e := range s.all {
		if e.Seq > f.After && len(out) < limit {
			out = append(out, e)
		}
	}
	s.read += len(out)
	return out, s.down
}

func (s *fakeStore) AuditHead(context.Context) (Head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, s.down
}

// tamper changes the chain past the store.
func (s *fakeStore) tamper(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// A bench is a keeper over a fake store, in a directory of its own.
type bench struct {
	t     *testing.T
	store *fakeStore
	o     Options
	log   strings.Builder
	told  []*Break
	reg   *prometheus.Registry
}

func newBench(t *testing.T) *bench {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, store: &fakeStore{}}
	b.o = Options{
		Key: key, Local: filepath.Join(t.TempDir(), "audit.checkpoints"), Config: DefaultConfig(),
		Log: slog.New(slog.NewTextHandler(&b.log, nil)), Broken: func(br *Break) { b.told = append(b.told, br) },
	}
	return b
}

func (b *bench) append(n int) {
	b.t.Helper()
	for range n {
		if err := b.store.AppendAudit(b.t.Context(), Act{Action: KeyMade}); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) keeper() *Keeper {
	b.t.Helper()
	b.reg = prometheus.NewRegistry()
	b.o.Metrics = b.reg
	k, err := NewKeeper(b.store, b.o)
	if err != nil {
		b.t.Fatal(err)
	}
	return k
}

// intact is what a scraper sees, -1 if it sees nothing.
func (b *bench) intact() float64 {
	b.t.Helper()
	families, err := b.reg.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "penstock_audit_intact" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}

// run runs a keeper until the function returns. Only inside of a bubble.
func (b *bench) run(k *Keeper, f func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := k.Run(ctx); err != nil {
			b.t.Error(err)
		}
	})
	synctest.Wait()
	f()
	cancel()
	done.Wait()
}

func lines(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

func TestKeeperVerifiesAndSigns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.append(1200)
		k := b.keeper()
		b.run(k, func() {
			time.Sleep(time.Minute)
			if s := k.State(); s.Verified != 1200 || s.Break != nil || s.Checkpoint.Seq != 1200 || s.VerifiedAt.IsZero() || s.Problem != "" {
				t.Errorf("%+v", s)
			}
			b.store.tamper(func() { b.store.read = 0 })
			b.append(3)
			time.Sleep(3 * time.Second)
			if s := k.State(); s.Verified != 1203 || s.Checkpoint.Seq != 1200 || b.store.read != 3 {
				t.Errorf("after three more: %+v, %d read", s, b.store.read)
			}
			time.Sleep(b.o.Config.Every)
			if s := k.State(); s.Checkpoint.Seq != 1203 || lines(t, b.o.Local) != 2 {
				t.Errorf("after %v: %+v", b.o.Config.Every, s.Checkpoint)
			}
			time.Sleep(10 * b.o.Config.Every)
			if n := lines(t, b.o.Local); n != 2 {
				t.Errorf("%d checkpoints of a chain that does not grow", n)
			}
			b.append(maxUnsigned)
			time.Sleep(3 * time.Second)
			if s := k.State(); s.Checkpoint.Seq != 1203+maxUnsigned {
				t.Errorf("after many more: %+v", s.Checkpoint)
			}
			if b.store.read < 1203 {
				t.Error("the whole chain was not verified again")
			}
			if got := b.intact(); got != 1 {
				t.Error("intact", got)
			}
		})
		if len(b.told) != 0 {
			t.Errorf("told %v", b.told)
		}
	})
}

// TestControl53 (security.md), for the chain: what is done to it while Penstock runs is found, logged once, told and shown.
func TestControl53TamperingIsFoundAndTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tamper func(*fakeStore)
		within time.Duration
		want   int64
		text   string
	}{
		"altered long ago": {func(s *fakeStore) { s.all[4].Object = "x" }, time.Hour + time.Minute, 5, "altered"},
		"cut and the head with it": {func(s *fakeStore) {
			s.all, s.head = s.all[:7], Head{Chain: "chain_1", Seq: 7, Hash: s.all[6].Hash}
		}, 3 * time.Second, 8, "its end was cut off, or an older copy was put back"},
		"another store": {func(s *fakeStore) {
			s.head.Chain = "chain_2"
		}, 3 * time.Second, 0, "another store is in its place"},
		"altered at the end": {func(s *fakeStore) {
			s.all = append(s.all, s.all[9])
			s.head.Seq = 11
		}, 3 * time.Second, 11, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.append(10)
				k := b.keeper()
				b.run(k, func() {
					good := slices.Clone(b.store.all)
					head := b.store.head
					time.Sleep(time.Second)
					b.store.tamper(func() { c.tamper(b.store) })
					time.Sleep(c.within)
					s := k.State()
					if s.Break == nil || s.Break.Seq != c.want && name != "altered at the end" || !strings.Contains(s.Break.Text, c.text) {
						t.Fatalf("%+v", s.Break)
					}
					if got := b.intact(); got != 0 {
						t.Error("intact", got)
					}
					if _, err := k.Checkpoint(t.Context()); err == nil {
						t.Error("a broken chain was signed")
					}
					time.Sleep(2 * b.o.Config.Verify)
					if n := strings.Count(b.log.String(), "THE AUDIT CHAIN IS BROKEN"); n != 1 || len(b.told) != 1 || lines(t, b.o.Local) != 1 {
						t.Errorf("logged %d times, told %d times, %d checkpoints", n, len(b.told), lines(t, b.o.Local))
					}
					b.store.tamper(func() { b.store.all, b.store.head = good, head })
					time.Sleep(b.o.Config.Verify + time.Minute)
					if s := k.State(); s.Break != nil || len(b.told) != 2 || b.told[1] != nil {
						t.Errorf("put back: %+v, told %v", s.Break, b.told)
					}
				})
			})
		})
	}
}

// TestOlderCopyIsFoundAtTheStart: a store that was put back from before the last checkpoint.
func TestOlderCopyIsFoundAtTheStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.append(10)
		k := b.keeper()
		b.run(k, func() {})
		b.store.all, b.store.head = b.store.all[:6], Head{Chain: "chain_1", Seq: 6, Hash: b.store.all[5].Hash}
		time.Sleep(time.Second)
		b.append(9) // and it went on from there
		k = b.keeper()
		b.run(k, func() {
			if s := k.State(); s.Break == nil || !strings.Contains(s.Break.Text, "entry 10 is not the one that the checkpoint of") {
				t.Errorf("%+v", s.Break)
			}
		})
	})
}

func TestAStoreThatIsDownIsNoBreak(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.append(3)
		b.store.down = errors.New("down")
		k := b.keeper()
		b.run(k, func() {
			time.Sleep(time.Minute)
			if s := k.State(); s.Break != nil || s.Verified != 0 || strings.Count(b.log.String(), "cannot be read") != 1 {
				t.Errorf("%+v\n%s", s, b.log.String())
			}
			b.store.tamper(func() { b.store.down = nil })
			time.Sleep(5 * time.Second)
			if s := k.State(); s.Verified != 3 {
				t.Errorf("%+v", s)
			}
		})
	})
}

// TestFault81 (reliability.md): a sink that fails loses nothing and holds up nobody; it gets what it missed.
func TestFault81SinkThatFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got, gate := filepath.Join(dir, "got"), filepath.Join(dir, "gate")
	script := filepath.Join(dir, "sink.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ntest -e "+gate+" || { echo no gate; exit 1; }\ncat >> "+got+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.o.Config.Checkpoints = "exec:" + script
	b.append(2)
	k := b.keeper()
	if _, err := k.Checkpoint(t.Context()); err == nil || !strings.Contains(err.Error(), "no gate") {
		t.Error(err)
	}
	b.append(2)
	if err := k.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := k.State(); !strings.Contains(s.Problem, "no gate") || s.Verified != 4 || lines(t, b.o.Local) == 0 {
		t.Errorf("%+v", s)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Checkpoint(t.Context()); err != nil {
		t.Error(err)
	}
	if s := k.State(); s.Problem != "" || lines(t, got) != lines(t, b.o.Local) {
		t.Errorf("%+v: %d lines got through, want %d", s.Problem, lines(t, got), lines(t, b.o.Local))
	}
	if n := strings.Count(b.log.String(), "did not get where it should go"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// A hangingSink takes nothing until it is let, and hangs as long as it is not.
type hangingSink struct {
	let chan struct{}
	mu  sync.Mutex // guards the field below
	got []string
}

func (s *hangingSink) Put(ctx context.Context, line []byte) error {
	select {
	case <-s.let:
	case <-time.After(execWithin):
		return errors.New("it hangs")
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, string(line))
	return nil
}

// TestFault81 (reliability.md): a sink that hangs for a minute keeps nobody from verifying and signing, whoever asks for a
// checkpoint is told within 10 s, and it gets all it missed in the end, across a restart too.
func TestFault81SinkThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.o.Config.Checkpoints, b.o.Config.Every = "file:"+filepath.Join(t.TempDir(), "unused"), time.Second
		sink := &hangingSink{let: make(chan struct{})}
		b.append(1)
		k := b.keeper()
		k.out.sink = sink
		b.run(k, func() {
			for range 6 {
				b.append(1)
				time.Sleep(10 * time.Second)
			}
			if s := k.State(); s.Verified != 7 || s.Checkpoint == nil || s.Checkpoint.Seq != 7 || !strings.Contains(s.Problem, "hangs") {
				t.Errorf("after a minute: %+v", s)
			}
			begun := time.Now()
			if _, err := k.Checkpoint(t.Context()); err == nil || time.Since(begun) > askedWithin {
				t.Errorf("asked: %v after %v", err, time.Since(begun))
			}
		})
		signed := lines(t, b.o.Local)
		if _, n := k.out.left(); n != signed || len(sink.got) != 0 {
			t.Errorf("%d unsent of %d, %d sent", n, signed, len(sink.got))
		}
		k = b.keeper() // started anew
		k.out.sink = sink
		close(sink.let)
		b.run(k, func() { time.Sleep(5 * time.Second) })
		text, err := os.ReadFile(b.o.Local)
		if got := strings.Join(sink.got, ""); err != nil || got != string(text) {
			t.Errorf("got\n%swant\n%s%v", got, text, err)
		}
		if s := k.State(); s.Problem != "" {
			t.Error(s.Problem)
		}
	})
}

func TestKeysAndFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.key")
	key, err := OpenKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenKey(path)
	if err != nil || !again.Equal(key) {
		t.Error("another key at the second start", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	public, _ := key.Public().(ed25519.PublicKey)
	if keys, err := ParsePublic([]byte(PublicPEM(public) + PublicPEM(public))); err != nil || len(keys) != 2 || !keys[1].Equal(public) {
		t.Error(keys, err)
	}
	private, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "x", string(private)} {
		if _, err := ParsePublic([]byte(text)); err == nil {
			t.Errorf("%.20q is a public key", text)
		}
	}
	if err := os.WriteFile(path, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(path); err == nil {
		t.Error("a broken key")
	}
	if points, err := ReadCheckpoints(strings.NewReader("\n{\"chain\":\"c\",\"seq\":1"), 5); err != nil || len(points) != 0 {
		t.Error(points, err)
	}
	if _, err := ReadCheckpoints(strings.NewReader("{\"chain\":\"c\",\"sequence\":1}\n"), 5); err == nil {
		t.Error("a line that is no checkpoint")
	}
}
