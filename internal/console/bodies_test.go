package console_test

import (
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/penstocktest"
)

// keeping makes a project that keeps bodies, and asks once.
func keeping(e *penstocktest.Env, text string) (exchange string) {
	e.T.Helper()
	key := e.Key("keeper")
	e.Admin(http.MethodPatch, "/projects/keeper", map[string]any{"bodies": "keep", "retention": "720h"}, nil)
	var body strings.Builder
	writing := json.NewEncoder(&body)
	writing.SetEscapeHTML(false) // or nothing hostile would be kept
	if err := writing.Encode(map[string]any{"model": "sim-a/m", "messages": []map[string]string{{"role": "user", "content": text}}}); err != nil {
		e.T.Fatal(err)
	}
	for range 100 { // until the change has come to the gateway
		exchange = e.Post(key, "/v1/chat/completions", body.String()).ID()
		for _, d := range e.Record(exchange).Stages {
			if d.Stage == "bodies" {
				return exchange
			}
		}
	}
	e.T.Fatal("no bodies are kept")
	return ""
}

// as signs a browser in with a new key of a role.
func as(t *testing.T, e *penstocktest.Env, role string) *browser {
	t.Helper()
	var made struct {
		Key string `json:"key"`
	}
	e.Admin(http.MethodPost, "/keys", map[string]any{"project": "keeper", "name": role, "role": role}, &made)
	b := newBrowser(t, e.AdminURL)
	if got := b.signIn(made.Key); got.status != http.StatusSeeOther {
		t.Fatalf("sign in as %s: %d %s", role, got.status, got.text)
	}
	return b
}

// readings are the entries of the audit chain that say that bodies were read.
func readings(e *penstocktest.Env) []audit.Entry {
	e.T.Helper()
	var chain struct {
		Data []audit.Entry `json:"data"`
	}
	e.Admin(http.MethodGet, "/audit?action=bodies.read", nil, &chain)
	return chain.Data
}

var preField = regexp.MustCompile(`(?s)<pre id="(request|answer)"[^>]*>\n(.*?)</pre>`)

// What was asked and answered is text, given out to those who may read it, for a reason, which the chain keeps.
func TestBodiesAreReadForAReason(t *testing.T) {
	t.Parallel()
	const script = `</pre><script>alert(1)</script><img src=x onerror=alert(1)>{{.Token}}`
	e := penstocktest.Start(t, penstocktest.Options{})
	id := keeping(e, "canary-plum "+script)
	page, form := "/exchanges/"+id, "/exchanges/"+id+"/bodies"
	b := as(t, e, "auditor")
	if got := b.get(page); !strings.Contains(got.text, `action="../exchanges/`+id+`/bodies"`) || strings.Contains(got.text, "canary-plum") {
		t.Fatalf("the page of the exchange: %s", got.text)
	}
	got := b.send(form, "reason", "  ticket \n <b>4711</b> ")
	if got.status != http.StatusOK || got.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s", got.status, got.header, got.text)
	}
	for _, bad := range []string{"<script>alert", "<img src=x", "<b>4711"} {
		if strings.Contains(got.text, bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
	if !strings.Contains(got.text, "&lt;script&gt;alert") {
		t.Errorf("what was asked is not there as it was: %s", got.text)
	}
	parts := preField.FindAllStringSubmatch(got.text, -1)
	if len(parts) != 2 {
		t.Fatalf("%d parts: %s", len(parts), got.text)
	}
	var asked struct{ Messages []struct{ Content string } }
	if text := html.UnescapeString(parts[0][2]); json.Unmarshal([]byte(text), &asked) != nil || asked.Messages[0].Content != "canary-plum "+script || !strings.Contains(text, "\n  \"") {
		t.Errorf("the request: %s", text)
	}
	if answer := html.UnescapeString(parts[1][2]); !json.Valid([]byte(answer)) || !strings.Contains(answer, "\n  \"choices\": [") {
		t.Errorf("the answer: %s", answer)
	}
	all := readings(e)
	if len(all) != 1 || all[0].Reason != "ticket <b>4711</b>" || all[0].Object != id || all[0].Actor.Role != "auditor" || !strings.HasPrefix(all[0].Actor.Request, "co_") {
		t.Errorf("the chain has %+v", all)
	}
	if entry := b.get("/audit?object=" + id).text; !strings.Contains(entry, "exchanges/"+id) || strings.Contains(entry, "<b>4711") {
		t.Errorf("the page of the chain: %s", entry)
	}
}

// Whoever may not read bodies sees no form and is refused; nothing is given without a reason, or to a form of elsewhere, or by
// an address. None of it is in the chain.
func TestBodiesAreRefused(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	id := keeping(e, "canary-plum")
	page, form := "/exchanges/"+id, "/exchanges/"+id+"/bodies"
	for _, role := range []string{"viewer", "operator"} {
		b := as(t, e, role)
		if got := b.get(page); got.status != http.StatusOK || strings.Contains(got.text, "/bodies") || strings.Contains(got.text, "asked and answered") {
			t.Errorf("%s sees the form: %d %s", role, got.status, got.text)
		}
		if got := b.send(form, "reason", "curious"); got.status != http.StatusForbidden || strings.Contains(got.text, "canary-plum") {
			t.Errorf("%s: %d %s", role, got.status, got.text)
		}
	}
	b := as(t, e, "auditor")
	for name, c := range map[string]struct {
		got    answer
		status int
	}{
		"no reason":           {b.send(form), http.StatusBadRequest},
		"an empty reason":     {b.send(form, "reason", " \n\t "), http.StatusBadRequest},
		"too long a reason":   {b.send(form, "reason", strings.Repeat("x", 201)), http.StatusBadRequest},
		"a reason in the url": {b.send(form+"?reason=curious", "reason", ""), http.StatusBadRequest},
		"no token":            {b.do(http.MethodPost, form, url.Values{"reason": {"curious"}}), http.StatusForbidden},
		"another site":        {b.do(http.MethodPost, form, url.Values{"reason": {"curious"}, "token": {b.token()}}, "Sec-Fetch-Site", "cross-site"), http.StatusForbidden},
		"by an address":       {b.get(form + "?reason=curious"), http.StatusMethodNotAllowed},
		"no exchange":         {b.send("/exchanges/ex_nothing/bodies", "reason", "curious"), http.StatusNotFound},
	} {
		if c.got.status != c.status || strings.Contains(c.got.text, "canary-plum") || c.got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %s", name, c.got.status, c.got.header, c.got.text)
		}
		if problem := alertField.FindStringSubmatch(c.got.text); c.status == http.StatusBadRequest && (problem == nil || !strings.Contains(problem[1], "reason")) {
			t.Errorf("%s: the form does not say why: %s", name, c.got.text)
		}
	}
	if all := readings(e); len(all) != 0 {
		t.Errorf("the chain has %+v", all)
	}
	none := e.Post(e.Key("quiet"), "/v1/chat/completions", penstocktest.Chat("sim-a/m", "hi", false)).ID()
	if got := b.get("/exchanges/" + none); strings.Contains(got.text, "/bodies") || !strings.Contains(got.text, "Nothing of it was kept") {
		t.Errorf("an exchange without bodies: %s", got.text)
	}
	if got := b.send("/exchanges/"+none+"/bodies", "reason", "curious"); got.status != http.StatusNotFound || !alertField.MatchString(got.text) {
		t.Errorf("bodies that are not there: %d %s", got.status, got.text)
	}
}
