package quota

import (
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// An Account is the account at one provider, with all its credentials. It is safe for concurrent use, and allocates nothing once
// it knows a model.
type Account struct {
	of          *provider
	credentials []*credential
	mark        func(credential int) uint64
	atOnce      bool
}

// Credentials is how many there are, at least 1.
func (a *Account) Credentials() int { return len(a.credentials) }

// Reasons of [Account.Pick], in words for the record.
const (
	Spilled  = "the credential before is at its rate limit, or out of use"
	Probing  = "it was out of use, and is tried by one call"
	Limited  = "the provider's rate limit is used up"
	NotValid = "the provider refuses the credential"
	NoMoney  = "the provider's account has nothing left to spend"
)

// Pick says which credential a try should show, an index, and why if there is more to say than that it is the usual one. wait is 0
// if it may go out now. Otherwise no credential can be used sooner than that, and reason says what is in the way of the first
// that can.
//
// It stays with the credential that was used last for the model, for providers keep caches of prompts by account, and takes the one
// with the most room when that has none. Pick draws nothing: that is for [Account.Take].
func (a *Account) Pick(now time.Time, model string, need Need) (index int, wait time.Duration, reason string) {
	amounts := need.amounts()
	a.of.mu.Lock()
	defer a.of.mu.Unlock()
	last := a.of.last[model]
	best, most, stay := -1, -1.0, -1
	wait = -1
	for i, c := range a.credentials {
		w, why, probe := a.usable(i, now, model, &amounts)
		switch {
		case w > 0:
			if wait < 0 || w < wait {
				index, wait, reason = i, w, why
			}
			continue
		case probe: // it is in nobody's interest to put it off
			return i, 0, Probing
		case c == last:
			stay = i
		}
		if room := c.room(now, model, &amounts); room > most {
			best, most = i, room
		}
	}
	switch {
	case stay >= 0:
		return stay, 0, ""
	case best >= 0 && last != nil && a.has(last):
		return best, 0, Spilled
	case best >= 0:
		return best, 0, ""
	}
	return index, wait, reason
}

// has reports whether a credential is one of the account's. The caller holds mu.
func (a *Account) has(c *credential) bool {
	for _, one := range a.credentials {
		if one == c {
			return true
		}
	}
	return false
}

// usable is how long a credential cannot be used, and why; probe says that it is out, and one call may try it. The caller holds mu.
func (a *Account) usable(index int, now time.Time, model string, need *[kinds]float64) (wait time.Duration, why string, probe bool) {
	c := a.credentials[index]
	if wait, is := c.out.is(now); is {
		if a.changed(index) {
			c.out = out{}
		} else if wait > 0 {
			return wait, words(c.out.class), false
		} else {
			probe = true
		}
	}
	m := c.models[model]
	if m == nil {
		return 0, "", probe
	}
	if wait = m.wait(now, need); wait > 0 {
		return wait, Limited, false
	}
	return 0, "", probe
}

func words(class string) string {
	if class == Exhausted {
		return NoMoney
	}
	return NotValid
}

// changed reports whether the value of a credential is another than the one that is out. The caller holds mu.
func (a *Account) changed(index int) bool {
	if a.mark == nil {
		return false
	}
	mark := a.mark(index)
	return mark != 0 && mark != a.credentials[index].out.mark
}

// room is the least share that is left of what a credential has for a model. The caller holds mu.
func (c *credential) room(now time.Time, model string, need *[kinds]float64) float64 {
	if m := c.models[model]; m != nil {
		return m.room(now, need)
	}
	return 1
}

// A Ticket is what one try has drawn. Every ticket must come to its end, by [Ticket.Failed], or by [Ticket.Answered] and then
// [Ticket.Done]. It is for one goroutine at a time. The methods of the zero Ticket do nothing.
type Ticket struct {
	a       *Account
	c       *credential
	index   int // of the credential
	model   string
	amounts [kinds]float64
	taken   time.Time
	mark    uint64
	open    bool // the provider has not told of it yet
	flying  bool // it may generate more
	probe   bool
}

// Take draws what a try may need with a credential that [Account.Pick] gave. It is to be called when the try goes out.
func (a *Account) Take(now time.Time, index int, model string, need Need) Ticket {
	if index < 0 || index >= len(a.credentials) {
		index = 0
	}
	t := Ticket{a: a, c: a.credentials[index], index: index, model: model, amounts: need.amounts(), taken: now, open: true, flying: true}
	if a.mark != nil {
		t.mark = a.mark(index)
	}
	a.of.mu.Lock()
	defer a.of.mu.Unlock()
	if wait, is := t.c.out.is(now); is && wait == 0 {
		t.probe, t.c.out.probed = true, now
	}
	if len(a.credentials) > 1 {
		a.of.went(model, t.c)
	}
	if m := t.c.models[model]; m != nil {
		m.used = now
		for i := range m.buckets {
			m.buckets[i].draw(now, t.amounts[i])
		}
	} else {
		t.open, t.flying = false, false // nothing was drawn
	}
	return t
}

// went remembers which credential a model was called with. The caller holds mu.
func (p *provider) went(model string, c *credential) {
	last := p.last[model]
	if last == c {
		return
	}
	if last != nil {
		p.spills++
	} else if len(p.last) >= maxModels {
		clear(p.last) // of names that callers invent
	}
	p.last[model] = c
}

// Answered says that the provider has answered, and what it told of its limits.
func (t *Ticket) Answered(now time.Time, l llm.Limits) {
	if t.a == nil {
		return
	}
	t.a.of.mu.Lock()
	defer t.a.of.mu.Unlock()
	if t.c.out.class != "" && (t.probe || t.taken.After(t.c.out.since)) {
		t.c.out = out{}
	}
	m := t.c.models[t.model]
	if m == nil && !l.Told() {
		return
	}
	if m == nil {
		if m = t.c.meterOf(t.model, now); m == nil {
			return
		}
	}
	if t.taken.After(m.struck) {
		m.strikes = 0
	}
	t.land(m)
	m.hear(now, &l)
}

// land says that the provider has counted what it does at the beginning. The caller holds mu.
func (t *Ticket) land(m *meter) {
	if !t.open {
		return
	}
	t.open = false
	landed := t.amounts
	if !t.a.atOnce {
		landed[tokens], landed[output] = t.amounts[input], 0
	} else {
		t.flying = false
	}
	for i := range m.buckets {
		m.buckets[i].landed(landed[i])
	}
}

// Done says that the answer is over, and how many tokens it took as the provider counts them: input without what was read from a
// cache. Numbers below 0 are not known.
func (t *Ticket) Done(now time.Time, in, out int64) {
	if t.a == nil {
		return
	}
	t.a.of.mu.Lock()
	defer t.a.of.mu.Unlock()
	m := t.c.models[t.model]
	if m == nil {
		return
	}
	t.land(m)
	if !t.flying {
		return
	}
	t.flying = false
	m.buckets[tokens].landed(t.amounts[output])
	m.buckets[output].landed(t.amounts[output])
	var over [kinds]float64
	if in >= 0 {
		over[input] = t.amounts[input] - float64(in)
	}
	if out >= 0 {
		over[output] = t.amounts[output] - float64(out)
	}
	over[tokens] = over[input] + over[output]
	for i := range m.buckets {
		m.buckets[i].correct(now, over[i])
	}
}

// A Failure is what a provider says when a try fails. The zero Failure is that it said nothing.
type Failure struct {
	Status     int    // 0 if there was none
	Class      string // see [Exhausted]; others say nothing of the credential, not even that it may not do this: some say so of what a caller asked
	RetryAfter time.Duration
	Limits     llm.Limits
}

const tooMany = 429

// Failed says that the try has failed. What it drew is not given back, for most providers count calls that fail; time gives it back.
func (t *Ticket) Failed(now time.Time, f Failure) {
	if t.a == nil {
		return
	}
	t.a.of.mu.Lock()
	defer t.a.of.mu.Unlock()
	if t.probe && t.c.out.probed.Equal(t.taken) {
		t.c.out.probed = time.Time{} // it has told nothing yet: another may try
	}
	switch {
	case f.Class == Exhausted || f.Class == Refused:
		t.putOut(now, f.Class)
	case f.Status == tooMany:
		t.c.limited++
		if m := t.c.meterOf(t.model, now); m != nil {
			m.limited(now, t.taken, f.RetryAfter, &f.Limits, t.a.of.random)
		}
	}
	m := t.c.models[t.model]
	if m == nil {
		return
	}
	t.land(m)
	if t.flying {
		t.flying = false
		m.buckets[tokens].landed(t.amounts[output])
		m.buckets[output].landed(t.amounts[output])
	}
	m.hear(now, &f.Limits)
}

// putOut takes the credential out of use, unless the refusal is old news: of a value that has been replaced since, or of a try that
// went out before another's refusal had come. The caller holds mu.
func (t *Ticket) putOut(now time.Time, class string) {
	if t.a.mark != nil && t.a.mark(t.index) != t.mark {
		return
	}
	o := &t.c.out
	if o.class != "" && !t.probe && !t.taken.After(o.until) {
		return
	}
	o.put(now, class, t.mark)
}
