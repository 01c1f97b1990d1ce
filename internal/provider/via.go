package provider

import (
	"net/http"
	"time"
)

// A Via says how one try goes out. The zero Via is with the first credential, to the base URL's own host, by the configured timers.
type Via struct {
	// Credential is an index into the provider's credentials; one that is not there, after a reload perhaps, is the first.
	Credential int
	// Endpoint is the host and port that is dialled; "" is the base URL's. URL, Host header and the name that a certificate is
	// checked against stay the base URL's.
	Endpoint string
	// FirstToken replaces the timer first_token of this try, if it is above 0 and shorter.
	FirstToken time.Duration
	// Unfiltered makes a failure of class [ClassContentPolicy] of an answer that has nothing in it because the provider's filter
	// was in the way. Without it, that is an answer, as the provider has it.
	Unfiltered bool
}

// timers are those of a try.
func (v Via) timers(configured Timeouts) Timeouts {
	if v.FirstToken > 0 && (configured.FirstToken <= 0 || v.FirstToken < configured.FirstToken) {
		configured.FirstToken = v.FirstToken
	}
	return configured
}

// direct sends a request to an endpoint. It is the last that is done to one: what is signed of it is the base URL's.
func (v Via) direct(req *http.Request) {
	if v.Endpoint != "" {
		req.Host, req.URL.Host = req.URL.Host, v.Endpoint
	}
}
