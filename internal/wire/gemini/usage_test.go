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

// TestModalities: sound that was heard, of a tool's prompt too, and sound and pictures that were made.
func TestModalities(t *testing.T) {
	t.Parallel()
	const counts = `"promptTokenCount":30,"cachedContentTokenCount":10,"candidatesTokenCount":1300,"totalTokenCount":1330`
	for text, want := range map[string]llm.Parts{
		`{` + counts + `,"promptTokensDetails":[{"modality":"TEXT","tokenCount":5},{"tokenCount":25,"modality":"AUDIO"}],"cacheTokensDetails":[{"modality":"AUDIO","tokenCount":10}],
			"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":10},{"modality":"IMAGE","tokenCount":1290}]}`: {InputAudio: 25, CachedAudio: 10, OutputImage: 1290},
		`{` + counts + `,"toolUsePromptTokensDetails":[{"modality":"AUDIO","tokenCount":2}],"candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":7}]}`:   {InputAudio: 2, OutputAudio: 7},
		`{` + counts + `,"promptTokensDetails":null,"candidatesTokensDetails":[{"modality":"AUDIO"},{"tokenCount":3},[],{"modality":"IMAGE","tokenCount":-4}]}`: {},
	} {
		if got, ok := usageOf([]byte(text), true); !ok || got.Parts != want {
			t.Errorf("%s: %+v", text, got)
		}
	}
}
