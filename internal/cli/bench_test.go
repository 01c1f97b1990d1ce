package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// What a person's own Ctrl-C ended is no failure of the other side, and plain calls have no first token.
func TestBenchInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	hits := newTally()
	hits.add(ctx, hit{took: time.Second})
	cancel()
	hits.add(ctx, hit{took: time.Second})
	hits.add(ctx, hit{err: errors.New("context canceled")})
	var out bytes.Buffer
	a := &app{out: &out, err: &out}
	if err := a.printBench(&benchFlags{}, hits, time.Second); err != nil {
		t.Errorf("%v", err)
	}
	if got := out.String(); !strings.Contains(got, "2 requests in 1.00 s") || !strings.Contains(got, "0 errors") ||
		!strings.Contains(got, "1 more were open when it was interrupted") || strings.Contains(got, "first token") {
		t.Error(got)
	}
	out.Reset()
	hits.add(t.Context(), hit{err: errors.New("500")})
	if err := a.printBench(&benchFlags{stream: true}, hits, time.Second); err == nil || !strings.Contains(out.String(), "first token") {
		t.Errorf("%v %s", err, out.String())
	}
}
