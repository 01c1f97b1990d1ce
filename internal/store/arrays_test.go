package store

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// What is inserted has a kind for each column, and columns keep their rows in order.
func TestTransposed(t *testing.T) {
	t.Parallel()
	for query, all := range kinds {
		_, rest, _ := strings.Cut(query, "(")
		columns, _, _ := strings.Cut(rest, ")")
		if n := strings.Count(columns, ",") + 1; n != len(all) {
			t.Errorf("%s: %d columns, %d kinds", columns, n, len(all))
		}
	}
	got := transposed("itb", []any{int64(1), "a", []byte("x"), int64(2), "b", nil})
	numbers, _ := got[0].([]int64)
	texts, _ := got[1].([]string)
	all, _ := got[2].([][]byte)
	if !slices.Equal(numbers, []int64{1, 2}) || !slices.Equal(texts, []string{"a", "b"}) || len(all) != 2 || !bytes.Equal(all[0], []byte("x")) || all[1] != nil {
		t.Errorf("%v", got)
	}
}
