package provider

import (
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Fault 40, S16.
func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		header, ms string
		want       time.Duration
	}{
		{"", "", 0},
		{"20", "", 20 * time.Second},
		{"0", "", 0},
		{" 1.5 ", "", 1500 * time.Millisecond},
		{"-5", "", 0},
		{"1000000000", "", time.Hour},
		{"1e300", "", time.Hour},
		{"-1e300", "", 0},
		{"Inf", "", time.Hour},
		{"NaN", "", 0},
		{"soon", "", 0},
		{"6m0s", "", 0},
		{"Sun, 01 Nov 2026 12:00:30 GMT", "", 30 * time.Second},
		{"Sun, 01 Nov 2026 11:00:00 GMT", "", 0},
		{"Sun, 01 Nov 2096 12:00:00 GMT", "", time.Hour},
		{"20", "250", 250 * time.Millisecond},
		{"", "1e12", time.Hour},
		{"20", "soon", 20 * time.Second},
	} {
		h := http.Header{}
		h.Set("Retry-After", c.header)
		h.Set("Retry-After-Ms", c.ms)
		if got := ParseRetryAfter(h, now); got != c.want {
			t.Errorf("Retry-After %q, ms %q: %v, want %v", c.header, c.ms, got, c.want)
		}
	}
}

func TestParseRetryAfterIsBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := http.Header{"Retry-After": {rapid.String().Draw(t, "value")}, "Retry-After-Ms": {rapid.String().Draw(t, "ms")}}
		if got := ParseRetryAfter(h, time.Now()); got < 0 || got > maxRetryAfter {
			t.Fatalf("got %v", got)
		}
	})
}

func TestClientReadsRetryAfter(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, answering("HTTP/1.1 429 Slow\r\nRetry-After: 20\r\nX-Request-Id: r9\r\nContent-Length: 0\r\n\r\n"))
	cl := newTestClient(t, Config{BaseURL: up.url()}, Options{})
	if _, f := callAndWalk(t.Context(), cl, plain()); f == nil || f.RetryAfter != 20*time.Second || f.UpstreamID != "r9" || !f.Fallback() {
		t.Errorf("got %+v", f)
	}
}
