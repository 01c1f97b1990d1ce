package auth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

func TestCheckGrantsWhatTheKeyStandsFor(t *testing.T) {
	t.Parallel()
	f := setup(t)
	p, err := f.CreateProject(t.Context(), ProjectSpec{Org: "acme", Name: "search", Strict: true, Regions: []string{"eu*"}, PrivateOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	made, err := f.CreateKey(t.Context(), RoleOperator, KeySpec{Project: p.ID, Name: "trial", Models: []string{"gpt-*"}})
	if err != nil {
		t.Fatal(err)
	}
	g, err := f.keys.Check(made.Secret.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	c := g.Caller
	if c.Org != "acme" || c.Project != p.ID || c.ProjectName != "search" || c.Key != made.Key.ID || c.KeyName != "trial" ||
		c.KeyPrefix != made.Key.Prefix || !c.Strict || !slices.Equal(c.Regions, []string{"eu*"}) || !c.PrivateOnly {
		t.Errorf("caller %+v of key %+v", c, made.Key)
	}
	if !g.Key.MayUse("gpt-5") || g.Key.MayUse("claude") || !g.Key.Role.Can(Call) {
		t.Errorf("key %+v", g.Key)
	}
}

func TestWhatIsNotTheKeyIsRefusedAndInert(t *testing.T) {
	t.Parallel()
	f := setup(t)
	_, key := f.issueKey(t, KeySpec{})
	quotable := key[:10] + "..."
	for _, tt := range []struct{ name, presented, want string }{
		{"nothing", "", "has 0 characters"},
		{"prefix", key[:10], "has 10 characters"},
		{"most of it", key[:len(key)-1], "No key " + key[:4] + "... exists here, or it was revoked."},
		{"one more", key + "1", "No key " + quotable},
		{"another", "psk_" + strings.Repeat("1", 44), "No key psk_111111... exists here, or it was revoked."},
		{"a provider's", "sk-proj-abcdefghijklmnop", "No key sk-p... exists here"},
		{"trailing space", key + " ", "character 49 is not a letter"},
		{"leading space", " " + key, "character 1 is not"},
		{"trailing NUL", key + "\x00", "character 49"},
		{"newline", key + "\n", "character 49"},
		{"homoglyph", strings.Replace(key, "psk", "рsk", 1), "character 1 is not"},
		{"upper case", strings.ToUpper(key), "No key PSK_... exists here"},
		{"SQL", "' UNION SELECT 1-- padded", "character 1 is not"},
		{"format", "%s%s%s%n%s%s%s%s%s", "character 1 is not"},
		{"log lookup", "${jndi:ldap://example.com/a}", "character 1 is not"},
		{"a megabyte", strings.Repeat("a", 1<<20), "has 1048576 characters; keys have 16 to 256"},
		{"invalid UTF-8", strings.Repeat("\xff", 48), "character 1 is not"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, check := range []func(string) (*Grant, error){f.keys.Check, f.keys.CheckAdmin} {
				g, err := check(tt.presented)
				e := faultOf(t, err, fault.InvalidAPIKey)
				if g != nil || !strings.Contains(e.Message, tt.want) {
					t.Errorf("got %v, %q, want %q", g, e.Message, tt.want)
				}
				if e.Kind != fault.Unauthenticated || len(e.Text()) > 400 {
					t.Errorf("kind %d, text %q", e.Kind, e.Text())
				}
				if strings.Contains(e.Error(), key[10:20]) {
					t.Errorf("%q shows more than the prefix", e.Error())
				}
			}
		})
	}
	if _, err := f.keys.Check(key); err != nil {
		t.Errorf("the key itself: %v", err)
	}
}

func FuzzCheck(f *testing.F) {
	fx := setup(f)
	fx.keys.o.MaxStale = time.Hour // nobody reads again
	_, key := fx.issueKey(f, KeySpec{})
	for _, s := range []string{"", key, key + "\x00", key[:20], "sk-" + key, "' OR 1=1 --", "Bearer " + key, strings.Repeat("=", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, presented string) {
		g, err := fx.keys.Check(presented)
		if (err == nil) != (presented == key) || (g != nil) != (err == nil) {
			t.Fatalf("%q: %v, %v", presented, g, err)
		}
		if err == nil {
			return
		}
		e := faultOf(t, err, fault.InvalidAPIKey)
		if len(presented) >= 16 && strings.Contains(e.Message, presented) {
			t.Fatalf("%q is quoted whole: %q", presented, e.Message)
		}
	})
}

func TestExpiryIsExact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := setup(t)
		_, key := f.issueKey(t, KeySpec{Expires: time.Hour})
		stop := run(t, f.keys)
		defer stop()
		time.Sleep(time.Hour - time.Microsecond)
		if _, err := f.keys.Check(key); err != nil {
			t.Errorf("just before: %v", err)
		}
		time.Sleep(time.Microsecond)
		_, err := f.keys.Check(key)
		e := faultOf(t, err, fault.InvalidAPIKey)
		if want := "Key " + key[:10] + "... expired 2000-01-01 01:00:00 UTC."; e.Message != want {
			t.Errorf("got %q, want %q", e.Message, want)
		}
	})
}

// run runs keys' Run until stop is called.
func run(t *testing.T, k *Keys) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestRevocationReachesAllReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := setup(t)
		second, third := join(t, first.store, first.Ring), join(t, first.store, first.Ring)
		replicas := []*fixture{first, second, third}
		for i, r := range replicas {
			time.Sleep(time.Duration(i) * 100 * time.Millisecond) // their polls do not fall together
			defer run(t, r.keys)()
		}
		for _, role := range Roles() {
			const pollAndRead = time.Second + time.Millisecond
			k, key := first.issueKey(t, KeySpec{Role: role})
			time.Sleep(pollAndRead)
			for i, r := range replicas {
				if _, err := r.keys.Check(key); err != nil {
					t.Errorf("%s: a new key on replica %d: %v", role, i, err)
				}
			}
			if _, err := first.RevokeKey(t.Context(), RoleAdmin, k.ID); err != nil {
				t.Fatal(err)
			}
			_, err := first.keys.Check(key)
			wantFault(t, err, fault.InvalidAPIKey) // at once where it was revoked
			time.Sleep(pollAndRead)
			for _, r := range replicas {
				_, err := r.keys.Check(key)
				wantFault(t, err, fault.InvalidAPIKey)
				_, err = r.keys.CheckAdmin(key)
				wantFault(t, err, fault.InvalidAPIKey)
			}
		}
	})
}

// TestControl44RulesReachAllReplicas: where a project's data may go is known everywhere within a second.
func TestControl44RulesReachAllReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := setup(t)
		second := join(t, first.store, first.Ring)
		for _, r := range []*fixture{first, second} {
			defer run(t, r.keys)()
		}
		k, key := first.issueKey(t, KeySpec{})
		rules := func(f *fixture) (regions []string, private bool) {
			g, err := f.keys.Check(key)
			if err != nil {
				t.Fatal(err)
			}
			return g.Caller.Regions, g.Caller.PrivateOnly
		}
		yes, no := true, false
		for _, c := range []ProjectChange{
			{Regions: []string{"eu", "eu-west*"}, PrivateOnly: &yes}, {PrivateOnly: &no}, {Regions: []string{}},
		} {
			p, err := first.UpdateProject(t.Context(), k.Project, c)
			if err != nil {
				t.Fatal(err)
			}
			if regions, private := rules(first); !slices.Equal(regions, p.Regions) || private != p.PrivateOnly {
				t.Errorf("%+v: here %q, %v", c, regions, private)
			}
			time.Sleep(time.Second + time.Millisecond)
			if regions, private := rules(second); !slices.Equal(regions, p.Regions) || private != p.PrivateOnly {
				t.Errorf("%+v: there %q, %v", c, regions, private)
			}
		}
	})
}

func TestRotationOverlaps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := setup(t)
		defer run(t, f.keys)()
		old, oldText := f.issueKey(t, KeySpec{Name: "trial", Models: []string{"a", "b*"}, Expires: 720 * time.Hour})
		made, err := f.RotateKey(t.Context(), RoleOperator, old.ID, 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		next := made.Key
		if next.Name != "trial" || next.Replaces != old.ID || !next.Expires.Equal(old.Expires) || len(next.Models) != 2 || next.Hash == old.Hash {
			t.Errorf("%+v replaces %+v", next, old)
		}
		newText := made.Secret.Reveal()
		for _, key := range []string{oldText, newText} {
			if g, err := f.keys.Check(key); err != nil || g.Caller.FirstKey != old.ID {
				t.Errorf("in the overlap: %v, %+v", err, g)
			}
		}
		_, err = f.RotateKey(t.Context(), RoleOperator, old.ID, time.Hour)
		wantFault(t, err, fault.AlreadyThere)
		time.Sleep(24*time.Hour - time.Second)
		if _, err := f.keys.Check(oldText); err != nil {
			t.Errorf("a second before the overlap's end: %v", err)
		}
		time.Sleep(time.Second)
		_, err = f.keys.Check(oldText)
		wantFault(t, err, fault.InvalidAPIKey)
		if _, err := f.keys.Check(newText); err != nil {
			t.Errorf("the new key: %v", err)
		}
	})
}

func TestAStoreThatIsAwayMakes503AndNever401(t *testing.T) {
	t.Parallel()
	down := errors.New("store is away")
	hang := func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
	for name, broken := range map[string]func(context.Context, string) error{
		"refuses": func(context.Context, string) error { return down },
		"hangs":   hang,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := setup(t)
				_, key := f.issueKey(t, KeySpec{})
				defer run(t, f.keys)()
				time.Sleep(10*time.Second + time.Millisecond)
				f.store.breakWith(broken) // the last good read was a millisecond ago
				time.Sleep(5*time.Second - 2*time.Millisecond)
				if _, err := f.keys.Check(key); err != nil || !f.keys.Ready() {
					t.Errorf("within max_stale: %v, ready %v", err, f.keys.Ready())
				}
				time.Sleep(2 * time.Millisecond)
				for _, presented := range []string{key, "psk_" + strings.Repeat("1", 44)} {
					_, err := f.keys.Check(presented)
					e := faultOf(t, err, fault.KeysUnavailable)
					if e.Kind != fault.Unavailable || e.RetryAfter != 2*time.Second {
						t.Errorf("kind %d, retry after %v", e.Kind, e.RetryAfter)
					}
					want := "Keys cannot be checked: the store has not answered for 5s. Your key is probably fine; retry."
					if e.Text() != want {
						t.Errorf("got %q, want %q", e.Text(), want)
					}
				}
				if f.keys.Ready() {
					t.Error("ready although keys cannot be checked")
				}
				f.store.breakWith(nil)
				time.Sleep(6 * time.Second) // a read that hung is given up, and the next one succeeds: no restart
				if _, err := f.keys.Check(key); err != nil || !f.keys.Ready() {
					t.Errorf("after the store is back: %v, ready %v", err, f.keys.Ready())
				}
			})
		})
	}
}

func TestASlowReadIsAsOldAsItsBeginning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := setup(t)
		_, key := f.issueKey(t, KeySpec{})
		f.store.breakWith(func(context.Context, string) error { time.Sleep(4 * time.Second); return nil })
		time.Sleep(3 * time.Second)
		if err := f.keys.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := f.keys.Check(key); err != nil {
			t.Errorf("4 s after the read began: %v", err)
		}
		time.Sleep(1001 * time.Millisecond)
		_, err := f.keys.Check(key)
		wantFault(t, err, fault.KeysUnavailable)
	})
}

func TestBeforeTheFirstReadNoKeyIsJudged(t *testing.T) {
	t.Parallel()
	k := NewKeys(newMemory(), newRing(t), quiet, KeysOptions{})
	_, err := k.Check("psk_" + strings.Repeat("1", 44))
	e := faultOf(t, err, fault.KeysUnavailable)
	if !strings.HasPrefix(e.Message, "Keys cannot be checked: the store has not answered yet.") || k.Ready() {
		t.Errorf("%q, ready %v", e.Message, k.Ready())
	}
	_, err = k.Check("?")
	wantFault(t, err, fault.InvalidAPIKey) // needs no store
}

func TestTheWallClockDoesNotAgeTheSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := setup(t)
		_, key := f.issueKey(t, KeySpec{Expires: time.Hour})
		offset := time.Duration(0)
		f.keys.o.Now = func() time.Time { return time.Now().Add(offset) }
		for _, offset = range []time.Duration{30 * time.Minute, -time.Hour} {
			if _, err := f.keys.Check(key); err != nil {
				t.Errorf("clock stepped by %v: %v", offset, err)
			}
		}
	})
}

func TestTimesOfLastUseAreWrittenBackInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := setup(t)
		used, key := f.issueKey(t, KeySpec{Name: "used"})
		idle, _ := f.issueKey(t, KeySpec{Name: "idle"})
		writes := 0
		f.store.breakWith(func(_ context.Context, method string) error {
			if method == "TouchKeys" {
				writes++
			}
			return nil
		})
		stop := run(t, f.keys)
		lastUsed := func(id string) time.Time {
			k, err := f.store.FindKey(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return k.LastUsed
		}
		at := time.Now()
		for range 100 {
			if _, err := f.keys.Check(key); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10*time.Second + time.Millisecond)
		if got := lastUsed(used.ID); !got.Equal(at) {
			t.Errorf("last used %v, want %v", got, at)
		}
		if got := lastUsed(idle.ID); !got.IsZero() {
			t.Errorf("a key that was never used was last used %v", got)
		}
		time.Sleep(time.Minute)
		if writes != 1 {
			t.Errorf("%d writes, want 1: nothing was used since", writes)
		}
		_, _ = f.issueKey(t, KeySpec{Name: "new"}) // the next snapshot goes on counting
		at = time.Now()
		if _, err := f.keys.Check(key); err != nil {
			t.Fatal(err)
		}
		stop()
		if got := lastUsed(used.ID); !got.Equal(at) {
			t.Errorf("after the stop: last used %v, want %v", got, at)
		}
	})
}

func TestUsesThatCouldNotBeWrittenAreWrittenLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := setup(t)
		k, key := f.issueKey(t, KeySpec{})
		f.store.breakWith(func(_ context.Context, method string) error {
			if method == "TouchKeys" {
				return errors.New("disk full")
			}
			return nil
		})
		stop := run(t, f.keys)
		if _, err := f.keys.Check(key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		f.store.breakWith(nil)
		stop()
		if got, err := f.store.FindKey(t.Context(), k.ID); err != nil || got.LastUsed.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestCheckAdmin(t *testing.T) {
	t.Parallel()
	f := setup(t)
	admin, _ := NewKey()
	if _, _, err := f.store.AdminKeyHash(t.Context(), f.Ring.Hash(admin)); err != nil {
		t.Fatal(err)
	}
	f.store.version++
	for _, role := range Roles() {
		_, key := f.issueKey(t, KeySpec{Role: role, Name: string(role)})
		g, err := f.keys.CheckAdmin(key)
		if role == RoleCaller {
			e := faultOf(t, err, fault.NotAllowed)
			if !strings.Contains(e.Message, key[:10]+" has the role caller") {
				t.Errorf("got %q", e.Message)
			}
			continue
		}
		if err != nil || g.Key.Role != role {
			t.Errorf("%s: %v, %v", role, g, err)
		}
	}
	g, err := f.keys.CheckAdmin(admin)
	if err != nil || g.Key.Role != RoleAdmin || g.Caller.Project != "" {
		t.Errorf("the admin key: %v, %v", g, err)
	}
	_, err = f.keys.Check(admin)
	wantFault(t, err, fault.NotAllowed)
}

func BenchmarkCheck(b *testing.B) {
	f := setup(b)
	f.keys.o.MaxStale = time.Hour // nobody reads again
	var key string
	for range 1000 {
		_, key = f.issueKey(b, KeySpec{})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.keys.Check(key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckUnknown(b *testing.B) {
	f := setup(b)
	f.keys.o.MaxStale = time.Hour // nobody reads again
	key, _ := NewKey()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.keys.Check(key); err == nil {
			b.Fatal("an unknown key was granted")
		}
	}
}
