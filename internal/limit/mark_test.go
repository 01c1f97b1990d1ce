package limit

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestHasIsContains: it finds what bytes.Contains finds, in texts that are nearly marks, and with more misses than it has patience for.
func TestHasIsContains(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SliceOfN(rapid.SampledFrom([]byte("to_l")), 0, 400)
		raw := letters.Draw(t, "text")
		for _, mark := range [][]byte{[]byte("tool_t"), []byte("o_l"), []byte("_t"), []byte("tol"), []byte("l_"), []byte("_")} {
			if got, want := has(raw, mark), bytes.Contains(raw, mark); got != want {
				t.Fatalf("%q in %q: %v", mark, raw, got)
			}
		}
	})
	many := append(bytes.Repeat([]byte("_"), 1000), "tool_use"...)
	if !has(many, []byte("tool_use")) || has(many, []byte("tool_call")) {
		t.Error("after many misses it is not found, or something else is")
	}
}

func BenchmarkHas(b *testing.B) {
	raw := bytes.Repeat([]byte(`Order 4711 came late,\nand the customer writes: \"where is my parcel?\" Answer in two lines. `), 10)
	b.Run("contains", func(b *testing.B) {
		for b.Loop() {
			for _, mark := range callMarks {
				bytes.Contains(raw, mark)
			}
		}
	})
	b.Run("has", func(b *testing.B) {
		for b.Loop() {
			hasAny(raw, callMarks)
		}
	})
}
