package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
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

// A door lets so many connections in at once. When it is full it asks idle ones to leave; then a few more come in, marked
// as surplus; and what comes beyond them is closed at once.
type door struct {
	*net.TCPListener
	most, surplus int64

	open   atomic.Int64
	full   atomic.Bool
	mu     sync.Mutex   // guards the fields below
	server *http.Server // whose connections they are; nil before it serves
	asked  time.Time    // when idle ones were asked to leave
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
		if n > d.most {
			d.makeRoom()
			n = d.open.Load()
		}
		if n <= d.most+d.surplus {
			return &guest{TCPConn: c, door: d, surplus: n > d.most}, nil
		}
		d.open.Add(-1)
		_ = c.Close() // it had nothing yet
	}
}

// makeRoom closes idle connections, and lets those in use close after their answer, until there is room again.
func (d *door) makeRoom() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); d.server != nil && now.Sub(d.asked) >= askEvery {
		d.asked = now
		d.full.Store(true)
		d.server.SetKeepAlivesEnabled(false)
	}
}

// left counts a connection out.
func (d *door) left() {
	if n := d.open.Add(-1); n < d.most*3/4 && d.full.CompareAndSwap(true, false) {
		// Not from here: whoever closes connections may hold what is needed for it.
		go d.reopen()
	}
}

// reopen lets connections be kept again.
func (d *door) reopen() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.full.Load() {
		d.server.SetKeepAlivesEnabled(true)
	}
}

// A guest is a connection that was let in.
type guest struct {
	*net.TCPConn
	door    *door
	surplus bool
	gone    atomic.Bool
}

// Close closes the connection and makes room for another one.
func (g *guest) Close() error {
	if g.gone.CompareAndSwap(false, true) {
		defer g.door.left()
	}
	return g.TCPConn.Close()
}

type surplusKey struct{}

// mark notes in a connection's context that it is surplus. It is the http.Server's ConnContext.
func mark(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if g, ok := c.(*guest); ok && g.surplus {
		return context.WithValue(ctx, surplusKey{}, true)
	}
	return ctx
}

func isSurplus(ctx context.Context) bool { return ctx.Value(surplusKey{}) != nil }
