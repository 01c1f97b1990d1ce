package sim

import (
	"errors"
	"net/http"
	"time"
)

// commentsOnly is how many comments a stream of comments has.
const commentsOnly = 5

// speak sends an answer with status 200, or what shall pass for one. From when the server takes it up, the prompt is billed.
func (c *call) speak(in *ask) error {
	leave, err := c.model.capacity.enter(c.r.Context())
	if err != nil {
		return err
	}
	defer leave()
	if c.op == opJudge { // for nothing
		if err := c.generate(); err != nil {
			return err
		}
		return c.plain(c.dialect.(judge).judged(c.answer, in))
	}
	c.begun = true
	if err := c.model.capacity.read(c.r.Context(), c.answer.prompt-c.answer.cached); err != nil {
		return err
	}
	if c.op == opEmbed {
		if err := c.generate(); err != nil {
			return err
		}
		return c.plain(c.dialect.vectors(c.answer, in))
	}
	stream := in.stream
	switch {
	case c.do.plainForStream:
		stream = false
	case c.do.sseForPlain:
		stream, in.usage = true, true
	}
	if c.do.html || !stream {
		if err := c.generate(); err != nil {
			return err
		}
		if c.do.html {
			c.line.Status = http.StatusOK
			return c.page(http.StatusOK)
		}
		return c.plain(c.dialect.plain(c.answer))
	}
	c.line.Status = http.StatusOK
	c.player.stream = true
	err = c.stream()
	if err != nil && !errors.Is(err, errEnded) {
		return err
	}
	return c.player.finish()
}

// firstDelay and nextDelay draw the times of events.
func (c *call) firstDelay() time.Duration { return c.drawn(c.do.first, c.model.first) }
func (c *call) nextDelay() time.Duration  { return c.drawn(c.do.gap, c.model.gap) }

func (c *call) drawn(knob *distribution, own distribution) time.Duration {
	if knob != nil {
		own = *knob
	}
	if own.always0() {
		return 0
	}
	return own.delay(c.random)
}

// generate lets the time pass that a plain answer takes, in one wait, and counts the tokens that were generated in it.
func (c *call) generate() error {
	due := make([]time.Duration, len(c.answer.pieces)+1)
	due[0] = c.firstDelay()
	for i := 1; i < len(due); i++ {
		due[i] = due[i-1]
		if i > 1 {
			due[i] += c.nextDelay()
		}
	}
	start := time.Now()
	err := c.player.until(start.Add(due[len(due)-1]))
	passed := time.Since(start)
	if err == nil || passed >= due[0] {
		c.answer.sent = c.answer.hidden
	}
	for i, p := range c.answer.pieces {
		if err != nil && passed < due[i+1] {
			break
		}
		c.answer.sent += p.tokens
	}
	return err
}

// plain sends a whole body, or what shall pass for it.
func (c *call) plain(body []byte) error {
	c.line.Status = http.StatusOK
	switch {
	case c.do.empty:
		body = nil
	case c.do.garbage > 0:
		body = c.dialect.garbage()
	case c.do.errorAt.at != "":
		body = c.dialect.failure(c.midwayError())
	}
	var half func() error
	switch {
	case c.do.cut.at != "":
		half = func() error { return errCut }
	case c.do.stall.at == spotEvent:
		half = func() error { return c.player.pause(c.do.stallFor) }
	}
	return c.player.whole(http.StatusOK, typeJSON, body, half)
}

// midwayError is the error inside of a 200.
func (c *call) midwayError() *refusal {
	r := refuse(http.StatusInternalServerError, c.do.code, c.do.message)
	if r.message == "" {
		r.message = "The server had an error while processing your request."
	}
	return r
}

// stream sends an answer event by event.
func (c *call) stream() error {
	a, p, d := c.answer, c.player, c.dialect
	kind := typeStream
	if p.framer, _ = d.(framer); p.framer != nil {
		kind = p.framer.mediaType()
	}
	p.begin(http.StatusOK, kind, -1)
	if c.do.stall.at == spotBody {
		if err := p.send(); err != nil {
			return err
		}
		if err := p.pause(c.do.stallFor); err != nil {
			return err
		}
	}
	switch {
	case c.do.empty:
		return nil
	case c.do.comments == "only":
		for range commentsOnly {
			p.comment()
		}
		return nil
	}
	due := time.Now().Add(c.firstDelay())
	if !c.do.earlyHeaders {
		if err := p.until(due); err != nil {
			return err
		}
	}
	if err := c.frames(d.opening(a)); err != nil {
		return err
	}
	if c.do.earlyHeaders {
		if err := p.flush(); err != nil {
			return err
		}
		if err := p.until(due); err != nil {
			return err
		}
	}
	a.sent = a.hidden
	if err := c.contents(due); err != nil {
		return err
	}
	if err := c.frames(d.closing(a)); err != nil {
		return err
	}
	if end := d.end(); end != nil && !c.do.noDone {
		return p.emit(frame{data: end})
	}
	return nil
}

func (c *call) frames(frames []frame) error {
	for _, f := range frames {
		if err := c.player.emit(f); err != nil {
			return err
		}
	}
	return nil
}

// contents sends the content events, each at its time, and what shall happen between them.
func (c *call) contents(due time.Time) error {
	a, p := c.answer, c.player
	for i, piece := range a.pieces {
		if err := c.between(i); err != nil {
			return err
		}
		if c.do.stall.after(i) {
			due = time.Now() // so that what comes after a stall is paced, not due at once
		}
		if i > 0 {
			if gap := c.nextDelay(); gap > 0 {
				due = due.Add(gap)
				if err := p.until(due); err != nil {
					return err
				}
			}
		}
		frames := c.dialect.content(a, piece)
		if c.do.garbage == i+1 {
			frames[len(frames)-1].data = c.dialect.garbage()
		}
		a.sent += piece.tokens
		if err := c.frames(frames); err != nil {
			return err
		}
	}
	if err := c.between(len(a.pieces)); err != nil || c.do.drip == 0 {
		return err
	}
	for {
		if err := p.pause(c.do.drip); err != nil {
			return err
		}
		a.sent++
		if err := c.frames(c.dialect.content(a, piece{text: " drip", tokens: 1, block: max(a.blocks-1, 0)})); err != nil {
			return err
		}
		if err := p.flush(); err != nil {
			return err
		}
	}
}

// between does what shall happen after k content events.
func (c *call) between(k int) error {
	if c.do.stall.after(k) {
		if err := c.player.pause(c.do.stallFor); err != nil {
			return err
		}
	}
	if c.do.unknownEvent.after(k) {
		if err := c.player.emit(c.dialect.strange()); err != nil {
			return err
		}
	}
	if c.do.errorAt.after(k) {
		if err := c.player.emit(c.dialect.failed(c.midwayError())); err != nil {
			return err
		}
		return errEnded
	}
	if c.do.cut.after(k) {
		if err := c.player.flush(); err != nil {
			return err
		}
		return errCut
	}
	return nil
}
