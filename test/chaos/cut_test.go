//go:build linux

package chaos

import (
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/store/pgtest"
)

// A line is the way between one replica and the database: it can be cut and held.
type line struct {
	listener net.Listener
	to       string

	losing atomic.Bool // a reply now and then; see lose

	mu      sync.Mutex // guards the fields below
	held    chan struct{}
	cut     bool
	current map[net.Conn]bool
}

// newLine makes a way to a server.
func newLine(t *testing.T, to string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	flowing := make(chan struct{})
	close(flowing)
	w := &line{listener: l, to: to, held: flowing, current: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.let()
		w.drop()
		all.Wait()
	})
	return w
}

// carry carries one connection until either end or we close it.
func (w *line) carry(c net.Conn) {
	defer c.Close()
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer far.Close()
	w.mu.Lock()
	cut := w.cut
	w.current[c], w.current[far] = true, true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.current, c)
		delete(w.current, far)
		w.mu.Unlock()
	}()
	if cut {
		return
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		w.pass(c, far, true)
	}()
	w.pass(far, c, false)
	<-back
}

// pass copies one way, and waits while the line is held. Replies may be lost.
func (w *line) pass(to, from net.Conn, replies bool) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		held := w.held
		w.mu.Unlock()
		<-held
		if replies && n > 0 && w.losing.Load() && rand.IntN(25) == 0 {
			break // what was asked is done, and who asked does not hear of it
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
}

// sever cuts every connection, and each new one at once.
func (w *line) sever() {
	w.mu.Lock()
	w.cut = true
	w.mu.Unlock()
	w.drop()
}

func (w *line) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.current {
		_ = c.Close()
	}
}

// lose has one reply in 25 lost, with its connection: what was asked may have been done.
func (w *line) lose(on bool) { w.losing.Store(on) }

// hold lets connections stand, and carries nothing.
func (w *line) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = make(chan struct{})
}

// let mends everything.
func (w *line) let() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
	select {
	case <-w.held:
	default:
		close(w.held)
	}
}

// T2 where a replica does not hear of it: between one replica and the database nothing gets through any more, and a key is
// revoked on the other. From 5 s on nobody takes it. The replica refuses every key then, with 503 and never as a wrong one,
// and is well again without a restart when the line is.
func TestRevokedWhileAReplicaIsCutOff(t *testing.T) {
	for name, fault := range map[string]func(*line){
		"cut":  (*line).sever,
		"held": (*line).hold,
	} {
		t.Run(name, func(t *testing.T) {
			address := pgtest.Database(t)
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			way := newLine(t, u.Host)
			u.Host = way.listener.Addr().String()
			a, b := newReplicasAt(t, address, u.String())
			good := b.key
			doomed := a.newKey("doomed")
			b.key = doomed
			soon(t, patience, "the key is known on both", func() bool { return b.ask().status == 200 })

			fault(way)
			var keys struct {
				Data []struct{ ID, Prefix string }
			}
			if err := a.admin(http.MethodGet, "/keys?limit=100", nil, &keys); err != nil {
				t.Fatal(err)
			}
			for _, k := range keys.Data {
				if strings.HasPrefix(doomed, k.Prefix) {
					if err := a.admin(http.MethodPost, "/keys/"+k.ID+"/revoke", map[string]any{}, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			revoked := time.Now()
			for refused := false; !refused; <-time.After(20 * time.Millisecond) {
				begun := time.Since(revoked)
				got := b.ask()
				switch {
				case got.status == 503 && got.header.Get("Retry-After") != "":
					refused = begun > 5*time.Second // it stays so
				case got.status != 200:
					t.Fatalf("after %s: %s", begun, got)
				case begun > 5*time.Second:
					t.Fatalf("a revoked key was taken after %s", begun)
				}
			}
			b.key = good
			if got := b.ask(); got.status != 503 {
				t.Errorf("another key, cut off: %s", got)
			}
			a.key = good
			if got := a.ask(); got.status != 200 {
				t.Errorf("another key on the other replica: %s", got)
			}
			way.let()
			soon(t, 2*patience, "well again", func() bool {
				got := b.ask()
				if got.status != 200 && got.status != 503 {
					t.Fatalf("a good key meanwhile: %s", got)
				}
				return got.status == 200
			})
			b.key = doomed
			if got := b.ask(); got.status != 401 {
				t.Errorf("the revoked key: %s", got)
			}
		})
	}
}

// Fault 62: over replicas, each shows which configuration it has, and that it has refused a broken one.
func TestReplicasShowTheirConfiguration(t *testing.T) {
	a, b := newReplicas(t, pgtest.Database(t))
	type seen struct {
		Data []struct {
			ID      string
			Config  string `json:"config_version"`
			Version string
			Running bool
		}
	}
	versions := func(r *replica) map[string]int {
		var all seen
		if err := r.admin(http.MethodGet, "/replicas", nil, &all); err != nil {
			t.Fatal(err)
		}
		out := map[string]int{}
		for _, one := range all.Data {
			if one.Running && one.Version != "" {
				out[one.Config]++
			}
		}
		return out
	}
	status := func(r *replica) (version, problem string) {
		var s struct {
			Config string `json:"config_version"`
			Error  string `json:"config_error"`
		}
		if err := r.admin(http.MethodGet, "/status", nil, &s); err != nil {
			t.Fatal(err)
		}
		return s.Config, s.Error
	}
	ofA, _ := status(a)
	ofB, _ := status(b)
	soon(t, 10*time.Second, "both say what they have", func() bool {
		got := versions(b)
		return got[ofA] == 1 && got[ofB] == 1
	})
	a.configure(a.sections + "models: { extra: { targets: [\"sim-a/x?events=3\"] } }\n")
	b.write(b.file, "nonsense: true\n")
	soon(t, 10*time.Second, "the new configuration is seen on the other replica, and the broken one is not taken", func() bool {
		now, _ := status(a)
		still, problem := status(b)
		got := versions(b)
		return now != ofA && got[now] == 1 && still == ofB && got[ofB] == 1 && strings.Contains(problem, b.name+".yaml:1")
	})
}
