//go:build !race

package auth

import "testing"

// The race detector empties the pool of hashes at random, so this holds without it only.
func TestCheckDoesNotAllocate(t *testing.T) {
	f := setup(t)
	_, key := f.issueKey(t, KeySpec{})
	n := testing.AllocsPerRun(100, func() {
		if _, err := f.keys.Check(key); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
