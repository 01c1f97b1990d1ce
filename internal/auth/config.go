package auth

import (
	"fmt"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// Config is the section auth of the file.
type Config struct {
	// MaxStale bounds how long keys are checked against what was last read of them: a revoked key is dead after it even
	// if the store is away, and every key is answered 503 then. From 2 s to 60 s.
	MaxStale time.Duration `yaml:"max_stale" restart:"true" doc:"how old the snapshot of keys may be before they are answered 503; a revoked key is dead everywhere within it" default:"5s"`
}

// DefaultConfig is what holds where the file says nothing.
func DefaultConfig() Config { return Config{MaxStale: 5 * time.Second} }

// Bounds of Config.MaxStale: below the lower one, a store that is merely slow stops traffic.
const (
	minStale = 2 * time.Second
	maxStale = time.Minute
)

// Validate reports all problems of the section.
func (c Config) Validate() []fault.Problem {
	if c.MaxStale < minStale || c.MaxStale > maxStale {
		return []fault.Problem{{
			Path: "auth.max_stale", Text: fmt.Sprintf("%v is out of range", c.MaxStale),
			Hint: fmt.Sprintf("write a span from %v to %v", minStale, maxStale),
		}}
	}
	return nil
}
