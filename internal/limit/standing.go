package limit

import (
	"context"
	"slices"
	"time"
)

// Windows reads how windows of a budget stand: without a Limit in the query the current ones, at most so many, and else all, the
// newest first. One that nobody has used anything of yet is kept nowhere, and shown all the same; of a budget for each there is
// none before somebody uses it. What is in force now is shown as their limit, which may be newer than what was last asked for.
func Windows(ctx context.Context, s Store, b *Budget, q WindowQuery, now time.Time, most int) ([]Standing, error) {
	calendar := b.Calendar()
	current := calendar.At(now)
	q.Budget = b.ID
	if q.Limit == 0 {
		if q.At, q.Limit = now, most; !current.Has(now) { // a term that has not begun, or is over
			q.At = current.Start
		}
	}
	read, err := s.Windows(ctx, q)
	if err != nil {
		return nil, err
	}
	all := make([]Standing, 0, len(read)+1)
	for _, w := range read {
		if w.End.IsZero() { // nothing was ever reserved in it, so the calendar says what the books do not
			if w.End, w.Limit = calendar.At(w.Start).End, b.Amount; !q.At.IsZero() && !q.At.Before(w.End) {
				continue
			}
		}
		if !now.Before(w.Start) && now.Before(w.End) {
			w.Limit = b.Amount
		}
		w.Free = max(w.Limit-w.Settled-w.Held-w.Unknown, 0)
		all = append(all, w)
	}
	if !b.Each() && !slices.ContainsFunc(all, func(w Standing) bool { return w.Start.Equal(current.Start) }) {
		all = slices.Insert(all, 0, Standing{Budget: b.ID, Start: current.Start, End: current.End, Limit: b.Amount, Free: b.Amount})
	}
	return all, nil
}

// Each reports whether there is one of it for each of many.
func (s *Scope) Each() bool { return s.Project == Each || s.Key == Each || s.User == Each }
