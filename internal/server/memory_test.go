package server

import (
	"runtime/debug"
	"testing"
)

func TestCaretaker(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	k := &caretaker{}
	for i, step := range []struct {
		cycles, held uint64
		due          bool
		left         uint64 // after it was given back
	}{
		{cycles: 1, held: 10 * mb},
		{cycles: 2, held: 300 * mb}, // busy: the runtime does it
		{cycles: 2, held: 300 * mb, due: true, left: 20 * mb},
		{cycles: 4, held: 21 * mb}, // the two collections are its own
		{cycles: 4, held: 60 * mb},
		{cycles: 4, held: 70 * mb, due: true, left: 65 * mb}, // in use
		{cycles: 6, held: 66 * mb},
		{cycles: 6, held: 100 * mb},
		{cycles: 7, held: 30 * mb}, // and now it is not
		{cycles: 7, held: 80 * mb, due: true, left: 30 * mb},
	} {
		due := k.due(memory{step.cycles, step.held})
		if due != step.due {
			t.Errorf("step %d: due %v, want %v", i, due, step.due)
		}
		if due {
			k.given(memory{step.cycles + 2, step.left})
		}
	}
}

func TestReadMemory(t *testing.T) { // alone: others allocate too
	debug.FreeOSMemory()
	before := readMemory()
	big := make([]byte, 64<<20)
	for i := range big {
		big[i] = 1
	}
	debug.FreeOSMemory()
	after := readMemory()
	if after.cycles <= before.cycles || after.held < before.held+32<<20 {
		t.Errorf("%+v, then %+v", before, after)
	}
	if big[len(big)-1] != 1 { // and until here it is in use
		t.Error("not written")
	}
}
