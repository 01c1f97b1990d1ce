package server

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/figure"
)

// compareEvery is how often clocks are compared.
const compareEvery = 30 * time.Second

// apart is how far clocks may differ before people are told.
const apart = time.Second

// compareClocks holds this machine's clock against the store's: times in records and ids, the ends of keys and stops, and
// the entries of the audit chain are corrected by the difference, so that replicas agree. It is done before anything is
// served, again and again, and when the machine's clock was set. A store that does not answer leaves all as it was.
func (s *Server) compareClocks(ctx context.Context) {
	s.lookAtClocks(s.store.ClockOffset(ctx))
}

// lookAtClocks is told how far the store's clock is ahead, and how wrong that may be.
func (s *Server) lookAtClocks(ahead, within time.Duration, err error) {
	if err != nil {
		return // that the store does not answer is said elsewhere
	}
	s.offset.Set(ahead.Seconds())
	if s.clock.Measured(ahead, within) {
		s.o.Log.Warn("this machine's clock is not the store's: times of records, keys and stops are corrected by the difference",
			"by", ahead.Round(time.Millisecond))
	}
	s.alerts.Set(alert.ClockApart, "", ahead.Abs() > apart+within,
		fmt.Sprintf("This machine's clock and the database's differ by %s.", figure.Duration(ahead.Abs().Round(time.Millisecond))))
}
