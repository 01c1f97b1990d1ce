package route

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
)

// explain makes the error that the caller gets when no target answered.
func (c *choosing) explain() error {
	if len(c.failures) == 0 {
		return c.nobody()
	}
	last := c.failures[len(c.failures)-1]
	if told := unsupported(c.failures); told != nil {
		return told
	}
	err := c.classify()
	err.Err = last
	err.Spent = true
	return err
}

// unsupported is what the caller is told if no target can be asked what it asks: how to ask otherwise.
func unsupported(failures []failed) *fault.Error {
	var told *fault.Error
	if !all(failures, func(f failed) bool {
		return f.Reason == provider.ReasonUnsupported && errors.As(f.Err, &told)
	}) {
		return nil
	}
	return told
}

func (c *choosing) classify() *fault.Error {
	failures := c.failures
	last := failures[len(failures)-1]
	code := fault.ProviderFailed
	switch {
	case all(failures, func(f failed) bool { return refusesAccount(f.Failure) }):
		return fault.New(fault.ProviderAuth, "%s refused Penstock's own credential. %s", last.target, c.tail())
	case last.Reason == provider.ReasonStatus && !last.Fallback() && !refusesAccount(last.Failure):
		return c.refused(last)
	case all(failures, func(f failed) bool { return f.Status == http.StatusTooManyRequests }):
		code = fault.ProviderLimited
	case all(failures, func(f failed) bool { return f.Overloaded() }):
		code = fault.ProviderOverload
	case all(failures, func(f failed) bool { return f.Timer != "" }):
		code = fault.TimerExpired
	case c.left(misplaced): // others are there, and the project's rules keep it from them
		code = fault.NoTarget
	}
	err := fault.New(code, "%s", c.summary())
	if code != fault.TimerExpired {
		err.RetryAfter = soonest(failures)
	}
	return err
}

// refusesAccount reports whether it is Penstock's own credential, or its account, that a provider will not have.
func refusesAccount(f *provider.Failure) bool {
	switch f.Class {
	case provider.ClassCredential, provider.ClassPermission, provider.ClassQuota:
		return true
	case provider.ClassContextLength, provider.ClassContentPolicy:
		return false
	}
	return f.Reason == provider.ReasonCredential ||
		f.Reason == provider.ReasonStatus && (f.Status == http.StatusUnauthorized || f.Status == http.StatusForbidden)
}

// left reports whether a candidate was left out for a reason.
func (c *choosing) left(why exclusion) bool {
	for i := range c.all {
		if c.all[i].out == why {
			return true
		}
	}
	return false
}

// refused passes a provider's refusal of the request itself on: status and error object are the provider's, since its
// words are what helps the caller.
func (c *choosing) refused(f failed) *fault.Error {
	err := fault.New(fault.ProviderRefused, "%s: %s", f.target, f.Message)
	err.Status, err.Body, err.Param = f.Status, f.Body, f.Param
	if f.Status == http.StatusNotFound {
		err.Kind = fault.NotFound
	}
	return err
}

func all(failures []failed, is func(failed) bool) bool {
	for _, f := range failures {
		if !is(f) {
			return false
		}
	}
	return true
}

// soonest is the shortest wait that a target asked for, 0 if none did. Of what one asked for, the newest counts.
func soonest(failures []failed) time.Duration {
	var d time.Duration
	for i, f := range failures {
		old := slices.ContainsFunc(failures[i+1:], func(newer failed) bool { return newer.place == f.place })
		if !old && f.RetryAfter > 0 && (d == 0 || f.RetryAfter < d) {
			d = f.RetryAfter
		}
	}
	return d
}

// summary is one line over all tries: "2 targets tried, none answered: openai/gpt-5-mini 429, ...".
func (c *choosing) summary() string {
	if len(c.failures) == 1 {
		return fmt.Sprintf("%s %s. %s", c.failures[0].target, words(c.failures[0].Failure), c.tail())
	}
	parts := make([]string, len(c.failures))
	asked := map[string]bool{}
	for i, f := range c.failures {
		asked[f.target] = true
		parts[i] = f.target + " " + words(f.Failure)
	}
	how := fmt.Sprintf("%d targets tried, none answered", len(asked))
	if len(asked) < len(parts) {
		how = fmt.Sprintf("%d tries, none was answered", len(parts))
	}
	return how + ": " + strings.Join(parts, "; ") + ". " + c.tail()
}

// words is what became of a try, for the caller; a timer is named as the operator has it in the file.
func words(f *provider.Failure) string {
	if f.Timer == "" {
		return f.Message
	}
	return f.Message + " (timeouts." + f.Timer + ")"
}

// tail says what the failure may have cost, and where to read more.
func (c *choosing) tail() string {
	billed := "What was billed is not known."
	if all(c.failures, func(f failed) bool { return f.NothingBilled }) {
		billed = "Nothing was billed."
	}
	if c.broke {
		billed += " No more was tried: too many calls are being retried already."
	}
	return billed + " Record: " + c.x.ID + "."
}

// interrupted is the error of an answer that had begun.
func interrupted(ctx context.Context, x *pipeline.Exchange, try *pipeline.Try, f *provider.Failure) error {
	if f.Timer != "" {
		err := fault.Wrap(fault.TimerExpired, f, "%s %s. The answer so far is incomplete. Record: %s.", try.Target, words(f), x.ID)
		err.Spent = true
		return err
	}
	if f.Reason == provider.ReasonCanceled {
		return halted(ctx, f)
	}
	err := fault.Wrap(fault.StreamCut, f, "%s %s, in the middle of its answer. Record: %s.", try.Target, f.Message, x.ID)
	err.Spent = true
	return err
}
