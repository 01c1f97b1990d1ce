package provider

import (
	"context"
	"io"
	"net/http"
	"time"
)

const (
	// probePatience is how long a probe may take.
	probePatience = 5 * time.Second
	// probePrivate is how often servers of one's own are probed unless the configuration says otherwise.
	probePrivate = 10 * time.Second
	// maxProbed is how much of an answer to a probe is read, so that the connection can be used again.
	maxProbed = 1 << 20
)

// ProbeEvery is how often the provider is probed, 0 for not at all: hosted APIs are only if the configuration says so, for their
// calls tell enough, and there are many of us.
func (c Config) ProbeEvery() time.Duration {
	if c.Probe == 0 && c.Private {
		return probePrivate
	}
	return c.Probe
}

// Probe asks for the list of the provider's models, which costs nothing, and says in a word what that tells against its health, as
// [Failure.Unwell] does; "" if it was answered, be it by a refusal: only 502, 503 and
// 504 say that nobody is there. endpoint is as in [Via]. asked is false if there is nothing
// that costs nothing to ask, or no credential to ask with.
func (c *Client) Probe(ctx context.Context, endpoint string) (unwell string, asked bool) {
	x := &call{client: c}
	x.ctx, x.watch = startWatch(ctx, Timeouts{Connect: c.timeouts.Connect, FirstToken: probePatience, Total: probePatience})
	defer x.end()
	req := c.codec.Models(x.ctx, c.settings)
	if req == nil {
		return "", false
	}
	credential, err := c.readCredential(0)
	if err != nil {
		return "", false
	}
	if !credential.IsZero() {
		if Authorize(c.codec, req, c.settings, credential, time.Now()) != nil {
			return "", false
		}
	}
	req.Header["User-Agent"], req.Header["Accept-Encoding"] = userAgent, identity
	Via{Endpoint: endpoint}.direct(req)
	resp, err := c.rt.RoundTrip(req)
	if err != nil {
		return x.failure(err).Unwell(), true
	}
	x.body, x.status = resp.Body, resp.StatusCode
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxProbed))
	switch {
	case resp.StatusCode == http.StatusBadGateway, resp.StatusCode == http.StatusServiceUnavailable, resp.StatusCode == http.StatusGatewayTimeout:
		return (&Failure{Reason: ReasonStatus, Status: resp.StatusCode}).Unwell(), true
	case resp.StatusCode/100 != 2: // somebody is there; other 5xx, too, may be about the list alone
	case err != nil:
		return x.failure(err).Unwell(), true
	}
	return "", true
}
