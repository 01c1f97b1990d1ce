// Package catalog knows models: what their tokens cost, how much they take and give, what they can do.
//
// The data is a file in the binary with source and date ([Default]); an operator's own prices lie over it ([Catalog]). It
// does not choose models (route) and does not count tokens (tokens).
//
// # What a price means
//
// A price is never guessed: it is an operator's own, or one that the file gives for exactly this vendor and model. A model
// without one is unpriced, which is marked and never zero. Where the sources leave something open, the dearer reading
// counts, so that a cost can be too high but is not silently too low:
//
//   - A rate for cached prompt tokens that is missing or zero is the input rate.
//   - A rate for cache writes that is missing, or below the input rate, is the input rate: the written tokens are prompt
//     tokens too. (Published ones are 1.25 times the input rate; writes that live for an hour cost more than is known here.)
//   - A dearer rate for reasoning is the rate of all output, and the model's Note says so.
//   - A dearer price for long prompts is [llm.Price.Long].
//   - A rate of zero in a source, but for the output of embedding models, means "not published" and gives no price. An
//     operator may set a price of zero.
//
// What sound costs is in a price where the tables have it. Fees per search and other parts are not in them: where a model has some, its
// Note says that its price does not hold them, and an operator can set them ([PartTexts], and [llm.Price].Call).
package catalog

import (
	"context"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// A Model is what is known of one model at one vendor. Zero limits are unknown. What it points to is shared: read only.
type Model struct {
	Vendor    string // the catalogue's name of the provider: openai, anthropic, google, ...
	Name      string
	Price     *llm.Price // nil: not known, so unpriced
	Context   int64      // tokens of prompt and answer together
	MaxOutput int64      // tokens
	Abilities []string   // see the constants
	Released  string     // date, "" unknown
	Note      string     // what the price does not say, for a person; "" if nothing
	Source    string     // where this was read and of what date: "models.dev 2026-07-02"
}

// What a model can do. A model with Embeddings makes vectors and does not chat; all others chat.
const (
	Embeddings  = "embeddings"
	Tools       = "tools"
	Reasoning   = "reasoning"
	JSONSchema  = "json_schema" // answers in the form of a given schema
	Vision      = "vision"      // takes images
	Audio       = "audio"       // takes sound
	Video       = "video"       // takes films
	PDF         = "pdf"         // takes PDF files
	ImageOutput = "image_output"
	AudioOutput = "audio_output"
)

// Can reports whether the model is known to have the ability.
func (m *Model) Can(ability string) bool { return slices.Contains(m.Abilities, ability) }

// An Override is a price that an operator set for provider and model as configured. It beats the catalogue's.
type Override struct {
	Target llm.Target
	Price  llm.Price
	// Hourly is what the target costs an hour, whatever it is used for; 0 is nothing. It is spread over its tokens: see hourly.go.
	Hourly llm.Money
	// Variants hold instead of Price for some calls; see [Override.For].
	Variants []Variant
	Set      time.Time
	Source   string // "set" or the imported file's name
}

// Store is what catalog needs to have kept.
type Store interface {
	Prices(ctx context.Context) ([]Override, error)
	// SetPrices writes all or none and raises the price version.
	SetPrices(ctx context.Context, prices []Override) error
	PriceVersion(ctx context.Context) (int64, error)
}
