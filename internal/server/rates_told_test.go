package server_test

import (
	"net/http"
	"testing"

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
