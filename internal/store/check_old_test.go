//go:build unix && !race

package store

import "testing"

// What a check holds in memory does not grow with the age of a store: it is what a week has by the minute, or a year by the hour.
func TestAnOldStoreIsCheckedPieceByPiece(t *testing.T) {
	t.Parallel()
	var held [2]int
	for i, weeks := range []int{110, 170} {
		s := openTest(t)
		aged(t, s, weeks)
		c, err := s.Check(t.Context())
		if n := int64(64 * weeks); err != nil || c.Exchanges != n || c.Summed != n {
			t.Fatalf("%d weeks: %+v, %v", weeks, c, err)
		}
		held[i] = c.held
	}
	if held[0] == 0 || held[1] > held[0]+held[0]/50 { // where hours and weeks fall differs a little
		t.Errorf("%d sums were held at once of 110 weeks, and %d of 170", held[0], held[1])
	}
}
