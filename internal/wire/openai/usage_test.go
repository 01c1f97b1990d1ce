package openai

import (
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// TestPartsOfUsage: sound, pictures and searches, as OpenAI, OpenRouter and Perplexity tell them.
func TestPartsOfUsage(t *testing.T) {
	t.Parallel()
	for usage, want := range map[string]llm.Parts{
		`"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":6,"image_tokens":3,"cached_tokens_details":{"audio_tokens":2,"text_tokens":2}},"completion_tokens_details":{"audio_tokens":5,"image_tokens":1}`: {
			InputAudio: 6, CachedAudio: 2, OutputAudio: 5, OutputImage: 1,
		},
		`"num_search_queries":3`: {Searches: 3},
		`"prompt_tokens_details":{"audio_tokens":-1},"completion_tokens_details":null,"num_search_queries":null`: {},
	} {
		var ev llm.Event
		body := `{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":9,` + usage + `}}`
		if err := ScanAnswer(llm.OpChat, []byte(body), &ev, nil); err != nil || ev.Usage.Parts != want || ev.Usage.Input != 10 {
			t.Errorf("%s: %v, %+v", usage, err, ev.Usage)
		}
	}
}
