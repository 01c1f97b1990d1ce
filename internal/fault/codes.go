package fault

import "slices"

// A Code names one error for good: clients and runbooks may branch on it.
type Code string

// The codes. Each has an entry in the registry below and a line in docs/reference/errors.md; tests fail otherwise.
const (
	InternalError   Code = "internal_error"
	InvalidJSON     Code = "invalid_json"
	InvalidRequest  Code = "invalid_request_error"
	UnknownRoute    Code = "unknown_route"
	MethodNotAllow  Code = "method_not_allowed"
	InvalidAPIKey   Code = "invalid_api_key"
	NotAllowed      Code = "not_allowed"
	ModelNotFound   Code = "model_not_found"
	RecordNotFound  Code = "exchange_not_found"
	NotThere        Code = "not_found"
	AlreadyThere    Code = "already_exists"
	BodyTooLarge    Code = "body_too_large"
	BadEncoding     Code = "unsupported_encoding"
	SlowBody        Code = "body_timeout"
	KeysUnavailable Code = "keys_unavailable"
	StoreDown       Code = "records_unavailable"
	ShuttingDown    Code = "shutting_down"
	Overloaded      Code = "overloaded"
	ProviderRefused Code = "provider_refused"
	ProviderFailed  Code = "provider_failed"
	ProviderAuth    Code = "provider_credential_refused"
	ProviderLimited Code = "provider_rate_limited"
	StreamCut       Code = "stream_interrupted"
	TimerExpired    Code = "timeout"
	DeadlinePassed  Code = "deadline_exceeded"
	ClientGone      Code = "client_closed_request"
)

// An Entry is what the registry knows of a code.
type Entry struct {
	Kind Kind
	// Meaning is one line for the reference.
	Meaning string
	// Hint is what to do, where the error itself says nothing better. "" where no general advice holds.
	Hint string
}

var registry = map[Code]Entry{
	InternalError:   {Internal, "Penstock met an error of its own.", "Retry; if it stays, give the request id to whoever runs Penstock."},
	InvalidJSON:     {BadRequest, "The body is not strict JSON.", ""},
	InvalidRequest:  {BadRequest, "A member of the body is missing, of the wrong type or out of range.", ""},
	UnknownRoute:    {NotFound, "No such route on this listener.", "The routes are listed in docs/reference/api.md."},
	MethodNotAllow:  {BadRequest, "The route exists, with another method.", ""},
	InvalidAPIKey:   {Unauthenticated, "No key, or one that is unknown, revoked or expired.", "Check which Penstock it was made for; an operator makes one with: penstock key create --project NAME"},
	NotAllowed:      {Forbidden, "The key's role does not allow this.", ""},
	ModelNotFound:   {NotFound, "No such model for this key.", "All: GET /v1/models"},
	RecordNotFound:  {NotFound, "No such exchange for this key.", "Records appear within a second of the answer."},
	NotThere:        {NotFound, "What was named does not exist.", ""},
	AlreadyThere:    {Conflict, "The name is taken.", ""},
	BodyTooLarge:    {TooLarge, "The body is over the size limit.", ""},
	BadEncoding:     {BadRequest, "The body's Content-Encoding is not one that is read here.", "Send it plain, or with gzip."},
	SlowBody:        {Timeout, "The body did not arrive in time.", ""},
	KeysUnavailable: {Unavailable, "Keys cannot be checked at the moment.", "Your key is probably fine; retry."},
	StoreDown:       {Unavailable, "The record of the call could not be written, so the call was not made.", "Nothing was sent to a provider; retry."},
	ShuttingDown:    {Unavailable, "This Penstock is stopping.", "Retry; another one, or the next, will answer."},
	Overloaded:      {Unavailable, "As much as this Penstock may hold is in flight.", "Retry after the time given."},
	ProviderRefused: {BadRequest, "The provider refused the request as it stands.", ""},
	ProviderFailed:  {Upstream, "No provider gave a usable answer.", ""},
	ProviderAuth:    {Upstream, "The provider refused Penstock's own credential.", "An operator has to renew the credential; your key is fine."},
	ProviderLimited: {RateLimited, "Every provider that was tried is at its rate limit.", "Retry after the time given."},
	StreamCut:       {Upstream, "The provider ended the stream before its end.", "The text so far is incomplete."},
	TimerExpired:    {Timeout, "One of the four timers ran out: connect, first_token, gap, total.", ""},
	DeadlinePassed:  {Timeout, "The caller's own deadline passed.", ""},
	ClientGone:      {Canceled, "The client closed the connection before the answer was whole.", ""},
}

// Lookup gives the registry's entry of a code.
func Lookup(c Code) (Entry, bool) {
	e, ok := registry[c]
	return e, ok
}

// Codes lists all codes in alphabetical order.
func Codes() []Code {
	all := make([]Code, 0, len(registry))
	for c := range registry {
		all = append(all, c)
	}
	slices.Sort(all)
	return all
}
