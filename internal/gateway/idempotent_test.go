package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/idempotency"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/seal"
)

// onceStore knows one key.
type onceStore struct {
	idempotency.Store
	mu  sync.Mutex // guards row
	row *idempotency.Row
}

func (s *onceStore) ClaimKey(_ context.Context, r idempotency.Row, _, _ time.Duration) (idempotency.Row, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.row != nil {
		return *s.row, false, nil
	}
	s.row = &r
	return idempotency.Row{}, true, nil
}

func (s *onceStore) SettleKey(_ context.Context, r idempotency.Row) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.row.State, s.row.DataKey, s.row.Sealed = r.State, r.DataKey, r.Sealed
	return nil
}

// TestLeaversWithAKey: what a client that left is not there for is gathered to its end, and kept; if that takes longer than anybody
// waits, nobody knows how it would have ended. It is not kept as an answer that says that the client left: whoever repeats the call
// did not.
func TestLeaversWithAKey(t *testing.T) {
	t.Parallel()
	ring, _, err := seal.Open(filepath.Join(t.TempDir(), "keyring.json"))
	if err == nil {
		err = ring.EnsureKey(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		length time.Duration // of the answer, from when its client leaves
		stream bool
		want   string
	}{
		"a stream that ends":           {50 * time.Second, true, "200 data: 1\n\ndata: [DONE]\n\n"},
		"a stream that outstays":       {70 * time.Second, true, `409 {"error":{"message":"How the first call`},
		"a plain answer that outstays": {70 * time.Second, false, `409 {"error":{"message":"How the first call`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := &onceStore{}
				w := unheard(t, idempotency.Stage(func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
					x.Tries = []pipeline.Try{{Outcome: pipeline.Unknown}}
					return response(c.stream, func(yield func(llm.Event, error) bool) {
						if c.stream && !yield(chunk("1", false), nil) {
							return
						}
						select {
						case <-time.After(time.Second + c.length):
							yield(done, nil)
						case <-ctx.Done():
							yield(llm.Event{}, context.Cause(ctx))
						}
					}), nil
				}))
				var err error
				w.o.Once, err = idempotency.NewKeeper(idempotency.Options{Store: store, Ring: ring, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
				if err != nil {
					t.Fatal(err)
				}
				client, leave := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, leave)
				r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(chat))
				r.Header.Set("Authorization", "Bearer "+good)
				r.Header.Set("Idempotency-Key", "k")
				w.ServeHTTP(newTape(), r.WithContext(client))
				again := w.chat(newTape(), "Idempotency-Key", "k")
				if got := fmt.Sprint(again.status, " ", again.text()); !strings.HasPrefix(got, c.want) {
					t.Errorf("a repeat: %s", got)
				}
			})
		})
	}
}
