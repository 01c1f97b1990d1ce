package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/llm"
)

// priceText is the JSON of a price, in pico-dollars a token. The names are the store's own, whatever llm.Price becomes.
type priceText struct {
	Input       llm.Rate   `json:"input"`
	CachedInput llm.Rate   `json:"cached_input"`
	CacheWrite  llm.Rate   `json:"cache_write"`
	Output      llm.Rate   `json:"output"`
	Long        *priceText `json:"long,omitzero"`
	LongOver    int64      `json:"long_over,omitzero"`
	Call        llm.Money  `json:"call,omitzero"` // nano-dollars
	// Rates of parts: below 0 is what costs nothing, 0 is none.
	WriteHour   llm.Rate  `json:"cache_write_1h,omitzero"`
	InputAudio  llm.Rate  `json:"input_audio,omitzero"`
	CachedAudio llm.Rate  `json:"cached_audio,omitzero"`
	OutputAudio llm.Rate  `json:"output_audio,omitzero"`
	OutputImage llm.Rate  `json:"output_image,omitzero"`
	Search      llm.Money `json:"search,omitzero"` // nano-dollars
}

// A pricedText is the price of a target with its variants, in the column of prices.
type pricedText struct {
	priceText `json:",inline"`
	Hourly    llm.Money     `json:"hourly,omitzero"` // nano-dollars
	Variants  []variantText `json:"variants,omitempty"`
}

// A variantText is a variant. Hours are minutes of the day; both are 0 if it holds all day.
type variantText struct {
	Tier       string    `json:"tier,omitzero"`
	Credential int       `json:"credential,omitzero"`
	From       int       `json:"from,omitzero"`
	To         int       `json:"to,omitzero"`
	Zone       string    `json:"zone,omitzero"`
	Price      priceText `json:"price"`
}

func pricedTextOf(o *catalog.Override) pricedText {
	p := pricedText{priceText: *priceTextOf(&o.Price), Hourly: o.Hourly}
	for _, v := range o.Variants {
		p.Variants = append(p.Variants, variantText{v.Tier, v.Credential, v.Hours.From, v.Hours.To, v.Hours.Zone, *priceTextOf(&v.Price)})
	}
	return p
}

func (p *pricedText) variants() (all []catalog.Variant, err error) {
	for _, text := range p.Variants {
		v := catalog.Variant{Tier: text.Tier, Credential: text.Credential, Price: *text.Price.price()}
		if text.From != text.To {
			if v.Hours, err = catalog.NewHours(text.From, text.To, text.Zone); err != nil {
				return nil, err
			}
		}
		all = append(all, v)
	}
	return all, nil
}

func priceTextOf(p *llm.Price) *priceText {
	if p == nil {
		return nil
	}
	return &priceText{
		p.Input, p.CachedInput, p.CacheWrite, p.Output, priceTextOf(p.Long), p.LongOver, p.Call,
		p.CacheWriteHour, p.InputAudio, p.CachedAudio, p.OutputAudio, p.OutputImage, p.Search,
	}
}

func (p *priceText) price() *llm.Price {
	if p == nil {
		return nil
	}
	return &llm.Price{
		Input: p.Input, CachedInput: p.CachedInput, CacheWrite: p.CacheWrite, Output: p.Output,
		Long: p.Long.price(), LongOver: p.LongOver, Call: p.Call,
		CacheWriteHour: p.WriteHour, InputAudio: p.InputAudio, CachedAudio: p.CachedAudio, OutputAudio: p.OutputAudio,
		OutputImage: p.OutputImage, Search: p.Search,
	}
}

// Prices implements [catalog.Store].
func (s *Store) Prices(ctx context.Context) ([]catalog.Override, error) {
	rows, err := s.query(ctx, "SELECT provider, model, price, set_at, source FROM prices ORDER BY provider, model")
	all, err := collect(rows, err, scanPrice)
	if err != nil {
		return nil, s.unread(ctx, "read prices", err)
	}
	return all, nil
}

func scanPrice(r scanner) (o catalog.Override, err error) {
	var text string
	var setAt int64
	if err := r.Scan(&o.Target.Provider, &o.Target.Model, &text, &setAt, &o.Source); err != nil {
		return o, err
	}
	var p pricedText
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return o, fmt.Errorf("price of %s: %w", o.Target, err)
	}
	o.Price, o.Hourly, o.Set = *p.price(), p.Hourly, fromMicros(setAt)
	if o.Variants, err = p.variants(); err != nil {
		return o, fmt.Errorf("price of %s: %w", o.Target, err)
	}
	return o, nil
}

// pricesPerAct bounds an entry of the audit chain: an import of thousands of prices is several.
const pricesPerAct = 100

// SetPrices implements [catalog.Store].
func (s *Store) SetPrices(ctx context.Context, prices []catalog.Override) error {
	return s.act(ctx, "set prices", func(t tx) (done acts, err error) {
		for some := range slices.Chunk(prices, pricesPerAct) {
			act, err := t.setPrices(ctx, some)
			if err != nil {
				return nil, err
			}
			done = append(done, act)
		}
		return done, t.bump(ctx, "prices")
	})
}

// setPrices sets some prices and says what they were.
func (t tx) setPrices(ctx context.Context, prices []catalog.Override) (audit.Act, error) {
	before, after := map[string]priceState{}, map[string]priceState{}
	for _, o := range prices {
		was, err := scanPrice(t.row(ctx, "SELECT provider, model, price, set_at, source FROM prices WHERE provider = ? AND model = ?",
			o.Target.Provider, o.Target.Model))
		switch {
		case err == nil:
			before[o.Target.String()] = priceStateOf(was)
		case !errors.Is(err, sql.ErrNoRows):
			return audit.Act{}, err
		}
		after[o.Target.String()] = priceStateOf(o)
		text, err := json.Marshal(pricedTextOf(&o))
		if err != nil {
			return audit.Act{}, err
		}
		_, err = t.exec(ctx, `INSERT INTO prices (provider, model, price, set_at, source) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (provider, model) DO UPDATE SET price = excluded.price, set_at = excluded.set_at, source = excluded.source`,
			o.Target.Provider, o.Target.Model, string(text), micros(o.Set), o.Source)
		if err != nil {
			return audit.Act{}, err
		}
	}
	act := audit.Act{Action: audit.PricesSet, After: after}
	if len(prices) == 1 {
		act.Object = prices[0].Target.String()
	}
	if len(before) > 0 {
		act.Before = before
	}
	return act, nil
}

// PriceVersion implements [catalog.Store].
func (s *Store) PriceVersion(ctx context.Context) (int64, error) { return s.version(ctx, "prices") }
