package doctor

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/server"
)

// upstreams asks each provider for its list of models, which costs nothing, all at once.
func (e *exam) upstreams(ctx context.Context) {
	way, err := server.WayOut(e.cfg)
	if err != nil {
		e.add(Fail, "upstream", "mend egress in the file", "no provider can be reached: %v", err)
		return
	}
	names := slices.Sorted(maps.Keys(e.cfg.Providers))
	exams := make([]exam, len(names)) // each its own, so that findings keep their order
	var all sync.WaitGroup
	for i, name := range names {
		exams[i] = exam{o: e.o, cfg: e.cfg}
		all.Go(func() {
			p := e.cfg.Providers[name]
			for _, ref := range p.References() {
				label := name
				if len(p.Credentials) > 1 {
					label += " with " + refName(ref)
				}
				exams[i].upstream(ctx, way, label, ref, p)
			}
			if len(p.References()) == 0 {
				exams[i].upstream(ctx, way, name, "", p)
			}
		})
	}
	all.Wait()
	if t, ok := way.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
	for i := range exams {
		e.findings = append(e.findings, exams[i].findings...)
	}
}

// upstream asks one provider, with the credential that ref names, "" for none.
func (e *exam) upstream(ctx context.Context, way http.RoundTripper, name, ref string, p provider.Config) {
	base, err := p.Base()
	if err != nil {
		e.add(Skip, "upstream", "", "%s: %v", name, err)
		return
	}
	codec := server.Codec(p.Dialect)
	if codec == nil {
		e.add(Skip, "upstream", "", "%s: dialect %q is not in this version", name, p.Dialect)
		return
	}
	settings := provider.Settings{BaseURL: base, APIVersion: p.APIVersion, Region: p.SigningRegion()}
	req := codec.Models(ctx, settings)
	listed := req != nil
	if !listed { // any answer tells that it can be reached, and what time it is there
		req = provider.Get(ctx, settings, "/", http.Header{})
	}
	req.Header.Set("User-Agent", "penstock")
	if ref != "" {
		credential, err := e.cfg.Resolver().Resolve(ref)
		if err != nil {
			e.add(Fail, "upstream", putKey, "%s: %v", name, err)
			return
		}
		if err := provider.Authorize(codec, req, settings, credential, e.o.Now()); err != nil {
			e.add(Fail, "upstream", putKey, "%s: the credential in %s: %v", name, refName(ref), err)
			return
		}
	}
	began := time.Now()
	resp, err := way.RoundTrip(req)
	if err != nil {
		e.add(Fail, "upstream", "check base_url, the network, egress.proxy and egress.ca; calls go to the model's next target meanwhile",
			"%s cannot be reached at %s: %v", name, base.Host, err)
		return
	}
	took := time.Since(began)
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) // only its head matters
	_ = resp.Body.Close()
	if listed {
		e.answered(name, base, ref, resp, took)
	} else {
		e.add(OK, "upstream", "", "%s (%s) answers in %s; nothing is free to ask there, so the credential was not tried", name, base.Host,
			figure.Duration(took.Round(time.Millisecond)))
	}
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		end := resp.TLS.PeerCertificates[0].NotAfter
		if end.Sub(e.o.Now()) < 7*day { // theirs to renew, and most are young
			e.certificate(name, "tell whoever runs "+base.Host, end)
		}
	}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		// It has whole seconds, and was written at some moment of the call.
		offset := at.Add(500 * time.Millisecond).Sub(began.Round(0).Add(took / 2))
		if within := took/2 + 500*time.Millisecond; offset.Abs() > maxOffset+within {
			e.clock("the clock of "+name, offset, within)
		}
	}
}

// putKey is what to do about a credential that is not there.
const putKey = "put a key where the reference in the file points; it is read again by itself"

// answered says what an answer to the question for models means.
func (e *exam) answered(name string, base *url.URL, ref string, resp *http.Response, took time.Duration) {
	where := fmt.Sprintf("%s (%s)", name, base.Host)
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		what := "it wants a credential, and none is set"
		if ref != "" {
			what = "the credential in " + refName(ref) + " is refused"
		}
		e.add(Fail, "upstream", "put a working key there; it is read again by itself", "%s: %d, %s", where, code, what)
	case code == http.StatusTooManyRequests:
		e.add(Warn, "upstream", "ask the provider for a higher limit, or add a target", "%s: 429, at its rate limit", where)
	case code >= 500:
		e.add(Warn, "upstream", "look at the provider's status page", "%s: it answers %d", where, code)
	case code >= 300 && code < 400:
		e.add(Warn, "upstream", "write the address that it leads to as base_url: redirects are never followed", "%s: it redirects (%d)", where, code)
	case code >= 400:
		e.add(Warn, "upstream", "if calls fail, check that base_url ends where the vendor's SDK has it end", "%s: reached; it has no list of models (%d)", where, code)
	default:
		e.add(OK, "upstream", "", "%s answers in %s", where, figure.Duration(took.Round(time.Millisecond)))
	}
}

// refName shows where a credential is from; a literal one, which the file's check refuses, is not shown.
func refName(ref string) string {
	if strings.HasPrefix(ref, "env:") || strings.HasPrefix(ref, "file:") {
		return ref
	}
	return "the file"
}
