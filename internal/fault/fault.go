// Package fault is how an error crosses packages: a kind, a stable code, and words that the caller may read.
//
// It holds the one registry of error codes. It does not know any dialect: a kind has its HTTP status here, and its body
// is made in wire/*. Inside a package, errors are ordinary ones, wrapped with %w; they become a fault where they leave it.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Kind is what sort of failure it is, from the caller's point of view.
type Kind uint8

// The kinds.
const (
	Internal        Kind = iota // Penstock's own mistake
	BadRequest                  // the request cannot be understood or is refused as it stands
	Unauthenticated             // who is calling is not known
	Forbidden                   // who is calling may not do this
	NotFound                    // what was named does not exist for this caller
	Conflict                    // it does not fit the present state
	TooLarge                    // over a size limit
	Unprocessable               // well formed, and refused by the provider
	RateLimited                 // over a limit of the caller, or of every provider that was tried
	Unavailable                 // Penstock cannot know or do it now; a retry will help
	Upstream                    // the provider broke
	Timeout                     // a timer ran out
	Canceled                    // the caller went away
)

// An Error is a failure that the caller may be told of. Err, the cause, is for logs and records of the operator only.
type Error struct {
	Kind    Kind
	Code    Code
	Message string // one line: what and where, in the caller's own words
	Hint    string // one line: what to do about it; "" takes the registry's
	Param   string // the member of the request that is to blame, "" if none
	// RetryAfter is how long the caller should wait; 0 if nothing is known.
	RetryAfter time.Duration
	// Spent says that Penstock has used up its own tries, so that clients' libraries should not add theirs.
	Spent bool
	// Status is the code's own, or a provider's where that is what the caller shall see; 0 lets Kind decide.
	Status int
	// Detail is a JSON object with what a program may want to know of it, for the member "penstock" of the error; nil if there is none.
	Detail []byte
	// Body is a provider's own error object in the client's dialect (redacted), passed on as it is; nil otherwise.
	Body []byte
	Err  error
}

// Error gives message and cause, for logs.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Advice is the hint, or that of the registry.
func (e *Error) Advice() string {
	if e.Hint != "" {
		return e.Hint
	}
	return registry[e.Code].Hint
}

// Text is what a caller reads: the message, and the hint behind it.
func (e *Error) Text() string {
	if h := e.Advice(); h != "" {
		return e.Message + " " + h
	}
	return e.Message
}

// New makes an error of a code, with the kind and the status that the registry gives it.
func New(code Code, format string, args ...any) *Error {
	entry := registry[code]
	return &Error{Kind: entry.Kind, Status: entry.Status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap is New with a cause.
func Wrap(code Code, err error, format string, args ...any) *Error {
	e := New(code, format, args...)
	e.Err = err
	return e
}

// From finds the *Error in err's chain, or makes one: plain context errors become Canceled and Timeout, all else
// becomes Internal with a message that says nothing of the cause.
func From(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return Wrap(ClientGone, err, "The client closed the connection.")
	case errors.Is(err, context.DeadlineExceeded):
		return Wrap(DeadlinePassed, err, "The deadline passed before there was an answer.")
	}
	return Wrap(InternalError, err, "Penstock met an error of its own.")
}
