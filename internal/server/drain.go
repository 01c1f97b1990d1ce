package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// drain lets open exchanges finish. Not ready comes first; while there are open ones, new ones are still taken for a
// quarter of the grace, so that whoever watches readiness has time to look elsewhere. What is not finished at the end of
// the grace, or when somebody hurries, gets an error event.
func (s *Server) drain(data *http.Server, grace time.Duration, cut context.CancelCauseFunc) {
	s.stopping.Store(true)
	s.o.Log.Info("stopping", "open", s.gateway.Open(), "grace", grace)
	patient, hurry := context.WithTimeout(context.Background(), grace)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer hurry()
	watching.Go(func() {
		select {
		case <-patient.Done():
		case <-s.o.Hurry:
			hurry()
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(grace / 4); s.gateway.Open() > 0 && time.Now().Before(until) && patient.Err() == nil; {
		<-tick.C
	}
	if data.Shutdown(patient) == nil {
		return
	}
	why := "the grace is over"
	if errors.Is(patient.Err(), context.Canceled) {
		why = "told to hurry"
	}
	s.o.Log.Warn("open exchanges are ended", "why", why, "open", s.gateway.Open())
	cut(fault.New(fault.ShuttingDown, "This Penstock is stopping, and your answer did not end in time."))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if data.Shutdown(ctx) != nil {
		_ = data.Close() // what does not even take an error event is cut
	}
}

// dismiss lets what operators ask for end, for some seconds: what is left then is cut. That may be a connection on which nothing was ever
// asked, as clients keep for what comes next, and load balancers to see whether anybody is there.
func (s *Server) dismiss(ctx context.Context, control *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := control.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		s.o.Log.Info("connections of the control plane are cut", "after", "5s")
		err = control.Close()
	}
	return err
}
