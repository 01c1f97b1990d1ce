package limit

import (
	"context"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/rate"
)

// Told is a stage around those that may refuse a call before [Limiter.Stage] has seen it: its caller is told how its limits stand,
// as with every other answer. Nothing is taken of them.
func (l *Limiter) Told() pipeline.Stage {
	return func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			resp, err := next(ctx, x)
			if err != nil && x.Allowance == nil && l.o.Board.Ready() {
				l.tell(x)
			}
			return resp, err
		}
	}
}

// tell finds out which limits hold for an exchange that was refused. One that could not be read is of no end user and for no model.
func (l *Limiter) tell(x *pipeline.Exchange) {
	c := l.o.Board.inForce.Load()
	if !c.any {
		return
	}
	who := call{org: x.Caller.Org, project: x.Caller.Project, key: x.Caller.KeyLine()}
	if x.Request != nil {
		who.user, who.model = x.Request.User, x.Request.Model
	}
	s := &standing{book: l.o.Rates}
	c.each(&who, func(*budgetRule, string) {}, func(r *rateRule, subject string) {
		if r.Model == "" || x.Request != nil && r.models(who.model, "") {
			s.rules = append(s.rules, r.rule(subject))
		}
	})
	if len(s.rules) > 0 {
		x.Allowance = s
	}
}

// A standing is how limits stand of which nothing was taken.
type standing struct {
	rules []rate.Rule
	book  *rate.Book
}

// Rates implements [pipeline.Allowance].
func (s *standing) Rates(dst []pipeline.RateStanding) []pipeline.RateStanding {
	for i := range s.rules {
		dst = appendStanding(dst, s.book, &s.rules[i])
	}
	return dst
}

// Low implements [pipeline.Allowance]: nothing goes by it.
func (s *standing) Low() int { return 0 }

// appendStanding appends how a limit stands, if callers are told of it.
func appendStanding(dst []pipeline.RateStanding, book *rate.Book, r *rate.Rule) []pipeline.RateStanding {
	if r.Measure == rate.Concurrent || r.Observe {
		return dst
	}
	s := pipeline.RateStanding{Measure: r.Measure}
	s.Limit, s.Left, s.Reset = book.Left(r)
	return append(dst, s)
}
