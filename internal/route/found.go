package route

import (
	"time"

	"github.com/penstock/penstock/internal/provider"
)

// A finder is a provider whose servers may be looked for: each is an upstream of its own then, with its own health, load and
// limit.
type finder interface {
	// Discovers reports whether they are, and Found gives those that are there now, nil before any were found.
	Discovers() (every time.Duration, ok bool)
	Found() *provider.Endpoints
}

// finder is the upstream's provider, if its servers are looked for.
func (u *upstream) finder() finder {
	f, ok := u.provider.(finder)
	if !ok {
		return nil
	}
	if _, ok = f.Discovers(); !ok {
		return nil
	}
	return f
}

// A found is a pool in which each server of a target stands for itself, as of some generations of what was found.
type found struct {
	generations []uint64 // of each target
	members     []*upstream
}

// members are the upstreams to choose from.
func (p *pool) members(t *Table) []*upstream {
	if !p.finds {
		return p.upstreams
	}
	if f := p.found.Load(); f != nil && p.fresh(f) {
		return f.members
	}
	f := &found{}
	for _, u := range p.upstreams {
		ends := u.servers()
		if ends == nil {
			f.generations = append(f.generations, 0)
			f.add(u)
			continue
		}
		f.generations = append(f.generations, ends.Generation)
		near := nearest(ends.All)
		sum := 0.0
		for _, e := range near {
			sum += float64(e.Weight)
		}
		for _, e := range near {
			share := 1 / float64(len(near))
			if sum > 0 {
				share = float64(e.Weight) / sum
			}
			f.add(t.server(u, e.Addr, share))
		}
	}
	p.prefix.number(f.members)
	p.found.Store(f)
	return f.members
}

// add gives an upstream its place among the members; where it stands in the file stays as it is.
func (f *found) add(u *upstream) {
	one := *u
	one.place = len(f.members)
	f.members = append(f.members, &one)
}

func (p *pool) fresh(f *found) bool {
	for i, u := range p.upstreams {
		var now uint64
		if ends := u.servers(); ends != nil {
			now = ends.Generation
		}
		if f.generations[i] != now {
			return false
		}
	}
	return true
}

// servers are those of the target that were found, nil if none were: then it is asked at its address.
func (u *upstream) servers() *provider.Endpoints {
	f := u.finder()
	if f == nil {
		return nil
	}
	ends := f.Found()
	if ends == nil || len(ends.All) == 0 {
		return nil
	}
	return ends
}

// nearest are the servers of the first priority: the others are for when these are taken out of the DNS.
func nearest(all []provider.Endpoint) []provider.Endpoint {
	n := 1
	for n < len(all) && all[n].Priority == all[0].Priority {
		n++
	}
	return all[:n]
}

// server is one server of a target, with its share of the target's weight.
func (t *Table) server(u *upstream, addr string, share float64) *upstream {
	one := *u
	one.endpoint = addr
	one.key = u.name + "@" + addr
	one.shared = t.state.of(one.key)
	one.weight = u.weight * share
	return &one
}
