package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// screened puts a screen before each connection.
type screened struct{ net.Listener }

// Accept implements [net.Listener].
func (l screened) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &screen{Conn: c}, nil
}

// A greeter gives connections that have TLS behind them. It shakes hands itself, since only then it is known whether a
// connection speaks HTTP/1 and needs a screen. Whoever is slow at it holds up nobody else.
type greeter struct {
	net.Listener
	config *tls.Config
	log    *slog.Logger
	greets sync.WaitGroup
	ready  chan accepted
	closed <-chan struct{}
	cancel context.CancelFunc
}

type accepted struct {
	net.Conn
	err error
}

// handshakeTime is how long a client may take to shake hands.
const handshakeTime = 10 * time.Second

func newGreeter(l net.Listener, config *tls.Config, log *slog.Logger) *greeter {
	ctx, cancel := context.WithCancel(context.Background())
	g := &greeter{Listener: l, config: config, log: log, ready: make(chan accepted), closed: ctx.Done(), cancel: cancel}
	g.greets.Go(func() { g.run(ctx) })
	return g
}

// Accept gives the next connection that has shaken hands.
func (g *greeter) Accept() (net.Conn, error) {
	select {
	case a := <-g.ready:
		return a.Conn, a.err
	case <-g.closed:
		return nil, net.ErrClosed
	}
}

// Close ends all that the greeter began.
func (g *greeter) Close() error {
	err := g.Listener.Close()
	g.cancel()
	g.greets.Wait()
	return err
}

func (g *greeter) run(ctx context.Context) {
	for {
		c, err := g.Listener.Accept()
		if err == nil {
			g.greets.Go(func() { g.greet(ctx, c) })
			continue
		}
		if errors.Is(err, net.ErrClosed) || !g.hand(accepted{err: err}) {
			return
		}
	}
}

// hand gives a connection, or why there is none, to whoever accepts.
func (g *greeter) hand(a accepted) bool {
	select {
	case g.ready <- a:
		return true
	case <-g.closed:
		return false
	}
}

func (g *greeter) greet(ctx context.Context, c net.Conn) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	t := tls.Server(c, g.config)
	if err := t.HandshakeContext(ctx); err != nil {
		g.log.Debug("TLS handshake failed", "from", c.RemoteAddr(), "error", err)
		sayPlain(err)
		_ = c.Close()
		return
	}
	var greeted net.Conn = t
	if t.ConnectionState().NegotiatedProtocol != "h2" {
		greeted = &screen{Conn: t}
	}
	if !g.hand(accepted{Conn: greeted}) {
		_ = greeted.Close()
	}
}

// sayPlain tells a client that speaks HTTP without TLS what is wrong, in a way that it can read.
func sayPlain(err error) {
	var header tls.RecordHeaderError
	if !errors.As(err, &header) || header.Conn == nil {
		return
	}
	switch string(header.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		_ = header.Conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(header.Conn, "HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nThis address wants HTTPS.\n")
	}
}
