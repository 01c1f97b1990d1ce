package gateway

import (
	"net/http"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// Names of headers by measure: OpenAI's, of which the vendor has the first two, and Anthropic's.
var rateHeaders = map[string]struct{ openai, anthropic [3]string }{
	"requests": {[3]string{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},
		[3]string{"Anthropic-Ratelimit-Requests-Limit", "Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset"}},
	"tokens": {[3]string{"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
		[3]string{"Anthropic-Ratelimit-Tokens-Limit", "Anthropic-Ratelimit-Tokens-Remaining", "Anthropic-Ratelimit-Tokens-Reset"}},
	"input_tokens": {[3]string{"X-Ratelimit-Limit-Input-Tokens", "X-Ratelimit-Remaining-Input-Tokens", "X-Ratelimit-Reset-Input-Tokens"},
		[3]string{"Anthropic-Ratelimit-Input-Tokens-Limit", "Anthropic-Ratelimit-Input-Tokens-Remaining", "Anthropic-Ratelimit-Input-Tokens-Reset"}},
	"output_tokens": {[3]string{"X-Ratelimit-Limit-Output-Tokens", "X-Ratelimit-Remaining-Output-Tokens", "X-Ratelimit-Reset-Output-Tokens"},
		[3]string{"Anthropic-Ratelimit-Output-Tokens-Limit", "Anthropic-Ratelimit-Output-Tokens-Remaining", "Anthropic-Ratelimit-Output-Tokens-Reset"}},
}

// setRates tells the caller how its rate limits stand, in the form of its dialect. Of several limits of one measure, the one with
// the least left counts.
func (c *call) setRates(w http.ResponseWriter, x *pipeline.Exchange) {
	if x.Allowance == nil {
		return
	}
	var room [8]pipeline.RateStanding
	all := x.Allowance.Rates(room[:0])
	for i, s := range all {
		tightest := true
		for j, other := range all {
			if other.Measure == s.Measure && (other.Left < s.Left || other.Left == s.Left && j < i) {
				tightest = false
			}
		}
		names, ok := rateHeaders[s.Measure]
		if !ok || !tightest {
			continue
		}
		reset := s.Reset.Round(time.Millisecond)
		header, when := names.openai, reset.String()
		if x.Dialect == llm.Anthropic {
			header, when = names.anthropic, c.at.Add(time.Since(c.received)+reset).UTC().Format(time.RFC3339)
		}
		c.set(w, header[0], strconv.FormatInt(s.Limit, 10))
		c.set(w, header[1], strconv.FormatInt(s.Left, 10))
		c.set(w, header[2], when)
	}
}
