package limit

import "github.com/penstock/penstock/internal/fault"

// A Was says what a change of a definition was made on top of: its version then, or one of the two below. It keeps two people who
// change one thing at the same time from overwriting each other.
type Was int64

// What a change may be made on top of beside a version.
const (
	Whatever Was = -1 // it is made, whatever is there
	NotYet   Was = 0  // there was none yet
)

// Still returns nil if the definition still is of that version. What it has is given in is, 0 if there is none; what is its name for
// people. Else it is the fault ChangedMeanwhile, or AlreadyThere where there was to be none.
func (w Was) Still(what string, is int64) error {
	var f *fault.Error
	switch {
	case w == Whatever || int64(w) == is:
		return nil
	case w == NotYet:
		f = fault.New(fault.AlreadyThere, "There is a %s already: it is version %d.", what, is)
		f.Hint = "Nothing was changed. Look at it, and change that one if it is what you want."
	case is == 0:
		f = fault.New(fault.ChangedMeanwhile, "Somebody has deleted the %s since you read it.", what)
		f.Hint = "Nothing was changed. Make it anew if it is still what you want."
	default:
		f = fault.New(fault.ChangedMeanwhile, "Somebody has changed the %s since you read it: it is version %d now, not %d.", what, is, w)
		f.Hint = "Nothing was changed. Read it again, and look whether your change is still what you want."
	}
	return f
}

// Changes are what a declaration changes of definitions. They are made together, or none of them is.
type Changes struct {
	Version  int64 // of the definitions, on which the changes were planned
	Tiers    []Tier
	Budgets  []Budget
	Limits   []Limit
	Assigned []Assignment // with Tier "" it is taken
	// EndedBudgets and EndedLimits are ids.
	EndedBudgets, EndedLimits []string
}

// Empty reports whether there is nothing to change.
func (c *Changes) Empty() bool {
	return len(c.Tiers)+len(c.Budgets)+len(c.Limits)+len(c.Assigned)+len(c.EndedBudgets)+len(c.EndedLimits) == 0
}
