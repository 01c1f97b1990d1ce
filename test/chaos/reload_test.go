//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// switched is a configuration in which two models lead to one provider, and a third shows which.
func switched(provider string) string {
	return providers + strings.ReplaceAll(`models:
  first:  { targets: ["$P/x?events=3"] }
  second: { targets: ["$P/y?events=3"] }
  long:   { targets: ["sim-a/long?events=100&gap=30ms"] }
`, "$P", provider)
}

// Fault 61: a new configuration under 100 streams. They go on; new calls see all of it or nothing, whichever of the two
// changed models they look at first.
func TestReloadUnderStreams(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: switched("sim-a")})
	s := w.streams(100, call{model: "long"})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var pairs, mixed, failed atomic.Int64
	var looking sync.WaitGroup
	for i := range 8 {
		looking.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				models := []string{"first", "second"}
				one, two := w.chat(ctx, call{model: models[n%2]}), w.chat(ctx, call{model: models[1-n%2]})
				switch {
				case ctx.Err() != nil:
				case !one.whole || !two.whole:
					failed.Add(1)
				case strings.HasPrefix(one.target(), "sim-b/") && strings.HasPrefix(two.target(), "sim-a/"):
					mixed.Add(1) // the new one for the first look, the old one for the second
				default:
					pairs.Add(1)
				}
			}
		})
	}
	<-time.After(300 * time.Millisecond)
	w.configure(switched("sim-b"))
	w.serve.signal(t, syscall.SIGHUP)
	eventually(t, patience, "the new configuration", func() error {
		if a := w.chat(context.Background(), call{model: "first"}); a.target() != "sim-b/x?events=3" {
			return errors.New(a.target())
		}
		return nil
	})
	if a := w.must(call{model: "second"}); a.target() != "sim-b/y?events=3" {
		t.Errorf("the first model has changed, the second goes to %s", a.target())
	}
	<-time.After(300 * time.Millisecond)
	cancel()
	looking.Wait()
	if mixed.Load() > 0 || failed.Load() > 0 || pairs.Load() < 20 {
		t.Errorf("%d pairs of calls, %d of them saw the old one after the new one, %d failed", pairs.Load(), mixed.Load(), failed.Load())
	}
	for _, a := range s.wait() {
		if !a.whole {
			t.Errorf("a stream that was open: %s", a)
		}
	}
}

// A storm of reloads under load costs no client anything, and no memory, threads or files either.
func TestReloadStorm(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: switched("sim-a")})
	w.must(call{model: "first"})
	files := w.serve.descriptors(t)
	f := w.drive(8, func(client, turn int) call {
		return call{model: []string{"first", "second"}[turn%2], stream: client%2 == 0}
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	storms := 0
	for end := time.Now().Add(time.Duration(longer(3, 60)) * time.Second); time.Now().Before(end); <-tick.C {
		storms++
		w.configure(switched([]string{"sim-a", "sim-b"}[storms%2]))
		w.serve.signal(t, syscall.SIGHUP)
	}
	all := f.home()
	for _, a := range all {
		if !a.whole {
			t.Fatalf("a call in the storm: %s", a)
		}
	}
	taken := strings.Count(w.serve.log(t), "configuration taken over")
	if taken < 20 {
		t.Errorf("only %d configurations were taken over: this test tests nothing", taken)
	}
	w.http.CloseIdleConnections()
	eventually(t, patience, "the files of before", func() error {
		if n := w.serve.descriptors(t); n > files+40 { // connections to providers and to the store are kept
			return fmt.Errorf("%d files are open, %d were", n, files)
		}
		return nil
	})
	w.configure(switched("sim-b"))
	eventually(t, patience, "the last configuration", func() error {
		if a := w.chat(context.Background(), call{model: "first"}); a.target() != "sim-b/x?events=3" {
			return errors.New(a.target())
		}
		return nil
	})
	t.Logf("%d calls, %d configurations written, %d taken over", len(all), storms, taken)
}

// Fault 62: what is wrong is not taken over, says where the mistake is, and changes nothing; neither does half a file.
func TestReloadOfABrokenFile(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: switched("sim-a")})
	f := w.drive(4, func(int, int) call { return call{model: "first"} })
	whole, err := os.ReadFile(w.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []struct{ text, told string }{
		{string(whole) + "cache: {}\n", "penstock.yaml:"},
		{strings.Replace(string(whole), "sim-a/x", "sim-c/x", 1), "sim-c"},
		{string(whole) + "shutdown_grace: soon\n", "shutdown_grace"},
		{string(whole) + "store: sqlite:elsewhere.db\n", "restart"},
	} {
		w.write(w.file, broken.text)
		w.serve.signal(t, syscall.SIGHUP)
		eventually(t, patience, "told of the mistake", func() error {
			var status struct {
				Error string `json:"config_error"`
			}
			if err := w.admin(http.MethodGet, "/status", nil, &status); err != nil {
				return err
			}
			if !strings.Contains(status.Error, broken.told) {
				return fmt.Errorf("status says %q, not %q", status.Error, broken.told)
			}
			return nil
		})
	}
	for n := range 20 { // a careless editor writes into the file
		if err := os.WriteFile(w.file, whole[:len(whole)*n/20], 0o600); err != nil {
			t.Fatal(err)
		}
		w.serve.signal(t, syscall.SIGHUP)
		<-time.After(10 * time.Millisecond)
	}
	w.write(w.file, string(whole))
	for _, a := range f.home() {
		if !a.whole || a.target() != "sim-a/x?events=3" {
			t.Fatalf("a call meanwhile: %s %s", a.target(), a)
		}
	}
}

// A rotating is a provider whose credential is being replaced: for a while it takes both, then only the new one.
type rotating struct {
	mu       sync.Mutex // guards the fields below
	accepted map[string]bool
	seen     map[string]int
	refused  int
}

func (p *rotating) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	p.mu.Lock()
	p.seen[key]++
	ok := p.accepted[key]
	if !ok {
		p.refused++
	}
	p.mu.Unlock()
	rw.Header().Set("Content-Type", "application/json")
	if !ok {
		rw.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(rw, `{"error":{"message":"Incorrect API key provided: %s","code":"invalid_api_key"}}`, key)
		return
	}
	fmt.Fprint(rw, `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`)
}

func (p *rotating) accept(keys ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepted = map[string]bool{}
	for _, k := range keys {
		p.accepted[k] = true
	}
}

func (p *rotating) counts(key string) (seen, refused int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[key], p.refused
}

// Fault 63: the file with a provider's credential is replaced under load. No call fails, the old key is used no more soon,
// and neither of them is in anything that Penstock wrote.
func TestProviderKeyRotated(t *testing.T) {
	const before, after, careless = "sk-canary-before-77aa", "sk-canary-after-88bb", "sk-canary-careless-99cc"
	p := &rotating{seen: map[string]int{}}
	p.accept(before)
	upstream := httptest.NewServer(p)
	defer upstream.Close()
	rng := draws(t)
	w := &world{t: t, rng: rng, dir: t.TempDir(), http: newClient()}
	w.file = w.dir + "/penstock.yaml"
	w.write(w.dir+"/key", before+"\n")
	w.configure("providers: { house: { dialect: openai, base_url: \"" + upstream.URL + "/v1\", credential: \"file:key\" } }\nmodels: { plain: { targets: [house/m] } }\n")
	w.up()
	w.key = w.newKey("chaos")
	f := w.drive(6, func(int, int) call { return call{model: "plain"} })
	<-time.After(300 * time.Millisecond)
	rotate := func(old, next string, write func(string)) {
		p.accept(old, next)
		write(next)
		eventually(t, 5*time.Second, "the new key is used", func() error {
			if n, _ := p.counts(next); n == 0 {
				return errors.New("it is not")
			}
			return nil
		})
		// From when on only the new one is used, the old one may be revoked.
		last, _ := p.counts(old)
		<-time.After(200 * time.Millisecond)
		if n, _ := p.counts(old); n > last+6 {
			t.Errorf("the old key was used %d times more after the new one was", n-last)
		}
		p.accept(next)
	}
	rotate(before, after, func(key string) { w.write(w.dir+"/key", key+"\n") })
	rotate(after, careless, func(key string) { // truncated first, written then
		if err := os.WriteFile(w.dir+"/key", []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	<-time.After(300 * time.Millisecond)
	all := f.home()
	for _, a := range all {
		if !a.whole {
			t.Fatalf("a call meanwhile: %s", a)
		}
	}
	if _, refused := p.counts(""); refused > 0 {
		t.Errorf("%d calls came with a key that had been revoked", refused)
	}
	p.accept() // and now it repeats the key in its errors
	if a := w.chat(context.Background(), call{model: "plain"}); a.status != http.StatusBadGateway || strings.Contains(a.String(), "canary") {
		t.Errorf("with a key that is refused: %s", a)
	}
	w.records()
	w.free(before, after, careless)
	t.Logf("%d calls over three keys", len(all))
}

// A file that is changed, taken over by a signal, and changed back at once: what is in force at the end is what it says.
func TestChangedAndChangedBack(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: switched("sim-a")})
	leads := func(provider string) {
		t.Helper()
		eventually(t, patience, "what the file says", func() error {
			if a := w.chat(context.Background(), call{model: "first"}); !strings.HasPrefix(a.target(), provider) {
				return errors.New(a.target())
			}
			return nil
		})
	}
	w.configure(switched("sim-b"))
	w.serve.signal(t, syscall.SIGHUP)
	leads("sim-b")
	w.configure(switched("sim-a"))
	leads("sim-a")
}
