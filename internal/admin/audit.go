package admin

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/fault"
)

// acting gives a context in which everything that is changed is an act of whoever made the request. Whoever needs no key
// changes nothing.
func acting(r *http.Request, out *answer, c *call) context.Context {
	if c.grant == nil {
		return r.Context()
	}
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr
	}
	k, owner := c.grant.Key, c.grant.Caller
	return audit.As(r.Context(), audit.Actor{
		Key: k.ID, Name: k.Name, Prefix: k.Prefix, Role: string(k.Role), Org: owner.Org, Project: owner.Project,
		Address: address, Agent: r.UserAgent(), Request: out.id,
	})
}

var auditing = []Param{
	{"actor", "only acts with this key, by id; process is Penstock itself"},
	{"action", "only this action, such as key.create"},
	{"object", "only acts on this object, by id"},
	{"project", "only acts on objects of this project, by id, or by name if only one organisation has the name"},
	{"ascending", "true: the oldest first"},
}

func (a *API) listAudit(ctx context.Context, c *call) (out list[audit.Entry], err error) {
	limit, err := c.query.limit()
	if err != nil {
		return out, err
	}
	f, err := a.auditFilter(ctx, c.query)
	if err != nil {
		return out, err
	}
	rows, err := a.o.Audit.AuditEntries(ctx, f, limit+1)
	if err != nil {
		return out, err
	}
	id := func(e audit.Entry) string { return strconv.FormatInt(e.Seq, 10) }
	return page(rows, limit, id, func(e audit.Entry) audit.Entry { return e }), nil
}

func (a *API) auditFilter(ctx context.Context, q query) (f audit.Filter, err error) {
	f = audit.Filter{Actor: q["actor"], Action: audit.Action(q["action"]), Object: q["object"]}
	if f.From, f.To, err = q.span(); err != nil {
		return f, err
	}
	if f.Ascending, err = q.flag("ascending"); err != nil {
		return f, err
	}
	if f.Project, err = a.projectID(ctx, q["project"]); err != nil {
		return f, err
	}
	if after := q["after"]; after != "" {
		if f.After, err = strconv.ParseInt(after, 10, 64); err != nil || f.After < 1 {
			return f, badParam("after", "after is %s; send the number of an entry.", quote(after))
		}
	}
	return f, nil
}

func (a *API) auditState(ctx context.Context, _ *call) (audit.State, error) {
	return a.o.Keeper.Look(ctx)
}

func (a *API) checkpoint(ctx context.Context, _ *call, _ Nothing) (audit.Checkpoint, error) {
	c, done, err := a.o.Keeper.CheckpointNow(ctx)
	if err != nil && done {
		f := fault.Wrap(fault.StoreFailed, err, "No checkpoint was made: %v.", err)
		f.Hint = "See the audit chain's state: GET /admin/v1/audit/head"
		return audit.Checkpoint{}, f
	}
	return c, err
}

// exportWithin is how long a client may take for a part of an export.
const exportWithin = time.Minute

// exportAudit gives a handler that writes the export.
func (a *API) exportAudit(ctx context.Context, c *call) (http.Handler, error) {
	f, err := a.auditFilter(ctx, c.query)
	if err != nil {
		return nil, err
	}
	x, err := a.o.Keeper.BeginExport(ctx, f)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/jsonl")
		patient := &patientWriter{w, http.NewResponseController(w)}
		patient.more()
		if err := x.Write(r.Context(), w, patient.more); err != nil {
			a.o.Log.Warn("an export of the audit chain broke off", "error", err)
			panic(http.ErrAbortHandler) // whoever reads it must not take it for whole
		}
	}), nil
}
