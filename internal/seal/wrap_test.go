package seal

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// kek writes a file with a key-encryption key, and gives what wraps with it.
func kek(t testing.TB) Wrapper {
	t.Helper()
	var key [dataKeySize]byte
	copy(key[:], newDataKey(time.Time{}).secret[:])
	path := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(key[:])+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return fileWrapper(path)
}

// command writes a script, and gives what wraps with it.
func command(t testing.TB, script string) *execWrapper {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kms")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	w, err := NewWrapper("exec:" + path + " key1")
	if err != nil {
		t.Fatal(err)
	}
	return w.(*execWrapper) //nolint:forcetypeassert // made by exec:
}

// turning is a script that wraps and unwraps.
const turning = `case "$2" in
wrap) { printf kms1; base64 -d | LC_ALL=C tr '\000-\177\200-\377' '\200-\377\000-\177'; } | base64 ;;
unwrap) base64 -d | tail -c +5 | LC_ALL=C tr '\000-\177\200-\377' '\200-\377\000-\177' | base64 ;;
esac
`

func load(t testing.TB, path string, w Wrapper) *Ring {
	t.Helper()
	r, _, err := Load(t.Context(), path, Options{Wrapper: w})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAWrappedRingHasNothingSecretInClear(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]Wrapper{"file": kek(t), "exec": command(t, turning)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "keyring.json")
			r := load(t, path, w)
			sealed := mustSeal(t, r, "value", "p")
			if err := rotate(t, r); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			f, err := parse(path, text)
			if err != nil {
				t.Fatal(err)
			}
			c, err := open(t.Context(), path, f, nil, w)
			if err != nil {
				t.Fatal(err)
			}
			secrets := [][]byte{c.pepper, c.lock.secret[:]}
			for _, k := range c.keys {
				secrets = append(secrets, k.secret[:])
			}
			for i, s := range secrets {
				if strings.Contains(string(text), base64.StdEncoding.EncodeToString(s)) {
					t.Errorf("secret %d is in the file", i)
				}
			}
			other := load(t, path, w)
			wantUnsealed(t, other, sealed, "p", "value")
			if other.Hash("a") != r.Hash("a") || len(other.Keys()) != 2 {
				t.Errorf("keys %+v", other.Keys())
			}
			wantSealed(t, path, nil, true, "nothing is configured to unwrap it")
			wantSealed(t, path, kek(t), false, "its key is not the one that wrapped it")
		})
	}
}

// wantSealed expects that a ring is refused as sealed.
func wantSealed(t *testing.T, path string, w Wrapper, noWrapper bool, says string) {
	t.Helper()
	_, _, err := Load(t.Context(), path, Options{Wrapper: w})
	sealed, ok := errors.AsType[*SealedError](err)
	if !ok || sealed.Path != path || sealed.NoWrapper != noWrapper || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("got %v, want %q", err, says)
	}
}

// TestSecretsAreBoundToTheirPlaces: whoever can write the file, and has no key, can put no secret of it in another place.
func TestSecretsAreBoundToTheirPlaces(t *testing.T) {
	t.Parallel()
	w := kek(t)
	path := filepath.Join(t.TempDir(), "keyring.json")
	r := load(t, path, w)
	if err := rotate(t, r); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*ringFile){
		"keys swapped":      func(f *ringFile) { f.Keys[0], f.Keys[1] = f.Keys[1], f.Keys[0] },
		"first key dropped": func(f *ringFile) { f.Keys = f.Keys[1:] },
		"secrets swapped":   func(f *ringFile) { f.Keys[0].Sealed, f.Keys[1].Sealed = f.Keys[1].Sealed, f.Keys[0].Sealed },
		"made later":        func(f *ringFile) { f.Keys[1].Created = f.Keys[1].Created.Add(time.Hour) },
		"begins later":      func(f *ringFile) { f.Keys[1].From = time.Now().Add(time.Hour) },
		"pepper from a key": func(f *ringFile) { f.SealedPepper = f.Keys[0].Sealed },
		"another id":        func(f *ringFile) { f.ID = "ring_other" },
	} {
		f, err := parse(path, text)
		if err != nil {
			t.Fatal(err)
		}
		change(f)
		if _, err := open(t.Context(), path, f, nil, w); err == nil {
			t.Errorf("%s: it opens", name)
		}
	}
}

func TestACommandThatDoesNotWrapIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, script, want string }{
		{"says why", "echo 'denied by \x1b[31mpolicy' >&2\nexit 3\n", "exit status 3: denied by [31mpolicy"},
		{"gives it back", "cat\n", "gives the key back in clear"},
		{"gives nothing", "cat > /dev/null\n", "its output is not base64"},
		{"rubbish", "cat > /dev/null; echo '<html>'\n", "its output is not base64"},
		{"floods", "cat > /dev/null; yes | head -c 200000\n", "more than 65536 bytes"},
		{"another key", "cat > /dev/null; test $2 = wrap && echo aGVsbG8gd29ybGQ= || head -c 32 /dev/zero | base64\n", "unwraps another key"},
		{"short", "cat > /dev/null; echo aGVsbG8=\n", "unwraps another key"},
		{"tells all", "k=$(cat); echo \"the key is $k\" >&2; exit 1\n", "the key is [hidden]"},
		{"long words", "head -c 9000 /dev/zero | tr '\\0' x >&2; exit 1\n", "xxx..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "keyring.json")
			_, _, err := Load(t.Context(), path, Options{Wrapper: command(t, tt.script)})
			if _, sealed := errors.AsType[*SealedError](err); !sealed || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 1000 {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a ring was made: %v", err)
			}
		})
	}
}

func TestACommandThatHangsIsEndedWithItsChildren(t *testing.T) {
	t.Parallel()
	pid := filepath.Join(t.TempDir(), "pid")
	w := command(t, "sleep 600 & echo $! > "+pid+"\nwait\n")
	w.within = 300 * time.Millisecond
	begun := time.Now()
	_, err := w.Wrap(t.Context(), "ring_1", make([]byte, 32))
	if err == nil || !strings.Contains(err.Error(), "did not end within 300ms") || time.Since(begun) > 10*time.Second {
		t.Errorf("got %v after %v", err, time.Since(begun))
	}
	child, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(child)) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if i > 200 {
			t.Fatalf("the child lives: %s", stat)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestACommandKnowsWhichRing(t *testing.T) {
	t.Parallel()
	w := command(t, `cat > /dev/null; printf '%s %s %s' "$1" "$2" "$PENSTOCK_RING" | base64`+"\n")
	out, err := w.Wrap(t.Context(), "ring_1", make([]byte, 32))
	if err != nil || string(out) != "key1 wrap ring_1" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestWrappersAreNamed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"file:/run/kek": "file:/run/kek", "exec:/bin/kms a  b": "exec:/bin/kms a b", "exec:kms": "exec:kms",
		"": "", "file:": "", "exec: ": "", "kms:x": "", "exec:./kms": "", "exec:bin/kms": "",
	} {
		w, err := NewWrapper(text)
		if want == "" {
			if err == nil {
				t.Errorf("%q is %v", text, w)
			}
			continue
		}
		if err != nil || w.String() != want {
			t.Errorf("%q is %v, %v", text, w, err)
		}
	}
}

func TestBadKeyFilesAreRefused(t *testing.T) {
	t.Parallel()
	good := newDataKey(time.Time{}).secret
	for _, tt := range []struct {
		name, text string
		mode       fs.FileMode
		want       string
	}{
		{"base64", base64.StdEncoding.EncodeToString(good[:]), 0o600, ""},
		{"hexadecimal", fmt.Sprintf("%x\n", good), 0o400, ""},
		{"open", fmt.Sprintf("%x\n", good), 0o644, "is open to others"},
		{"empty", "", 0o600, "has 0 bytes, needs 32"},
		{"short", "aGVsbG8=", 0o600, "has 5 bytes, needs 32"},
		{"words", "correct horse battery staple", 0o600, "holds no key of 32 bytes"},
		{"zero", strings.Repeat("0", 64), 0o600, "is not random"},
	} {
		path := filepath.Join(t.TempDir(), "kek")
		if err := os.WriteFile(path, []byte(tt.text), tt.mode); err != nil {
			t.Fatal(err)
		}
		_, err := fileWrapper(path).key()
		switch problem := new(fault.Problem); {
		case tt.want == "" && err != nil, tt.want != "" && (!errors.As(err, problem) || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := fileWrapper(filepath.Join(t.TempDir(), "none")).key(); err == nil || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("got %v", err)
	}
}

func TestRewrapKeepsAllThatCanBeRead(t *testing.T) {
	t.Parallel()
	r := ring(t)
	first, second := kek(t), command(t, turning)
	sealed, hash := mustSeal(t, r, "value", "p"), r.Hash("a")
	for _, step := range []struct {
		name  string
		how   Rewrapping
		opens []Wrapper
		shut  []Wrapper
	}{
		{"wrap", Rewrapping{To: first}, []Wrapper{first}, []Wrapper{nil, second}},
		{"again", Rewrapping{From: first, To: first}, []Wrapper{first}, []Wrapper{nil}},
		{"add", Rewrapping{From: first, To: second, Add: true}, []Wrapper{first, second}, []Wrapper{nil}},
		{"add it again", Rewrapping{From: second, To: second, Add: true}, []Wrapper{first, second}, nil},
		{"leave one", Rewrapping{From: second, To: second}, []Wrapper{second}, []Wrapper{first}},
		{"in clear", Rewrapping{From: second}, []Wrapper{nil, first}, nil},
		{"add to none", Rewrapping{To: second, Add: true}, []Wrapper{second}, []Wrapper{first, nil}},
	} {
		if _, err := Rewrap(t.Context(), r.path, step.how); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		for _, w := range step.opens {
			again := load(t, r.path, w)
			wantUnsealed(t, again, sealed, "p", "value")
			if again.Hash("a") != hash || again.ID() != r.ID() {
				t.Errorf("%s: another ring", step.name)
			}
		}
		for _, w := range step.shut {
			if _, _, err := Load(t.Context(), r.path, Options{Wrapper: w}); err == nil {
				t.Errorf("%s: %v opens it", step.name, w)
			}
		}
	}
	before, _ := os.ReadFile(r.path)
	for name, how := range map[string]Rewrapping{
		"no wrapper": {To: first}, "wrong wrapper": {From: first, To: first}, "broken wrapper": {From: second, To: command(t, "exit 1\n")},
		"wrapper that gives it back": {From: second, To: command(t, "cat\n")},
	} {
		if _, err := Rewrap(t.Context(), r.path, how); err == nil {
			t.Errorf("%s: done", name)
		}
	}
	if after, _ := os.ReadFile(r.path); string(after) != string(before) {
		t.Error("a rewrap that failed changed the file")
	}
	if left, err := os.ReadDir(filepath.Dir(r.path)); err != nil || len(left) != 1 {
		t.Errorf("files besides the ring: %v, %v", left, err)
	}
}

// A flaky is a wrapper that can be switched off, and counts.
type flaky struct {
	Wrapper
	off   atomic.Bool
	asked atomic.Int64
}

func (f *flaky) Unwrap(ctx context.Context, ring string, wrapped []byte) ([]byte, error) {
	f.asked.Add(1)
	if f.off.Load() {
		return nil, errors.New("the service is away")
	}
	return f.Wrapper.Unwrap(ctx, ring, wrapped)
}

// TestAWrapperThatFailsWhileServing takes nothing away: what is open stays open, and data keys can be added; it is told, and
// that it works again.
func TestAWrapperThatFailsWhileServing(t *testing.T) {
	t.Parallel()
	w := &flaky{Wrapper: kek(t)}
	path := filepath.Join(t.TempDir(), "keyring.json")
	r := load(t, path, w)
	sealed := mustSeal(t, r, "value", "p")
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		r.changing = make(chan struct{}, 1)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(probeExec + time.Second)
		if s := r.Status(); s.Failing != "" || s.Unread != "" || w.asked.Load() < 2 {
			t.Errorf("asked %d times: %+v", w.asked.Load(), s)
		}
		w.off.Store(true)
		time.Sleep(probeExec)
		if s := r.Status(); !strings.Contains(s.Failing, "the service is away") || s.Unread != "" {
			t.Errorf("%+v", s)
		}
		if err := rotate(t, r); err != nil {
			t.Errorf("no data key without the wrapper: %v", err)
		}
		wantUnsealed(t, r, sealed, "p", "value")
		mustSeal(t, r, "value", "p")
		w.off.Store(false)
		time.Sleep(probeFailing + time.Second)
		if s := r.Status(); s.Failing != "" || len(s.Keys) != 2 {
			t.Errorf("%+v", s)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestARewrapThatAProcessCannotOpenIsNotAskedForEachSecond: a key service counts calls.
func TestARewrapThatAProcessCannotOpenIsNotAskedForEachSecond(t *testing.T) {
	t.Parallel()
	w := &flaky{Wrapper: kek(t)}
	path := filepath.Join(t.TempDir(), "keyring.json")
	r := load(t, path, w)
	if _, err := Rewrap(t.Context(), path, Rewrapping{From: w, To: w}); err != nil {
		t.Fatal(err)
	}
	w.off.Store(true)
	w.asked.Store(0)
	synctest.Test(t, func(t *testing.T) {
		r.changing = make(chan struct{}, 1)
		for range 60 {
			r.reread(t.Context(), true)
			time.Sleep(time.Second)
		}
		if w.asked.Load() > 5 {
			t.Errorf("asked %d times in a minute", w.asked.Load())
		}
		if s := r.Status(); !strings.Contains(s.Unread, "the service is away") {
			t.Errorf("%+v", s)
		}
		w.off.Store(false)
		time.Sleep(probeFailing)
		r.reread(t.Context(), true)
		if s := r.Status(); s.Unread != "" {
			t.Errorf("%+v", s)
		}
	})
}

// TestADataKeyBeginsWhenItIsTimeEverywhere: so copies of the file can be handed out before it is used.
func TestADataKeyBeginsWhenItIsTimeEverywhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := ring(t)
		first := r.current()
		key, err := r.Rotate(t.Context(), time.Now().Add(15*time.Minute), func(context.Context, Key) error { return nil })
		if err != nil || key.Current || key.From.IsZero() {
			t.Fatalf("%+v, %v", key, err)
		}
		replica := again(t, r)
		for _, ring := range []*Ring{r, replica} {
			if got := KeyID(mustSeal(t, ring, "x", "p")); got != first {
				t.Errorf("seals with %s, want %s", got, first)
			}
		}
		time.Sleep(15 * time.Minute)
		for _, ring := range []*Ring{r, replica} {
			if got := KeyID(mustSeal(t, ring, "x", "p")); got != key.ID {
				t.Errorf("seals with %s, want %s", got, key.ID)
			}
		}
	})
}

func TestARotationThatIsNotRecordedIsNotDone(t *testing.T) {
	t.Parallel()
	r := ring(t)
	before, _ := os.ReadFile(r.path)
	refused := errors.New("the store is away")
	_, err := r.Rotate(t.Context(), time.Time{}, func(context.Context, Key) error { return refused })
	if !errors.Is(err, refused) || len(r.Keys()) != 1 {
		t.Errorf("%v: %+v", err, r.Keys())
	}
	if after, _ := os.ReadFile(r.path); string(after) != string(before) {
		t.Error("the file has changed")
	}
}

// TestCopiesOfTheRing: a replica with an old copy says which key it lacks, opens nothing wrongly, and opens it as soon as it
// is handed the file, even if it has looked in vain just before.
func TestCopiesOfTheRing(t *testing.T) {
	t.Parallel()
	r := ring(t)
	text, _ := os.ReadFile(r.path)
	path := filepath.Join(t.TempDir(), "copy.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	replica := load(t, path, nil)
	if err := rotate(t, r); err != nil {
		t.Fatal(err)
	}
	sealed := mustSeal(t, r, "new", "p")
	for range 3 {
		_, err := replica.Unseal(nil, sealed, []byte("p"))
		if missing, ok := errors.AsType[*MissingKeyError](err); !ok || missing.KeyID != KeyID(sealed) {
			t.Fatalf("got %v", err)
		}
		if f := Fault(err); f == nil || f.HTTPStatus() != 503 || f.Code != fault.KeyRingBehind {
			t.Errorf("for a caller: %v", f)
		}
	}
	wantUnsealed(t, r, mustSeal(t, replica, "old", "p"), "p", "old")
	text, _ = os.ReadFile(r.path)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	wantUnsealed(t, replica, sealed, "p", "new")
}
