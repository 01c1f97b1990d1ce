package console

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
)

// A chainView answers: who changed what, and is the chain whole?
type chainView struct {
	Verdict  verdict
	State    audit.State
	Signed   time.Time // when the last checkpoint was signed, zero if none was
	Filters  chainFilters
	Rows     []entryRow
	Older    string // address of the next page, "" at the end
	Newest   string // address of the first page, "" if this is it
	Filtered bool
	Said     string
	Problem  *problem
	Ranges   []choice
	Actions  []choice
	Projects []choice
}

// chainFilters are as they stand in the query.
type chainFilters struct{ Range, Actor, Action, Object, Project string }

// An entryRow is an entry as lists and its own page show it.
type entryRow struct {
	audit.Entry
	Who         string
	ObjectName  string
	ObjectPage  string // address of the pages of such objects, from the root, "" if it has none
	ObjectID    string // what its page is found by: of a try, the exchange
	ProjectName string
	Changes     []changed
	More        int // changes that the list leaves out
}

// A changed is one member of an object, before and after an act; "" is that it was not there, or was an empty text.
type changed struct{ Member, Before, After string }

// shortChanges is how many changes of an entry lists show.
const shortChanges = 3

func (c *Console) entryRow(e *audit.Entry) entryRow {
	row := entryRow{Entry: *e, Who: e.Actor.Name, ObjectID: e.Object, ObjectName: c.o.Keys.Name(e.Object), Changes: differences(e.Before, e.After)}
	if row.Who == "" {
		row.Who = e.Actor.Key
	}
	if e.Project != "" {
		row.ProjectName = c.o.Keys.Name(e.Project)
	}
	switch {
	case strings.HasPrefix(e.Object, "prj_"):
		row.ObjectPage = "projects"
	case strings.HasPrefix(e.Object, "key_"):
		row.ObjectPage = "keys"
	case strings.HasPrefix(e.Object, "ex_"):
		row.ObjectPage = "exchanges"
		if of := exchangeOf(e.Object); of != "" {
			row.ObjectID = of
		}
	}
	return row
}

// differences compares two objects member by member, those inside of members by their path. What is the same is left out.
func differences(before, after jsontext.Value) (all []changed) {
	was, is := map[string]string{}, map[string]string{}
	members("", before, was)
	members("", after, is)
	paths := maps.Clone(was)
	maps.Copy(paths, is)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if was[path] != is[path] {
			all = append(all, changed{path, was[path], is[path]})
		}
	}
	return all
}

// members writes what is in a JSON value by its path.
func members(path string, v jsontext.Value, into map[string]string) {
	var object map[string]jsontext.Value
	switch v.Kind() {
	case 0, 'n':
		return
	case '{':
		if json.Unmarshal(v, &object) == nil {
			for name, member := range object {
				members(strings.TrimPrefix(path+"."+name, "."), member, into)
			}
			return
		}
	case '"':
		var text string
		if json.Unmarshal(v, &text) == nil {
			if text != "" {
				into[path] = text
			}
			return
		}
	}
	into[path] = v.String()
}

func (c *Console) chain(v *visit) error {
	return c.chainPage(v, http.StatusOK, nil)
}

// chainFilter reads the query, or the form that an export sends.
func chainFilter(q url.Values, now time.Time) (f audit.Filter, out chainFilters, err error) {
	out = chainFilters{Actor: strings.TrimSpace(q.Get("actor")), Action: q.Get("action"), Object: strings.TrimSpace(q.Get("object")), Project: q.Get("project")}
	f = audit.Filter{Actor: out.Actor, Action: audit.Action(out.Action), Object: out.Object, Project: out.Project}
	out.Range, f.From = rangeOf(q, now, "all")
	if after := q.Get("after"); after != "" {
		if f.After, err = strconv.ParseInt(after, 10, 64); err != nil || f.After < 1 {
			return f, out, wrong("There is no entry %.40q to go on behind.", "Begin at the newest.", after)
		}
	}
	return f, out, nil
}

func (c *Console) chainPage(v *visit, status int, refused *problem) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	q := v.r.URL.Query()
	filter, shown, err := chainFilter(q, v.now)
	if err != nil {
		return err
	}
	data := chainView{Filters: shown, Problem: refused, Ranges: rangeChoices(shown.Range)}
	if data.State, err = c.o.Keeper.Look(ctx); err != nil {
		return err
	}
	if data.State.Checkpoint != nil {
		data.Signed = data.State.Checkpoint.Time
	}
	data.Verdict = judgeChain(&data.State)
	entries, err := c.o.Chain.AuditEntries(ctx, filter, pageSize+1)
	if err != nil {
		return err
	}
	if err := c.chainChoices(ctx, v, &data); err != nil {
		return err
	}
	if q.Get("after") != "" {
		q.Del("after")
		data.Newest = "audit?" + q.Encode()
	}
	if len(entries) > pageSize {
		entries = entries[:pageSize]
		q.Set("after", strconv.FormatInt(entries[pageSize-1].Seq, 10))
		data.Older = "audit?" + q.Encode()
	}
	for i := range entries {
		row := c.entryRow(&entries[i])
		row.More = max(len(row.Changes)-shortChanges, 0)
		row.Changes = row.Changes[:min(len(row.Changes), shortChanges)]
		data.Rows = append(data.Rows, row)
	}
	data.Filtered = shown.Actor != "" || shown.Action != "" || shown.Object != "" || shown.Project != "" || shown.Range != "all"
	if v.r.Method == http.MethodGet && q.Get("said") == "signed" {
		data.Said = "The end of the chain is verified and signed."
	}
	f := c.frame(v, "audit", "Audit", data)
	f.Command = "penstock audit list"
	return c.send(v, status, "frame.html", f)
}

func (c *Console) chainChoices(ctx context.Context, v *visit, data *chainView) (err error) {
	data.Actions = []choice{{"", "any", data.Filters.Action == ""}}
	for _, a := range audit.Actions() {
		data.Actions = append(data.Actions, choice{string(a), string(a), string(a) == data.Filters.Action})
	}
	data.Projects, err = c.projectChoices(ctx, v, data.Filters.Project)
	return err
}

// judgeChain says first whether the chain is whole.
func judgeChain(s *audit.State) verdict {
	entries := func(n int64) string { return figure.Count(n) + " entries" }
	switch {
	case s.Break != nil:
		return verdict{"bad", "Broken", fmt.Sprintf("Entry %s: %s.", figure.Count(s.Break.Seq), s.Break.Text)}
	case s.VerifiedAt == nil:
		return verdict{"warn", "Not verified yet", entries(s.Seq) + "; the first verification since the start is under way."}
	case s.Problem != "":
		return verdict{"warn", "Whole", entries(s.Verified) + " are verified, but: " + s.Problem + "."}
	}
	return verdict{"ok", "Whole", entries(s.Verified) + " are verified."}
}

// An entryView is one entry of the chain.
type entryView struct {
	entryRow
	JSON        string
	Newer, Past string // addresses of the entries beside it, from the root, "" at the ends
}

func (c *Console) entry(v *visit) error {
	seq, err := strconv.ParseInt(v.part, 10, 64)
	if err != nil || seq < 1 || strconv.FormatInt(seq, 10) != v.part {
		return fault.New(fault.NotThere, "There is no entry %.40q.", v.part)
	}
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	found, err := c.o.Chain.AuditEntries(ctx, audit.Filter{Ascending: true, After: seq - 1}, 2)
	if err != nil {
		return err
	}
	if len(found) == 0 || found[0].Seq != seq {
		return fault.New(fault.NotThere, "The audit chain has no entry %s.", figure.Count(seq))
	}
	text, err := json.Marshal(found[0], jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	data := entryView{entryRow: c.entryRow(&found[0]), JSON: string(text)}
	if seq > 1 {
		data.Past = "audit/" + strconv.FormatInt(seq-1, 10)
	}
	if len(found) > 1 {
		data.Newer = "audit/" + strconv.FormatInt(seq+1, 10)
	}
	f := c.frame(v, "entry", "Entry "+figure.Count(seq), data)
	f.Command = "penstock audit list --action " + string(found[0].Action)
	return c.send(v, http.StatusOK, "frame.html", f)
}

func (c *Console) checkpoint(v *visit) error {
	_, made, err := c.o.Keeper.CheckpointNow(v.ctx())
	if err != nil && made {
		return c.chainPage(v, http.StatusServiceUnavailable, &problem{"No checkpoint was made: " + err.Error() + ".", ""})
	}
	if err != nil {
		return err
	}
	return v.redirect("audit?said=signed")
}

// exportWithin is how long a browser may take for a part of an export.
const exportWithin = time.Minute

func (c *Console) export(v *visit) error {
	filter, _, err := chainFilter(v.form, v.now)
	if err != nil {
		return err
	}
	x, err := c.o.Keeper.BeginExport(v.ctx(), filter)
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "application/jsonl")
	v.w.Header().Set("Content-Disposition", `attachment; filename="penstock-audit-`+v.now.UTC().Format("20060102-150405")+`.jsonl"`)
	v.status = http.StatusOK
	control := http.NewResponseController(v.w) // a test's recorder has no deadlines
	more := func() {
		_ = control.SetWriteDeadline(time.Now().Add(exportWithin))
		_ = control.SetReadDeadline(time.Time{}) // that of the request would end its context
	}
	more()
	if err := x.Write(v.ctx(), v.w, more); err != nil {
		c.o.Log.Warn("an export of the audit chain broke off", "request", v.id, "error", err)
		panic(http.ErrAbortHandler) // whoever reads it must not take it for whole
	}
	return nil
}

// help says what the pages are for.
func (c *Console) help(v *visit) error { return c.render(v, http.StatusOK, "help", "Help", nil) }
