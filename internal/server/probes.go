package server

import (
	"context"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// probeTick is how often it is looked who should be probed.
	probeTick = time.Second
	// maxProbes is how many are probed at once.
	maxProbes = 32
)

// probe asks the servers of providers that are to be probed whether they are there, and tells the board of targets, until ctx ends.
func (s *Server) probe(ctx context.Context) error {
	tick := time.NewTicker(probeTick)
	defer tick.Stop()
	asked := map[probed]time.Time{}
	for {
		s.probeAll(ctx, s.inForce(), asked)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// A probed is one server: a provider, or one address of it.
type probed struct {
	client   *client
	provider string
	endpoint string
}

// probeAll probes those whose time has come, and waits for all.
func (s *Server) probeAll(ctx context.Context, rt *runtime, asked map[probed]time.Time) {
	known := slices.Collect(maps.Values(rt.clients))
	maps.DeleteFunc(asked, func(p probed, at time.Time) bool {
		return !slices.Contains(known, p.client) || p.endpoint != "" && !slices.Contains(p.client.Endpoints(), p.endpoint)
	})
	var all errgroup.Group
	all.SetLimit(maxProbes)
	for name, c := range rt.clients {
		every := rt.cfg.Providers[name].ProbeEvery()
		if every == 0 {
			continue
		}
		endpoints := c.Endpoints()
		if len(endpoints) == 0 {
			endpoints = []string{""}
		}
		for _, endpoint := range endpoints {
			p := probed{c, name, endpoint}
			if last, ok := asked[p]; ok && time.Since(last) < every {
				continue
			}
			asked[p] = time.Now()
			all.Go(func() error {
				if unwell, ok := c.Probe(ctx, p.endpoint); ok && ctx.Err() == nil {
					s.targets.Heard(p.provider, p.endpoint, unwell)
				}
				return nil
			})
		}
	}
	_ = all.Wait() // none fails
}
