package figure

import (
	"strconv"
	"strings"
	"time"
)

// ParseSpan reads a span of whole seconds with a unit, as people write it: what Go reads ("720h"), and days ("30d"). It may
// be negative; whether that has a meaning is the caller's to know.
func ParseSpan(s string) (d time.Duration, ok bool) {
	if days, isDays := strings.CutSuffix(s, "d"); isDays {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, true
		}
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d%time.Second == 0
}

// Span writes a span of time the way that ParseSpan reads it, in days where it is whole days.
func Span(d time.Duration) string {
	if day := 24 * time.Hour; d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	return d.String()
}
