//go:build !faults

package failpoint

import "time"

// Pass notes that a place was come to, and does what was asked for there: nothing in a program for use.
func Pass(string) error { return nil }

// Skew is by how much the clock is wrong: not at all in a program for use.
func Skew() time.Duration { return 0 }
