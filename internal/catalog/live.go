package catalog

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// pollEvery is how soon every replica sees a price that was set through another one; pollWithin bounds one look.
const (
	pollEvery  = time.Second
	pollWithin = 5 * time.Second
)

// A Catalog is a table with an operator's prices over it. It is safe for concurrent use.
type Catalog struct {
	table *Table
	store Store
	log   *slog.Logger
	live  atomic.Pointer[overrides]
	last  atomic.Pointer[measured] // nil before the first
	meter Meter
	now   func() time.Time

	refreshing sync.Mutex // one look at the store at a time, so that an older answer never replaces a newer one
}

// overrides are an operator's prices as of one version. They are immutable.
type overrides struct {
	version int64
	prices  map[llm.Target]Override
	hourly  bool // one of them has an amount an hour
}

// New makes a catalog that knows no overrides yet: call Refresh before the first request.
func New(t *Table, s Store, log *slog.Logger) *Catalog {
	c := &Catalog{table: t, store: s, log: log}
	c.live.Store(&overrides{version: -1})
	return c
}

// Run looks for changed prices each second until ctx ends. While the store does not answer, the prices that are known
// stay in force.
func (c *Catalog) Run(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := c.poll(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			c.log.LogAttrs(ctx, slog.LevelWarn, "prices cannot be read; those known before stay in force",
				slog.Any("error", err))
		}
		if err == nil && failing {
			c.log.LogAttrs(ctx, slog.LevelInfo, "prices can be read again")
		}
		failing = err != nil
	}
}

func (c *Catalog) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pollWithin)
	defer cancel()
	if err := c.Refresh(ctx); err != nil {
		return err
	}
	return c.measure(ctx)
}

// Refresh takes over the prices that were set since the last look.
func (c *Catalog) Refresh(ctx context.Context) error {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	version, err := c.store.PriceVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the price version: %w", err)
	}
	if version == c.live.Load().version {
		return nil
	}
	// The prices may be newer than the version that was read before them; the next look then reads them once more.
	list, err := c.store.Prices(ctx)
	if err != nil {
		return fmt.Errorf("read the prices: %w", err)
	}
	next := &overrides{version: version, prices: make(map[llm.Target]Override, len(list))}
	for _, o := range list {
		next.prices[o.Target] = o
		next.hourly = next.hourly || o.Hourly > 0
	}
	c.live.Store(next)
	return nil
}

// Set writes an operator's prices, all or none, and takes them over. Its error is the store's; if the prices were written
// and only could not be read back, Run takes them over later.
func (c *Catalog) Set(ctx context.Context, prices []Override) error {
	if err := c.store.SetPrices(ctx, prices); err != nil {
		return err
	}
	if err := c.Refresh(ctx); err != nil {
		c.log.LogAttrs(ctx, slog.LevelWarn, "prices were set but cannot be read back yet", slog.Any("error", err))
	}
	return nil
}

// Price is what a target's tokens cost: the operator's price for exactly this target, else what the table has for this
// model at the vendor; "" is no vendor. ok is false if it is unpriced.
func (c *Catalog) Price(vendor string, t llm.Target) (price llm.Price, ok bool) {
	if o, ok := c.live.Load().prices[t]; ok {
		return c.usual(&o), true
	}
	if m := c.table.exact(vendor, t.Model); m != nil && m.Price != nil {
		return *m.Price, true
	}
	return llm.Price{}, false
}

// Model is what is known of a target, with the price that is in force. ok is false if nothing is known.
func (c *Catalog) Model(vendor string, t llm.Target) (m Model, ok bool) {
	m, ok = c.table.Find(vendor, t.Model)
	if o, set := c.live.Load().prices[t]; set {
		if !ok {
			m = Model{Vendor: vendor, Name: t.Model}
		}
		price := c.usual(&o)
		m.Price, m.Note, m.Source = &price, "", "set by an operator ("+o.Source+") "+o.Set.UTC().Format(time.DateOnly)
		return m, true
	}
	return m, ok
}

// Overrides lists the operator's prices by target.
func (c *Catalog) Overrides() []Override {
	live := c.live.Load().prices
	list := make([]Override, 0, len(live))
	for _, o := range live {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b Override) int { return strings.Compare(a.Target.String(), b.Target.String()) })
	return list
}

// Version is the store's price version that is in force, -1 before the first Refresh.
func (c *Catalog) Version() int64 { return c.live.Load().version }

// Table is the data under the operator's prices.
func (c *Catalog) Table() *Table { return c.table }

// A View is a catalog as one configuration sees it: it knows which vendor each configured provider is.
type View struct {
	catalog *Catalog
	vendors map[string]string
	tiered  func(provider string) bool
	now     func() time.Time
}

// View makes a view. vendors gives the vendor of each configured provider; one that is not in it has only the prices that
// an operator set. The map must not change afterwards.
func (c *Catalog) View(vendors map[string]string) View { return View{catalog: c, vendors: vendors} }

// Dispatching gives a view that knows which providers serve by the service tier that they are asked for, and what time it is for
// prices by the hour. Without it no call has a tier, and the machine's clock counts.
func (v View) Dispatching(tiered func(provider string) bool, now func() time.Time) View {
	v.tiered, v.now = tiered, now
	return v
}

// PriceFor is the price of a try that is sent now: an operator's variant, if one fits, else [View.Price]. A tier that the provider
// is not asked for is none, and At is set if it is not. It says what the try costs if it is served otherwise.
func (v View) PriceFor(t llm.Target, d Dispatch) (price llm.Price, ok bool) {
	o, set := v.catalog.live.Load().prices[t]
	if !set || len(o.Variants) == 0 {
		price, ok = v.Price(t)
		price.Served = v.served(t, d.Region)
		return price, ok
	}
	if v.tiered == nil || !v.tiered(t.Provider) {
		d.Tier = ""
	}
	switch {
	case !d.At.IsZero():
	case v.now != nil:
		d.At = v.now()
	default:
		d.At = time.Now()
	}
	o.Price = v.catalog.usual(&o)
	price = o.For(d)
	price.Served = v.served(t, d.Region)
	if tiers := o.tiers(d); tiers != nil {
		s := &llm.Served{Tiers: tiers, Asked: d.Region}
		if price.Served != nil {
			s.Regional = price.Served.Regional
		}
		price.Served = s
	}
	return price, true
}

// anthropicRegional is what a call costs at Anthropic's own API that was kept to a region, in percent of the usual price, whatever the
// kind of its tokens (its documentation of data residency: since Claude Opus 4.6 and Sonnet 4.6; it says of older models that it could
// not be said where they ran).
const anthropicRegional = 110

// regional are what Served is at Anthropic without tiers.
var regional = [...]*llm.Served{
	llm.RegionUnsaid: {Regional: anthropicRegional, Asked: llm.RegionUnsaid}, llm.RegionNone: {Regional: anthropicRegional, Asked: llm.RegionNone},
	llm.RegionKept: {Regional: anthropicRegional, Asked: llm.RegionKept},
}

// served is what regions cost at a target, nil if they change nothing.
func (v View) served(t llm.Target, asked llm.Region) *llm.Served {
	if v.vendors[t.Provider] != "anthropic" {
		return nil
	}
	return regional[asked]
}

// Price is [Catalog.Price].
func (v View) Price(t llm.Target) (price llm.Price, ok bool) {
	return v.catalog.Price(v.vendors[t.Provider], t)
}

// Model is [Catalog.Model].
func (v View) Model(t llm.Target) (m Model, ok bool) {
	return v.catalog.Model(v.vendors[t.Provider], t)
}

// Bounds are the context of a target's model and the most that it generates at once, in tokens; 0 is not known. It is for each try, of
// which [View.Model] would tell more than is asked.
func (v View) Bounds(t llm.Target) (context, maxOutput int64) {
	table, vendor := v.catalog.table, v.vendors[t.Provider]
	m := table.exact(vendor, t.Model)
	if m == nil {
		if m = table.byName[name{vendor, Family(t.Model)}]; m == nil {
			return 0, 0
		}
	}
	return m.Context, m.MaxOutput
}

// Vendor is the vendor of a configured provider, "" if it is not known.
func (v View) Vendor(provider string) string { return v.vendors[provider] }

// Names lists the models that the table has of a configured provider, in order.
func (v View) Names(provider string) []string {
	models := v.catalog.table.Models(v.vendors[provider])
	names := make([]string, len(models))
	for i, m := range models {
		names[i] = m.Name
	}
	return names
}
