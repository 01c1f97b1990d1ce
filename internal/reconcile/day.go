package reconcile

import (
	"maps"
	"slices"

	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/llm"
)

// A dayOf compares one day of a provider.
type dayOf struct {
	*books

	c        *comparison
	m        *matcher
	provider string
	found    map[string]Match // what names of the export were matched with
	lines    map[string]*Line // by what stands for their models
	together bool             // the export does not tell models apart on this day
	unheard  bool             // names of the export were not matched on this day, so that it is not known what it has of each target
}

// all stands for all models together.
const all = "\x00all"

func (d *dayOf) compare(tokens, money bool) []Line {
	rows := d.rows()
	for _, row := range rows {
		d.together = d.together || row.Model == ""
	}
	d.addBooks()
	for _, row := range rows {
		d.addRow(row)
	}
	var list []Line
	for _, key := range slices.Sorted(maps.Keys(d.lines)) {
		l := d.lines[key]
		if len(l.Names) == 0 { // the export has nothing of it
			l.Money, l.Tokens = money, tokens
		}
		if d.judge(l); l.anything() {
			list = append(list, *l)
		}
	}
	return list
}

// rows are those of the export that count.
func (d *dayOf) rows() []*Row {
	var rows []*Row
	for i := range d.c.e.Rows {
		row := &d.c.e.Rows[i]
		if row.Date == d.Date && (row.Provider == "" || row.Provider == d.provider) && !d.c.ignored(row.Model) {
			rows = append(rows, row)
		}
	}
	return rows
}

// line is that of a model.
func (d *dayOf) line(model string) *Line {
	key := d.m.root(model)
	if d.together {
		key = all
	}
	l := d.lines[key]
	if l == nil {
		l = d.newLine(key)
	}
	for _, member := range d.m.members(d.m.root(model)) {
		if member != "" && !slices.Contains(l.Models, member) && d.used(member) {
			l.Models = append(l.Models, member)
		}
	}
	if len(l.Models) == 0 && model != "" { // nobody used it here on this day
		l.Models = append(l.Models, model)
	}
	return l
}

func (d *dayOf) newLine(key string) *Line {
	l := &Line{Date: d.Date, Provider: d.provider, Whole: d.Whole && !d.c.o.Now.Before(d.to), Money: true, Tokens: true, ends: d.to}
	d.lines[key] = l
	return l
}

// used reports whether there is anything of a model on this day.
func (d *dayOf) used(model string) bool {
	target := llm.Target{Provider: d.provider, Model: model}.String()
	_, recorded := d.recorded[target]
	unknown := func(u ledger.Unknown) bool { return u.Target == target && d.at(&u) }
	return recorded || slices.ContainsFunc(d.c.unknowns, unknown) || slices.ContainsFunc(d.totals, func(t ledger.Total) bool { return t.Target == target })
}

// at reports whether a try was sent on this day.
func (d *dayOf) at(u *ledger.Unknown) bool { return !u.At.Before(d.from) && u.At.Before(d.to) }

// mine reports whether a target and credential are what is compared, and gives the model.
func (d *dayOf) mine(target string, credential int) (model string, ok bool) {
	t, _ := llm.ParseTarget(target)
	return t.Model, t.Provider == d.provider && (d.c.o.Credential == 0 || d.c.o.Credential == credential)
}

func (d *dayOf) addBooks() {
	for _, t := range d.totals {
		model, ok := d.mine(t.Target, t.Credential)
		if t.Target == "" && t.Provider == d.provider { // a correction of no single target: where models are told apart, of none of them
			ok = d.together && (d.c.o.Credential == 0 || d.c.o.Credential == t.Credential)
		}
		if !ok {
			continue
		}
		l := d.line(model)
		switch t.Kind {
		case ledger.Posted, ledger.Estimated:
			l.base, l.entries = l.base.Plus(t.Amount), l.entries+t.Entries
		case ledger.Settled, ledger.Adjusted:
		default:
			continue
		}
		l.Books = l.Books.Plus(t.Amount)
		d.share(l, Share{t.Org, t.Project, t.Credential, model, t.Amount})
	}
	for i := range d.c.unknowns {
		u := &d.c.unknowns[i]
		if model, ok := d.mine(u.Target, u.Credential); ok && d.at(u) {
			l := d.line(model)
			l.pending = append(l.pending, *u)
			l.Unknown, l.Most = l.Unknown+1, l.Most.Plus(u.Bound)
		}
	}
	for target, of := range d.recorded {
		// Records do not say the credential of what they sum.
		if model, ok := d.mine(target, d.c.o.Credential); ok {
			l := d.line(model)
			l.Recorded = l.Recorded.Add(of.Usage)
		}
	}
}

// share notes whose spending is in a line.
func (d *dayOf) share(l *Line, s Share) {
	for i := range l.Shares {
		if have := &l.Shares[i]; have.Org == s.Org && have.Project == s.Project && have.Credential == s.Credential && have.Model == s.Model {
			have.Amount = have.Amount.Plus(s.Amount)
			return
		}
	}
	l.Shares = append(l.Shares, s)
}

func (d *dayOf) addRow(row *Row) {
	var l *Line
	switch models := d.found[row.Model].Models; {
	case d.together:
		l = d.line("")
	case len(models) > 0:
		l = d.line(models[0])
	default:
		d.unheard = d.unheard || row.Cost != 0 || row.Usage != llm.Usage{}
		l = d.newLine("\x01" + row.Model)
	}
	name := row.Model
	if name == "" {
		name = "*"
	}
	l.Names = append(l.Names, name)
	l.Billed, l.Usage = l.Billed.Plus(row.Cost), l.Usage.Add(row.Usage)
	l.Money, l.Tokens = l.Money && row.Billed, l.Tokens && row.Tokens
}

// judge says what came out for a line, and what could be done.
func (d *dayOf) judge(l *Line) {
	slices.Sort(l.Models)
	if !l.Money && l.Tokens {
		d.price(l)
	}
	surplus := llm.Money(0)
	if l.Money {
		surplus = l.Billed.Plus(-l.Books)
		l.Drift, l.Left = surplus, surplus
		d.plan(l, surplus)
	}
	d.spread(l)
	o := &d.c.o
	off := l.Money && past(int64(l.Left), int64(l.Billed), int64(l.Books), o.Threshold, int64(leastMoney))
	if !l.Money && l.Tokens {
		has, want := all64(l.Recorded), all64(l.Usage)
		off = past(want-has, want, has, o.Threshold, leastTokens)
	}
	switch {
	case !l.Whole && !o.Unfinished:
		l.State = Unended
	case off:
		l.State = Drifts
	case len(l.Steps) > 0:
		l.State = Explained
	case !l.Money:
		l.State = NoPrice
	default:
		l.State = Fits
	}
}

// anything reports whether there is anything to show.
func (l *Line) anything() bool {
	return l.Books != 0 || l.Billed != 0 || l.Unknown > 0 || l.Usage != llm.Usage{} || l.Recorded.Input+l.Recorded.Output != 0
}

func all64(u llm.Usage) int64 { return llm.Sum(u.Input, u.Output) }

// price tells money from tokens: what the books have, and what the tokens cost that the provider has besides. That holds only if the
// tokens that are recorded cost now what the books have for them: prices may have changed, long prompts may cost more, and tokens of a
// try that failed are recorded with the target that answered after it. Sums of what is recorded have no parts: where some of it cost what
// such a part does, it does not add up, and nothing is told.
func (d *dayOf) price(l *Line) {
	var has, want llm.Money
	for i, model := range l.Models {
		p, ok := d.c.Price(llm.Target{Provider: d.provider, Model: model})
		if !ok || p.Call > 0 { // tokens do not tell how many calls were billed
			return
		}
		p.Long = nil
		recorded, billed := p.ForCall(l.Recorded), p.ForCall(l.Usage)
		if i > 0 && (recorded != has || billed != want) { // models of different prices cannot be told apart
			return
		}
		has, want = recorded, billed
	}
	// Each try is rounded up to a nano-dollar by itself.
	if off := size(int64(has.Plus(-l.base))); len(l.Models) == 0 || d.c.o.Credential != 0 || off > uint64(l.entries) && off > uint64(max(l.base, 0))/1000 {
		return
	}
	l.Billed, l.Money, l.Priced = l.base.Plus(want.Plus(-has)), true, true
}
