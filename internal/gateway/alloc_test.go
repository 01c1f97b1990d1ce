//go:build !race

package gateway

import (
	"bytes"
	"context"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// TestAllocations guards what the gateway itself allocates: for the id, the exchange, the request and the headers. The
// pipeline is a fake. The race detector empties pools at random, so this holds without it only.
func TestAllocations(t *testing.T) {
	answered := events(false, llm.Event{Has: llm.Content | llm.End, Raw: bytes.Repeat([]byte("x"), 500)})
	stream := fifty()
	for _, c := range []struct {
		name string
		resp *llm.Response
		most float64
	}{{"plain", answered, 12}, {"stream", stream, 14}} {
		run := exchanger(t, sizes["10KB"], func(context.Context, *pipeline.Exchange) (*llm.Response, error) { return c.resp, nil })
		run()
		if n := testing.AllocsPerRun(200, run); n > c.most {
			t.Errorf("%s: %v allocations, limit %v", c.name, n, c.most)
		}
	}
}
