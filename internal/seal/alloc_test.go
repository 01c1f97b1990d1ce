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

func TestSealDoesNotAllocate(t *testing.T) {
	r := ring(t)
	value, bound := make([]byte, 4096), Bind(nil, "bodies", "prj_1", "ex_1")
	buf, out := make([]byte, 0, len(value)+Overhead), make([]byte, 0, len(value)+64)
	sealed, err := r.Seal(nil, value, bound)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = r.Seal(buf, value, bound) }); n != 0 {
		t.Errorf("seal: %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = r.Unseal(out, sealed, bound) }); n > 1 {
		t.Errorf("unseal: %v allocations, want at most 1", n)
	}
}
