package route

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/tokens"
	"github.com/penstock/penstock/internal/wire/responses"
)

// TestFactsHaveWhatIsGoneOnFrom: what came before is written into a body that itself names only the response it goes on from. Pictures
// of then are for a model that sees, and its length counts.
func TestFactsHaveWhatIsGoneOnFrom(t *testing.T) {
	t.Parallel()
	r, err := responses.Parse([]byte(`{"model":"m","input":"and now?","previous_response_id":"resp_1"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Set("input", []byte(`[{"role":"user","content":[{"type":"input_image","image_url":"https://x/y.png"},{"type":"input_text","text":"`+
		strings.Repeat("word ", 10_000)+`"}]},{"role":"user","content":"and now?"}]`))
	var f facts
	f.of(&pipeline.Exchange{Op: llm.OpChat, Request: r})
	if got := f.asks(needsMedia); got != needsVision {
		t.Errorf("it needs %b, want %b", got, needsVision)
	}
	if f.tokens < 10_000 {
		t.Errorf("it has some %d tokens", f.tokens)
	}
	if f.fits(5000, tokens.Prompt, "gpt-5") {
		t.Error("it fits half of what it is")
	}
}
