package pipeline

import (
	"regexp"
	"testing"
	"time"
)

func TestExchangeIDs(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^ex_[0-9A-HJKMNP-TV-Z]{26}$`)
	seen, last := map[string]bool{}, ""
	for i := range 1000 {
		id, trace := NewID(time.UnixMilli(int64(1_700_000_000_000 + i)))
		if !form.MatchString(id) || seen[id] || id <= last {
			t.Fatalf("%s after %s", id, last)
		}
		if IDOfTrace(trace) != id {
			t.Fatalf("trace %v is that of %s, not of %s", trace, IDOfTrace(trace), id)
		}
		seen[id], last = true, id
	}
}
