package quota

import (
	"math"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

const (
	// headroom is the share of a limit that is left free.
	headroom = 0.05
	// maxWait caps how long a credential is not used because of a rate limit.
	maxWait = time.Minute
	// window is how long a limit takes to fill up if the provider does not say; most are per minute.
	window = time.Minute
	// longest is the longest window that a rate is believed of.
	longest = 24 * time.Hour
)

// A bucket mirrors one limit. It is drawn from at dispatch, fills up again as the provider's does, and is set by what the provider
// tells. The zero bucket is not in force.
type bucket struct {
	most, left float64
	rate       float64 // what comes back in a second; above 0 if most is
	at         time.Time
	flying     float64 // drawn by tries of which the provider has not told yet
}

// fill lets time pass.
func (b *bucket) fill(now time.Time) {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.left = min(b.left+passed*b.rate, b.most)
		b.at = now
	}
}

// wanted is what must be there for an amount to be drawn: some more, or all, if it is more than there ever is.
func (b *bucket) wanted(amount float64) float64 { return min(amount+headroom*b.most, b.most) }

// wait is how long it takes until an amount can be drawn, 0 if it can be now.
func (b *bucket) wait(now time.Time, amount float64) time.Duration {
	if b.most <= 0 || amount <= 0 {
		return 0
	}
	b.fill(now)
	const dust = 1e-6 // of rounding
	missing := b.wanted(amount) - b.left
	if missing <= dust*b.most {
		return 0
	}
	seconds := min(missing/b.rate, maxWait.Seconds())
	return max(time.Duration(math.Ceil(seconds*float64(time.Second))), time.Millisecond)
}

// room is the share that is left after an amount is drawn, 1 if there is no limit.
func (b *bucket) room(now time.Time, amount float64) float64 {
	if b.most <= 0 {
		return 1
	}
	b.fill(now)
	return max(b.left-amount, 0) / b.most
}

// draw takes an amount, as far as it is there.
func (b *bucket) draw(now time.Time, amount float64) {
	b.flying += amount
	if b.most > 0 {
		b.fill(now)
		b.left = max(b.left-amount, 0)
	}
}

// landed says that the provider has counted an amount that was drawn.
func (b *bucket) landed(amount float64) { b.flying = max(b.flying-amount, 0) }

// correct gives back what was drawn and not used, or draws what was used beyond.
func (b *bucket) correct(now time.Time, over float64) {
	if b.most > 0 {
		b.fill(now)
		b.left = min(max(b.left+over, 0), b.most)
	}
}

// hear takes in what the provider tells. What is left is what it says and no more; and no more than the mirror says, which knows of
// tries that the provider had not counted yet. But it is no less than what the provider says without all of those: so what was
// drawn too much is given back when the provider tells that it was not used.
func (b *bucket) hear(now time.Time, l llm.Limit) {
	if !l.Told {
		return
	}
	heard, known := float64(l.Left), b.most > 0
	b.fill(now)
	b.at = now
	if l.Most > 0 {
		b.most = float64(l.Most)
	} else {
		b.most = max(b.most, heard)
	}
	if b.most <= 0 {
		return // nothing is left of what is not known
	}
	heard = min(heard, b.most)
	switch used := b.most - heard; {
	case l.Reset > 0 && used > 0:
		b.rate = used / l.Reset.Seconds()
	case !known:
		b.rate = b.most / window.Seconds()
	}
	b.rate = min(max(b.rate, b.most/longest.Seconds()), b.most)
	landed := max(heard-b.flying, 0)
	if known {
		landed = max(landed, b.left)
	}
	b.left = min(heard, landed)
}

// The buckets of a meter.
const (
	requests = iota
	tokens
	input
	output
	kinds
)

var kindNames = [kinds]string{"requests", "tokens", "input_tokens", "output_tokens"}

// A meter is what is known of one model with one credential.
type meter struct {
	buckets [kinds]bucket
	blocked time.Time // until when the provider wants no calls
	struck  time.Time // when the last 429 came that counts
	strikes int       // how many in a row
	used    time.Time
}

// amounts are what a need draws from each bucket.
func (n Need) amounts() [kinds]float64 {
	in, out := float64(max(n.Input, 0)), float64(max(n.Output, 0))
	return [kinds]float64{requests: float64(max(n.Requests, 0)), tokens: in + out, input: in, output: out}
}

// wait is how long the model cannot be called with the credential, 0 if it can be now.
func (m *meter) wait(now time.Time, need *[kinds]float64) (wait time.Duration) {
	wait = max(m.blocked.Sub(now), 0)
	for i := range m.buckets {
		wait = max(wait, m.buckets[i].wait(now, need[i]))
	}
	return wait
}

// room is the least share that is left of any bucket after a call.
func (m *meter) room(now time.Time, need *[kinds]float64) float64 {
	room := 1.0
	for i := range m.buckets {
		room = min(room, m.buckets[i].room(now, need[i]))
	}
	return room
}

func (m *meter) hear(now time.Time, l *llm.Limits) {
	m.buckets[requests].hear(now, l.Requests)
	m.buckets[tokens].hear(now, l.Tokens)
	m.buckets[input].hear(now, l.InputTokens)
	m.buckets[output].hear(now, l.OutputTokens)
}

// limited says that a 429 came for a try that went out at taken: nothing more goes out until the provider wants it. The newest that
// it says counts. Without a word of it, that is when the limits that are used up are whole again; without that, longer each time.
func (m *meter) limited(now, taken time.Time, asked time.Duration, l *llm.Limits, random func() float64) {
	if m.strikes == 0 || taken.After(m.struck) { // not of a burst that was under way when the first of them came
		m.strikes++
		m.struck = now
	}
	if asked <= 0 {
		for _, one := range [...]llm.Limit{l.Requests, l.Tokens, l.InputTokens, l.OutputTokens} {
			if one.Told && one.Left == 0 {
				asked = max(asked, one.Reset)
			}
		}
	}
	if asked <= 0 {
		most := min(time.Second<<min(m.strikes, 6), maxWait)
		asked = time.Second + time.Duration(random()*float64(most-time.Second))
	}
	m.blocked = now.Add(min(asked, maxWait))
}
