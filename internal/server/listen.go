package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/config"
)

// listen opens an address behind a door, with TLS if the section names a certificate.
func listen(ctx context.Context, d *door, address string, t config.TLS, resolve config.Resolver, log *slog.Logger) (net.Listener, error) {
	var lc net.ListenConfig
	opened, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err // it names the address
	}
	l, ok := opened.(*net.TCPListener)
	if !ok { // it is, for the network is tcp
		return nil, errors.Join(fmt.Errorf("listen on %s: it is a %T", address, opened), opened.Close())
	}
	d.TCPListener = l
	if !t.On() {
		return screened{d}, nil
	}
	c := &certificates{section: t, resolve: resolve, log: log}
	if _, err := c.current(time.Now()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return newGreeter(d, &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.current(time.Now())
		},
	}, log), nil
}

// certificates are a listener's certificate and authorities, read again when their files change.
type certificates struct {
	section config.TLS
	resolve config.Resolver
	log     *slog.Logger

	mu     sync.Mutex // guards the fields below
	looked time.Time
	pem    [3]string
	config *tls.Config
	told   string // what was logged of files that cannot be used, "" if they can
}

// lookEvery bounds how old a certificate in use may be.
const lookEvery = time.Second

// current is the configuration of this moment. If the files have become unusable, the last good ones stay in use.
func (c *certificates) current(now time.Time) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config != nil && now.Sub(c.looked) < lookEvery {
		return c.config, nil
	}
	c.looked = now
	next, pem, err := c.load()
	switch {
	case err != nil && c.config == nil:
		return nil, err
	case err != nil:
		if c.told != err.Error() {
			c.told = err.Error()
			c.log.Error("certificate cannot be read again; the last good one stays in use", "error", err)
		}
		return c.config, nil
	case pem != c.pem:
		if c.config != nil {
			c.log.Info("certificate read again", "cert", c.section.Cert)
		}
		c.config, c.pem = next, pem
	}
	c.told = ""
	return c.config, nil
}

func (c *certificates) load() (*tls.Config, [3]string, error) {
	var pem [3]string
	for i, ref := range [...]string{c.section.Cert, c.section.Key, c.section.ClientCA} {
		if ref == "" {
			continue
		}
		s, err := c.resolve.Resolve(ref)
		if err != nil {
			return nil, pem, err
		}
		pem[i] = s.Reveal()
	}
	pair, err := tls.X509KeyPair([]byte(pem[0]), []byte(pem[1]))
	if err != nil {
		return nil, pem, fmt.Errorf("certificate %s with key %s: %w", c.section.Cert, c.section.Key, err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{pair}}
	if pem[2] != "" {
		out.ClientCAs = x509.NewCertPool()
		if !out.ClientCAs.AppendCertsFromPEM([]byte(pem[2])) {
			return nil, pem, fmt.Errorf("client_ca %s holds no certificate", c.section.ClientCA)
		}
		out.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return out, pem, nil
}

// serve serves until the server is shut down.
func serve(h *http.Server, l net.Listener) error {
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
