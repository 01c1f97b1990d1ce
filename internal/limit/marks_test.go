package limit

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestMarksAreFound: whatever a body has of marks, the quick ways find it.
func TestMarksAreFound(t *testing.T) {
	t.Parallel()
	word := rapid.SampledFrom([]string{"_", "__", "a_b", "tool_", "tool_call", "_call", "image", "imag", `\u00`, `\u0`, "file_data", " ", "x", "input_audio"})
	rapid.Check(t, func(t *rapid.T) {
		var raw []byte
		for _, w := range rapid.SliceOfN(word, 0, 120).Draw(t, "words") {
			raw = append(raw, w...)
		}
		marks := rapid.SampledFrom([][][]byte{mediaMarks, callMarks, fileMarks, awayMarks}).Draw(t, "marks")
		want := slices.ContainsFunc(marks, func(m []byte) bool { return bytes.Contains(raw, m) })
		if got := hasAny(raw, marks); got != want {
			t.Fatalf("%q: any is %v", raw, got)
		}
		for _, m := range marks {
			if got := has(raw, m); got != bytes.Contains(raw, m) {
				t.Fatalf("%q, %q: %v", raw, m, got)
			}
		}
	})
}
