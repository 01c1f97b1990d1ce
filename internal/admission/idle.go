package admission

import "math"

// Idle is what a first token takes at an upstream that has nothing else to do: a base, and a time for each prompt token that
// has to be read. It is the measure of load, so it must not be learned from load. It is made of the requests that were sent
// first, in the order of sending: of many that are sent at once, the first answers are those that chance favoured. Later ones
// count only if little is under way, and none for much more or less than was expected. So an overload, which the limit
// answers within seconds, leaves it as it is, and a slow change of the upstream does not.
type idle struct {
	w, x, y, xx, xy float64 // sums of a line by least squares
	n               int     // answers that it is made of
	next            int64   // when the next answer may count
	base, slope     float64 // seconds, seconds for a token
}

// What idle goes by.
const (
	startBase  = 0.3 // seconds, before anything is known
	startSlope = 1. / 8000
	first      = 8     // requests that are its beginning
	known      = 6     // answers to those that make it more than a guess
	certain    = 30    // answers from which on it needs no more than a few
	forgotten  = 0.998 // an answer counts half after 350 others
	pause      = int64(250 * 1e6)
	clip       = 2 // more times as long, or as short, as expected is none
)

func newIdle() idle {
	f := idle{base: startBase, slope: startSlope}
	for _, tokens := range [...]float64{0, 4000} { // so that equal prompts make no slope of noise
		f.add(tokens, startBase+tokens*startSlope, 0.1)
	}
	return f
}

// of is the idle time of a prompt, in seconds.
func (f *idle) of(tokens float64) float64 { return f.base + tokens*f.slope }

// known reports whether it is more than a guess.
func (f *idle) known() bool { return f.n >= known }

// doubt is by how much more than tolerated a ratio must be, so that it is not for how little is known.
func (f *idle) doubt() float64 { return 1 + 1.5/math.Sqrt(float64(max(f.n, 1))) }

// learn takes an answer. Opening says that it is to one of the first requests, and calm that little was under way.
func (f *idle) learn(now int64, tokens, took float64, opening, calm bool) {
	expected := f.of(tokens)
	switch {
	case opening:
		f.add(tokens, took, 2)
	case calm && (f.n < certain || now >= f.next):
		f.next = now + pause
		f.forget()
		f.add(tokens, min(max(took, expected/clip), expected*clip), 1)
	default:
		return
	}
	f.n = min(f.n+1, 1000)
}

func (f *idle) forget() {
	for _, v := range [...]*float64{&f.w, &f.x, &f.y, &f.xx, &f.xy} {
		*v *= forgotten
	}
}

// add takes a point. What counts is by how much a line is wrong in proportion, so that long prompts do not decide alone.
func (f *idle) add(tokens, took, weight float64) {
	expected := max(f.of(tokens), took)
	weight /= expected * expected
	f.w += weight
	f.x += weight * tokens
	f.y += weight * took
	f.xx += weight * tokens * tokens
	f.xy += weight * tokens * took
	spread := f.w*f.xx - f.x*f.x
	if spread > 1e-12*f.w*f.xx {
		f.slope = min(max((f.w*f.xy-f.x*f.y)/spread, 1e-6), 1e-2)
	}
	f.base = (f.y - f.slope*f.x) / f.w
	if f.base < 1e-3 { // all of it is the prompts'
		f.base = 1e-3
		if f.xx > 0 {
			f.slope = min(max((f.xy-f.base*f.x)/f.xx, 1e-6), 1e-2)
		}
	}
	if math.IsNaN(f.base) || math.IsNaN(f.slope) {
		*f = newIdle()
	}
}
