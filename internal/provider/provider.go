// Package provider calls upstream APIs: one Client per configured provider, with its connections, credential, timers and
// limits, over a pure codec that knows the vendor's JSON.
//
// It makes one attempt for each call and never retries: the one retry loop is in route. It does not choose targets and
// knows no prices.
package provider

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/secret"
)

// A Codec translates between llm and one vendor's HTTP API. Codecs are pure: they start nothing, keep nothing and retry
// nothing. What differs by provider of one dialect comes in Settings.
type Codec interface {
	// Encode makes the request, body and all, without credential. Its GetBody is set.
	Encode(ctx context.Context, s Settings, t llm.Target, r *llm.Request) (*http.Request, error)
	// Models makes the request for the list of the provider's models, which costs nothing, without credential; nil if there is none
	// at the provider's address.
	Models(ctx context.Context, s Settings) *http.Request
	// Authorize puts the credential where the vendor wants it. It is not called without a credential.
	Authorize(h http.Header, credential secret.String)
	// Decode reads a 2xx answer. A plain answer is read whole before Decode returns; of a stream nothing need have been
	// read. Errors, here and of the Answer, are *Failure, or what reading the body gave.
	Decode(resp *http.Response, s Settings, t llm.Target, r *llm.Request) (Answer, error)
	// DecodeError reads any other answer; it always returns a *Failure.
	DecodeError(resp *http.Response, s Settings) error
}

// HasNo is the error of a codec whose dialect has nothing for an operation: another target's turn.
func HasNo(op llm.Operation, dialect string) error {
	words := map[llm.Operation]string{llm.OpChat: "Chats", llm.OpEmbeddings: "Embeddings", llm.OpModerations: "Moderations", llm.OpCount: "Counts of tokens"}
	e := fault.New(fault.InvalidRequest, "%s cannot be asked of this model: %s has none.", words[op], dialect)
	e.Param, e.Hint = "model", "Ask a model of a provider that has them."
	return e
}

// A Counter is a codec whose vendor has a call that counts the tokens of a chat, which costs nothing. It encodes and decodes
// [llm.OpCount]; others need not.
type Counter interface{ Counts() bool }

// A Signer is a codec whose vendor wants requests signed as a whole, body included. Sign is called where Authorize would be, with a
// request that lacks only what every request has. Its errors are about the credential, and must not tell what it is.
type Signer interface {
	Sign(req *http.Request, s Settings, credential secret.String, now time.Time) error
}

// Authorize shows a provider the credential in the way that its codec knows.
func Authorize(c Codec, req *http.Request, s Settings, credential secret.String, now time.Time) error {
	if signer, ok := c.(Signer); ok {
		return signer.Sign(req, s, credential, now)
	}
	c.Authorize(req.Header, credential)
	return nil
}

// An Answer gives the events of one 2xx answer, one at each call. It is a pull, unlike llm.Response.Events, because the
// Client looks at the head of a stream before it hands the answer on: Client.Do returns when the first event with
// content is there (or the answer has ended), so that whatever went wrong until then is an error of Do, which another
// target may mend. The events before it are copied, held, and yielded first.
type Answer interface {
	// Next gives the next event; its slices are valid until the next call. The event with llm.End is the last: after it,
	// io.EOF. Any other end is an error.
	Next() (llm.Event, error)
	// Meta is what the provider says of the answer, as far as that has been read.
	Meta() *llm.Meta
	// Close ends the answer; the upstream is cancelled if it has not ended.
	Close() error
}

// Settings are what a codec must know of its provider.
type Settings struct {
	BaseURL *url.URL
	// APIVersion is the version that is asked for in the query, where a dialect has that; "" is none.
	APIVersion string
	// Region is the one that requests are signed for, where a vendor wants that; else "".
	Region string
	// StreamUsage is false for servers that refuse stream_options.
	StreamUsage bool
	// ServiceTiers says that service_tier is passed on.
	ServiceTiers bool
	// Traits gives what is known of the provider's models, by their names; nil knows nothing. Takes is added to all of them.
	Traits func(model string) llm.Traits
	Takes  llm.Takes
	// MaxBody caps a plain answer and MaxEvent one event of a stream, in decoded bytes.
	MaxBody, MaxEvent int64
}

// TraitsOf is what is known of a model.
func (s Settings) TraitsOf(model string) llm.Traits {
	var t llm.Traits
	if s.Traits != nil {
		t = s.Traits(model)
	}
	t.Takes |= s.Takes
	return t
}

// Timeouts are the four timers of a try. Each that fires is named in the error.
type Timeouts struct {
	Connect    time.Duration `yaml:"connect" doc:"dialing and TLS"`
	FirstToken time.Duration `yaml:"first_token" doc:"from dispatch to the first content, headers included; of a plain answer, to the whole of it"`
	Gap        time.Duration `yaml:"gap" doc:"between two events after that"`
	Total      time.Duration `yaml:"total" doc:"the whole try"`
}

// A Reason says in one word why a try failed.
type Reason string

// The reasons.
const (
	ReasonConnect      Reason = "connect_error"
	ReasonConnectTimer Reason = "connect_timeout"
	ReasonFirstToken   Reason = "first_token_timeout"
	ReasonGap          Reason = "gap_timeout"
	ReasonTotal        Reason = "total_timeout"
	ReasonStatus       Reason = "status" // the provider answered with an error status
	ReasonCut          Reason = "cut"    // the connection broke, or the answer ended before its end
	ReasonGarbage      Reason = "garbage"
	ReasonEmpty        Reason = "empty"   // whole, and nothing in it
	ReasonInBand       Reason = "in_band" // an error object inside a 200
	ReasonTooLarge     Reason = "too_large"
	ReasonCredential   Reason = "credential"  // Penstock's own credential is missing, unreadable or refused
	ReasonUnsupported  Reason = "unsupported" // the request asks for what cannot be said in the provider's dialect; it was not called
	ReasonCanceled     Reason = "canceled"
)

// A Class says what a provider's refusal is about, where that decides what may be done next.
type Class string

// The classes. "" is none of them.
const (
	ClassContextLength Class = "context_length"  // the prompt, or what it asks for, is longer than the model takes
	ClassContentPolicy Class = "content_policy"  // the provider will not work on what was asked
	ClassQuota         Class = "quota_exhausted" // the account has no money or allowance left: waiting does not help
	ClassCredential    Class = "credential"      // the credential is unknown, expired or revoked
	ClassPermission    Class = "permission"      // the credential is known, and may not do this
)

// A Failure is how a try failed.
type Failure struct {
	Reason Reason
	Status int // the provider's, 0 if it gave none
	// Message is one line for the caller: no host names, no credentials. "sent no first token in 120 s".
	Message string
	// Timer is the timer that fired, as in the configuration: "first_token"; "" for other failures.
	Timer string
	// Code, Param and Body are the provider's own error, redacted; Body is the error object in the OpenAI dialect.
	Code, Param string
	Body        []byte
	// UpstreamID is the provider's own id of the call, "" if it gave none.
	UpstreamID string
	// Class says more about a refusal where it is known, "" for all others.
	Class      Class
	RetryAfter time.Duration
	// Limits are the provider's rate limits, as far as it told of them.
	Limits llm.Limits
	// NothingBilled says that there is evidence that the provider billed nothing.
	NothingBilled bool
	Err           error // for the operator
}

// Error gives the reason and the cause.
func (f *Failure) Error() string {
	s := string(f.Reason) + ": " + f.Message
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// StatusOverloaded is a status that some vendors have for being overloaded, and HTTP has not.
const StatusOverloaded = 529

// Overloaded reports whether the provider said, before it began to answer, that it has too much to do.
func (f *Failure) Overloaded() bool {
	return f.Status == http.StatusServiceUnavailable || f.Status == StatusOverloaded
}

// Fallback reports whether another target may still answer: not if the request itself was refused, or the caller left.
func (f *Failure) Fallback() bool {
	switch f.Reason {
	case ReasonCanceled, ReasonCredential:
		return false
	case ReasonStatus:
		if f.Class == ClassQuota {
			return true // whatever its status: another account may have some
		}
		switch f.Status {
		case http.StatusRequestTimeout, http.StatusConflict, http.StatusFailedDependency, http.StatusTooManyRequests:
			return true // of 424, Bedrock's for a model that failed, the request is not to blame either
		}
		return f.Status >= 500
	}
	return true
}
