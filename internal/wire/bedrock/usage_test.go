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
