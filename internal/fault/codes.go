package fault

import "slices"

// A Code names one error for good: clients and runbooks may branch on it.
type Code string

// The codes. Each has an entry in the registry below and a line in docs/reference/errors.md; tests fail otherwise.
const (
	InternalError    Code = "internal_error"
	InvalidJSON      Code = "invalid_json"
	InvalidRequest   Code = "invalid_request_error"
	UnknownRoute     Code = "unknown_route"
	MethodNotAllow   Code = "method_not_allowed"
	InvalidAPIKey    Code = "invalid_api_key"
	NotAllowed       Code = "not_allowed"
	ModelNotFound    Code = "model_not_found"
	RecordNotFound   Code = "exchange_not_found"
	NotThere         Code = "not_found"
	AlreadyThere     Code = "already_exists"
	ChangedMeanwhile Code = "changed_meanwhile"
	BodyTooLarge     Code = "body_too_large"
	BadEncoding      Code = "unsupported_encoding"
	SlowBody         Code = "body_timeout"
	KeysUnavailable  Code = "keys_unavailable"
	StoreDown        Code = "records_unavailable"
	RecordsBehind    Code = "records_behind"
	StoreFailed      Code = "store_unavailable"
	NotReady         Code = "not_ready"
	KeyRingBehind    Code = "keyring_behind"
	KeyRingFailed    Code = "keyring_failed"
	ShuttingDown     Code = "shutting_down"
	Overloaded       Code = "overloaded"
	Stopped          Code = "stopped"
	StopsUnavailable Code = "stops_unavailable"
	ProviderRefused  Code = "provider_refused"
	ProviderFailed   Code = "provider_failed"
	ProviderAuth     Code = "provider_credential_refused"
	ProviderLimited  Code = "provider_rate_limited"
	ProviderOverload Code = "provider_overloaded"
	NoTarget         Code = "no_target"
	NoCapacity       Code = "no_capacity"
	StreamCut        Code = "stream_interrupted"
	TimerExpired     Code = "timeout"
	DeadlinePassed   Code = "deadline_exceeded"
	ClientGone       Code = "client_closed_request"
	OutcomeUnknown   Code = "outcome_unknown"
	SealedAway       Code = "bodies_unreadable"
	ResponseNotFound Code = "previous_response_not_found"
	OnHold           Code = "on_hold"
	InUse            Code = "in_use"

	QuotaSpent        Code = "insufficient_quota"
	RateExceeded      Code = "rate_limit_exceeded"
	OverTier          Code = "over_tier"
	LimitsUnavailable Code = "limits_unavailable"

	KeyReused         Code = "idempotency_key_reused"
	KeyBusy           Code = "idempotency_in_progress"
	KeyOutcomeUnknown Code = "idempotency_outcome_unknown"
	KeyUnkept         Code = "idempotency_answer_unkept"
	KeyUnavailable    Code = "idempotency_unavailable"
)

// An Entry is what the registry knows of a code.
type Entry struct {
	Kind Kind
	// Meaning is one line for the reference.
	Meaning string
	// Hint is what to do, where the error itself says nothing better. "" where no general advice holds.
	Hint string
	// Status is the code's own HTTP status, where the kind's would say less; else 0.
	Status int
}

var registry = map[Code]Entry{
	InternalError:    {Kind: Internal, Meaning: "Penstock met an error of its own.", Hint: "Retry; if it stays, give the request id to whoever runs Penstock."},
	InvalidJSON:      {Kind: BadRequest, Meaning: "The body is not strict JSON."},
	InvalidRequest:   {Kind: BadRequest, Meaning: "A member of the body is missing, of the wrong type or out of range."},
	UnknownRoute:     {Kind: NotFound, Meaning: "No such route on this listener.", Hint: "The routes are listed in docs/reference/api.md."},
	MethodNotAllow:   {Kind: BadRequest, Meaning: "The route exists, with another method.", Status: 405},
	InvalidAPIKey:    {Kind: Unauthenticated, Meaning: "No key, or one that is unknown, revoked or expired.", Hint: "Check which Penstock it was made for; an operator makes one with: penstock key create --project NAME"},
	NotAllowed:       {Kind: Forbidden, Meaning: "The key's role does not allow this."},
	ModelNotFound:    {Kind: NotFound, Meaning: "No such model for this key.", Hint: "All: GET /v1/models"},
	RecordNotFound:   {Kind: NotFound, Meaning: "No such exchange for this key.", Hint: "Records appear within a second of the answer."},
	NotThere:         {Kind: NotFound, Meaning: "What was named does not exist."},
	AlreadyThere:     {Kind: Conflict, Meaning: "The name is taken."},
	ChangedMeanwhile: {Kind: Conflict, Meaning: "What the change was planned on has changed since.", Hint: "Look at the new plan, and try again."},
	BodyTooLarge:     {Kind: TooLarge, Meaning: "The body is over the size limit."},
	BadEncoding:      {Kind: BadRequest, Meaning: "The body's Content-Encoding is not one that is read here.", Hint: "Send it plain, or with gzip."},
	SlowBody:         {Kind: Timeout, Meaning: "The body did not arrive in time.", Status: 408},
	KeysUnavailable:  {Kind: Unavailable, Meaning: "Keys cannot be checked at the moment.", Hint: "Your key is probably fine; retry."},
	StoreDown:        {Kind: Unavailable, Meaning: "The record of the call could not be written, so the call was not made.", Hint: "Nothing was sent to a provider; retry."},
	StoreFailed:      {Kind: Unavailable, Meaning: "The store could not be read, or not be written; nothing was changed.", Hint: "Look at the disk, or the database, and retry; to see whether calls go on: penstock doctor"},
	RecordsBehind:    {Kind: Unavailable, Meaning: "Records cannot be read at the moment: they wait in the journal for the store.", Hint: "Retry; none is lost. To see whether the store is away, and calls go on: penstock doctor"},
	KeyRingBehind:    {Kind: Unavailable, Meaning: "What was asked for is sealed with a data key that this Penstock's copy of the key ring does not have yet.", Hint: "An operator has to hand the key ring's newest file out to all replicas; nothing is lost."},
	KeyRingFailed:    {Kind: Unavailable, Meaning: "The key ring's file could not be read or written; nothing was changed.", Hint: "Calls go on with the ring in memory; before any restart, see: penstock keyring status"},
	NotReady:         {Kind: Unavailable, Meaning: "This Penstock cannot take traffic at the moment.", Hint: "It becomes ready by itself; retry."},
	ShuttingDown:     {Kind: Unavailable, Meaning: "This Penstock is stopping.", Hint: "Retry; another one, or the next, will answer."},
	Overloaded:       {Kind: Unavailable, Meaning: "As much as this Penstock may hold is in flight.", Hint: "Retry after the time given."},
	Stopped:          {Kind: Forbidden, Meaning: "An operator has stopped the model, the project or all calls.", Hint: "Do not retry; ask whoever runs Penstock."},
	StopsUnavailable: {Kind: Unavailable, Meaning: "Whether an operator has stopped calls cannot be known at the moment.", Hint: "Your call is probably fine; retry."},
	ProviderRefused:  {Kind: BadRequest, Meaning: "The provider refused the request as it stands."},
	ProviderFailed:   {Kind: Upstream, Meaning: "No provider gave a usable answer."},
	ProviderAuth:     {Kind: Upstream, Meaning: "The provider refused Penstock's own credential.", Hint: "An operator has to renew the credential; your key is fine."},
	ProviderLimited:  {Kind: RateLimited, Meaning: "Every provider that was tried is at its rate limit.", Hint: "Retry after the time given."},
	ProviderOverload: {Kind: Unavailable, Meaning: "Every provider that was tried is overloaded.", Hint: "Retry in a while."},
	NoTarget:         {Kind: Unavailable, Meaning: "No target of the model may be asked: operators, the project's rules or limits leave none, and what they leave does not answer.", Hint: "The record says why of each target: penstock explain ID"},
	NoCapacity:       {Kind: RateLimited, Meaning: "Every target of the model has as many calls as it can take, and the queue before them is full or too slow.", Hint: "Retry after the time given."},
	StreamCut:        {Kind: Upstream, Meaning: "The provider ended the stream before its end.", Hint: "The text so far is incomplete."},
	TimerExpired:     {Kind: Timeout, Meaning: "One of the four timers ran out: connect, first_token, gap, total."},
	DeadlinePassed:   {Kind: Timeout, Meaning: "The caller's own deadline passed."},
	ClientGone:       {Kind: Canceled, Meaning: "The client closed the connection before the answer was whole."},
	OutcomeUnknown:   {Kind: Internal, Meaning: "Penstock stopped before the exchange had ended. Only records have this code; no caller is sent it.", Hint: "What was billed is in the provider's own report."},
	ResponseNotFound: {Kind: NotFound, Meaning: "No such response of this project is kept: there was none, its 30 days are over, or it was not to be kept (store: false).", Hint: "Send what was said before in the input."},
	OnHold:           {Kind: Conflict, Meaning: "The project is on hold, and nothing of it is deleted.", Hint: "An auditor can lift the hold."},

	InUse:             {Kind: Conflict, Meaning: "What was to be deleted is in use."},
	QuotaSpent:        {Kind: RateLimited, Meaning: "A budget that the call counts for has not enough left for it, or does not allow it.", Hint: "Do not retry before the budget's window ends; whoever runs Penstock can raise it."},
	RateExceeded:      {Kind: RateLimited, Meaning: "A limit on requests, tokens or calls at once leaves no room for the call.", Hint: "Retry after the time given."},
	OverTier:          {Kind: Forbidden, Meaning: "The tier of the project, key or end user does not allow the call as it is."},
	LimitsUnavailable: {Kind: Unavailable, Meaning: "What the caller may use cannot be known at the moment.", Hint: "Nothing was sent to a provider; retry."},

	KeyReused:         {Kind: Unprocessable, Meaning: "The Idempotency-Key was used for another request.", Hint: "Use a new key for each call, and the same one for repeats of it only."},
	KeyBusy:           {Kind: Conflict, Meaning: "The first call with this Idempotency-Key still runs.", Hint: "Retry after the time given, with the same key."},
	KeyOutcomeUnknown: {Kind: Conflict, Meaning: "How the first call with this Idempotency-Key ended is not known; it is not run again.", Hint: "Use a new key if you accept that the call may run twice."},
	KeyUnkept:         {Kind: Conflict, Meaning: "The first call with this Idempotency-Key has ended, and its answer was not kept, or does not open any more.", Hint: "Use a new key if you accept that the call runs twice."},
	KeyUnavailable:    {Kind: Unavailable, Meaning: "Whether an Idempotency-Key was used before, or what was answered, cannot be known at the moment, or not by this replica.", Hint: "Nothing was sent to a provider; retry, with the same key."},

	SealedAway: {Kind: Internal, Meaning: "Bodies are kept and cannot be opened: they were changed, or a newer Penstock kept them.", Hint: "The message says which. A row that was changed opens again from a backup only."},
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
