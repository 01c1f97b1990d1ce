package provider

import (
	"context"
	"net"
	"net/http"
	"net/url"
)

// newHTTP2 is the client for providers with `http2: true`: net/http's, on our own dialer, so that timers, proxy and TLS
// are the same. It costs more CPU time than transport for every call and saves connections; some upstreams and middle
// boxes count those.
func newHTTP2(d *dialer) *http.Transport {
	config := d.tls.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	return &http.Transport{
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			w, err := d.way(&url.URL{Scheme: "https", Host: addr})
			if err != nil {
				return nil, err
			}
			limited, cancel := d.limit(ctx)
			defer cancel()
			c, err := d.open(limited, w, config)
			if err != nil {
				return nil, d.failure(ctx, limited, err)
			}
			return c.Conn, nil
		},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHead,
	}
}
