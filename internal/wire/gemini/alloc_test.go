//go:build !race

package gemini

import (
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// TestAllocations guards what is paid for every call and every event that is translated.
func TestAllocations(t *testing.T) {
	var meta llm.Meta
	var ev llm.Event
	c, s, frame, answer, text := talk(), Stream{Meta: &meta}, []byte(usualFrame), []byte(usualAnswer), make([]byte, 0, 64)
	for _, g := range []struct {
		name string
		most float64
		f    func() error
	}{
		{"EncodeChat, ten messages", 9, func() error { _, _, err := EncodeChat(c, llm.Traits{}, Options{}); return err }},
		{"Frame", 3, func() error { return s.Frame(frame, &ev, text) }},
		{"ScanAnswer", 16, func() error { return ScanAnswer(answer, &ev, nil) }},
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
