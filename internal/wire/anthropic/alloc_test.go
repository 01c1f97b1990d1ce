//go:build !race

package anthropic

import (
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// TestAllocations guards what is paid for every call and every event that is translated.
func TestAllocations(t *testing.T) {
	c, body := talk(), client()
	canonical, raw, w, grows := reading(t, Reading{Canonical: true}), reading(t, Reading{}), writing(t), grown()
	piece, answer, text, dst := []byte(usualPiece), []byte(usualAnswer), make([]byte, 0, 64), make([]byte, 0, 1024)
	var ev llm.Event
	for _, g := range []struct {
		name string
		most float64
		f    func() error
	}{
		{"DecodeChat, ten messages", 84, func() error { _, err := DecodeChat(body); return err }},
		{"EncodeChat, ten messages", 1, func() error { _, _, err := EncodeChat(c, "claude-sonnet-5", llm.Traits{}); return err }},
		{"Scan", 1, func() error { return canonical.Scan(piece, &ev, text) }}, // the text
		{"Scan, passed on", 1, func() error { return raw.Scan(piece, &ev, text) }},
		{"ScanAnswer", 11, func() error { return ScanAnswer(answer, &ev, Reading{Canonical: true}) }},
		{"Translator.AppendEvent", 0, func() (err error) { dst, err = w.AppendEvent(dst[:0], grows); return err }},
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
