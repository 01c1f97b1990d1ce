package responses

import (
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// TestSearchesAreCounted: those that searched, and not those that failed, opened a page or looked in one.
func TestSearchesAreCounted(t *testing.T) {
	t.Parallel()
	const output = `{"type":"web_search_call","id":"a","status":"completed","action":{"type":"search","query":"x"}},
		{"type":"web_search_call","id":"b","status":"completed","action":{"type":"open_page","url":"https://x"}},
		{"type":"web_search_call","id":"c","status":"completed","action":{"type":"find_in_page"}},
		{"type":"web_search_call","id":"d","status":"failed","action":{"type":"search"}},
		{"type":"web_search_call","id":"e","status":"completed"},
		{"type":"message","id":"m","status":"completed","role":"assistant","content":[{"type":"output_text","text":"hi"}]}`
	const usage = `{"input_tokens":20,"input_tokens_details":{"cached_tokens":3,"audio_tokens":5},"output_tokens":9,"output_tokens_details":{"audio_tokens":4,"image_tokens":2}}`
	body := `{"id":"r","object":"response","status":"completed","model":"m","output":[` + output + `],"usage":` + usage + `}`
	want := llm.Parts{Searches: 2, InputAudio: 5, OutputAudio: 4, OutputImage: 2}
	var ev llm.Event
	if err := ScanAnswer([]byte(body), &ev, nil); err != nil || ev.Usage.Parts != want {
		t.Errorf("%v, %+v", err, ev.Usage)
	}
	if err := ScanEvent([]byte(`{"type":"response.completed","sequence_number":9,"response":`+body+`}`), &ev, nil, nil); err != nil || ev.Usage.Parts != want {
		t.Errorf("in a stream: %v, %+v", err, ev.Usage)
	}
}
