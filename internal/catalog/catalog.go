// Package catalog knows models: what their tokens cost, how much they take and give, what they can do.
//
// The data is a file in the binary with source and date; an operator's own prices lie over it. It does not choose models
// (route) and does not count tokens (tokens).
package catalog

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// A Model is what is known of one model at one vendor. Zero limits are unknown.
type Model struct {
	Vendor    string // the catalogue's name of the provider: openai, anthropic, google, ...
	Name      string
	Price     *llm.Price // nil: not known, so unpriced
	Context   int64      // tokens of prompt and answer together
	MaxOutput int64      // tokens
	Abilities []string   // tools, vision, audio, reasoning, json_schema, embeddings, ...
	Released  string     // date, "" unknown
}

// An Override is a price that an operator set for provider and model as configured. It beats the catalogue's.
type Override struct {
	Target llm.Target
	Price  llm.Price
	Set    time.Time
	Source string // "set" or the imported file's name
}

// Store is what catalog needs to have kept.
type Store interface {
	Prices(ctx context.Context) ([]Override, error)
	// SetPrices writes all or none and raises the price version.
	SetPrices(ctx context.Context, prices []Override) error
	PriceVersion(ctx context.Context) (int64, error)
}
