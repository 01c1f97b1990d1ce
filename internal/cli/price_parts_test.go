package cli

import (
	"testing"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/catalog"
)

// TestRatesOfPartsStay where a usual price is set that says nothing of them: sound would be booked as text, and nobody told.
func TestRatesOfPartsStay(t *testing.T) {
	t.Parallel()
	have := map[string]admin.Price{"openai/gpt-audio": {PartTexts: catalog.PartTexts{InputAudio: "32", OutputAudio: "64", PerSearch: "0.01", OutputImage: "0"}}}
	prices := []admin.PriceInput{{Target: "openai/gpt-audio", Input: "2", Output: "8", PartTexts: catalog.PartTexts{OutputAudio: "50", PerSearch: "0"}}}
	keepVariants(have, prices)
	if want := (catalog.PartTexts{InputAudio: "32", OutputAudio: "50", PerSearch: "0", OutputImage: "0"}); prices[0].PartTexts != want {
		t.Errorf("%+v", prices[0].PartTexts)
	}
}
