package store

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/usage"
)

// Whoever asks for what cannot be read is told that it is the store, and not that Penstock is broken; the cause is for the
// log.
func TestReadsThatFailAreTheStores(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "penstock.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.read.Close(); err != nil {
		t.Fatal(err)
	}
	calls := map[string]error{}
	_, calls["Projects"] = s.Projects(t.Context(), "", 1)
	_, calls["Projects after one"] = s.Projects(t.Context(), "prj_1", 1)
	_, calls["FindProject"] = s.FindProject(t.Context(), "", "a")
	_, calls["Keys"] = s.Keys(t.Context(), "", "", 1)
	_, calls["FindKey"] = s.FindKey(t.Context(), "key_1")
	_, calls["Record"] = s.Record(t.Context(), "", "ex_1")
	_, calls["Records"] = s.Records(t.Context(), usage.Filter{})
	_, calls["Records after one"] = s.Records(t.Context(), usage.Filter{After: "ex_1"})
	_, calls["Records of a model"] = s.Records(t.Context(), usage.Filter{Model: "m"})
	_, calls["Sums"] = s.Sums(t.Context(), usage.Query{})
	_, calls["Prices"] = s.Prices(t.Context())
	for name, err := range calls {
		var f *fault.Error
		if !errors.As(err, &f) || f.HTTPStatus() != 503 || f.Code != "store_unavailable" {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := "The store could not be read. Look at its disk and retry."; f.Text() != want {
			t.Errorf("%s: got %q, want %q", name, f.Text(), want)
		}
		if !strings.Contains(f.Error(), "closed") {
			t.Errorf("%s: %q does not hold the cause", name, f.Error())
		}
	}
}
