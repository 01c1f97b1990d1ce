package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/fault"
)

// A budget divides the process's file descriptors. Whatever comes in, store, journal, control plane and the connections to
// providers have theirs.
type budget struct {
	data    int // connections of clients on the data plane; each may need another one, to a provider
	surplus int // beyond those, only to be told that there are too many, or that we are alive
	idle    int // kept to all providers together while no exchange uses them
	control int // connections on the control plane
}

const (
	// ownFiles are store, journal, listeners and files that are read now and then.
	ownFiles = 48
	// mostFiles is where more descriptors are no use.
	mostFiles = 1 << 20
)

// divide makes the budget of a process that may have so many descriptors; 0 is as many as it wants.
func divide(files uint64) budget {
	if files == 0 || files > mostFiles {
		files = mostFiles
	}
	b := budget{control: min(max(int(files)/16, 8), 256)}
	free := max(int(files)-ownFiles-b.control, 16)
	// The same number as data is left for the connections of exchanges to providers.
	b.data, b.surplus, b.idle = free*2/5, min(free/10, 256), free/10
	return b
}

// A door lets so many connections in at once. When it is full it closes idle ones and asks the others to close after
// their answer; then a few more come in, marked as surplus; and what comes beyond them is closed at once.
type door struct {
	*net.TCPListener
	most, surplus int64
	open, dropped atomic.Int64
	full          atomic.Bool // until a quarter of it is free again

	mu     sync.Mutex // guards the field below
	guests map[*guest]struct{}

	asked time.Time // when idle ones were looked for; only Accept uses it
}

// askEvery bounds how often idle connections are looked for: each time, all connections are.
const askEvery = 100 * time.Millisecond

// Accept gives the next connection that there is room for.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.AcceptTCP()
		if err != nil {
			return nil, err
		}
		n := d.open.Add(1)
		switch {
		case n > d.most:
			d.makeRoom()
			n = d.open.Load()
		case n < d.most*3/4:
			d.full.Store(false)
		}
		if n <= d.most+d.surplus {
			g := &guest{TCPConn: c, door: d, surplus: n > d.most}
			d.mu.Lock()
			if d.guests == nil {
				d.guests = map[*guest]struct{}{}
			}
			d.guests[g] = struct{}{}
			d.mu.Unlock()
			return g, nil
		}
		d.open.Add(-1)
		d.dropped.Add(1)
		_ = c.Close() // it had nothing yet
	}
}

// makeRoom closes idle connections, and has those in use close after their answer, until there is room again.
// [http.Server.SetKeepAlivesEnabled] would do it for HTTP/1, but sends the streams of an HTTP/2 connection away with it,
// whose client then opens further connections: the opposite of room.
func (d *door) makeRoom() {
	d.full.Store(true)
	now := time.Now()
	if now.Sub(d.asked) < askEvery {
		return
	}
	d.asked = now
	var idle []*guest
	d.mu.Lock()
	for g := range d.guests {
		if g.idle.Load() {
			idle = append(idle, g)
		}
	}
	d.mu.Unlock()
	for _, g := range idle {
		_ = g.Close()
	}
}

// usher has answers over HTTP/1 close their connection while the door is full, and where a request had a body whose end
// the screen could not find: something in front of Penstock may have seen another end, so what follows must not be taken
// for a request.
func (d *door) usher(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g, _ := r.Context().Value(guestKey{}).(*guest); g != nil && g.screen != nil {
			if d.full.Load() || g.screen.once.Load() {
				w.Header()["Connection"] = []string{"close"}
			}
			if t, ok := g.screen.Conn.(*tls.Conn); ok && r.TLS == nil { // net/http does not see it behind the screen
				state := t.ConnectionState()
				r.TLS = &state
			}
		}
		next.ServeHTTP(w, r)
	})
}

// A guest is a connection that was let in.
type guest struct {
	*net.TCPConn
	door    *door
	surplus bool
	screen  *screen     // of a connection that speaks HTTP/1, once it is served
	idle    atomic.Bool // between two requests
	gone    atomic.Bool
}

// Close closes the connection and makes room for another one.
func (g *guest) Close() error {
	if g.gone.CompareAndSwap(false, true) {
		g.door.open.Add(-1)
		g.door.mu.Lock()
		delete(g.door.guests, g)
		g.door.mu.Unlock()
	}
	return g.TCPConn.Close()
}

// watch notes whether a connection is idle. It is the http.Server's ConnState.
func watch(c net.Conn, state http.ConnState) {
	if g := guestOf(c); g != nil {
		g.idle.Store(state == http.StateIdle)
	}
}

// guestOf finds the guest beneath TLS and screen.
func guestOf(c net.Conn) *guest {
	for c != nil {
		if g, ok := c.(*guest); ok {
			return g
		}
		over, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = over.NetConn()
	}
	return nil
}

type guestKey struct{}

// mark notes in a connection's context who the guest is. It is the http.Server's ConnContext.
func mark(ctx context.Context, c net.Conn) context.Context {
	g := guestOf(c)
	if g == nil {
		return ctx
	}
	g.screen, _ = c.(*screen)
	return context.WithValue(ctx, guestKey{}, g)
}

// crowded says why a request that would need a connection to a provider gets none: it came in over a connection that is
// still surplus, or over one that carries many requests at once.
func (d *door) crowded(ctx context.Context, open int64) error {
	g, _ := ctx.Value(guestKey{}).(*guest)
	surplus := g != nil && g.surplus && d.open.Load() > d.most
	if !surplus && open <= d.most {
		return nil
	}
	f := fault.New(fault.Overloaded, "As many calls as this Penstock has file descriptors for are open: %d.", d.most)
	f.RetryAfter = time.Second
	return f
}

// meter registers how full a door is.
func (d *door) meter(reg prometheus.Registerer) {
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "penstock_open_connections", Help: "Connections of clients on the data plane.",
		}, func() float64 { return float64(d.open.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "penstock_connection_limit", Help: "How many connections of clients are served at once: what the limit on open files allows.",
		}, func() float64 { return float64(d.most) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "penstock_dropped_connections_total", Help: "Connections that were closed at once for want of file descriptors.",
		}, func() float64 { return float64(d.dropped.Load()) }))
}

// makeDoors divides the file descriptors.
func (s *Server) makeDoors() {
	s.budget = divide(FileLimit())
	s.doors.data = &door{most: int64(s.budget.data), surplus: int64(s.budget.surplus)}
	s.doors.admin = &door{most: int64(s.budget.control)}
	s.doors.data.meter(s.metrics)
	if few := 1000; s.budget.data < few {
		s.o.Log.Warn("few file descriptors: raise the limit on open files (ulimit -n)", "connections", s.budget.data)
	}
}
