package usage

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestByLabels(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"p1": "red", "p2": "red", "p3": "blue"}
	sum := func(day, project string, n int64) Sum {
		return Sum{Group: map[string]string{"day": day, "project": project}, Requests: n, Errors: 1, CostNano: 10, Unpriced: 1, Unknown: 1}
	}
	got := ByLabels([]Sum{sum("1", "p1", 1), sum("1", "p2", 2), sum("2", "p1", 4), sum("2", "p3", 8), sum("2", "p4", 16)},
		[]string{"label:team", "day"}, func(project, label string) string { return labels[project] })
	want := []Sum{
		{Group: map[string]string{"label:team": "", "day": "2"}, Requests: 16, Errors: 1, CostNano: 10, Unpriced: 1, Unknown: 1},
		{Group: map[string]string{"label:team": "blue", "day": "2"}, Requests: 8, Errors: 1, CostNano: 10, Unpriced: 1, Unknown: 1},
		{Group: map[string]string{"label:team": "red", "day": "1"}, Requests: 3, Errors: 2, CostNano: 20, Unpriced: 2, Unknown: 2},
		{Group: map[string]string{"label:team": "red", "day": "2"}, Requests: 4, Errors: 1, CostNano: 10, Unpriced: 1, Unknown: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	columns := Columns([]string{"label:team", "project", "label:stage", "day"})
	if want := []string{"project", "day"}; !slices.Equal(columns, want) {
		t.Errorf("columns %v, want %v", columns, want)
	}
	if full := (Sum{CostNano: math.MaxInt64}).Plus(Sum{CostNano: 1}); full.CostNano != math.MaxInt64 {
		t.Errorf("a sum beyond the largest number: %d", full.CostNano)
	}
}
