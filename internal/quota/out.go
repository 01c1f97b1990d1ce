package quota

import "time"

// Classes that take a credential out of use. They are those of provider.Class.
const (
	Exhausted = "quota_exhausted" // the account has nothing left to spend
	Refused   = "credential"      // the provider does not know the credential, or not any more
)

const (
	// outFirst is how long a credential is out at first; it is twice as long each time after that, up to outMost. It begins short,
	// for a refusal may be the provider's mistake, and the credential the only one.
	outFirst, outMost = time.Second, 10 * time.Minute
	// probing is how long the one call that tries a credential again may take, before another may.
	probing = 2 * time.Minute
)

// out is why and until when a credential is not used. The zero out is none.
type out struct {
	class  string // "" if it is in use
	since  time.Time
	until  time.Time // then one call tries it
	times  int       // in a row
	probed time.Time // when that call went out; zero if none has
	mark   uint64    // of the value that is refused, 0 if it is not known
}

// is reports whether it is out, and for how long it must not be tried, 0 if one call may now.
func (o *out) is(now time.Time) (wait time.Duration, is bool) {
	switch {
	case o.class == "":
		return 0, false
	case now.Before(o.until):
		return o.until.Sub(now), true
	case !o.probed.IsZero() && now.Sub(o.probed) < probing:
		return probing - now.Sub(o.probed), true
	}
	return 0, true
}

// put takes a credential out, for longer than the last time if the call that tried it failed.
func (o *out) put(now time.Time, class string, mark uint64) {
	o.times++
	if o.class == "" {
		o.since = now
	}
	o.class, o.mark, o.probed = class, mark, time.Time{}
	o.until = now.Add(min(outFirst<<min(o.times-1, 10), outMost))
}
