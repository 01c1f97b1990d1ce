package console

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// maxGuesses is how many wrong keys one sender may show in a minute, and maxRelayed how many may come over one address:
	// behind a proxy, all senders share one.
	maxGuesses = 10
	maxRelayed = 300
	// maxSenders bounds how many are told apart; beyond, the emptiest are forgotten.
	maxSenders = 10_000
)

// A throttle counts wrong keys by sender. Right ones are not counted, so whoever signs in properly is not held up by
// themselves; and no sender is held up by another, but behind a proxy that does not say for whom it asks.
type throttle struct {
	now   func() time.Time
	state *throttleState
}

type throttleState struct {
	mu      sync.Mutex
	senders map[string]*guesser
}

// A guesser fills by one at each wrong key, and empties evenly.
type guesser struct {
	level float64
	at    time.Time
}

func newThrottle(now func() time.Time) throttle {
	return throttle{now: now, state: &throttleState{senders: map[string]*guesser{}}}
}

// senders are who a request may be from: the address it came over, and the one that a proxy names, at that address.
func senders(r *http.Request) (relay, sender string) {
	relay = network(r.RemoteAddr)
	hops := strings.Split(r.Header.Get("X-Forwarded-For"), ",")
	return relay, relay + " " + network(strings.TrimSpace(hops[len(hops)-1]))
}

// network is an address without its port; of one of IPv6 the half that says which network.
func network(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip := net.ParseIP(host)
	switch {
	case ip == nil:
		return ""
	case ip.To4() == nil:
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return ip.String()
}

// wait is how long the sender of a request has to wait before a key of theirs is looked at, 0 if not at all.
func (t throttle) wait(r *http.Request) time.Duration {
	relay, sender := senders(r)
	t.state.mu.Lock()
	defer t.state.mu.Unlock()
	return max(t.over(relay, maxRelayed), t.over(sender, maxGuesses))
}

// over is how long it takes until there is room for one more.
func (t throttle) over(who string, most float64) time.Duration {
	g := t.state.senders[who]
	if g == nil {
		return 0
	}
	g.drain(t.now(), most)
	if g.level <= most-1 {
		return 0
	}
	return time.Duration((g.level - most + 1) / most * float64(time.Minute))
}

// drain lets out what a minute's allowance lets out in the time since.
func (g *guesser) drain(now time.Time, most float64) {
	g.level = max(g.level-most*now.Sub(g.at).Minutes(), 0)
	g.at = now
}

// wrong counts a wrong key.
func (t throttle) wrong(r *http.Request) {
	relay, sender := senders(r)
	t.state.mu.Lock()
	defer t.state.mu.Unlock()
	t.count(relay, maxRelayed)
	t.count(sender, maxGuesses)
}

func (t throttle) count(who string, most float64) {
	g := t.state.senders[who]
	if g == nil {
		t.makeRoom()
		g = &guesser{at: t.now()}
		t.state.senders[who] = g
	}
	g.drain(t.now(), most)
	g.level++
}

// makeRoom forgets those who would be empty by now, and if there are none, anybody.
func (t throttle) makeRoom() {
	if len(t.state.senders) < maxSenders {
		return
	}
	now := t.now()
	for who, g := range t.state.senders {
		if now.Sub(g.at) >= time.Minute {
			delete(t.state.senders, who)
		}
	}
	for who := range t.state.senders {
		if len(t.state.senders) < maxSenders {
			return
		}
		delete(t.state.senders, who)
	}
}
