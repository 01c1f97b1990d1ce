package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/server"
)

// An adminFlags says where the control plane is and how to prove who is asking.
type adminFlags struct {
	url     string
	keyFile string
	file    string
	data    string
	json    bool
	tls     tlsFlags
}

// tlsFlags say how a control plane that speaks TLS is known, and how it knows who calls.
type tlsFlags struct{ ca, cert, key string }

// of fills what no flag says from the environment.
func (f tlsFlags) of(a *app) tlsFlags {
	for _, s := range []struct {
		value *string
		name  string
	}{{&f.ca, "PENSTOCK_ADMIN_CA"}, {&f.cert, "PENSTOCK_ADMIN_CERT"}, {&f.key, "PENSTOCK_ADMIN_CERT_KEY"}} {
		if *s.value == "" {
			*s.value, _ = a.env(s.name)
		}
	}
	return f
}

// transport gives the way to a control plane, nil for the usual one. trusted are more certificates that are known to be its
// own, in PEM.
func (f tlsFlags) transport(trusted []byte) (http.RoundTripper, error) {
	if f == (tlsFlags{}) && trusted == nil {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	roots.AppendCertsFromPEM(trusted)
	c.RootCAs = roots
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fail(exitUsage, "name a file with certificates in PEM", "--admin-ca cannot be read: %v", err)
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fail(exitUsage, "name a file with certificates in PEM", "--admin-ca %s holds no certificate", f.ca)
		}
	}
	switch {
	case (f.cert == "") != (f.key == ""):
		return nil, fail(exitUsage, "give both, or none", "--admin-cert and --admin-cert-key belong together")
	case f.cert != "":
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fail(exitUsage, "name the certificate and its private key, both in PEM", "--admin-cert cannot be used: %v", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: c, ForceAttemptHTTP2: true}, nil
}

func (f *adminFlags) add(c *cobra.Command) {
	p := c.PersistentFlags()
	p.StringVarP(&f.file, "config", "c", "", "configuration file of the Penstock to talk to")
	p.StringVar(&f.data, "data", "", "data directory of the Penstock to talk to (default: the file's, else penstock-data)")
	p.StringVar(&f.url, "admin-url", "", "address of the control plane (PENSTOCK_ADMIN_URL; default: that of the data directory)")
	p.StringVar(&f.keyFile, "admin-key-file", "", "file with an admin key (or the key in PENSTOCK_ADMIN_KEY; default: <data>/admin.key)")
	p.StringVar(&f.tls.ca, "admin-ca", "", "file with authorities in PEM that the control plane's certificate may be of, beside the system's (PENSTOCK_ADMIN_CA)")
	p.StringVar(&f.tls.cert, "admin-cert", "", "file with a client certificate in PEM, for a control plane that asks for one (PENSTOCK_ADMIN_CERT)")
	p.StringVar(&f.tls.key, "admin-cert-key", "", "file with its private key in PEM (PENSTOCK_ADMIN_CERT_KEY)")
	p.BoolVar(&f.json, "json", false, "print JSON")
}

// An adminClient calls the admin API.
type adminClient struct {
	base string
	key  string
	http *http.Client
}

// client finds the control plane: flags, then environment, then the data directory, where a running Penstock leaves its
// address and key.
func (a *app) client(ctx context.Context, f *adminFlags) (*adminClient, error) {
	c := &adminClient{base: f.url, http: &http.Client{Timeout: time.Minute}}
	if c.base == "" {
		c.base, _ = a.env("PENSTOCK_ADMIN_URL")
	}
	if f.keyFile == "" {
		c.key, _ = a.env("PENSTOCK_ADMIN_KEY")
	}
	var trusted []byte
	if c.base == "" || (c.key == "" && f.keyFile == "") {
		var err error
		if trusted, err = a.discover(ctx, f, c); err != nil {
			return nil, err
		}
	}
	way, err := f.tls.of(a).transport(trusted)
	if err != nil {
		return nil, err
	}
	c.http.Transport = way
	if c.key == "" {
		b, err := os.ReadFile(f.keyFile)
		if err != nil {
			return nil, fail(exitUnreachable, "give the file with --admin-key-file, or the key in PENSTOCK_ADMIN_KEY",
				"The admin key cannot be read: %v", err)
		}
		c.key = strings.TrimSpace(string(b))
	}
	c.base = strings.TrimRight(c.base, "/")
	return c, nil
}

// discover reads from the configuration what flags do not say. trusted is the control plane's own certificate in PEM, nil if
// there is none in a file.
func (a *app) discover(ctx context.Context, f *adminFlags, c *adminClient) (trusted []byte, err error) {
	flags := map[string]string{}
	if f.data != "" {
		flags["data"] = f.data
	}
	cfg, err := config.Load(ctx, config.Options{File: f.file, Env: a.env, Flags: flags})
	if err != nil {
		return nil, fail(exitConfig, "", "%v", err)
	}
	if c.base == "" {
		running, err := server.ReadPresence(cfg.Data)
		if err != nil { // its key must not be sent to whoever has the usual address
			return nil, fail(exitUnreachable, "start it with: penstock serve; or name another with -c, --data or --admin-url", "No Penstock serves from %s", cfg.Data)
		}
		c.base = running.AdminURL
	}
	if cert := cfg.AdminCertificate(); cert != "" {
		trusted, _ = os.ReadFile(cert) // who cannot read it may still know its authority
	}
	if c.key == "" && f.keyFile == "" {
		f.keyFile = filepath.Join(cfg.Data, "admin.key")
	}
	return trusted, nil
}

// call sends a request and decodes the answer into out, unless that is nil.
func (c *adminClient) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.send(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return lost(fail(exitUnreachable, "retry", "The answer of %s broke off: %v", c.base, err))
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		return lost(refusal(c.base, resp.StatusCode, b))
	}
	if resp.StatusCode/100 != 2 {
		return refusal(c.base, resp.StatusCode, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fail(exitFailure, "is it a Penstock of this version?", "The answer of %s is not understood: %v", c.base, err)
	}
	return nil
}

// lost marks an error of which it is not known whether what was asked for is done all the same.
func lost(err error) error {
	var e *exitError
	if errors.As(err, &e) {
		e.lost = true
	}
	return err
}

// callAgain is call with POST for what does nothing when it is done again: it is sent once more if the answer was lost.
func (c *adminClient) callAgain(ctx context.Context, path string, in, out any) error {
	err := c.call(ctx, http.MethodPost, path, nil, in, out)
	var e *exitError
	if errors.As(err, &e) && e.lost && ctx.Err() == nil {
		err = c.call(ctx, http.MethodPost, path, nil, in, out)
	}
	return err
}

// patiently is a client that waits however long an answer takes.
func (c *adminClient) patiently() *adminClient {
	patient, by := *c, *c.http
	by.Timeout, patient.http = 0, &by
	return &patient
}

// stream sends a GET and gives the answer as it comes, however long that takes.
func (c *adminClient) stream(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	resp, err := c.streamOf(ctx, http.MethodGet, path, query)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// read is call for what may take long.
func (c *adminClient) read(ctx context.Context, path string, query url.Values, out any) error {
	body, err := c.stream(ctx, path, query)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.UnmarshalRead(body, out); err != nil {
		return fail(exitUnreachable, "retry", "The answer of %s broke off: %v", c.base, err)
	}
	return nil
}

// streamOf is stream with another method, and with the head of the answer.
func (c *adminClient) streamOf(ctx context.Context, method, path string, query url.Values) (*http.Response, error) {
	c = c.patiently()
	resp, err := c.send(ctx, method, path, query, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fail(exitUnreachable, "retry", "The answer of %s broke off: %v", c.base, err)
	}
	return nil, refusal(c.base, resp.StatusCode, b)
}

func (c *adminClient) send(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	target := c.base + "/admin/v1" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fail(exitUsage, "write it as http://HOST:PORT", "%q is not an address", c.base)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		failed := fail(exitUnreachable, "start it with: penstock serve; or give its address with --admin-url",
			"No Penstock answers at %s: %v", c.base, err)
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return nil, failed
		}
		return nil, lost(failed)
	}
	return resp, nil
}

// refusal turns the API's error into ours.
func refusal(base string, status int, body []byte) error {
	var e struct {
		Error struct{ Code, Message, Hint string }
	}
	if json.Unmarshal(body, &e, json.MatchCaseInsensitiveNames(true)) != nil || e.Error.Message == "" {
		return fail(exitUnreachable, "is --admin-url the control plane?", "%s answered %d", base, status)
	}
	code := exitFailure
	if status == http.StatusUnauthorized || status == http.StatusForbidden || status >= 500 {
		code = exitUnreachable
	}
	return &exitError{code: code, what: clean(e.Error.Message), hint: clean(e.Error.Hint), status: status}
}

// A page is a list answer.
type page[T any] struct {
	Data []T    `json:"data"`
	Next string `json:"next"`
}

// list reads a list to its end.
func list[T any](ctx context.Context, c *adminClient, path string, query url.Values) ([]T, error) {
	all := []T{}
	for {
		var p page[T]
		if err := c.call(ctx, http.MethodGet, path, query, nil, &p); err != nil {
			return nil, err
		}
		all = append(all, p.Data...)
		if p.Next == "" {
			return all, nil
		}
		if query == nil {
			query = url.Values{}
		}
		query.Set("after", p.Next)
	}
}

// queryOf is a query of names and values, one behind the other; what is empty is not asked for.
func queryOf(pairs ...string) url.Values {
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	return query
}
