package provider

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter caps what a provider may ask for: a wrong clock or a wrong unit must not take a target away for a day.
const maxRetryAfter = time.Hour

// ParseRetryAfter says how long a provider asks to wait: retry-after-ms, else Retry-After as seconds or as an HTTP date,
// which counts from now. It is 0 if nothing usable is there or the time has passed, and one hour at most.
func ParseRetryAfter(h http.Header, now time.Time) time.Duration {
	if d, ok := parseWait(h.Get("Retry-After-Ms"), time.Millisecond); ok {
		return d
	}
	value := strings.TrimSpace(h.Get("Retry-After"))
	if d, ok := parseWait(value, time.Second); ok {
		return d
	}
	if at, err := http.ParseTime(value); err == nil {
		return clampWait(at.Sub(now))
	}
	return 0
}

func parseWait(value string, unit time.Duration) (time.Duration, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || math.IsNaN(n) {
		return 0, false
	}
	n = min(n, float64(maxRetryAfter/unit)) // before the product could leave int64
	return clampWait(time.Duration(max(n, 0) * float64(unit))), true
}

func clampWait(d time.Duration) time.Duration { return min(max(d, 0), maxRetryAfter) }
