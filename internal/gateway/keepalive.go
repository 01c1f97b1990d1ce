package gateway

import (
	"net/http"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// What a client is sent while there is nothing to say: in Anthropic's dialect the event that it has for this, elsewhere a comment,
// which is no event. Neither is part of the answer.
var (
	comment = []byte(": keep-alive\n\n")
	ping    = []byte("event: ping\ndata: {\"type\":\"ping\"}\n\n")
)

// A pulse keeps the connection of a stream alive: whenever nothing was written for a while, it writes a sign of life. It begins
// while the pipeline looks for somebody who answers; once it has written, the status is 200, and an error can be an event only.
//
// Its timer is not moved by what is written: it looks when it runs out, and goes on for what is left.
type pulse struct {
	mu    sync.Mutex // held by whoever writes to the client, and guards what is below
	state pulseState
	begun bool      // the status has been sent
	last  time.Time // when the client was written to, or else asked
	timer *time.Timer

	every time.Duration
	out   streamWriter // for signs of life; its buffer is not used
	g     *Gateway
	call  *call
	x     *pipeline.Exchange
}

// A pulseState says what a pulse may do.
type pulseState uint8

const (
	pulseOver    pulseState = iota
	pulseWaiting            // there is no answer yet: it may begin one
	pulseStill              // whoever has the answer has not decided how to begin it
	pulseFlowing            // events are written, and it may write between them
)

// startPulse gives the pulse of a call that is to be answered with a stream; nil if it has none.
func (g *Gateway) startPulse(w http.ResponseWriter, x *pipeline.Exchange, c *call) *pulse {
	every := c.runtime.Limits.Keepalive
	if every <= 0 || x.Request == nil || x.Refused != nil || !x.Request.Stream || x.Op != llm.OpChat {
		return nil
	}
	p, ok := g.pulses.Get().(*pulse)
	if !ok {
		p = &pulse{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.begun, p.last, p.every, p.g, p.call, p.x = pulseWaiting, false, time.Now(), every, g, c, x
	p.out = streamWriter{w: w, rc: http.NewResponseController(w), patience: c.runtime.Limits.Write}
	if p.timer == nil {
		p.timer = time.AfterFunc(every, p.beat)
	} else {
		p.timer.Reset(every)
	}
	return p
}

// beat writes a sign of life if one is due.
func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == pulseOver {
		return
	}
	idle := time.Since(p.last)
	if idle >= p.every && p.state != pulseStill && !p.call.once.waits() {
		if !p.begun {
			p.begin()
		}
		sign := comment
		if p.call.voice.dialect() == llm.Anthropic {
			sign = ping
		}
		if p.out.send(sign, true) != nil {
			return // whoever writes the answer will find out
		}
		p.last, idle = time.Now(), 0
	}
	p.timer.Reset(max(p.every-idle, p.every/16))
}

// begin sends the head of a stream whose target is not known yet. Whoever works on the exchange may be about to find out its limits:
// those are told that are its caller's.
func (p *pulse) begin() {
	p.begun = true
	p.x.Begun.Store(true)
	streamHead(p.out.w.Header())
	p.g.setStanding(p.out.w, p.call)
}

// still keeps the pulse from writing, and reports whether it has begun the answer. p may be nil.
func (p *pulse) still() (begun bool) {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = pulseStill
	return p.begun
}

// flow lets the pulse write between events. The head of the stream is set. p may be nil.
func (p *pulse) flow() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.begun = pulseFlowing, true
}

// end ends the pulse: when it returns, nothing more is written. p may be nil.
func (p *pulse) end(g *Gateway) {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.state, p.g, p.call, p.x, p.out = pulseOver, nil, nil, nil, streamWriter{}
	p.mu.Unlock()
	if p.timer.Stop() { // else it is running out, and whoever gets the pulse next would be surprised
		g.pulses.Put(p)
	}
}
