package server

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/usage"
)

// A tally counts what exchanges tell of providers, models and prices, for the lookout. It is shown every record on the
// request's path, so it does little.
type tally struct {
	providers *alert.Window // tries by provider; bad ones are the provider's fault
	models    *alert.Window // exchanges by the model that was asked for; bad ones are errors that the caller did not make

	some     atomic.Bool // refused is not empty
	mu       sync.Mutex  // guards the fields below
	refused  map[string]bool
	unpriced map[string]bool // targets that answered without a price since the last look
}

func newTally() *tally {
	return &tally{
		providers: alert.NewWindow(), models: alert.NewWindow(), refused: map[string]bool{}, unpriced: map[string]bool{},
	}
}

// see takes in one record.
func (t *tally) see(rec *usage.Record) {
	if len(rec.Tries) == 0 {
		return // it came to no provider
	}
	for i := range rec.Tries {
		t.try(&rec.Tries[i])
	}
	if rec.Status != 499 {
		callers := rec.Status >= 400 && rec.Status < 500
		t.models.Add(rec.Model, rec.Error != nil && !callers)
	}
}

func (t *tally) try(try *pipeline.Try) {
	name, _, _ := strings.Cut(try.Target, "/")
	reason := provider.Reason(try.Reason)
	switch {
	case reason == provider.ReasonCanceled:
		return
	case try.Credential > 0 && (reason == provider.ReasonCredential || try.Status == http.StatusUnauthorized || try.Status == http.StatusForbidden):
		return // one of several, of which quota tells
	case reason == provider.ReasonCredential, try.Status == http.StatusUnauthorized, try.Status == http.StatusForbidden:
		t.refuse(name, true)
		return
	case try.Reason == answered:
		t.refuse(name, false)
	}
	t.providers.Add(name, try.Reason != answered && (reason != provider.ReasonStatus || try.Status >= http.StatusInternalServerError))
	if try.Unpriced && try.Reason == answered {
		t.mu.Lock()
		if len(t.unpriced) < mostUnpriced {
			t.unpriced[try.Target] = true
		}
		t.mu.Unlock()
	}
}

const (
	// answered is the reason of a try that did.
	answered = "ok"
	// mostUnpriced bounds how many targets are told of at once; callers may choose their names.
	mostUnpriced = 100
)

// refuse notes whether a provider refuses Penstock's credential. Most calls find nothing to note, and take no lock.
func (t *tally) refuse(name string, refuses bool) {
	if !refuses && !t.some.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if refuses {
		t.refused[name] = true
	} else {
		delete(t.refused, name)
	}
	t.some.Store(len(t.refused) > 0)
}

// refusing lists the providers that refuse Penstock's credential.
func (t *tally) refusing() map[string]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := make(map[string]bool, len(t.refused))
	for name := range t.refused {
		names[name] = true
	}
	return names
}

// takeUnpriced hands over the targets that answered without a price.
func (t *tally) takeUnpriced() map[string]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	targets := t.unpriced
	t.unpriced = map[string]bool{}
	return targets
}
