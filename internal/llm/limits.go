package llm

import "time"

// A Limit is what a provider says of one of its rate limits. The zero Limit says nothing.
type Limit struct {
	Told bool
	// Left is how much is left, and Most how much there is when nothing is used, 0 if that is not told.
	Left, Most int64
	// Reset is how long it takes until nothing is used any more, 0 if that is not told.
	Reset time.Duration
}

// Limits are a provider's rate limits of one credential and model, as one of its answers tells them. Tokens counts input and
// output together.
type Limits struct{ Requests, Tokens, InputTokens, OutputTokens Limit }

// Told reports whether there is any.
func (l *Limits) Told() bool {
	return l.Requests.Told || l.Tokens.Told || l.InputTokens.Told || l.OutputTokens.Told
}
