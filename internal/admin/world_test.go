package admin_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/penstocktest"
)

// A world is a running Penstock with a project "home" and a key of every role in it.
type world struct {
	*penstocktest.Env
	keys map[auth.Role]string
	n    int
}

func newWorld(t *testing.T, o penstocktest.Options) *world {
	t.Helper()
	w := &world{Env: penstocktest.Start(t, o), keys: map[auth.Role]string{}}
	w.Key("home")
	for _, role := range auth.Roles() {
		w.keys[role] = w.makeKey(admin.KeyInput{Project: "home", Role: string(role), Name: "of the role " + string(role)}).Key
	}
	return w
}

// An answer is what the control plane sent.
type answer struct {
	status int
	header http.Header
	body   string
}

// refusal is the error in an answer; an answer that has none, or another shape, fails the test.
func (a answer) refusal(t *testing.T) admin.RefusalError {
	t.Helper()
	var r admin.Refusal
	if err := json.Unmarshal([]byte(a.body), &r, json.RejectUnknownMembers(true)); err != nil || r.Error.Code == "" || r.Error.Message == "" {
		t.Errorf("status %d with an error of another shape (%v): %q", a.status, err, a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("an error of type %q", got)
	}
	return r.Error
}

// call sends a request. Key "" sends none; headers are names and values in turn.
func (w *world) call(method, path, key, body string, headers ...string) answer {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, w.AdminURL+path, strings.NewReader(body))
	if err != nil {
		w.T.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.T.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.T.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// raw sends bytes as they are and reads one answer.
func (w *world) raw(head string) answer {
	w.T.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.AdminURL, "http://"))
	if err != nil {
		w.T.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		w.T.Fatal(err)
	}
	if _, err := io.WriteString(conn, head); err != nil {
		w.T.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.T.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.T.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// get reads an answer of the control plane as the admin.
func get[T any](w *world, path string) T {
	w.T.Helper()
	var out T
	if status := w.Admin(http.MethodGet, path, nil, &out); status != http.StatusOK {
		w.T.Fatalf("GET %s: status %d", path, status)
	}
	return out
}

// A pageOf is a list answer.
type pageOf[T any] struct {
	Data []T    `json:"data"`
	Next string `json:"next"`
}

// walk reads a list page by page.
func walk[T any](w *world, path string, limit int) (all []T, pages int) {
	w.T.Helper()
	sep, after := "?", ""
	if strings.Contains(path, "?") {
		sep = "&"
	}
	for {
		p := get[pageOf[T]](w, fmt.Sprintf("%s%slimit=%d&after=%s", path, sep, limit, url.QueryEscape(after)))
		all, pages = append(all, p.Data...), pages+1
		if p.Next == "" {
			return all, pages
		}
		if len(p.Data) != limit {
			w.T.Fatalf("%s: a page of %d that has a next one, want %d", path, len(p.Data), limit)
		}
		after = p.Next
	}
}

func (w *world) makeKey(in admin.KeyInput) admin.NewKey {
	w.T.Helper()
	var out admin.NewKey
	if status := w.Admin(http.MethodPost, "/keys", in, &out); status != http.StatusCreated {
		w.T.Fatalf("make a key %+v: status %d", in, status)
	}
	return out
}

// fresh is a name that was not given before.
func (w *world) fresh(what string) string {
	w.n++
	return fmt.Sprintf("%s %d", what, w.n)
}

// request fills the path of an endpoint and gives a body, so that the request succeeds once.
func (w *world) request(e admin.Endpoint) (path, body string) {
	w.T.Helper()
	switch e.Method + " " + e.Path {
	case "POST /admin/v1/projects":
		return e.Path, fmt.Sprintf(`{"name":%q}`, w.fresh("project"))
	case "PATCH /admin/v1/projects/{id}":
		return "/admin/v1/projects/home", `{"strict":false}`
	case "POST /admin/v1/keys":
		return e.Path, fmt.Sprintf(`{"project":"home","name":%q}`, w.fresh("key"))
	case "POST /admin/v1/keys/{id}/revoke", "POST /admin/v1/keys/{id}/rotate":
		id := w.makeKey(admin.KeyInput{Project: "home", Name: w.fresh("key")}).ID
		return strings.Replace(e.Path, "{id}", id, 1), ""
	case "PATCH /admin/v1/keys/{id}":
		return "/admin/v1/keys/" + w.makeKey(admin.KeyInput{Project: "home", Name: w.fresh("key")}).ID, `{"models":["a*"]}`
	case "POST /admin/v1/declaration/plan", "POST /admin/v1/declaration/apply":
		return e.Path, fmt.Sprintf(`{"declaration":{"organisations":{"acme":{"projects":{%q:{}}}}}}`, w.fresh("project"))
	case "GET /admin/v1/exchanges/{id}":
		return "/admin/v1/exchanges/" + w.exchange(), ""
	case "GET /admin/v1/exchanges/{id}/bodies":
		return "/admin/v1/exchanges/" + w.keptExchange() + "/bodies?reason=a+test", ""
	case "POST /admin/v1/holds":
		return e.Path, `{"org":"default","reason":"case 1"}`
	case "POST /admin/v1/holds/{id}/lift":
		var made admin.Hold
		w.Admin(http.MethodPost, "/holds", admin.HoldInput{Project: "home", Reason: "case 2"}, &made)
		return strings.Replace(e.Path, "{id}", made.ID, 1), `{"reason":"settled"}`
	case "POST /admin/v1/routes/disable":
		return e.Path, `{"target":"sim-b","for":"1s"}`
	case "POST /admin/v1/routes/enable":
		name := strings.ReplaceAll(w.fresh("sim-b/m"), " ", "-")
		w.Admin(http.MethodPost, "/routes/disable", admin.DisableInput{Target: name}, nil)
		return e.Path, fmt.Sprintf(`{"target":%q}`, name)
	case "POST /admin/v1/stops":
		return e.Path, fmt.Sprintf(`{"model":%q}`, strings.ReplaceAll(w.fresh("model"), " ", "-"))
	case "POST /admin/v1/stops/{id}/lift":
		a := w.call(http.MethodPost, "/admin/v1/stops", w.keys[auth.RoleAdmin], fmt.Sprintf(`{"model":%q}`, strings.ReplaceAll(w.fresh("model"), " ", "-")))
		var made admin.Stop
		if err := json.Unmarshal([]byte(a.body), &made); err != nil {
			w.T.Fatal(err, a.body)
		}
		return strings.Replace(e.Path, "{id}", made.ID, 1), ""
	case "PUT /admin/v1/budgets":
		return e.Path, fmt.Sprintf(`{"user":%q,"amount":"1","per":"day"}`, w.fresh("user"))
	case "GET /admin/v1/budgets/{id}", "DELETE /admin/v1/budgets/{id}":
		var made admin.Budget
		w.Admin(http.MethodPut, "/budgets", admin.BudgetInput{ScopeInput: admin.ScopeInput{User: w.fresh("user")}, TermsInput: admin.TermsInput{Amount: "1", Per: "day"}}, &made)
		return strings.Replace(e.Path, "{id}", made.ID, 1), ""
	case "PUT /admin/v1/limits":
		return e.Path, `{"project":"home","measure":"requests","amount":1000000}`
	case "POST /admin/v1/limits":
		return e.Path, `{"data":[{"project":"home","measure":"concurrent","amount":1000000}]}`
	case "DELETE /admin/v1/limits/{id}":
		var made admin.Limit
		w.Admin(http.MethodPut, "/limits", admin.LimitInput{ScopeInput: admin.ScopeInput{User: w.fresh("user")}, Rate: admin.Rate{Measure: "tokens", Amount: 1}}, &made)
		return strings.Replace(e.Path, "{id}", made.ID, 1), ""
	case "PUT /admin/v1/tiers":
		return e.Path, `{"name":"silver","class":"flex"}`
	case "DELETE /admin/v1/tiers/{id}", "GET /admin/v1/tiers/{id}/budgets":
		name := strings.ReplaceAll(w.fresh("tier"), " ", "-")
		w.Admin(http.MethodPut, "/tiers", admin.TierInput{Name: name}, nil)
		return strings.Replace(e.Path, "{id}", name, 1), ""
	case "PUT /admin/v1/assignments":
		w.Admin(http.MethodPut, "/tiers", admin.TierInput{Name: "gold"}, nil)
		return e.Path, fmt.Sprintf(`{"tier":"gold","project":"home","user":%q}`, w.fresh("user"))
	case "DELETE /admin/v1/assignments":
		user := strings.ReplaceAll(w.fresh("user"), " ", "-")
		w.Admin(http.MethodPut, "/tiers", admin.TierInput{Name: "gold"}, nil)
		w.Admin(http.MethodPut, "/assignments", admin.AssignmentInput{Tier: "gold", Project: "home", User: user}, nil)
		return e.Path + "?project=home&user=" + user, ""
	case "POST /admin/v1/ledger/settle":
		return e.Path, fmt.Sprintf(`{"id":%q,"amount":"0.01","reason":"bill"}`, w.unknownTry())
	case "POST /admin/v1/ledger/adjust":
		return e.Path, `{"project":"home","provider":"sim-a","amount":"-0.01","reason":"credit note"}`
	case "POST /admin/v1/reconcile":
		target := strings.ReplaceAll(w.fresh("sim-b/m"), " ", "-")
		w.Price(target)
		w.Post(w.keys[auth.RoleCaller], "/v1/chat/completions", penstocktest.Chat(target, "say:3 hello", false))
		file := fmt.Sprintf("day,provider,model,cost_usd\n%s,sim-b,%s,1\n", time.Now().UTC().Format(time.DateOnly), strings.TrimPrefix(target, "sim-b/"))
		return e.Path, fmt.Sprintf(`{"file":%q,"adjust":true,"unfinished":true}`, file)
	case "PUT /admin/v1/prices":
		return e.Path, `{"data":[{"target":"sim-a/priced","input":"1","output":"2"}]}`
	}
	if strings.Contains(e.Path, "{") {
		w.T.Fatalf("%s %s: the test does not know what to ask for", e.Method, e.Path)
	}
	return e.Path, ""
}

// keptExchange is exchange of a project that keeps bodies.
func (w *world) keptExchange() string {
	w.T.Helper()
	project := w.fresh("keeping")
	w.Admin(http.MethodPost, "/projects", admin.ProjectInput{Name: project, Bodies: "keep", Retention: "1h"}, nil)
	key := w.makeKey(admin.KeyInput{Project: project}).Key
	return w.Post(key, "/v1/chat/completions", penstocktest.Chat("sim-a/m", "say:3 hello", false)).ID()
}

// unknownTry makes a call whose end nobody sees, and gives the id of its try.
func (w *world) unknownTry() string {
	w.T.Helper()
	const target = "sim-a/m?cut=0"
	w.Price(target)
	id := w.Post(w.keys[auth.RoleCaller], "/v1/chat/completions", penstocktest.Chat(target, "say:3 hello", false)).ID()
	for _, u := range get[admin.Unknowns](w, "/ledger/unknown").Tries {
		if strings.HasPrefix(u.Try, id) {
			return u.Try
		}
	}
	w.T.Fatalf("no try of %s is unknown", id)
	return ""
}

// exchange makes a call to a model and gives its id.
func (w *world) exchange() string {
	w.T.Helper()
	a := w.Post(w.keys[auth.RoleCaller], "/v1/chat/completions", penstocktest.Chat("sim-a/m", "say:3 hello", false))
	if a.Status != http.StatusOK {
		w.T.Fatalf("no exchange: %d %s", a.Status, a.Text())
	}
	return a.ID()
}

// logged collects what the server logs.
type logged struct{ bytes.Buffer }
