package bodies

import (
	"fmt"

	"github.com/penstock/penstock/internal/fault"
)

// Config is the section of the file that bodies owns. Which projects keep theirs, and for how long, is with the projects.
type Config struct {
	Max      int64 `yaml:"max" kind:"bytes" default:"4MB" restart:"true" doc:"how much is kept of a request, and of an answer; what is longer is cut"`
	InFlight int64 `yaml:"in_flight" kind:"bytes" default:"64MB" restart:"true" doc:"what bodies that are to be kept may hold at once until they are journalled, but for the first 16 KiB of each exchange; beyond it they are dropped, which their records say"`
	Journal  int64 `yaml:"journal" kind:"bytes" default:"4GB" restart:"true" doc:"how large the journal of bodies may grow on the disk while the store does not take them; beyond it they are dropped"`
}

// DefaultConfig is what holds where the file says nothing.
func DefaultConfig() Config { return Config{Max: 4e6, InFlight: 64e6, Journal: 4e9} }

// The largest Max: request and answer of it fit into one entry of the journal, even if they cannot be compressed.
const mostMax = 7_500_000

// Validate reports all problems of the section.
func (c Config) Validate() []fault.Problem {
	var all []fault.Problem
	if c.Max > mostMax {
		all = append(all, fault.Problem{Path: "bodies.max", Text: fmt.Sprintf("%d bytes are more than can be kept", c.Max), Hint: "write at most 7.5MB"})
	}
	if c.InFlight < 4*c.Max {
		all = append(all, fault.Problem{
			Path: "bodies.in_flight", Text: "is less than the longest request and answer take, which are copied as they grow", Hint: "write at least four times bodies.max",
		})
	}
	if c.Journal < 64e6 {
		all = append(all, fault.Problem{Path: "bodies.journal", Text: "is too small to hold what comes within seconds", Hint: "write at least 64MB"})
	}
	return all
}
