package provider

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

var limitsNow = func() time.Time { return time.Date(2026, 1, 27, 12, 0, 0, 0, time.UTC) }

// heads reads lines "name: value" as a server sends them.
func heads(lines string) http.Header {
	h := http.Header{}
	for line := range strings.SplitSeq(lines, "\n") {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			h.Add(name, value)
		}
	}
	return h
}

func TestParseLimits(t *testing.T) {
	t.Parallel()
	told := func(left, most int64, reset time.Duration) llm.Limit {
		return llm.Limit{Told: true, Left: left, Most: most, Reset: reset}
	}
	for _, c := range []struct {
		name, heads string
		want        llm.Limits
	}{
		{"none", "content-type: application/json", llm.Limits{}},
		{"OpenAI", `x-ratelimit-limit-requests: 5000
			x-ratelimit-limit-tokens: 160000
			x-ratelimit-remaining-requests: 4999
			x-ratelimit-remaining-tokens: 159976
			x-ratelimit-reset-requests: 12ms
			x-ratelimit-reset-tokens: 6m0s`,
			llm.Limits{Requests: told(4999, 5000, 12*time.Millisecond), Tokens: told(159976, 160000, 6*time.Minute)}},
		{"Azure, without limits", "x-ratelimit-remaining-requests: 119\nx-ratelimit-remaining-tokens: 119984",
			llm.Limits{Requests: told(119, 0, 0), Tokens: told(119984, 0, 0)}},
		{"Azure, seconds, more used than there was", "x-ratelimit-limit-tokens: 30000\nx-ratelimit-remaining-tokens: -27689\nx-ratelimit-reset-tokens: 64",
			llm.Limits{Tokens: told(0, 30000, 64*time.Second)}},
		{"Azure's Responses", "x-ratelimit-limit-tokens: -1\nx-ratelimit-remaining-tokens: -1\nx-ratelimit-reset-tokens: 0", llm.Limits{}},
		{"-1 alone", "x-ratelimit-remaining-requests: -1", llm.Limits{}},
		{"a limit of 0", "x-ratelimit-limit-req-minute: 0\nx-ratelimit-remaining-req-minute: 0", llm.Limits{}},
		{"Anthropic", `anthropic-ratelimit-requests-limit: 4000
			anthropic-ratelimit-requests-remaining: 3999
			anthropic-ratelimit-requests-reset: 2026-01-27T12:00:01Z
			anthropic-ratelimit-input-tokens-limit: 2000000
			anthropic-ratelimit-input-tokens-remaining: 1999000
			anthropic-ratelimit-input-tokens-reset: 2026-01-27T11:59:59Z
			anthropic-ratelimit-output-tokens-limit: 400000
			anthropic-ratelimit-output-tokens-remaining: 396000
			anthropic-ratelimit-output-tokens-reset: 2026-01-27T13:00:02+01:00
			anthropic-ratelimit-tokens-limit: 2400000
			anthropic-ratelimit-tokens-remaining: 2395000`,
			llm.Limits{
				Requests: told(3999, 4000, time.Second), InputTokens: told(1999000, 2000000, 0),
				OutputTokens: told(396000, 400000, 2*time.Second), Tokens: told(2395000, 2400000, 0),
			}},
		{"Cerebras", `x-ratelimit-limit-requests-day: 14400
			x-ratelimit-limit-tokens-minute: 60000
			x-ratelimit-remaining-requests-day: 14399
			x-ratelimit-remaining-tokens-minute: 59000
			x-ratelimit-reset-requests-day: 33011.382867097855
			x-ratelimit-reset-tokens-minute: 11.5`,
			llm.Limits{Requests: told(14399, 14400, 33011382867097*time.Nanosecond), Tokens: told(59000, 60000, 11500*time.Millisecond)}},
		{"the least counts", "x-ratelimit-remaining-requests-day: 3\nx-ratelimit-limit-requests-day: 100\nx-ratelimit-remaining-requests-minute: 9\nx-ratelimit-limit-requests-minute: 30",
			llm.Limits{Requests: told(3, 100, 0)}},
		{"Mistral", "x-ratelimit-limit-req-minute: 60\nx-ratelimit-remaining-req-minute: 59\nx-ratelimit-limit-tokens-minute: 50000\nx-ratelimit-remaining-tokens-minute: 47196",
			llm.Limits{Requests: told(59, 60, 0), Tokens: told(47196, 50000, 0)}},
		{"Fireworks", "x-ratelimit-limit-tokens-prompt: 7200000\nx-ratelimit-remaining-tokens-prompt: 7193993\nx-ratelimit-limit-tokens-generated: 72000\nx-ratelimit-remaining-tokens-generated: 69338",
			llm.Limits{InputTokens: told(7193993, 7200000, 0), OutputTokens: told(69338, 72000, 0)}},
		{"more left than there is", "x-ratelimit-limit-requests: 10\nx-ratelimit-remaining-requests: 99", llm.Limits{Requests: told(10, 10, 0)}},
		{"nonsense", "x-ratelimit-limit-requests: many\nx-ratelimit-remaining-requests: NaN\nx-ratelimit-remaining-tokens: ", llm.Limits{}},
	} {
		h := heads(c.heads)
		got := ParseLimits(h, limitsNow)
		got.Requests.Reset = got.Requests.Reset.Truncate(time.Nanosecond)
		if d := got.Requests.Reset - c.want.Requests.Reset; d.Abs() > time.Microsecond { // of a fraction
			t.Errorf("%s: reset %v, want %v", c.name, got.Requests.Reset, c.want.Requests.Reset)
		}
		got.Requests.Reset = c.want.Requests.Reset
		if got != c.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

func TestParseReset(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"": 0, "6m0s": 6 * time.Minute, "12ms": 12 * time.Millisecond, "2m59.56s": 2*time.Minute + 59560*time.Millisecond, "1.5": 1500 * time.Millisecond,
		"60": time.Minute, " 7 ": 7 * time.Second, "0": 0, "-3": 0, "-3s": 0, "NaN": 0, "Inf": 0, "1e300": maxReset, "1e999": maxReset, "900000000": maxReset,
		"1d2h": maxReset, "0d2h": 2 * time.Hour, "2026-01-27T12:00:30Z": 30 * time.Second, "2026-01-27T13:00:30.5+01:00": 30500 * time.Millisecond,
		"2026-01-27T11:00:00Z": 0, "1769515260": time.Minute, "1769515260000": time.Minute, "1000000000": 0, "9999-01-01T00:00:00Z": maxReset,
		"tomorrow": 0, "d": 0, "99999999999999999999999s": 0,
	} {
		if got := parseReset(value, limitsNow); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestParseLimitsAllocatesNothing(t *testing.T) {
	h := heads("content-type: text/event-stream\nx-request-id: req_1\ndate: x\ncache-control: no-cache\nopenai-processing-ms: 12")
	told := heads("x-ratelimit-limit-requests: 5000\nx-ratelimit-remaining-requests: 4999\nx-ratelimit-reset-requests: 12ms\nanthropic-ratelimit-requests-remaining: 7\nanthropic-ratelimit-requests-reset: 2026-01-27T12:00:01Z")
	if n := testing.AllocsPerRun(100, func() { ParseLimits(h, limitsNow) }); n > 0 {
		t.Errorf("%v allocations where nothing is told", n)
	}
	if n := testing.AllocsPerRun(100, func() { ParseLimits(told, limitsNow) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParseLimits: whatever is said, what is believed is within bounds.
func FuzzParseLimits(f *testing.F) {
	f.Add("5000", "4999", "12ms")
	f.Add("-1", "-1", "0")
	f.Add("1e9", "7.5", "2026-01-27T12:00:01Z")
	f.Add("", "3", "1769515260")
	f.Fuzz(func(t *testing.T, most, left, reset string) {
		h := http.Header{}
		for _, row := range limitHeaders {
			h[row.most], h[row.left], h[row.reset] = []string{most}, []string{left}, []string{reset}
		}
		l := ParseLimits(h, limitsNow)
		for _, one := range []llm.Limit{l.Requests, l.Tokens, l.InputTokens, l.OutputTokens} {
			if one.Left < 0 || one.Most < 0 || one.Left > maxAmount || one.Most > maxAmount || one.Most > 0 && one.Left > one.Most ||
				one.Reset < 0 || one.Reset > maxReset || !one.Told && one != (llm.Limit{}) {
				t.Errorf("%q %q %q: %+v", most, left, reset, one)
			}
		}
	})
}

func BenchmarkParseLimits(b *testing.B) {
	h := heads("content-type: text/event-stream\nx-request-id: req_1\ndate: x\ncache-control: no-cache\nopenai-processing-ms: 12")
	b.ReportAllocs()
	for b.Loop() {
		ParseLimits(h, limitsNow)
	}
}
