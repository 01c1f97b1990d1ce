//go:build !race

package responses

import (
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// TestAllocations guards what is paid for every request and every event. The race detector empties pools at random, so it holds
// without it only.
func TestAllocations(t *testing.T) {
	body := []byte(everything)
	tr := newTranslator()
	dst := make([]byte, 0, 64<<10)
	open := llm.Event{Deltas: []llm.Delta{{Open: &llm.Part{Kind: llm.PartText}, Text: "The"}}}
	dst, err := tr.AppendEvent(dst, &open)
	if err != nil {
		t.Fatal(err)
	}
	tr.last().pieces[0].text = make([]byte, 0, 64<<10)
	piece := llm.Event{Deltas: []llm.Delta{{Text: " quick \"brown\" fox"}}}
	raw := []byte(`{"type":"response.output_text.delta","sequence_number":6,"item_id":"msg_1","output_index":1,"content_index":0,"delta":" quick brown fox","logprobs":[]}`)
	text := make([]byte, 0, 64)
	same := Same{Model: "fast"}
	var ev llm.Event
	for _, g := range []struct {
		name string
		most float64
		f    func() error
	}{
		{"Parse", 10, func() error { _, err := Parse(body); return err }},
		{"AppendEvent", 0, func() error { dst, err = tr.AppendEvent(dst[:0], &piece); return err }},
		{"ScanEvent", 0, func() error { return ScanEvent(raw, &ev, text, nil) }},
		{"Same.AppendEvent", 0, func() error { dst = same.AppendEvent(dst[:0], &ev); return nil }},
	} {
		got := testing.AllocsPerRun(200, func() {
			if err := g.f(); err != nil {
				t.Fatal(err)
			}
		})
		if got > g.most {
			t.Errorf("%s: %v allocations, at most %v", g.name, got, g.most)
		}
	}
}
