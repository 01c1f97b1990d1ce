package server

import (
	"time"

	"github.com/penstock/penstock/internal/retention"
)

// openRetention makes what deletes exchanges that were kept for long enough, also those of a time when records were on.
func (s *Server) openRetention() (err error) {
	keep := func() time.Duration { return s.inForce().cfg.Retention.Keep() }
	s.purger, err = retention.NewPurger(retention.Options{Store: s.store, Keep: keep, Log: s.o.Log, Metrics: s.metrics, Now: s.clock.Now})
	return err
}
