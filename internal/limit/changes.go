package limit

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
