package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/config"
)

func newLookout(t *testing.T) *lookout {
	t.Helper()
	l := &lookout{Server: &Server{
		o:      Options{Log: slog.New(slog.DiscardHandler)},
		alerts: alert.New(alert.Options{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}),
		offset: prometheus.NewGauge(prometheus.GaugeOpts{Name: "offset"}),
	}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.alerts.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

// open are the kinds and objects of the open alerts, after looking for a while.
func (l *lookout) open(look func()) []string {
	for range 31 {
		look()
		time.Sleep(lookOutEvery)
	}
	var list []string
	for _, a := range l.alerts.Open() {
		list = append(list, string(a.Kind)+" "+a.Object)
	}
	slices.Sort(list)
	return list
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: open are %q, want %q", what, got, want)
	}
}

// certificate writes one that ends at an instant.
func certificate(t *testing.T, end time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.AddDate(-1, 0, 0), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tls.crt")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file:" + path
}

func TestLookoutAtCertificates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			left time.Duration
			want []string
		}{
			{40 * day, nil}, {20 * day, []string{"certificate_expiring tls (30 days)"}}, {3 * day, []string{"certificate_expiring tls (7 days)"}},
			{12 * time.Hour, []string{"certificate_last_day tls"}}, {-day, []string{"certificate_last_day tls"}},
		} {
			section := config.TLS{Cert: certificate(t, time.Now().Add(tt.left))}
			l := newLookout(t)
			expect(t, tt.left.String(), l.open(func() { l.lookAtCertificate("tls", section, config.Resolver{}, time.Now()) }), tt.want...)
		}
		// One that cannot be read says nothing; the one before it stays in use. A new one resolves the alert.
		l := newLookout(t)
		old, next := config.TLS{Cert: certificate(t, time.Now().Add(3*day))}, config.TLS{Cert: certificate(t, time.Now().Add(90*day))}
		l.open(func() { l.lookAtCertificate("tls", old, config.Resolver{}, time.Now()) })
		expect(t, "unreadable", l.open(func() { l.lookAtCertificate("tls", config.TLS{Cert: "file:/nowhere"}, config.Resolver{}, time.Now()) }),
			"certificate_expiring tls (7 days)")
		l.open(func() { l.lookAtCertificate("tls", next, config.Resolver{}, time.Now()) })
		expect(t, "renewed", l.open(func() { l.lookAtCertificate("tls", next, config.Resolver{}, time.Now()) }))
	})
}

func TestLookoutAtTheDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := &config.File{Data: t.TempDir()}
		l := newLookout(t)
		expect(t, "enough", l.open(func() { l.lookAtDisk(cfg) }))
		cfg.Alerts.DiskFree = 1 << 60
		expect(t, "little", l.open(func() { l.lookAtDisk(cfg) }), "disk_low "+cfg.Data)
		cfg.Alerts.DiskFree = 0
		l.open(func() { l.lookAtDisk(cfg) })
		expect(t, "freed", l.open(func() { l.lookAtDisk(cfg) }))
	})
}

func TestLookoutAtDescriptors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &door{most: 100}
		l := newLookout(t)
		d.open.Store(89)
		expect(t, "89 of 100", l.open(func() { l.lookAtDoor(d) }))
		d.open.Store(90)
		expect(t, "90 of 100", l.open(func() { l.lookAtDoor(d) }), "descriptors_low ")
		d.open.Store(1)
		l.open(func() { l.lookAtDoor(d) })
		l.open(func() { l.lookAtDoor(d) })
		expect(t, "calm", l.open(func() { l.lookAtDoor(d) }))
		expect(t, "dropped", l.open(func() { d.dropped.Add(1); l.lookAtDoor(d) }), "descriptors_low ")
	})
}

// TestControl52: a clock that differs from the database's by more than a second is told of; what a slow answer leaves
// uncertain is not.
func TestControl52ClocksApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLookout(t)
		at := func(offset, within time.Duration, err error) func() {
			return func() { l.lookAtClocks(offset, within, err) }
		}
		expect(t, "close", l.open(at(900*time.Millisecond, 0, nil)))
		expect(t, "slow", l.open(at(3*time.Second, 2500*time.Millisecond, nil)))
		expect(t, "away", l.open(at(0, 0, errors.New("away"))))
		expect(t, "apart", l.open(at(-90*time.Second, time.Millisecond, nil)), "clock_apart ")
		l.open(at(0, 0, nil))
		l.open(at(0, 0, nil))
		expect(t, "set right", l.open(at(0, 0, nil)))
	})
}
