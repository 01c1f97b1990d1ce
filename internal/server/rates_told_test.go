package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/gateway"
	"github.com/penstock/penstock/internal/penstocktest"
)

// TestRefusedCallsAreToldOfRates: a call that is refused before limits are looked at tells its caller how they stand, too, in the
// form of its dialect; and it has used nothing of them.
func TestRefusedCallsAreToldOfRates(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	model := w.model("")
	w.limit("requests", 5)
	for name, c := range map[string]struct{ path, body, header string }{
		"not understood":               {chatPath, `{"model":`, "X-Ratelimit-Remaining-Requests"},
		"no such model":                {chatPath, penstocktest.Chat("nobody", "hello", false), "X-Ratelimit-Remaining-Requests"},
		"not allowed":                  {"/v1/responses", `{"model":"` + model + `","input":"hello","previous_response_id":"resp_none"}`, "X-Ratelimit-Remaining-Requests"},
		"not understood, as Anthropic": {"/v1/messages", `{"model":"` + model + `","messages":[]}`, "Anthropic-Ratelimit-Requests-Remaining"},
	} {
		if a := w.Post(w.key, c.path, c.body); a.Status < 400 || a.Header.Get(c.header) != "5" {
			t.Errorf("%s: %d, %s %q: %s", name, a.Status, c.header, a.Header.Get(c.header), a.Body)
		}
	}
	if status := w.Admin(http.MethodPost, "/stops", map[string]string{"model": model, "reason": "test"}, nil); status >= 300 {
		t.Fatalf("stop: %d", status)
	}
	if a := w.ask(model, "hello", false); a.Status < 400 || a.Header.Get("X-Ratelimit-Remaining-Requests") != "5" {
		t.Errorf("stopped: %d %v", a.Status, a.Header)
	}
}

// TestEveryRouteTellsOfRates: whatever a caller with a limit asks of the data plane, what it is answered, and what it is refused with,
// says how the limit stands, in its dialect. A route that is not listed here fails.
func TestEveryRouteTellsOfRates(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	model := w.model("")
	const messages = `{"model":"sim-a/gpt-x","max_tokens":20,"messages":[{"role":"user","content":"hello"}]}`
	input := `{"model":"` + model + `","input":"hello"}`
	response := func() string { // the id of one that is kept
		a := w.Post(w.key, "/v1/responses", input)
		var made struct{ ID string }
		if err := json.Unmarshal(a.Body, &made); a.Status != http.StatusOK || err != nil {
			t.Fatalf("%d %s (%v)", a.Status, a.Body, err)
		}
		return made.ID
	}
	deleted, exchange := response(), w.ask(model, "hello", false).ID()
	w.record(penstocktest.Answer{Header: http.Header{"X-Request-Id": {exchange}}})
	type ask struct{ path, body string }
	type asks struct{ answered, refused []ask }
	all := map[string]asks{
		"POST /v1/chat/completions": {
			[]ask{{"", penstocktest.Chat(model, "hello", false)}, {"", penstocktest.Chat(model, "hello", true)}},
			[]ask{{"", `{"model":`}, {"", penstocktest.Chat("nobody", "hello", false)}},
		},
		"POST /v1/embeddings":             {[]ask{{"", `{"model":"sim-a/embed","input":"hello"}`}}, []ask{{"", `{}`}}},
		"POST /v1/moderations":            {[]ask{{"", input}}, []ask{{"", `{}`}}},
		"POST /v1/responses":              {[]ask{{"", input}}, []ask{{"", `{}`}}},
		"POST /v1/messages":               {[]ask{{"", messages}}, []ask{{"", `{}`}}},
		"POST /v1/messages/count_tokens":  {[]ask{{"", messages}}, []ask{{"", `{}`}}},
		"POST /v1/responses/input_tokens": {[]ask{{"", input}}, []ask{{"", `{}`}}},
		"GET /v1/responses/":              {[]ask{{response(), ""}, {response() + "/input_items", ""}}, []ask{{"resp_none", ""}, {"resp_none/input_items", ""}, {"a/b", ""}}},
		"DELETE /v1/responses/":           {[]ask{{deleted, ""}}, []ask{{deleted, ""}}},
		"GET /v1/models":                  {[]ask{{"", ""}}, nil}, // nobody with a key is refused it
		"GET /v1/models/":                 {[]ask{{model, ""}}, []ask{{"nobody", ""}}},
		"GET /penstock/v1/self":           {[]ask{{"", ""}, {"?user=ann", ""}}, nil}, // as above
		"GET /penstock/v1/exchanges/":     {[]ask{{exchange, ""}}, []ask{{"ex_none", ""}}},
	}
	w.limit("requests", 1000)
	told := map[bool]string{false: "X-Ratelimit-Remaining-Requests", true: "Anthropic-Ratelimit-Requests-Remaining"}
	for _, route := range gateway.Routes() {
		name := route.Method + " " + route.Path
		c, ok := all[name]
		if ok == route.Open { // a stranger's answers say nothing of anybody
			t.Errorf("%s: open %v, and is listed %v", name, route.Open, ok)
		}
		of := strings.HasPrefix(route.Path, "/v1/messages")
		left := w.left()
		for _, a := range c.answered {
			if got := w.Do(route.Method, w.key, route.Path+a.path, a.body); got.Status != http.StatusOK || got.Header.Get(told[of]) == "" {
				t.Errorf("%s%s: %d, %v: %s", name, a.path, got.Status, got.Header, got.Body)
			}
		}
		for _, a := range c.refused {
			if got := w.Do(route.Method, w.key, route.Path+a.path, a.body); got.Status < 400 || got.Header.Get(told[of]) == "" {
				t.Errorf("%s%s: %d, %v: %s", name, a.path, got.Status, got.Header, got.Body)
			}
		}
		if used := left - w.left(); !route.Spends && used != 0 {
			t.Errorf("%s: used %d requests of the limit", name, used)
		}
		if route.Spends || strings.HasPrefix(route.Path, "/v1/responses") {
			continue
		}
		for _, a := range slices.Concat(c.answered, c.refused) { // of no dialect but the caller's
			got := w.Do(route.Method, w.key, route.Path+a.path, a.body, "Anthropic-Version", "2023-06-01")
			if got.Header.Get(told[true]) == "" || got.Header.Get(told[false]) != "" {
				t.Errorf("%s%s, as Anthropic: %d, %v", name, a.path, got.Status, got.Header)
			}
		}
	}
}

// left is how many requests the caller's limit leaves room for.
func (w *world) left() int64 {
	w.t.Helper()
	var self struct{ Rates []struct{ Left int64 } }
	if a := w.Do(http.MethodGet, w.key, "/penstock/v1/self", ""); json.Unmarshal(a.Body, &self) != nil || len(self.Rates) != 1 {
		w.t.Fatalf("self: %d %s", a.Status, a.Body)
	}
	return self.Rates[0].Left
}

// TestRepeatsAndSignsOfLifeTellOfRates: what is given again for an Idempotency-Key tells how limits stand now, and so does a stream
// that a sign of life began.
func TestRepeatsAndSignsOfLifeTellOfRates(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(nil, "limits: { keepalive: 50ms }")})
	model, slow := w.model(""), w.model("first=300ms")
	w.limit("requests", 5)
	for _, stream := range []bool{false, true} {
		for _, again := range []string{"", "true"} {
			a := w.ask(model, "hello", stream, "Idempotency-Key", fmt.Sprint("k", stream))
			if a.Status != http.StatusOK || a.Header.Get("Idempotency-Replayed") != again || a.Header.Get("X-Ratelimit-Limit-Requests") != "5" {
				t.Errorf("stream %v, again %q: %d %v", stream, again, a.Status, a.Header)
			}
		}
	}
	if a := w.ask(slow, "hello", true); a.Status != http.StatusOK || !strings.HasPrefix(a.Text(), ": keep-alive") || a.Header.Get("X-Ratelimit-Limit-Requests") != "5" {
		t.Errorf("begun by a sign of life: %d %v %s", a.Status, a.Header, a.Body)
	}
}
