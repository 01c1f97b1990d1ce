package route

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
)

// explain makes the error that the caller gets when no target answered.
func explain(x *pipeline.Exchange, failures []*provider.Failure) error {
	last := failures[len(failures)-1]
	if told := unsupported(failures); told != nil {
		return told
	}
	err := classify(x, failures)
	err.Err = last
	err.Spent = true
	return err
}

// unsupported is what the caller is told if no target can be asked what it asks: how to ask otherwise.
func unsupported(failures []*provider.Failure) *fault.Error {
	var told *fault.Error
	if !all(failures, func(f *provider.Failure) bool {
		return f.Reason == provider.ReasonUnsupported && errors.As(f.Err, &told)
	}) {
		return nil
	}
	return told
}

func classify(x *pipeline.Exchange, failures []*provider.Failure) *fault.Error {
	last := failures[len(failures)-1]
	switch {
	case last.Reason == provider.ReasonStatus && refusesCredential(last.Status), last.Reason == provider.ReasonCredential:
		return fault.New(fault.ProviderAuth, "%s refused Penstock's own credential. %s", x.Tries[len(failures)-1].Target, tail(x, failures))
	case last.Reason == provider.ReasonStatus && !last.Fallback():
		return refused(x, last)
	case all(failures, func(f *provider.Failure) bool { return f.Status == http.StatusTooManyRequests }):
		err := fault.New(fault.ProviderLimited, "%s", summary(x, failures))
		err.RetryAfter = soonest(failures)
		return err
	case all(failures, func(f *provider.Failure) bool { return f.Overloaded() }):
		err := fault.New(fault.ProviderOverload, "%s", summary(x, failures))
		err.RetryAfter = soonest(failures)
		return err
	case all(failures, func(f *provider.Failure) bool { return f.Timer != "" }):
		return fault.New(fault.TimerExpired, "%s", summary(x, failures))
	}
	err := fault.New(fault.ProviderFailed, "%s", summary(x, failures))
	err.RetryAfter = soonest(failures)
	return err
}

func refusesCredential(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// refused passes a provider's refusal of the request itself on: status and error object are the provider's, since its
// words are what helps the caller.
func refused(x *pipeline.Exchange, f *provider.Failure) *fault.Error {
	err := fault.New(fault.ProviderRefused, "%s: %s", x.Tries[len(x.Tries)-1].Target, f.Message)
	err.Status, err.Body, err.Param = f.Status, f.Body, f.Param
	if f.Status == http.StatusNotFound {
		err.Kind = fault.NotFound
	}
	return err
}

func all(failures []*provider.Failure, is func(*provider.Failure) bool) bool {
	for _, f := range failures {
		if !is(f) {
			return false
		}
	}
	return true
}

// soonest is the shortest wait that a provider asked for, 0 if none did.
func soonest(failures []*provider.Failure) time.Duration {
	var d time.Duration
	for _, f := range failures {
		if f.RetryAfter > 0 && (d == 0 || f.RetryAfter < d) {
			d = f.RetryAfter
		}
	}
	return d
}

// summary is one line over all tries: "2 targets tried, none answered: openai/gpt-5-mini 429, ...".
func summary(x *pipeline.Exchange, failures []*provider.Failure) string {
	if len(failures) == 1 {
		return fmt.Sprintf("%s %s. %s", x.Tries[0].Target, words(failures[0]), tail(x, failures))
	}
	parts := make([]string, len(failures))
	for i, f := range failures {
		parts[i] = x.Tries[i].Target + " " + words(f)
	}
	return fmt.Sprintf("%d targets tried, none answered: %s. %s", len(failures), strings.Join(parts, "; "), tail(x, failures))
}

// words is what became of a try, for the caller; a timer is named as the operator has it in the file.
func words(f *provider.Failure) string {
	if f.Timer == "" {
		return f.Message
	}
	return f.Message + " (timeouts." + f.Timer + ")"
}

// tail says what the failure may have cost, and where to read more.
func tail(x *pipeline.Exchange, failures []*provider.Failure) string {
	billed := "What was billed is not known."
	if all(failures, func(f *provider.Failure) bool { return f.NothingBilled }) {
		billed = "Nothing was billed."
	}
	return billed + " Record: " + x.ID + "."
}

// interrupted is the error of an answer that had begun.
func interrupted(ctx context.Context, x *pipeline.Exchange, try *pipeline.Try, f *provider.Failure) error {
	if f.Timer != "" {
		err := fault.Wrap(fault.TimerExpired, f, "%s %s. The answer so far is incomplete. Record: %s.", try.Target, words(f), x.ID)
		err.Spent = true
		return err
	}
	if f.Reason == provider.ReasonCanceled {
		return stopped(ctx, f)
	}
	err := fault.Wrap(fault.StreamCut, f, "%s %s, in the middle of its answer. Record: %s.", try.Target, f.Message, x.ID)
	err.Spent = true
	return err
}
