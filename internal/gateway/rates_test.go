package gateway

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// Stands is an allowance whose rates stand so.
type stands []pipeline.RateStanding

func (stands) Low() int                                                    { return 0 }
func (s stands) Rates(dst []pipeline.RateStanding) []pipeline.RateStanding { return append(dst, s...) }

// TestRatesAreToldInTheDialectOfTheCaller: the tightest of each measure, and nothing of what is not limited.
func TestRatesAreToldInTheDialectOfTheCaller(t *testing.T) {
	t.Parallel()
	voices := map[llm.Dialect]voice{llm.OpenAI: openaiVoice{}, llm.Anthropic: anthropicVoice{}}
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	all := stands{
		{Measure: "requests", Limit: 100, Left: 7, Reset: 90 * time.Second}, {Measure: "requests", Limit: 10, Left: 3, Reset: 90 * time.Second},
		{Measure: "requests", Limit: 9, Left: 3, Reset: 90 * time.Second}, {Measure: "output_tokens", Limit: 500, Left: 0, Reset: 1500 * time.Millisecond},
		{Measure: "whatever", Limit: 1, Left: 1},
	}
	for dialect, want := range map[llm.Dialect]http.Header{
		llm.OpenAI: {
			"X-Ratelimit-Limit-Requests": {"10"}, "X-Ratelimit-Remaining-Requests": {"3"}, "X-Ratelimit-Reset-Requests": {"1m30s"},
			"X-Ratelimit-Limit-Output-Tokens": {"500"}, "X-Ratelimit-Remaining-Output-Tokens": {"0"}, "X-Ratelimit-Reset-Output-Tokens": {"1.5s"},
		},
		llm.Anthropic: {
			"Anthropic-Ratelimit-Requests-Limit": {"10"}, "Anthropic-Ratelimit-Requests-Remaining": {"3"}, "Anthropic-Ratelimit-Requests-Reset": {"2026-11-24T12:01:30Z"},
			"Anthropic-Ratelimit-Output-Tokens-Limit": {"500"}, "Anthropic-Ratelimit-Output-Tokens-Remaining": {"0"}, "Anthropic-Ratelimit-Output-Tokens-Reset": {"2026-11-24T12:00:01Z"},
		},
	} {
		w := httptest.NewRecorder()
		c := &call{at: noon, received: time.Now(), voice: voices[dialect]}
		c.setRates(w, all)
		if got := w.Header(); !reflect.DeepEqual(got, want) {
			t.Errorf("%v:\n got %v\nwant %v", dialect, got, want)
		}
		w = httptest.NewRecorder()
		if c.setRates(w, nil); len(w.Header()) != 0 {
			t.Errorf("%v, not limited: %v", dialect, w.Header())
		}
	}
}
