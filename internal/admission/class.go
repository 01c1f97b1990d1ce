package admission

import "strings"

// A Class says who goes first.
type Class uint8

// The classes, the lowest first. The zero value is not the default: a ticket says its class.
const (
	Flex     Class = iota // may wait, is refused first, cheaper where providers have it
	Default               // interactive
	Priority              // before all others
	Classes  = 3          // how many there are
)

var classNames = [Classes]string{"flex", "default", "priority"}

// String is the class in one word.
func (c Class) String() string { return classNames[c] }

// ParseClass reads the word of a service_tier, whichever dialect it is from. A word that is not known is the default:
// providers add tiers, and none but priority's owners should get ahead by a word.
func ParseClass(tier string) Class {
	switch strings.ToLower(tier) {
	case "priority":
		return Priority
	case "flex":
		return Flex
	}
	return Default
}
