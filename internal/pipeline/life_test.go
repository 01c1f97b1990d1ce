package pipeline

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/penstock/penstock/internal/llm"
)

// A guest is a party that says what it was told.
type guest struct {
	name  string
	stays bool
	told  *[]string
}

func (g *guest) Stays(error) bool { return g.stays }
func (g *guest) Over()            { *g.told = append(*g.told, g.name) }

func TestLife(t *testing.T) {
	t.Parallel()
	failed := errors.New("refused")
	gone := errors.New("gone")
	for name, c := range map[string]struct {
		stays  bool
		inside error                                               // of what is inside
		then   func(x *Exchange, leave func(), resp *llm.Response) // after it has answered
		ended  bool                                                // the inner context
		cause  error
		told   []string
	}{
		"fails":            {inside: failed, ended: true, cause: context.Canceled, told: []string{"b", "a"}},
		"is not walked":    {},
		"is walked":        {then: func(_ *Exchange, _ func(), r *llm.Response) { r.Events(nil) }, ended: true, cause: context.Canceled, told: []string{"b", "a"}},
		"leaves":           {then: func(_ *Exchange, leave func(), _ *llm.Response) { leave() }, ended: true, cause: gone, told: []string{"b", "a"}},
		"leaves and stays": {stays: true, then: func(_ *Exchange, leave func(), _ *llm.Response) { leave() }},
		"stays and ends": {stays: true, then: func(_ *Exchange, leave func(), r *llm.Response) { leave(); r.Events(nil) },
			ended: true, cause: context.Canceled, told: []string{"b", "a"}},
		"ends, then leaves": {then: func(_ *Exchange, leave func(), r *llm.Response) { r.Events(nil); leave() },
			ended: true, cause: context.Canceled, told: []string{"b", "a"}},
		"is cut":   {then: func(x *Exchange, _ func(), _ *llm.Response) { x.Life.Cut(failed) }, ended: true, cause: failed},
		"is ended": {then: func(x *Exchange, _ func(), _ *llm.Response) { x.Life.End(failed); x.Life.End(gone) }, ended: true, cause: failed, told: []string{"b", "a"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			told := []string{}
			client, leave := context.WithCancelCause(t.Context())
			defer leave(nil)
			var inner context.Context
			x := &Exchange{}
			resp, err := Living(func(ctx context.Context, x *Exchange) (*llm.Response, error) {
				inner = ctx
				x.Life.Join(&guest{"a", false, &told})
				x.Life.Join(&guest{"b", c.stays, &told})
				return &llm.Response{Events: func(func(llm.Event, error) bool) {}}, c.inside
			})(client, x)
			if !errors.Is(err, c.inside) {
				t.Errorf("%s: %v", name, err)
			}
			if c.then != nil {
				c.then(x, func() { leave(gone); synctest.Wait() }, resp)
			}
			if ended := inner.Err() != nil; ended != c.ended || !errors.Is(context.Cause(inner), c.cause) || !slices.Equal(told, c.told) {
				t.Errorf("%s: ended %v for %v, told %v", name, ended, context.Cause(inner), told)
			}
			x.Life.End(nil)
		})
	}
}

// TestWhoJoinsAfterTheClientHasLeft: the life may have ended before a party joins, and then that is told at once.
func TestWhoJoinsAfterTheClientHasLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, leave := context.WithCancel(t.Context())
		leave()
		var told []string
		_, _ = Living(func(ctx context.Context, x *Exchange) (*llm.Response, error) {
			synctest.Wait()
			x.Life.Join(&guest{"late", true, &told})
			if ctx.Err() == nil || len(told) != 1 {
				t.Errorf("%v, told %v", ctx.Err(), told)
			}
			return nil, ctx.Err()
		})(client, &Exchange{})
		if len(told) != 1 {
			t.Errorf("told %v", told)
		}
	})
}
