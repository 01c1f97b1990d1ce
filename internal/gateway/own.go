package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/usage"
)

// models lists what the key may use.
func (g *Gateway) models(w http.ResponseWriter, _ *http.Request, c *call) {
	var list []model
	for _, name := range g.usable(c) {
		list = append(list, model{name, c.runtime.Table.Targets(name)[0].Provider})
	}
	c.show(w, c.voice.appendModels(nil, list))
}

func (g *Gateway) usable(c *call) []string {
	names := []string{}
	for _, name := range c.runtime.Table.Names() {
		if c.grant.Key.MayUse(name) {
			names = append(names, name)
		}
	}
	return names
}

// model describes one model, whose name may hold slashes.
func (g *Gateway) model(w http.ResponseWriter, r *http.Request, c *call) {
	name := c.rest
	if !c.grant.Key.MayUse(name) || !c.runtime.Table.Has(name) {
		g.refuse(w, r, c, c.runtime.Table.NotFound(name, c.grant.Key.MayUse))
		return
	}
	c.show(w, c.voice.appendModel(nil, model{name, c.runtime.Table.Targets(name)[0].Provider}))
}

// self tells the holder of a key what it is and may.
func (g *Gateway) self(w http.ResponseWriter, r *http.Request, c *call) {
	k := c.grant.Key
	type key struct {
		ID      string   `json:"id"`
		Name    string   `json:"name"`
		Prefix  string   `json:"prefix"`
		Models  []string `json:"models"`
		Expires string   `json:"expires,omitzero"`
	}
	type limits struct {
		BodyBytes int64 `json:"body_bytes"`
	}
	out := struct {
		Organisation string   `json:"organisation"`
		Project      string   `json:"project"`
		ProjectName  string   `json:"project_name"`
		Key          key      `json:"key"`
		Models       []string `json:"models"`
		Limits       limits   `json:"limits"`
		limit.Allowed
	}{
		Organisation: c.grant.Caller.Org, Project: c.grant.Caller.Project, ProjectName: c.grant.Caller.ProjectName,
		Key:    key{ID: k.ID, Name: k.Name, Prefix: k.Prefix, Models: append([]string{}, k.Models...)},
		Models: g.usable(c), Limits: limits{c.runtime.Limits.Body}, Allowed: limit.Nothing(),
	}
	if g.o.Allowed != nil {
		out.Allowed = g.o.Allowed(r.Context(), c.grant.Caller, r.URL.Query().Get("user"))
	}
	if !k.Expires.IsZero() {
		out.Key.Expires = k.Expires.UTC().Format(time.RFC3339)
	}
	g.showValue(w, r, c, out)
}

// record shows a key's project one of its own exchanges, without what is the operator's.
func (g *Gateway) record(w http.ResponseWriter, r *http.Request, c *call) {
	rec, err := g.readRecord(r.Context(), c.grant.Caller.Project, c.rest)
	if err != nil {
		g.refuse(w, r, c, err)
		return
	}
	g.showValue(w, r, c, rec.ForCaller())
}

// readRecord waits for what has been answered to be in the store. If the store takes nothing, what it has can be read all
// the same; only a record that is not there may be one of those that wait.
func (g *Gateway) readRecord(ctx context.Context, project, id string) (*usage.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	waiting, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	behind := g.o.Sync(waiting)
	rec, err := g.o.Records.Record(ctx, project, id)
	if err != nil && behind != nil {
		f := fault.Wrap(fault.RecordsBehind, behind, "The record cannot be read at the moment: it may wait in the journal for the store.")
		f.RetryAfter = 2 * time.Second
		return nil, f
	}
	return rec, err
}

func (g *Gateway) healthz(w http.ResponseWriter, _ *http.Request, c *call) {
	c.show(w, []byte(`{"status":"alive","version":"`+g.o.Version+`"}`))
}

// readyz says whether traffic should be sent here. Providers do not count.
func (g *Gateway) readyz(w http.ResponseWriter, _ *http.Request, c *call) {
	if err := g.o.Ready(); err != nil {
		f := fault.Wrap(fault.NotReady, err, "Not ready: %s.", err)
		f.RetryAfter = time.Second
		c.writeError(w, f)
		return
	}
	c.show(w, []byte(`{"status":"ready"}`))
}

func (g *Gateway) showValue(w http.ResponseWriter, r *http.Request, c *call, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		g.refuse(w, r, c, err)
		return
	}
	c.show(w, b)
}

// show answers with JSON that nobody on the way may keep: it is for one key and one moment.
func (c *call) show(w http.ResponseWriter, b []byte) {
	w.Header()["Cache-Control"] = noStore
	c.write(w, http.StatusOK, b)
}
