// Package openai translates between llm and the JSON of the OpenAI dialect: chat completions, embeddings, model lists
// and errors.
//
// It is pure: bytes in, values out, and the other way round. It sends nothing (provider), reads no HTTP (gateway), cuts
// no streams into events (wire/sse), and decides nothing.
//
// Three rules hold throughout. A client's body is read once and strictly, so that no two readers can understand it
// differently ([ParseChat], [ParseEmbeddings]). Bytes that need no change are passed on as they came, unknown members
// included ([AppendRequest], [AppendChunk], [AppendAnswer]). What an upstream sends is never trusted to be what it should
// be ([ScanChunk], [ScanAnswer], [ParseError]).
package openai

import "errors"

// ErrGarbage is an answer, or an event of one, that is not what the dialect says: not JSON, not UTF-8, HTML, no finish
// reason. What exactly is in the error that wraps it.
var ErrGarbage = errors.New("the answer is not an OpenAI answer")

// ErrEmpty is an answer that is whole and has nothing in it.
var ErrEmpty = errors.New("the answer is empty")

// An InBandError is an error that the upstream reported inside an answer that began, or ended, with status 200.
type InBandError struct{ UpstreamError }

// Error is the upstream's own message.
func (e *InBandError) Error() string {
	return "the provider reported an error in its answer: " + e.Message
}
