//go:build !race

package seal

import (
	"strings"
	"testing"
)

// The race detector empties pools at random, so this holds without it only.
func TestHashDoesNotAllocate(t *testing.T) {
	r := newRing("r", []byte("0123456789abcdef0123456789abcdef"))
	key := "psk_" + strings.Repeat("k", 44)
	if n := testing.AllocsPerRun(100, func() { r.Hash(key) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
