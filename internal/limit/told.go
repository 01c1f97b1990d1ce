package limit

import (
	"context"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/rate"
)

// Told is a stage around those that may answer or refuse a call before [Limiter.Stage] has seen it: its caller is told how its limits
// stand, as with every other answer. Nothing is taken of them.
func (l *Limiter) Told() pipeline.Stage {
	return func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			resp, err := next(ctx, x)
			if x.Allowance == nil && (err != nil || x.Once != nil) { // of one with a key, the answer may be that of the first
				who := whoever(x.Caller)
				if x.Request != nil {
					who.anyone, who.user, who.model = false, x.Request.User, x.Request.Model
				}
				x.Allowance = l.standing(&who)
			}
			return resp, err
		}
	}
}

// Standing is how the limits of a caller stand that hold for it whatever model it asks and whoever its end user is; nil if there is
// none, or it cannot be known. Nothing is taken of them.
func (l *Limiter) Standing(caller *pipeline.Caller) pipeline.Allowance {
	who := whoever(caller)
	return l.standing(&who)
}

// whoever is a call of a caller of which neither end user nor model is known.
func whoever(c *pipeline.Caller) call {
	return call{org: c.Org, project: c.Project, key: c.KeyLine(), anyone: true}
}

// standing finds out which limits hold. Where the model is not known, it is those that hold for all.
func (l *Limiter) standing(who *call) pipeline.Allowance {
	c := l.o.Board.inForce.Load()
	if !c.any || !l.o.Board.Ready() {
		return nil
	}
	s := &standing{book: l.o.Rates}
	c.each(who, func(*budgetRule, string) {}, func(r *rateRule, subject string) {
		if r.Model == "" || who.model != "" && r.models(who.model, "") {
			s.rules = append(s.rules, r.rule(subject))
		}
	})
	if len(s.rules) == 0 {
		return nil
	}
	return s
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
