package route

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// nobody is the error where no target could be asked at all.
func (c *choosing) nobody() error {
	model := clip(c.x.Request.Model)
	switch {
	case c.unpaid != nil:
		return c.unpaid
	case c.refusal != nil && !c.leftOther(stopped):
		return c.refusal
	case c.left(limited):
		err := fault.New(fault.ProviderLimited, "No target of %s has room within its provider's limits: %s.", model, c.reasons())
		err.RetryAfter = c.soonestRoom()
		return err
	case !c.leftOther(exhausted):
		return fault.New(fault.ProviderAuth, "No target of %s has a credential that can be used: %s.", model, c.reasons())
	}
	err := fault.New(fault.NoTarget, "No target of %s may be asked: %s.", model, c.reasons())
	if c.left(misplaced) && !c.leftOther(misplaced) {
		err.Hint = "The project's data may go to some places only (penstock project list); the model needs a target there."
	}
	return err
}

// leftOther reports whether a candidate was left out for another reason than this.
func (c *choosing) leftOther(why exclusion) bool {
	for i := range c.all {
		if c.all[i].out != why {
			return true
		}
	}
	return false
}

// soonestRoom is when a target that is limited has room.
func (c *choosing) soonestRoom() (d time.Duration) {
	for i := range c.all {
		if one := &c.all[i]; one.out == limited && (d == 0 || one.wait < d) {
			d = one.wait
		}
	}
	return d
}

// reasons are why each candidate was left out; of many, the first few.
func (c *choosing) reasons() string {
	const few = 4
	var parts []string
	for i := range c.all {
		if i == few {
			parts = append(parts, fmt.Sprintf("and %d more", len(c.all)-few))
			break
		}
		parts = append(parts, c.all[i].key+" ("+c.all[i].why+")")
	}
	return strings.Join(parts, "; ")
}

// say is the choice in words, where it was out of the ordinary: "failover, 2 of 3 targets eligible".
func (c *choosing) say(left int) string {
	words := c.policy.name()
	if c.rule != "" {
		words += " by the rule " + c.rule
	}
	words += ", " + strconv.Itoa(len(c.all)-left) + " of " + strconv.Itoa(len(c.all)) + " targets eligible"
	if c.probing >= 0 {
		words += "; finds out whether " + c.all[c.probing].key + " is well again"
	}
	return words
}
