package provider

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/http"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/secret"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// Defaults of Options.MaxBody and Options.MaxEvent, in bytes. Embeddings of large batches and images in answers are
// below the first, tool calls that come in one event below the second.
const (
	DefaultMaxBody  = 64 << 20
	DefaultMaxEvent = 8 << 20
)

// Options are what a Client works with besides its configuration.
type Options struct {
	Codec Codec
	// Resolve reads what a reference stands for. It is asked once a second at most, and its errors are shown to operators.
	Resolve func(ref string) (secret.String, error)
	Egress  Egress
	// Defaults are the timers that the configuration leaves unset. A timer that is 0 here too does not run.
	Defaults Timeouts
	// Traits gives what is known of the provider's models, by their names; nil knows nothing.
	Traits func(model string) llm.Traits
	// MaxBody caps a plain answer and MaxEvent one event of a stream, in decoded bytes; 0 takes the defaults.
	MaxBody, MaxEvent int64
	// MaxIdle is how many connections to one host are kept while no call uses them; 0 takes the default, 512.
	MaxIdle int
	// Resolver finds servers in the DNS where the configuration says so; nil is the system's.
	Resolver Resolver
	// DialContext replaces the network, for tests and simulated providers; nil dials TCP.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Egress is the way out of the house.
type Egress struct {
	// Proxy is the URL of a proxy for all requests, or a reference to it; "" is none. http:// and https:// proxies, with a
	// user and a password in the URL if they want one.
	Proxy string
	// NoProxy lists hosts that are reached directly, as the variable NO_PROXY does. Loopback always is.
	NoProxy string
	// Roots are the authorities that upstreams' certificates are checked against; nil takes the system's.
	Roots *x509.CertPool
}

// A Client calls one provider. It is safe for concurrent use.
type Client struct {
	name        string
	codec       Codec
	settings    Settings
	timeouts    Timeouts
	credentials []*reference // none: none is sent
	rt          http.RoundTripper
	http2       bool
	close       func()
	dialer      *dialer
	addr        string     // of the base URL: host and port
	discovery   *discovery // nil: there are no servers but that
	pool        *pool      // nil with HTTP/2
}

// New makes a client. It opens no connection and reads no secret, so a provider that is not there yet, or a credential
// that has not been mounted yet, is an error of the calls and not of the start. cfg must have passed Validate.
func New(name string, cfg Config, o Options) (*Client, error) {
	base, err := cfg.Base()
	if err != nil {
		return nil, fmt.Errorf("provider %s: %w", name, err)
	}
	if o.Resolve == nil && (len(cfg.References()) > 0 || isReference(o.Egress.Proxy)) {
		return nil, fmt.Errorf("provider %s: nothing reads references", name)
	}
	if err := cfg.checkProxy(o.Egress); err != nil {
		return nil, err
	}
	takes, _ := llm.TakesOf(cfg.Takes) // Validate knows them
	c := &Client{
		name: name, codec: o.Codec, timeouts: cfg.Timeouts.Or(o.Defaults), http2: cfg.HTTP2,
		settings: Settings{
			BaseURL: base, APIVersion: cfg.APIVersion, Region: cfg.SigningRegion(), StreamUsage: cfg.StreamUsage == nil || *cfg.StreamUsage, ServiceTiers: cfg.ServiceTiers,
			Traits: o.Traits, Takes: takes, MaxBody: o.MaxBody, MaxEvent: o.MaxEvent,
		},
	}
	if c.settings.MaxBody <= 0 {
		c.settings.MaxBody = DefaultMaxBody
	}
	if c.settings.MaxEvent <= 0 {
		c.settings.MaxEvent = DefaultMaxEvent
	}
	for _, ref := range cfg.References() {
		c.credentials = append(c.credentials, &reference{ref: ref, resolve: o.Resolve})
	}
	c.addr, c.discovery = hostPort(base), newDiscovery(cfg, o.Resolver)
	c.dialer = newDialer(o, c.timeouts.Connect)
	c.dialer.host = base.Hostname()
	if c.discovery != nil {
		c.dialer.egress = nil // checkProxy has seen that there is none for these
	}
	c.connectBy(c.dialer, o.MaxIdle)
	return c, nil
}

// Counts reports whether the provider counts the tokens of chats for nothing.
func (c *Client) Counts() bool {
	counter, ok := c.codec.(Counter)
	return ok && counter.Counts()
}

func newDialer(o Options, timeout time.Duration) *dialer {
	d := &dialer{timeout: timeout, dial: o.DialContext, tls: newTLSConfig(o.Egress.Roots)}
	if d.dial == nil {
		d.dial = new(net.Dialer).DialContext
	}
	if o.Egress.Proxy != "" {
		d.egress = &egress{proxy: &reference{ref: o.Egress.Proxy, resolve: o.Resolve}, noProxy: o.Egress.NoProxy}
		if !isReference(o.Egress.Proxy) {
			d.egress.proxy.resolve = func(url string) (secret.String, error) { return secret.New(url), nil }
		}
	}
	return d
}

func (c *Client) connectBy(d *dialer, idle int) {
	if c.http2 {
		t := newHTTP2(d)
		c.rt, c.close = t, t.CloseIdleConnections
		return
	}
	t := newTransport(d)
	if idle > 0 {
		t.idle.most = min(idle, maxIdle)
	}
	c.rt, c.close, c.pool = t, t.CloseIdleConnections, &t.idle
}

// retain has connections to no other servers than some, and to the base URL's own host, be kept.
func (c *Client) retain(addrs []string) {
	keep := make(map[string]bool, len(addrs)+1)
	keep[c.addr] = true
	for _, addr := range addrs {
		keep[addr] = true
	}
	c.dialer.distances.retain(keep)
	if c.pool != nil {
		c.pool.retain(keep)
	} else {
		c.close() // HTTP/2 does not say where idle connections lead; those in use stay
	}
}

// Close closes the connections that no call uses; those of calls under way close when these end.
func (c *Client) Close() { c.close() }

// Do makes one attempt. It returns when the first event with content is there, or the answer has ended, so whatever goes
// wrong before is its error, a *Failure always. What goes wrong later is the last that the events yield, a *Failure too.
//
// The answer's events must be walked, or ctx must end. Breaking off cancels the upstream at once.
func (c *Client) Do(ctx context.Context, via Via, t llm.Target, r *llm.Request) (*llm.Response, error) {
	if via.Credential < 0 || via.Credential >= len(c.credentials) {
		via.Credential = 0
	}
	credential, err := c.readCredential(via.Credential)
	if err != nil {
		return nil, err
	}
	x := &call{client: c, credential: credential}
	x.ctx, x.watch = startWatch(ctx, via.timers(c.timeouts))
	id, err := x.open(via, t, r)
	if err == nil {
		err = x.readHead()
	}
	if err == nil && via.Unfiltered {
		err = x.filtered()
	}
	if err != nil {
		failure := x.failure(err)
		failure.UpstreamID = id
		x.end()
		return nil, failure
	}
	return &llm.Response{Target: t, Stream: r.Stream, UpstreamID: id, Limits: ParseLimits(x.head, time.Now), Meta: x.answer.Meta(), Events: x.events}, nil
}

// readCredential gives a credential as it is now, the zero String if the provider needs none.
func (c *Client) readCredential(index int) (secret.String, error) {
	if len(c.credentials) == 0 {
		return secret.String{}, nil
	}
	s, err := c.credentials[index].read(time.Now())
	if _, signs := c.codec.(Signer); err == nil && !signs && !isHeaderValue(s.Reveal()) {
		err = errors.New("it has line breaks or other control characters")
	}
	if err != nil {
		return secret.String{}, c.unusable(index, err)
	}
	return s, nil
}

// Credentials is how many credentials the provider has. The first is index 0.
func (c *Client) Credentials() int { return len(c.credentials) }

// CredentialMark is a number that changes when what a credential's reference stands for does; 0 while that cannot be read. It says
// nothing of the value, and means nothing to another process. It is the mark of at most a second ago.
func (c *Client) CredentialMark(index int) uint64 {
	if index < 0 || index >= len(c.credentials) {
		return 0
	}
	s, err := c.credentials[index].read(time.Now())
	if err != nil {
		return 0
	}
	return maphash.String(marks, s.Reveal()) | 1
}

// marks makes the marks of this process its own.
var marks = maphash.MakeSeed()

// unusable is the failure that the credential is not there, or not what the provider's dialect wants.
func (c *Client) unusable(index int, err error) *Failure {
	at := "credential"
	if len(c.credentials) > 1 {
		at = fmt.Sprintf("credentials[%d]", index)
	}
	return &Failure{
		Reason: ReasonCredential, Class: ClassCredential, NothingBilled: true, Message: "was not called: Penstock's credential for it cannot be read",
		Err: fmt.Errorf("providers.%s.%s: %w", c.name, at, err),
	}
}

// prepare makes the HTTP request. Whatever the codec does, it goes to the configured host: the credential is for no
// other.
func (c *Client) prepare(ctx context.Context, index int, credential secret.String, t llm.Target, r *llm.Request) (*http.Request, error) {
	req, err := c.codec.Encode(ctx, c.settings, t, r)
	if err != nil {
		if _, ok := errors.AsType[*Failure](err); ok {
			return nil, err
		}
		f := &Failure{Reason: ReasonGarbage, NothingBilled: true, Message: "was not called: the request cannot be put in its dialect", Err: err}
		if told, ok := errors.AsType[*fault.Error](err); ok {
			f.Reason, f.Message = ReasonUnsupported, "was not called: "+told.Text()
		}
		return nil, f
	}
	if base := c.settings.BaseURL; req.URL.Scheme != base.Scheme || req.URL.Host != base.Host {
		return nil, &Failure{
			Reason: ReasonGarbage, NothingBilled: true, Message: "was not called: its request would have gone elsewhere",
			Err: fmt.Errorf("codec of %s wrote to another host than base_url has", c.name),
		}
	}
	if !credential.IsZero() {
		if err := Authorize(c.codec, req, c.settings, credential, time.Now()); err != nil {
			return nil, c.unusable(index, err)
		}
	}
	req.Header["User-Agent"] = userAgent
	req.Header["Accept-Encoding"] = identity
	if trace := w3c.From(ctx); !trace.IsZero() {
		trace.Write(req.Header)
	}
	return req, nil
}

// Header values that every request shares; nobody changes them.
var (
	userAgent = []string{"penstock"}
	identity  = []string{"identity"}
)
