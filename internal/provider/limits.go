package provider

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

const (
	// maxReset caps what is believed of the time until a limit is whole again: the longest that is counted is a day.
	maxReset = 24 * time.Hour
	// maxAmount caps what is believed of limits; what is above is as good as none.
	maxAmount = 1 << 50
)

// A limitHeader is where one limit stands in answers.
type limitHeader struct {
	of                int    // an index of ofRequests and so on
	left, most, reset string // in the form that http.Header has
}

const (
	ofRequests = iota
	ofTokens
	ofInput
	ofOutput
)

// limitHeaders are all forms. Of several that are of one limit, such as those of a minute and of a day, the one with the least left
// counts.
var limitHeaders = func() []limitHeader {
	ratelimit := func(of int, what string) limitHeader {
		return limitHeader{of, "X-Ratelimit-Remaining-" + what, "X-Ratelimit-Limit-" + what, "X-Ratelimit-Reset-" + what}
	}
	anthropic := func(of int, what string) limitHeader {
		what = "Anthropic-Ratelimit-" + what
		return limitHeader{of, what + "-Remaining", what + "-Limit", what + "-Reset"}
	}
	return []limitHeader{
		ratelimit(ofRequests, "Requests"), ratelimit(ofTokens, "Tokens"), // OpenAI, Azure, Groq and most others
		ratelimit(ofRequests, "Requests-Minute"), ratelimit(ofRequests, "Requests-Day"), ratelimit(ofTokens, "Tokens-Minute"), // Cerebras
		ratelimit(ofRequests, "Req-Minute"),                                          // Mistral
		ratelimit(ofInput, "Tokens-Prompt"), ratelimit(ofOutput, "Tokens-Generated"), // Fireworks
		anthropic(ofRequests, "Requests"), anthropic(ofTokens, "Tokens"),
		anthropic(ofInput, "Input-Tokens"), anthropic(ofOutput, "Output-Tokens"),
	}
}()

// ParseLimits reads a provider's rate limits from the head of an answer. A limit of 0 or less is none: some say so who do not tell.
func ParseLimits(h http.Header, now func() time.Time) llm.Limits {
	var all [ofOutput + 1]llm.Limit
	for i := range limitHeaders {
		row := &limitHeaders[i]
		value := first(h, row.left)
		if value == "" {
			continue
		}
		left, ok := amount(value)
		if !ok {
			continue
		}
		most, told := amount(first(h, row.most))
		switch {
		case told && most <= 0, !told && left == -1:
			continue
		case told:
			left = min(left, most)
		}
		left = max(left, 0) // Azure tells by how much more was used than there was
		if to := &all[row.of]; !to.Told || left < to.Left {
			*to = llm.Limit{Told: true, Left: left, Most: most, Reset: parseReset(first(h, row.reset), now)}
		}
	}
	return llm.Limits{Requests: all[ofRequests], Tokens: all[ofTokens], InputTokens: all[ofInput], OutputTokens: all[ofOutput]}
}

// first is the first value of a header whose name is in its canonical form.
func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// amount reads a whole number, which some write with a fraction.
func amount(s string) (n int64, ok bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) {
		return 0, false
	}
	return int64(min(max(f, -maxAmount), maxAmount)), true
}

// parseReset reads how long it is until something: a duration such as "6m0s" or "12ms", seconds, a time by RFC 3339, or seconds or
// milliseconds since 1970. It is 0 if it is none of these or has passed, and a day at most.
func parseReset(value string, now func() time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	last := value[len(value)-1]
	switch {
	case strings.IndexByte(value, ':') > 0:
		if at, err := time.Parse(time.RFC3339, value); err == nil {
			return clampReset(at.Sub(now()))
		}
	case last >= '0' && last <= '9':
		return parseSeconds(value, now)
	}
	if days, rest, found := strings.Cut(value, "d"); found { // which Go's durations have not
		if n, err := strconv.Atoi(days); err != nil || n != 0 {
			return clampReset(time.Duration(min(max(n, 0), 1)) * maxReset)
		}
		value = rest
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return 0
	}
	return clampReset(d)
}

// parseSeconds reads seconds until something, or seconds or milliseconds since 1970, which are too many to be waited for.
func parseSeconds(value string, now func() time.Time) time.Duration {
	n, err := strconv.ParseFloat(value, 64)
	switch {
	case err != nil && !math.IsInf(n, 0), n <= 0:
		return 0
	case n >= 1e15:
		return maxReset
	case n >= 1e12:
		return clampReset(time.UnixMilli(int64(n)).Sub(now()))
	case n >= 1e9:
		return clampReset(time.Unix(int64(n), 0).Sub(now()))
	}
	return clampReset(time.Duration(min(n, maxReset.Seconds()) * float64(time.Second)))
}

func clampReset(d time.Duration) time.Duration { return min(max(d, 0), maxReset) }
