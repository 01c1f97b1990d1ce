package bedrock

import (
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

func TestHowIsTold(t *testing.T) {
	t.Parallel()
	for tier, want := range map[string]string{`{"type":"flex"}`: "flex", `{}`: "", `null`: ""} {
		var m llm.Meta
		var ev llm.Event
		err := ScanAnswer([]byte(`{"output":{"message":{"content":[{"text":"hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1},"serviceTier":`+tier+`}`), &ev, Reading{Meta: &m})
		if err != nil || m.Tier != want {
			t.Errorf("%s: %v, %+v", tier, err, m)
		}
	}
}

// TestHowLongTheCacheIsKept is told apart; a sum that is less than its parts is theirs.
func TestHowLongTheCacheIsKept(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]llm.Usage{
		`{"inputTokens":3,"outputTokens":1,"cacheWriteInputTokens":9,"cacheDetails":[{"inputTokens":4,"ttl":"1h"},{"ttl":"5m","inputTokens":5}]}`: {
			Input: 12, Output: 1, CacheWrite: 9, Parts: llm.Parts{CacheWriteHour: 4, CacheWriteMinutes: 5},
		},
		`{"inputTokens":3,"outputTokens":1,"cacheWriteInputTokens":9,"cacheDetails":[]}`: {Input: 12, Output: 1, CacheWrite: 9},
		`{"inputTokens":3,"outputTokens":1,"cacheDetails":[{"inputTokens":4,"ttl":"1h"},{"inputTokens":2,"ttl":"2h"},7,{"ttl":3}]}`: {
			Input: 7, Output: 1, CacheWrite: 4, Parts: llm.Parts{CacheWriteHour: 4},
		},
	} {
		if got, ok := usageOf([]byte(text)); !ok || got != want {
			t.Errorf("%s: %+v", text, got)
		}
	}
}
