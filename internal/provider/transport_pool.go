package provider

import (
	"sync"
	"time"
)

const (
	// maxIdle is how many idle connections are kept for one way.
	maxIdle = 512
	// idleTimeout is how long an unused connection is kept. Common upstreams close theirs after 60 s and more.
	idleTimeout = 90 * time.Second
)

// A pool keeps idle connections. The last one put is the first one taken, so that a pool that was large once shrinks.
//
// Its janitor is a timer that is armed only while there are idle connections: nothing runs when nothing is kept.
type pool struct {
	timeout time.Duration

	mu    sync.Mutex // guards the fields below
	most  int        // for one way; 0 once the pool is closed
	idle  map[way][]*conn
	keep  map[string]bool // addresses of targets that connections are kept to; nil is all
	armed bool
}

// take gives a connection that is open and silent, or nil. A connection that has received anything since its last
// answer is closed: those bytes belong to no request, and the next caller must not take them for its answer.
func (p *pool) take(w way) *conn {
	for {
		c := p.pop(w)
		if c == nil {
			return nil
		}
		if time.Since(c.since) < p.timeout && c.quiet() {
			c.kept = true
			return c
		}
		c.abort()
	}
}

func (p *pool) pop(w way) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[w]
	if len(list) == 0 {
		return nil
	}
	last := len(list) - 1
	c := list[last]
	list[last] = nil
	p.idle[w] = list[:last]
	return c
}

// put keeps a connection, or closes it if there are enough.
func (p *pool) put(c *conn) {
	c.since = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[c.way]
	if len(list) >= p.most || p.keep != nil && !p.keep[c.way.addr] {
		c.abort()
		return
	}
	if p.idle == nil {
		p.idle = make(map[way][]*conn)
	}
	p.idle[c.way] = append(list, c)
	if !p.armed {
		p.armed = true
		time.AfterFunc(p.timeout, p.sweep)
	}
}

// sweep closes the connections that have been idle too long, and comes back when the next one will be.
func (p *pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	next := time.Duration(-1)
	for w, list := range p.idle {
		old := 0
		for old < len(list) && now.Sub(list[old].since) >= p.timeout {
			list[old].abort()
			old++
		}
		kept := copy(list, list[old:])
		clear(list[kept:])
		if kept == 0 {
			delete(p.idle, w)
			continue
		}
		p.idle[w] = list[:kept]
		if left := p.timeout - now.Sub(list[0].since); next < 0 || left < next {
			next = left
		}
	}
	p.armed = next >= 0
	if p.armed {
		time.AfterFunc(next, p.sweep)
	}
}

// retain closes the connections to all but some addresses, and keeps none to others from now on.
func (p *pool) retain(keep map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep = keep
	for w, list := range p.idle {
		if keep[w.addr] {
			continue
		}
		for _, c := range list {
			c.abort()
		}
		delete(p.idle, w)
	}
}

// closeAll closes all idle connections, and lets none in any more.
func (p *pool) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = 0
	for _, list := range p.idle {
		for _, c := range list {
			c.abort()
		}
	}
	clear(p.idle)
}
