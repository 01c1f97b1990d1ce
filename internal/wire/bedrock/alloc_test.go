//go:build !race

package bedrock

import (
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// TestAllocations guards what is paid for every call and every event that is translated.
func TestAllocations(t *testing.T) {
	var ev llm.Event
	c, s, piece, answer, text := talk(), Stream{Reading: Reading{Canonical: true}}, []byte(usualPiece), []byte(usualAnswer), make([]byte, 0, 64)
	for _, g := range []struct {
		name string
		most float64
		f    func() error
	}{
		{"EncodeChat, ten messages", 8, func() error { _, _, err := EncodeChat(c, llm.Traits{}, false); return err }},
		{"Scan", 1, func() error { return s.Scan(eventBlockDelta, piece, &ev, text) }}, // the text
		{"ScanAnswer", 17, func() error { return ScanAnswer(answer, &ev, Reading{Canonical: true}) }},
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
