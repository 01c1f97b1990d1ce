package limit

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"log/slog"

	"pgregory.net/rapid"
)

// TestScopesFit: all members that are set must fit, and each stands for everybody, of whom each is counted by itself.
func TestScopesFit(t *testing.T) {
	t.Parallel()
	who := call{org: "acme", project: "prj", key: "key", user: "anna", model: "support"}
	for _, c := range []struct {
		scope   Scope
		fits    bool
		subject string
	}{
		{Scope{}, true, ""},
		{Scope{Org: "acme"}, true, ""},
		{Scope{Org: "other"}, false, ""},
		{Scope{Project: "prj"}, true, ""},
		{Scope{Project: "other"}, false, ""},
		{Scope{Project: "prj", Key: "key"}, true, ""},
		{Scope{Project: "prj", Key: "other"}, false, ""},
		{Scope{Project: "prj", User: "anna"}, true, ""},
		{Scope{Project: "prj", User: "bob"}, false, ""},
		{Scope{Org: "acme", Project: "prj", Key: "key", User: "anna"}, true, ""},
		{Scope{Org: "other", Project: "prj", Key: "key", User: "anna"}, false, ""},
		{Scope{Project: Each}, true, "prj"},
		{Scope{Project: Each, Org: "other"}, false, ""},
		{Scope{Project: "prj", Key: Each}, true, "key"},
		{Scope{Project: "prj", User: Each}, true, "anna"},
		{Scope{Project: Each, User: Each}, true, "prj/anna"},
		{Scope{Project: Each, Key: "other"}, false, ""},
	} {
		if fits := c.scope.fits(&who); fits != c.fits || fits && c.scope.subject(&who) != c.subject {
			t.Errorf("%+v: fits %v as %q", c.scope, fits, c.scope.subject(&who))
		}
	}
}

// TestSubjectsAreApart: callers that a rule counts each by itself are never one to it, whatever they are called.
func TestSubjectsAreApart(t *testing.T) {
	t.Parallel()
	name := rapid.SampledFrom([]string{"", "a", "b", "a/b", "b/a", "/", "a/", "/b"})
	id := rapid.SampledFrom([]string{"prj_1", "prj_2"}) // ids have no slash
	rapid.Check(t, func(t *rapid.T) {
		one := call{project: id.Draw(t, "project"), user: name.Draw(t, "user")}
		other := call{project: id.Draw(t, "other project"), user: name.Draw(t, "other user")}
		one.org, other.org = "org_of_"+one.project, "org_of_"+other.project // whose users may have the same names
		one.key, other.key = "key_of_"+one.project+id.Draw(t, "key"), "key_of_"+other.project+id.Draw(t, "other key")
		for _, s := range []Scope{
			{Project: Each}, {Key: Each}, {User: Each}, {Project: Each, Key: Each}, {Project: Each, User: Each}, {Key: Each, User: Each},
			{Project: Each, Key: Each, User: Each},
		} {
			everybody := s.User == Each && s.Project == "" && s.Key == ""
			same := (!everybody || one.org == other.org) && (s.Project == "" || one.project == other.project) && (s.Key == "" || one.key == other.key) && (s.User == "" || one.user == other.user)
			if (s.subject(&one) == s.subject(&other)) != same {
				t.Fatalf("%+v: %+v is %q, %+v is %q", s, one, s.subject(&one), other, s.subject(&other))
			}
		}
	})
}

func TestScopesOfModels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		glob, asked, target string
		fits                bool
	}{
		{"", "support", "openai/gpt-5", true},
		{"support", "support", "openai/gpt-5", true},
		{"support", "supporter", "openai/gpt-5", false},
		{"openai/*", "support", "openai/gpt-5", true},
		{"openai/*", "support", "claude/haiku", false},
		{"openai/*", "support", "", false}, // what answers is not known yet
		{"*-mini", "support", "openai/gpt-5-mini", true},
		{"*-mini", "gpt-5-mini", "", true},
		{"open*/gpt*mini", "x", "openai/gpt-5-mini", true},
		{"open*/gpt*mini", "x", "openai/gpt-5-mini-2", false},
		{"*", "", "", true},
	} {
		if s := (Scope{Model: c.glob}); s.models(c.asked, c.target) != c.fits {
			t.Errorf("%q for %q by %q: %v", c.glob, c.asked, c.target, !c.fits)
		}
	}
}

// TestTiersOf: a call has the tiers of its project, of its key, and of its end user or else that of all other end users.
func TestTiersOf(t *testing.T) {
	t.Parallel()
	d := Definitions{Tiers: []Tier{{Name: "project"}, {Name: "key"}, {Name: "anna"}, {Name: "all"}}, Assigned: []Assignment{
		{Project: "prj", Tier: "project"}, {Project: "prj", Key: "key", Tier: "key"}, {Project: "prj", User: "anna", Tier: "anna"},
		{Project: "prj", User: Each, Tier: "all"}, {Project: "prj", User: "gone", Tier: "deleted"},
	}}
	c := compile(d)
	for _, test := range []struct {
		who  call
		want []string
	}{
		{call{project: "prj"}, []string{"project prj", "all prj/"}},
		{call{project: "prj", key: "key"}, []string{"project prj", "key key", "all prj/"}},
		{call{project: "prj", key: "other", user: "anna"}, []string{"project prj", "anna prj/anna"}},
		{call{project: "prj", user: "bob"}, []string{"project prj", "all prj/bob"}},
		{call{project: "prj", user: Each}, []string{"project prj", "all prj/*"}},
		{call{project: "other", key: "key", user: "anna"}, nil},
	} {
		var got []string
		for _, g := range c.tiersOf(&test.who) {
			got = append(got, g.Name+" "+g.subject)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%+v: %q, want %q", test.who, got, test.want)
		}
	}
}

// TestBestClass: a call has the class that it asks for, but none better than its tier's.
func TestBestClass(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ asked, allowed, want string }{
		{"priority", "", "priority"}, {"", "", ""}, {"flex", "", "flex"},
		{"priority", "priority", "priority"}, {"", "priority", ""}, {"flex", "priority", "flex"},
		{"priority", "default", ""}, {"", "default", ""}, {"flex", "default", "flex"},
		{"priority", "flex", "flex"}, {"", "flex", "flex"}, {"flex", "flex", "flex"},
	} {
		if got := bestClass(c.asked, c.allowed); got != c.want {
			t.Errorf("%q with %q: %q, want %q", c.asked, c.allowed, got, c.want)
		}
	}
}

// A fickle is a store whose definitions change, and that may fail.
type fickle struct {
	Store
	d     Definitions
	err   error
	reads int

	windows []Standing
	asked   []WindowQuery
}

func (f *fickle) Windows(_ context.Context, q WindowQuery) ([]Standing, error) {
	f.asked = append(f.asked, q)
	return f.windows, f.err
}

func (f *fickle) LimitVersion(context.Context) (int64, error) { return f.d.Version, f.err }
func (f *fickle) Definitions(context.Context) (Definitions, error) {
	f.reads++
	return f.d, f.err
}

// TestTheBoardKnowsOrSaysThatItDoesNot: it reads what changed, and what it has read counts for a while when the store does not answer.
func TestTheBoardKnowsOrSaysThatItDoesNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &fickle{d: Definitions{Version: 1, Budgets: []Budget{{ID: "bgt", Version: 1}}}}
		b := NewBoard(store, slog.New(slog.DiscardHandler), 0)
		if b.Ready() {
			t.Error("it is ready before it has read anything")
		}
		for range 2 {
			if err := b.Refresh(t.Context()); err != nil || !b.Ready() || len(b.Definitions().Budgets) != 1 || store.reads != 1 {
				t.Fatalf("%v, ready %v, %d reads", err, b.Ready(), store.reads)
			}
		}
		store.err = errors.New("away")
		time.Sleep(4 * time.Second)
		if err := b.Refresh(t.Context()); !errors.Is(err, store.err) || !b.Ready() || len(b.Definitions().Budgets) != 1 {
			t.Errorf("%v, ready %v", err, b.Ready())
		}
		time.Sleep(2 * time.Second)
		if b.Ready() {
			t.Error("it is ready, and has known nothing for six seconds")
		}
		store.err, store.d = nil, Definitions{Version: 2}
		if err := b.Refresh(t.Context()); err != nil || !b.Ready() || len(b.Definitions().Budgets) != 0 {
			t.Errorf("%v, ready %v, %+v", err, b.Ready(), b.Definitions())
		}
	})
}
