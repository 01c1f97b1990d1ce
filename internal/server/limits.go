package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/rate"
	"github.com/penstock/penstock/internal/reconcile"
	"github.com/penstock/penstock/internal/route"
)

// limitParts are what decides how much callers may use. With records off, which is for benchmarks, there is no journal that
// spending could be told through, and nothing is limited.
type limitParts struct {
	board   *limit.Board
	bank    *escrow.Bank
	rates   *rate.Book
	limiter *limit.Limiter
	desk    *reconcile.Desk // it is there with records off, too
}

// openLimits makes them, and reads what is in force if the store was met. It comes after the records.
func (s *Server) openLimits(ctx context.Context, cfg *config.File) (err error) {
	p := &s.limits
	if p.desk = s.newDesk(); s.journal == nil {
		return nil
	}
	p.board = limit.NewBoard(s.store, s.o.Log, cfg.Auth.MaxStale)
	run := "run_" + ulid.MustNew(ulid.Now(), rand.Reader).String()
	p.bank = escrow.New(escrow.Options{
		Store: s.store, Holder: escrow.Holder{Journal: s.journal.ID(), Run: run},
		Replicas: s.sharing, Log: s.o.Log, Metrics: s.metrics,
		Changed: func(k escrow.Key, state escrow.State) { p.limiter.Changed(k, state) },
	})
	rates := rate.Options{Holder: run, Replicas: s.sharing, Log: s.o.Log}
	if s.store.Shared() {
		rates.Store = s.store
	}
	p.rates = rate.New(rates)
	p.limiter, err = limit.New(limit.Options{
		Board: p.board, Bank: p.bank, Rates: p.rates, Learned: rate.NewLearned(), Log: s.o.Log, Metrics: s.metrics, Now: s.clock.Now,
		Model: s.known,
		Overrun: func(t llm.Target, try *pipeline.Try) {
			if try.Cut {
				s.alerts.Report(alert.BudgetOverrun, t.String(), "A stream was ended at its cap of "+strconv.FormatInt(try.MaxOutput, 10)+" tokens, of which its provider took no notice. More may be billed than is booked: reconcile tells.")
				return
			}
			s.alerts.Report(alert.BudgetOverrun, t.String(), "A try was billed $"+try.CostNano.String()+", and $"+try.BoundNano.String()+" was the most that it should come to.")
		},
	})
	if err != nil || s.waiting { // then it is read when the store is met
		return err
	}
	return p.board.Refresh(ctx)
}

// searchesUnasked is the vendor whose models search for an answer without a tool that says so, or caps it.
const searchesUnasked = "perplexity"

// known is what bounds the calls of a target.
func (s *Server) known(t llm.Target) limit.Known {
	view := s.inForce().view
	context, output := view.Bounds(t)
	return limit.Known{Context: context, MaxOutput: output, Searches: view.Vendor(t.Provider) == searchesUnasked}
}

// workers are what keeps them up to date.
func (p *limitParts) workers(s *Server) []func(context.Context) error {
	if p.board == nil {
		return nil
	}
	return []func(context.Context) error{p.board.Run, p.bank.Run, p.rates.Run, func(ctx context.Context) error {
		if err := s.writer.CaughtUp(ctx); err != nil {
			return nil //nolint:nilerr // it stops before that
		}
		if err := p.bank.Release(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		return nil // or the next run does it
	}, s.countReplicas, s.purgeWindows}
}

// lookAtBudgets tells of budgets that are used so far that somebody wants to know. They are named by what they are and by their ids: whom they are
// for is a tenant's business.
func (l *lookout) lookAtBudgets() {
	if l.limits.limiter == nil {
		return
	}
	used, spent := map[string]bool{}, map[string]bool{}
	for _, n := range l.limits.limiter.Notices(l.Server.clock.Now()) {
		object := n.Budget + " at " + strconv.Itoa(n.Share) + "%"
		text := fmt.Sprintf("The budget %s (%s) ", n.Name, n.Budget)
		switch {
		case n.Each > 0 && n.Share >= 100:
			text += fmt.Sprintf("is used up by, or had too little left for, %d of those whom it holds for.", n.Each)
		case n.Each > 0:
			text += fmt.Sprintf("is used to %d%% or more by %d of those whom it holds for.", n.Share, n.Each)
		case n.Refused != "":
			text += fmt.Sprintf("refuses calls: %s. It is used to %d%%.", n.Refused, n.Used)
		default:
			text += fmt.Sprintf("is used to %d%%.", n.Used)
		}
		if !n.End.IsZero() {
			text += " Its window ends " + n.End.UTC().Format(time.DateTime) + " UTC."
		}
		if n.Share >= 100 && !n.Observe {
			spent[n.Budget] = true
			l.alerts.Report(alert.BudgetSpent, n.Budget, text)
			continue
		}
		used[object] = true
		l.alerts.Report(alert.BudgetUsed, object, text)
	}
	l.alerts.ClearOthers(alert.BudgetUsed, used)
	l.alerts.ClearOthers(alert.BudgetSpent, spent)
}

// stage and reserver are what the pipeline has of them.
func (p *limitParts) stage() pipeline.Stage {
	if p.limiter == nil {
		return func(next pipeline.Handler) pipeline.Handler { return next }
	}
	return p.limiter.Stage()
}

func (p *limitParts) told() pipeline.Stage {
	if p.limiter == nil {
		return func(next pipeline.Handler) pipeline.Handler { return next }
	}
	return p.limiter.Told()
}

func (p *limitParts) reserver() route.Reserver {
	if p.limiter == nil {
		return route.Free{}
	}
	return p.limiter
}

// refresh reads what is in force.
func (p *limitParts) refresh(ctx context.Context) error {
	if p.board == nil {
		return nil
	}
	return p.board.Refresh(ctx)
}

// changed has this process know of a change of definitions at once; a store that does not answer is asked again within a second.
func (p *limitParts) changed(log *slog.Logger) func(context.Context) {
	return func(ctx context.Context) {
		if err := p.refresh(ctx); err != nil {
			log.WarnContext(ctx, "limits that were changed cannot be read yet", "error", err)
		}
	}
}

// allowed says where callers stand, nil if nothing is limited.
func (p *limitParts) allowed() func(context.Context, *pipeline.Caller, string) limit.Allowed {
	if p.limiter == nil {
		return nil
	}
	return p.limiter.Allowed
}

func (p *limitParts) standing() func(*pipeline.Caller) pipeline.Allowance {
	if p.limiter == nil {
		return nil
	}
	return p.limiter.Standing
}
