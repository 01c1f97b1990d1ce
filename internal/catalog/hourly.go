package catalog

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// A price with an amount an hour is that of servers of one's own: they cost the same whether or not they are used. The amount is spread
// over tokens: in each hour of UTC, rates are those of the price, times what makes the hour before come to the amount. So what calls are
// booked at adds up to what the servers cost as far as hours are alike, and rates say what a kind of token weighs against another.

const (
	// mostSpread is by how much rates may be raised: after a quiet hour the first calls should not pay for all of it.
	mostSpread = 20
	// maxHourly is the most that can be set.
	maxHourly = 1_000_000 * llm.Dollar
	// settles is how long after an hour its records are looked at: those that wait for the store have come by then.
	settles = 2 * time.Minute
)

// A Meter sums up what targets were used for in a span of time.
type Meter func(ctx context.Context, from, to time.Time) (map[llm.Target]llm.Usage, error)

// measured is what was used in an hour. It is immutable.
type measured struct {
	hour time.Time // its beginning
	used map[llm.Target]llm.Usage
}

// Measure has the catalog look each hour at what was used in the one before, for prices by the hour. It must be called before Run.
func (c *Catalog) Measure(meter Meter, now func() time.Time) { c.meter, c.now = meter, now }

// measure looks at the last hour that is over, if somebody has a price by the hour and that was not done yet.
func (c *Catalog) measure(ctx context.Context) error {
	if c.meter == nil || !c.live.Load().hourly {
		return nil
	}
	hour := c.now().UTC().Add(-settles).Truncate(time.Hour).Add(-time.Hour)
	if last := c.last.Load(); last != nil && last.hour.Equal(hour) {
		return nil
	}
	used, err := c.meter(ctx, hour, hour.Add(time.Hour))
	if err != nil {
		return err
	}
	c.last.Store(&measured{hour, used})
	return nil
}

// usual is what a target costs now for all calls that no variant is for.
func (c *Catalog) usual(o *Override) llm.Price {
	last := c.last.Load()
	if o.Hourly <= 0 || last == nil {
		return o.Price
	}
	cost := o.Price.Cost(last.used[o.Target])
	if cost <= 0 { // nothing was used, or it is free: there is nothing to spread over
		return o.Price
	}
	if o.Hourly/mostSpread >= cost {
		return o.Price.Times(mostSpread, 1)
	}
	return o.Price.Times(o.Hourly, cost)
}
