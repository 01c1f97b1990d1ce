package server

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// discoverTick is how often it is looked whose servers should be looked for.
const discoverTick = time.Second

// discover looks for the servers of providers that the DNS knows of, until ctx ends. While that fails, those known before stay in use.
func (s *Server) discover(ctx context.Context) error {
	tick := time.NewTicker(discoverTick)
	defer tick.Stop()
	looked := map[*client]*search{}
	for {
		s.searchAll(ctx, s.inForce().clients, looked)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// A search is what became of looking for one provider's servers.
type search struct {
	at    time.Time
	fails bool
}

// searchAll looks for the servers of those clients whose time has come, all at once.
func (s *Server) searchAll(ctx context.Context, clients map[string]*client, looked map[*client]*search) {
	var all sync.WaitGroup
	now := time.Now()
	known := slices.Collect(maps.Values(clients))
	maps.DeleteFunc(looked, func(c *client, _ *search) bool { return !slices.Contains(known, c) })
	for name, c := range clients {
		every, ok := c.Discovers()
		last := looked[c]
		if !ok || last != nil && now.Sub(last.at) < every {
			continue
		}
		if last == nil {
			last = &search{}
			looked[c] = last
		}
		last.at = now
		all.Go(func() { s.search(ctx, name, c, last) })
	}
	all.Wait()
}

func (s *Server) search(ctx context.Context, name string, c *client, last *search) {
	changed, err := c.Discover(ctx)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && !last.fails:
		s.o.Log.Warn("the servers of a provider cannot be looked for; those known before stay in use", "provider", name, "known", len(c.Endpoints()), "error", err)
	case err == nil && last.fails:
		s.o.Log.Info("the servers of a provider can be looked for again", "provider", name)
	}
	last.fails = err != nil
	if changed {
		s.o.Log.Info("the servers of a provider have changed", "provider", name, "servers", c.Endpoints())
	}
}
