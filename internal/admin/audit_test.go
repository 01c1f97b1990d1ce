package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/penstocktest"
)

// unaudited are the endpoints with another method than GET that change nothing, and why.
var unaudited = map[string]string{
	"POST /admin/v1/declaration/plan": "it says what would change, and changes nothing",
	"POST /admin/v1/alerts/test":      "it sends a message that says nothing, and the log has a line of it",
}

// audited are the endpoints that read and all the same are acts.
var audited = map[string]bool{"GET /admin/v1/audit/export": true, "GET /admin/v1/declaration": true, "GET /admin/v1/support": true, "GET /admin/v1/exchanges/{id}/bodies": true}

// TestControl47 (security.md): no endpoint that changes something can forget the audit chain. Each makes exactly one entry
// of whoever called it and from where, if it was done, and none if it was refused; reading makes none, where it is no act.
func TestControl47EveryChangeIsOneEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	keyIDs := map[string]string{}
	for _, k := range get[pageOf[admin.Key]](w, "/keys").Data {
		keyIDs[k.Role] = k.ID
	}
	for _, e := range admin.Endpoints() {
		name := e.Method + " " + e.Path
		want := 0
		if e.Method != http.MethodGet && unaudited[name] == "" || audited[name] {
			want = 1
		}
		path, body := w.request(e)
		before := w.chain()
		a := w.call(e.Method, path, w.keys[auth.RoleAdmin], body, "User-Agent", "a test of ours")
		if a.status != e.Status {
			t.Errorf("%s: %d %s", name, a.status, a.body)
			continue
		}
		added := w.chain()[len(before):]
		if len(added) != want {
			t.Errorf("%s left %d entries in the audit chain, want %d.\nA store method that an administrator calls writes with act, not with change; "+
				"if the endpoint changes nothing, list it in unaudited with the reason.", name, len(added), want)
			continue
		}
		if want == 0 {
			continue
		}
		got := added[0].Actor
		if got.Key != keyIDs["admin"] || got.Role != "admin" || got.Prefix == "" || got.Project == "" || got.Org == "" || got.Address != "127.0.0.1" ||
			got.Agent != "a test of ours" || got.Request != a.header.Get("X-Request-Id") {
			t.Errorf("%s was an act of %+v", name, got)
		}
		w.call(e.Method, path, w.keys[auth.RoleCaller], body)
		w.call(e.Method, path, "", body)
		if n := len(w.chain()) - len(before); n != want {
			t.Errorf("%s, refused: %d more entries", name, n-want)
		}
	}
	verifyChain(t, w)
}

// chain is the whole audit chain.
func (w *world) chain() []audit.Entry {
	w.T.Helper()
	all, _ := walk[audit.Entry](w, "/audit?ascending=true", 1000)
	return all
}

func verifyChain(t *testing.T, w *world) {
	t.Helper()
	head := get[audit.Head](w, "/audit/head")
	v, err := audit.NewVerifier(audit.Head{Chain: head.Chain}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range w.chain() {
		if err := v.Next(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.End(head); err != nil || head.Seq == 0 {
		t.Error(head, err)
	}
}

// TestAuditChainTellsWhatChanged: before and after of each kind of change, from the first act of the process on.
func TestAuditChainTellsWhatChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	w.Admin(http.MethodPatch, "/projects/home", admin.ProjectChange{Labels: map[string]string{"cost_center": "42"}}, nil)
	k := w.makeKey(admin.KeyInput{Project: "home", Name: "trial", Models: []string{"a*"}, Expires: "1h"})
	var next admin.NewKey
	w.Admin(http.MethodPost, "/keys/"+k.ID+"/rotate", admin.RotateInput{Overlap: "1h"}, &next)
	w.Admin(http.MethodPost, "/keys/"+next.ID+"/revoke", nil, nil)
	w.Price("sim-a/m")
	all := w.chain()
	first := all[0]
	if first.Seq != 1 || first.Action != audit.AdminKeyMade || first.Actor.Key != "process" {
		t.Errorf("the first entry: %+v", first)
	}
	got := map[audit.Action]string{}
	for _, e := range all {
		got[e.Action] = e.Object + " " + string(e.Before) + " -> " + string(e.After)
	}
	for action, parts := range map[audit.Action][]string{
		audit.ProjectSet: {"prj_", `{"bodies":"none","name":"home","org":"default","strict":false} -> {`, `"labels":{"cost_center":"42"}`},
		audit.KeyRotated: {k.ID + " ", ` -> {`, `"new":{`, `"replaced_by":"` + next.ID + `"`, `"revoked":"`, `"models":["a*"]`},
		audit.KeyRevoked: {next.ID + " {", ` -> {`, `"revoked":"`},
		audit.PricesSet:  {"sim-a/m  -> ", `"sim-a/m":{"cache_write":`},
	} {
		for _, part := range parts {
			if !strings.Contains(got[action], part) {
				t.Errorf("%s: %s\nwants %s", action, got[action], part)
			}
		}
	}
	for _, q := range []struct {
		query string
		want  int
	}{
		{"object=" + k.ID, 2}, {"action=price.set", 1}, {"actor=process&action=admin_key.create", 1}, {"actor=admin&object=" + next.ID, 1},
		{"project=home&action=key.revoke", 1}, {"to=2001-01-01", 0}, {"from=2001-01-01", len(all)},
	} {
		if rows, _ := walk[audit.Entry](w, "/audit?"+q.query, 3); len(rows) != q.want {
			t.Errorf("%s: %d entries, want %d", q.query, len(rows), q.want)
		}
	}
	for _, query := range []string{"after=x", "after=0", "from=yesterday", "ascending=yes", "project=nobody", "budget=1"} {
		if a := w.call(http.MethodGet, "/admin/v1/audit?"+query, w.AdminKey, ""); a.status/100 != 4 {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	verifyChain(t, w)
}
