//go:build unix

package store

import (
	"errors"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/secret"
	"github.com/penstock/penstock/internal/store/pgtest"
	"github.com/penstock/penstock/internal/usage"
)

// A password that is changed while we run is used for the next connection. While only one end knows it, the store is away,
// and not damaged; at the start a wrong one is told at once.
func TestAPasswordIsRotated(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t)
	server.AskPassword(t, "penstock")
	admin := server.Database(t)
	set := func(password string) {
		pgtest.Execute(t, admin, "ALTER ROLE penstock PASSWORD '"+password+"'; "+
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'penstock'")
	}
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Execute(t, admin, "CREATE ROLE penstock LOGIN; ALTER DATABASE "+strings.TrimPrefix(u.Path, "/")+" OWNER TO penstock")
	set("first-one")
	u.User = url.User("penstock")
	var known atomic.Pointer[string]
	known.Store(new("wrong-one"))
	options := Options{Password: func() (secret.String, error) {
		if p := *known.Load(); p != "" {
			return secret.New(p), nil
		}
		return secret.String{}, errors.New("file:/db-password is empty")
	}}
	for _, start := range []string{"wrong-one", ""} {
		known.Store(&start)
		_, err := Open(t.Context(), u.String(), options)
		var e *OpenError
		if !errors.As(err, &e) || !errors.Is(err, ErrUnusable) || !strings.Contains(e.Hint, "store_password") || strings.Contains(err.Error(), "wrong-one") {
			t.Fatalf("started with %q: %v", start, err)
		}
	}
	known.Store(new("first-one"))
	s, err := Open(t.Context(), u.String(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	write := func() error { return s.AddRecords(t.Context(), "j", 1, workloads(0, 3)) }
	if err := write(); err != nil {
		t.Fatal(err)
	}
	set("second-one")
	for _, have := range []string{"first-one", ""} {
		known.Store(&have)
		var f *fault.Error
		if err := write(); !s.Away(err) || !errors.As(err, &f) || f.RetryAfter == 0 {
			t.Errorf("with %q after the server's change: %v", have, err)
		}
		if _, err := s.Sums(t.Context(), usage.Query{}); !s.Away(err) {
			t.Errorf("read with %q after the server's change: %v", have, err)
		}
	}
	known.Store(new("second-one"))
	if err := write(); err != nil {
		t.Error(err)
	}
	if _, err := s.Sums(t.Context(), usage.Query{}); err != nil {
		t.Error(err)
	}
	if _, err := Glance(t.Context(), u.String(), options); err != nil {
		t.Error(err)
	}
}

func TestConnectionsAreShared(t *testing.T) {
	t.Parallel()
	for n := leastConnections; n <= 500; n++ {
		if w, r := share(n); w+r+watchers != n || w < 2 || r < 1 {
			t.Errorf("of %d, %d write and %d read", n, w, r)
		}
	}
	if w, r := share(0); w != 4 || r != 3 {
		t.Errorf("by default %d write and %d read", w, r)
	}
}

// Whoever waits for a connection is counted, so that one sees when there are too few.
func TestWaitingForAConnectionIsCounted(t *testing.T) {
	t.Parallel()
	metrics := prometheus.NewRegistry()
	s, err := Open(t.Context(), pgtest.Database(t), Options{Connections: leastConnections, Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	only, err := s.read.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() { _, err := s.Projects(t.Context(), "", 1); read <- err }()
	for s.read.Stats().WaitCount == 0 && t.Context().Err() == nil {
		runtime.Gosched()
	}
	if err := only.Close(); err != nil {
		t.Error(err)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
	want := `
# HELP penstock_store_connection_waits_total How often somebody had to wait for a connection to the store, because all were in use.
# TYPE penstock_store_connection_waits_total counter
penstock_store_connection_waits_total{pool="read"} 1
penstock_store_connection_waits_total{pool="watch"} 0
penstock_store_connection_waits_total{pool="write"} 0
# HELP penstock_store_connections_max Most connections to the store that there may be.
# TYPE penstock_store_connections_max gauge
penstock_store_connections_max{pool="read"} 1
penstock_store_connections_max{pool="watch"} 1
penstock_store_connections_max{pool="write"} 2
`
	err = testutil.GatherAndCompare(metrics, strings.NewReader(want), "penstock_store_connection_waits_total", "penstock_store_connections_max")
	if err != nil {
		t.Error(err)
	}
}
