package gemini

import (
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// TestHowIsTold: Gemini's API names the tier that it served by, Vertex the kind of traffic.
func TestHowIsTold(t *testing.T) {
	t.Parallel()
	for usage, want := range map[string]string{
		`{"promptTokenCount":1,"serviceTier":"flex"}`: "flex", `{"trafficType":"ON_DEMAND_PRIORITY"}`: "ON_DEMAND_PRIORITY", `{"serviceTier":7}`: "", `{}`: "",
	} {
		var m llm.Meta
		var ev llm.Event
		err := ScanAnswer([]byte(`{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}],"usageMetadata":`+usage+`}`), &ev, &m)
		if err != nil || m.Tier != want {
			t.Errorf("%s: %v, %+v", usage, err, m)
		}
	}
}
