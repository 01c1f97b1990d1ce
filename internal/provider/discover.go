package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Ways of [Config.Discover].
const (
	DiscoverA   = "a"   // each address of the base URL's host is a server
	DiscoverSRV = "srv" // each SRV record is one, or several if its name has several addresses
)

const (
	// discoverEvery is how often servers are looked for, unless the configuration says otherwise.
	discoverEvery = 5 * time.Second
	// maxEndpoints bounds how many servers one provider has; what a name has beyond is left out.
	maxEndpoints = 256
	// lookupTimeout bounds one round of questions.
	lookupTimeout = 5 * time.Second
)

// A Resolver asks the DNS; a [net.Resolver] is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// An Endpoint is one server of a provider. Priority and Weight are those of SRV records, 0 without: servers of the lowest priority
// come first, and among them each gets calls by its share of the weight.
type Endpoint struct {
	Addr             string // host and port, for [Via]
	Priority, Weight uint16
}

// Endpoints are the servers of a provider as they were found. They are never changed; a change makes others.
type Endpoints struct {
	Generation uint64 // counts changes, from 1
	All        []Endpoint
	addrs      []string
}

// A discovery finds a provider's servers.
type discovery struct {
	kind, host, port string
	every            time.Duration
	resolver         Resolver
	found            atomic.Pointer[Endpoints]
}

// newDiscovery is nil if the configuration does not ask for one.
func newDiscovery(cfg Config, resolver Resolver) *discovery {
	base, err := cfg.Base()
	if cfg.Discover == "" || err != nil {
		return nil
	}
	host, port, _ := net.SplitHostPort(hostPort(base))
	d := &discovery{kind: cfg.Discover, host: host, port: port, every: cmp.Or(cfg.DiscoverEvery, discoverEvery), resolver: resolver}
	if resolver == nil {
		d.resolver = net.DefaultResolver
	}
	return d
}

// look asks for the servers, in a stable order.
func (d *discovery) look(ctx context.Context) ([]Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var all []Endpoint
	var err error
	if d.kind == DiscoverSRV {
		all, err = d.lookSRV(ctx)
	} else {
		all, err = d.addresses(ctx, d.host, Endpoint{}, d.port)
	}
	if len(all) == 0 {
		return nil, cmp.Or(err, errors.New("it has no addresses"))
	}
	slices.SortFunc(all, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), strings.Compare(a.Addr, b.Addr), cmp.Compare(b.Weight, a.Weight))
	})
	known := map[string]bool{}
	all = slices.DeleteFunc(all, func(e Endpoint) bool {
		again := known[e.Addr]
		known[e.Addr] = true
		return again
	})
	return all[:min(len(all), maxEndpoints)], err
}

// lookSRV asks for the records of a service. A record whose name has no address is left out; if any cannot be asked for, the round
// has failed, for half of a set would take servers away that are there.
func (d *discovery) lookSRV(ctx context.Context) ([]Endpoint, error) {
	name := d.host
	if !strings.HasPrefix(name, "_") {
		name = "_http._tcp." + name
	}
	_, records, err := d.resolver.LookupSRV(ctx, "", "", name)
	var all []Endpoint
	for _, r := range records[:min(len(records), maxEndpoints)] {
		some, err := d.addresses(ctx, r.Target, Endpoint{Priority: r.Priority, Weight: r.Weight}, strconv.Itoa(int(r.Port)))
		if unknown, ok := errors.AsType[*net.DNSError](err); err != nil && !(ok && unknown.IsNotFound) {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, err
}

// addresses are the servers behind one name.
func (d *discovery) addresses(ctx context.Context, name string, as Endpoint, port string) ([]Endpoint, error) {
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, err
	}
	all := make([]Endpoint, 0, len(addrs))
	for _, a := range addrs {
		as.Addr = net.JoinHostPort(a.Unmap().String(), port)
		all = append(all, as)
	}
	return all, nil
}

// Discovers reports whether the provider's servers are looked for, and how often.
func (c *Client) Discovers() (every time.Duration, ok bool) {
	if c.discovery == nil {
		return 0, false
	}
	return c.discovery.every, true
}

// Discover looks for the provider's servers once. If that fails, those that were known before stay. Idle connections to servers that
// are gone are closed; those in use, when their call ends. changed says that there are others now. It is for one goroutine at a time.
func (c *Client) Discover(ctx context.Context) (changed bool, err error) {
	d := c.discovery
	if d == nil {
		return false, nil
	}
	all, err := d.look(ctx)
	if err != nil {
		return false, fmt.Errorf("look for the servers of providers.%s: %w", c.name, err)
	}
	before := d.found.Load()
	if before != nil && slices.Equal(before.All, all) {
		return false, nil
	}
	next := &Endpoints{Generation: 1, All: all}
	if before != nil {
		next.Generation = before.Generation + 1
	}
	for _, e := range all {
		next.addrs = append(next.addrs, e.Addr)
	}
	d.found.Store(next)
	c.retain(next.addrs)
	return true, nil
}

// Found are the provider's servers, nil if they are not looked for, or have not been found yet.
func (c *Client) Found() *Endpoints {
	if c.discovery == nil {
		return nil
	}
	return c.discovery.found.Load()
}

// Endpoints are the addresses of the provider's servers, for [Via]; none if they are not looked for, or have not been found yet. They
// must not be changed.
func (c *Client) Endpoints() []string {
	if found := c.Found(); found != nil {
		return found.addrs
	}
	return nil
}

// checkProxy refuses servers that a proxy would stand before: it would look the name up itself.
func (c Config) checkProxy(e Egress) error {
	if c.Discover == "" || e.Proxy == "" {
		return nil
	}
	base, err := c.Base()
	if err != nil {
		return err
	}
	if proxy, err := proxyOf("http://proxy", e.NoProxy)(base); proxy != nil || err != nil {
		return fmt.Errorf("discover: calls go through egress.proxy, which would find one server by itself: name %s in NO_PROXY", base.Hostname())
	}
	return nil
}
