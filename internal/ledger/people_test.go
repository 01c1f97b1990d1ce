package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/fault"
)

// A bookcase has accounts, or fails.
type bookcase struct {
	Store

	accounts []Account
	err      error
}

func (b *bookcase) LedgerAccounts(context.Context) ([]Account, error) { return b.accounts, b.err }

func TestProvidersThatAreKnown(t *testing.T) {
	t.Parallel()
	owed := &bookcase{accounts: []Account{{Side: Spend, Project: "prj_1"}, {Side: Owed, Provider: "old"}, {Side: Owed, Provider: "b", Credential: 1}, {Side: Owed, Provider: "b", Credential: 2}}}
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf("p%02d", i))
	}
	for _, c := range []struct {
		books      *bookcase
		name       string
		configured []string
		want       string // at the end of what is said; "" if it is known
	}{
		{owed, "a", []string{"b", "a"}, ""},
		{owed, "old", []string{"b", "a"}, ""},
		{owed, "b", nil, ""},
		{owed, "bogus", []string{"c", "a"}, "there are a, b, c and old."},
		{owed, "", []string{"a"}, "there are a, b and old."},
		{&bookcase{}, "a", []string{"b"}, "there is b."},
		{&bookcase{}, "a", nil, "there is none."},
		{&bookcase{}, "a", many, "p19 and 10 more."},
	} {
		before := slices.Clone(c.configured)
		err := CheckProvider(t.Context(), c.books, c.name, c.configured)
		f, _ := errors.AsType[*fault.Error](err)
		if (err == nil) != (c.want == "") || err != nil && (f == nil || f.Code != fault.InvalidRequest || f.Param != "provider" || !strings.HasSuffix(f.Message, c.want)) {
			t.Errorf("%q of %v: %v, want ...%q", c.name, c.configured, err, c.want)
		}
		if !slices.Equal(before, c.configured) {
			t.Errorf("the caller's list was changed: %v", c.configured)
		}
	}
	broken := errors.New("no disk")
	if err := CheckProvider(t.Context(), &bookcase{err: broken}, "a", []string{"a"}); !errors.Is(err, broken) {
		t.Errorf("books that cannot be read: %v", err)
	}
}
