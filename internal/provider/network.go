package provider

import (
	"context"
	"net/http/httptrace"
	"sync"
	"time"
)

// recent is how much the newest of measured times counts.
const recent = 0.3

// distances are how long it takes to connect to a provider's servers: one round trip of the network.
type distances struct {
	mu sync.RWMutex // guards of
	of map[string]time.Duration
}

// note takes in a measured time. It is called for new connections only.
func (d *distances) note(addr string, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = map[string]time.Duration{}
	}
	if before, ok := d.of[addr]; ok {
		took = before + time.Duration(recent*float64(took-before))
	}
	d.of[addr] = max(took, 1)
}

// retain forgets all but some.
func (d *distances) retain(keep map[string]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for addr := range d.of {
		if !keep[addr] {
			delete(d.of, addr)
		}
	}
}

func (d *distances) get(addr string) time.Duration {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.of[addr]
}

// Network is how long a round trip to one of the provider's servers takes, as connecting took lately: TCP alone, without looking up
// the name and without TLS; through a proxy, all that the proxy needs for it too. endpoint is as in [Via]. It is 0 if it is not known.
func (c *Client) Network(endpoint string) time.Duration {
	if endpoint == "" {
		endpoint = c.addr
	}
	return c.dialer.distances.get(endpoint)
}

// A stopwatch measures TCP connections that are made under its context. There may be several at once, to addresses of one name.
type stopwatch struct {
	mu    sync.Mutex // guards the fields below
	began map[string]time.Time
	took  time.Duration // of the one that succeeded, 0 if there is none
}

func (s *stopwatch) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectStart: func(_, addr string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.began == nil {
				s.began = map[string]time.Time{}
			}
			s.began[addr] = time.Now()
		},
		ConnectDone: func(_, addr string, err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if began, ok := s.began[addr]; ok && err == nil && s.took == 0 {
				s.took = max(time.Since(began), 1)
			}
		},
	})
}

// elapsed is what was measured, else what all took.
func (s *stopwatch) elapsed(all time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.took > 0 {
		return s.took
	}
	return all
}
