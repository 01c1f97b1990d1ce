package route

import (
	"strings"
	"time"

	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/quota"
)

// exclude finds out who is eligible. What is certain comes first: the operator's word, where data may go, credentials. What
// is only likely, that a model cannot do it or is not well, excludes as long as somebody is left.
func (c *choosing) exclude() {
	for i := range c.all {
		one := &c.all[i]
		if one.out == eligible {
			c.excludeForGood(one)
		}
	}
	c.excludeLimited()
	c.excludeUnless(func(one *candidate) (exclusion, string) {
		if one.lacks == 0 {
			return eligible, ""
		}
		if lacking := c.facts.asks(one.lacks); lacking != 0 {
			return unable, lackWords(lacking)
		}
		return eligible, ""
	})
	c.excludeUnless(func(one *candidate) (exclusion, string) {
		if !c.facts.fits(one.context, c.r.o.Count, one.Model) {
			return tooSmall, "its context of " + figure.Count(one.context) + " tokens is too small"
		}
		return eligible, ""
	})
	c.excludeUnwell()
}

// exclude leaves the candidate out, or with [eligible] takes it back.
func (one *candidate) exclude(out exclusion, why string) {
	one.out, one.why, one.score, one.chance = out, why, 0, 0
}

func (c *choosing) excludeForGood(one *candidate) {
	caller := c.x.Caller
	if stops := c.r.o.Stops; stops != nil {
		if err := stops.Try(c.x, one.Target); err != nil {
			c.refusal = err
			one.exclude(stopped, "stopped by an operator")
			return
		}
	}
	if one.health != nil {
		if s := one.health.State(c.now); s.Kind == health.Disabled {
			one.exclude(disabled, disabledWords(s))
			return
		}
	}
	switch {
	case caller == nil:
	case caller.PrivateOnly && !one.private:
		one.exclude(misplaced, "not private, and the project's data stays with you")
	case len(caller.Regions) > 0 && !within(caller.Regions, one.region):
		one.exclude(misplaced, placeWords(one.region, caller.Regions))
	}
}

func disabledWords(s health.State) string {
	words := "disabled by an operator"
	if s.Reason != "" {
		words += ": " + s.Reason
	}
	return words
}

// within reports whether a region is one of those that are allowed: globs, such as eu*.
func within(regions []string, region string) bool {
	for _, r := range regions {
		if region != "" && llm.MatchName(r, region) {
			return true
		}
	}
	return false
}

func placeWords(region string, regions []string) string {
	if region == "" {
		region = "not known"
	}
	return "region " + region + ", the project wants " + strings.Join(regions, ", ")
}

// excludeUnless applies a doubtful reason, unless it would leave nobody.
func (c *choosing) excludeUnless(of func(*candidate) (exclusion, string)) {
	left, reason := 0, eligible
	for i := range c.all {
		one := &c.all[i]
		if one.out != eligible {
			continue
		}
		if out, why := of(one); out != eligible {
			one.exclude(out, why)
			reason = out
			continue
		}
		left++
	}
	if left > 0 || reason == eligible {
		return
	}
	for i := range c.all { // whoever is asked will know better
		if one := &c.all[i]; one.out == reason {
			one.exclude(eligible, "")
		}
	}
}

// excludeUnwell leaves out what is ejected, but never more than half, and what recovers for as much as it does not get yet.
// What may be well again is left in until it is known whether this call may find out.
func (c *choosing) excludeUnwell() {
	c.states, c.in = c.states[:0], c.in[:0]
	troubled := false
	for i := range c.all {
		s := health.State{Kind: health.Disabled} // for this choice, it is not there
		if one := &c.all[i]; one.out == eligible {
			s = health.State{Kind: health.Healthy, Share: 1}
			if one.health != nil {
				s = one.health.State(c.now)
				troubled = troubled || s.Kind != health.Healthy
			}
		}
		c.states, c.in = append(c.states, s), append(c.in, false)
	}
	if !troubled {
		return
	}
	health.Available(c.states, c.in)
	for i := range c.all {
		one, s := &c.all[i], c.states[i]
		switch {
		case one.out != eligible:
		case s.Kind == health.HalfOpen && !c.in[i] && c.doubtful < 0:
			c.doubtful = i
		case !c.in[i]:
			one.exclude(unwell, unwellWords(s, c.now))
		case s.Kind == health.Ramping:
			one.share = s.Share
		}
	}
}

// doubtFor is for how long only a call that would ask a doubtful target first finds out whether it is well again. Then any call
// of its pool may: of a target that only stands in for others it would be known too late.
const doubtFor = 30 * time.Second

// findOut lets this call find out whether the doubtful target is well again, if it would be the first to be asked. A caller is
// not given the answer of a stand-in for no reason of his own, so others leave it out.
func (c *choosing) findOut() {
	if c.doubtful < 0 {
		return
	}
	one, s := &c.all[c.doubtful], c.states[c.doubtful]
	token, ok := health.Token{}, false
	if c.order[0] == c.doubtful || c.now.Sub(s.Until) > doubtFor {
		token, ok = one.health.Probe(c.now)
	}
	if ok {
		c.probe, c.probing = token, c.doubtful
	} else {
		one.exclude(unwell, unwellWords(s, c.now))
	}
	c.rank()
}

func unwellWords(s health.State, now time.Time) string {
	words := "ejected: " + strings.ReplaceAll(s.Reason, "_", " ")
	if left := s.Until.Sub(now); left > 0 {
		words += ", for another " + figure.Duration(left.Round(time.Second/10))
	}
	return words
}

// excludeLimited leaves out whose provider's limits leave no room for now, or whose credentials are all out of use. If that
// leaves nobody, those credentials are tried all the same: a refusal may have been a mistake, or of one model, and costs nothing.
func (c *choosing) excludeLimited() {
	left := false
	for i := range c.all {
		if one := &c.all[i]; one.out == eligible {
			c.pick(one)
			left = left || one.out == eligible || one.out == limited
		}
	}
	if left {
		return
	}
	for i := range c.all {
		if one := &c.all[i]; one.out == exhausted {
			one.excused = true
			one.exclude(eligible, "")
		}
	}
}

// pick finds the credential to show, and excludes whoever has none that can be used now.
func (c *choosing) pick(one *candidate) {
	if one.account == nil {
		return
	}
	var why string
	one.via, one.wait, why = one.account.Pick(c.now, one.Model, c.need(one))
	one.pickWords = ""
	switch {
	case one.wait <= 0:
		one.pickWords = why
	case why == quota.NotValid || why == quota.NoMoney:
		if !one.excused {
			one.exclude(exhausted, why)
		}
	default:
		one.exclude(limited, why+", for another "+figure.Duration(one.wait.Round(time.Second/10)))
	}
}

// need is what a try may take of a provider's limits.
func (c *choosing) need(one *candidate) quota.Need {
	return quota.Need{Requests: 1, Input: max(c.facts.tokens-one.cached, 0), Output: c.likelyOutput(one.upstream)}
}

// likelyOutput is how much an answer may have, as the upstream's have had, within the caller's cap.
func (c *choosing) likelyOutput(u *upstream) int64 {
	if c.x.Op != llm.OpChat {
		return 0
	}
	n := int64(read(&u.load.output))
	if most := c.x.Request.MaxOutput; most > 0 {
		n = min(n, most)
	}
	return n
}
