package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// A rateHeader has the names of a measure's headers: OpenAI's, of which the vendor has the first two measures, and Anthropic's.
type rateHeader struct{ openai, anthropic [3]string }

var (
	requestsHeader = rateHeader{[3]string{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},
		[3]string{"Anthropic-Ratelimit-Requests-Limit", "Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset"}}
	tokensHeader = rateHeader{[3]string{"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
		[3]string{"Anthropic-Ratelimit-Tokens-Limit", "Anthropic-Ratelimit-Tokens-Remaining", "Anthropic-Ratelimit-Tokens-Reset"}}
	inputTokensHeader = rateHeader{[3]string{"X-Ratelimit-Limit-Input-Tokens", "X-Ratelimit-Remaining-Input-Tokens", "X-Ratelimit-Reset-Input-Tokens"},
		[3]string{"Anthropic-Ratelimit-Input-Tokens-Limit", "Anthropic-Ratelimit-Input-Tokens-Remaining", "Anthropic-Ratelimit-Input-Tokens-Reset"}}
	outputTokensHeader = rateHeader{[3]string{"X-Ratelimit-Limit-Output-Tokens", "X-Ratelimit-Remaining-Output-Tokens", "X-Ratelimit-Reset-Output-Tokens"},
		[3]string{"Anthropic-Ratelimit-Output-Tokens-Limit", "Anthropic-Ratelimit-Output-Tokens-Remaining", "Anthropic-Ratelimit-Output-Tokens-Reset"}}
)

func rateHeaderOf(measure string) *rateHeader {
	switch measure {
	case "requests":
		return &requestsHeader
	case "tokens":
		return &tokensHeader
	case "input_tokens":
		return &inputTokensHeader
	case "output_tokens":
		return &outputTokensHeader
	}
	return nil
}

// standings are room for setRates.
var standings = sync.Pool{New: func() any { return new([]pipeline.RateStanding) }}

// setRates tells the caller how its rate limits stand, in the form of its dialect. Of several limits of one measure, the one with
// the least left counts.
func (c *call) setRates(w http.ResponseWriter, of pipeline.Allowance) {
	if of == nil {
		return
	}
	room, _ := standings.Get().(*[]pipeline.RateStanding)
	defer standings.Put(room)
	all := of.Rates((*room)[:0])
	if *room = all; len(all) == 0 {
		return
	}
	n := 3 // what others are still to set
	for i := range all {
		if tightest(all, i) {
			n += 3
		}
	}
	c.values = slices.Grow(c.values, n)
	for i := range all {
		s := &all[i]
		names := rateHeaderOf(s.Measure)
		if names == nil || !tightest(all, i) {
			continue
		}
		// All three are parts of one text, which is one allocation.
		var figures [96]byte
		b := strconv.AppendInt(figures[:0], s.Limit, 10)
		limit := len(b)
		b = strconv.AppendInt(b, s.Left, 10)
		left := len(b)
		header, reset := &names.openai, s.Reset.Round(time.Millisecond)
		if c.voice.dialect() == llm.Anthropic {
			header, b = &names.anthropic, c.at.Add(time.Since(c.received)+reset).UTC().AppendFormat(b, time.RFC3339)
		} else {
			b = append(b, reset.String()...)
		}
		text := string(b)
		c.set(w, header[0], text[:limit])
		c.set(w, header[1], text[limit:left])
		c.set(w, header[2], text[left:])
	}
}

// setStanding tells the caller how those of its rate limits stand that hold whatever it asks for. It is for answers that are no
// exchange's, or begin before the exchange has come to its limits.
func (g *Gateway) setStanding(w http.ResponseWriter, c *call) {
	if g.o.Standing != nil {
		c.setRates(w, g.o.Standing(c.grant.Caller))
	}
}

// tightest reports whether of the standings of one measure the one at an index has the least left.
func tightest(all []pipeline.RateStanding, i int) bool {
	for j := range all {
		if s, other := &all[i], &all[j]; other.Measure == s.Measure && (other.Left < s.Left || other.Left == s.Left && j < i) {
			return false
		}
	}
	return true
}
