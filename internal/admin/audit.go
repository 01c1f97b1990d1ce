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
	head, err := a.o.Audit.AuditHead(ctx)
	if err != nil {
		return audit.State{}, err
	}
	state := a.o.Keeper.State()
	state.Head = head
	return state, nil
}

// checkpoint is an act of its own, so that the checkpoint has seen who asked for it.
func (a *API) checkpoint(ctx context.Context, _ *call, _ Nothing) (audit.Checkpoint, error) {
	if err := a.o.Audit.AppendAudit(ctx, audit.Act{Action: audit.Checkpointed}); err != nil {
		return audit.Checkpoint{}, err
	}
	c, err := a.o.Keeper.Checkpoint(ctx)
	if err != nil {
		f := fault.Wrap(fault.StoreFailed, err, "No checkpoint was made: %v.", err)
		f.Hint = "See the audit chain's state: GET /admin/v1/audit/head"
		return audit.Checkpoint{}, f
	}
	return c, nil
}

// exportAudit gives a handler that writes the export. That it is made is an entry, which is in it.
func (a *API) exportAudit(ctx context.Context, c *call) (http.Handler, error) {
	f, err := a.auditFilter(ctx, c.query)
	if err != nil {
		return nil, err
	}
	f.Ascending = true
	described := audit.NewExportHead(a.o.Now(), audit.Head{}, f)
	act := audit.Act{Action: audit.ChainExported, After: described.Filter()}
	if err := a.o.Audit.AppendAudit(ctx, act); err != nil {
		return nil, err
	}
	if described.Head, err = a.o.Audit.AuditHead(ctx); err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/jsonl")
		if err := a.writeExport(w, r, described, f); err != nil {
			a.o.Log.Warn("an export of the audit chain broke off", "error", err)
			panic(http.ErrAbortHandler) // whoever reads it must not take it for whole
		}
	}), nil
}

// exportPage is how many entries are read at once, and exportWithin how long a client may take for so many.
const (
	exportPage   = 500
	exportWithin = time.Minute
)

func (a *API) writeExport(w http.ResponseWriter, r *http.Request, h audit.ExportHead, f audit.Filter) error {
	x, err := audit.NewExporter(w, h)
	for more := true; more && err == nil; {
		var page []audit.Entry
		if page, err = a.o.Audit.AuditEntries(r.Context(), f, exportPage); err != nil {
			break
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(exportWithin)) // a test's recorder has none
		more = len(page) == exportPage
		for i := range page {
			if page[i].Seq > h.Head.Seq {
				more = false
				break
			}
			f.After = page[i].Seq
			if err = x.Add(&page[i]); err != nil {
				break
			}
		}
	}
	if err != nil {
		return err
	}
	return a.o.Keeper.EndExport(x)
}
