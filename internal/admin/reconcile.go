package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/reconcile"
	"github.com/penstock/penstock/internal/usage"
)

// A ReconcileInput is a provider's export, and what to do with it. Nothing is written unless settle or adjust says so.
type ReconcileInput struct {
	File       string            `json:"file"`                // the text of the export: JSON or CSV
	Format     string            `json:"format,omitzero"`     // openai, anthropic or plain; what the file looks like if it is left out
	Provider   string            `json:"provider,omitzero"`   // whose export it is, as it is configured; if it is left out, the only one that is of the format's provider
	Credential int               `json:"credential,omitzero"` // compare only what was sent with this credential of the provider's, from 1; all if it is left out
	Zone       string            `json:"zone,omitzero"`       // where the days of a plain file begin: a name such as Europe/Berlin; UTC if it is left out
	Threshold  string            `json:"threshold,omitzero"`  // drift that is told of, in per cent; 1 if it is left out. Less than a cent is never told of
	Names      map[string]string `json:"names,omitempty"`     // what names of the export stand for: PROVIDER/MODEL
	Ignore     []string          `json:"ignore,omitempty"`    // names of the export that are no business of Penstock; * stands for anything
	Settle     bool              `json:"settle,omitzero"`     // settle calls whose end is unknown, where the export explains them
	Adjust     bool              `json:"adjust,omitzero"`     // correct the books by what is left; settles as well
	Unfinished bool              `json:"unfinished,omitzero"` // also days that are not over, or not wholly in the export
}

// A Reconciliation is an export beside the books. After settling it shows the books as they are then.
type Reconciliation struct {
	Format    string          `json:"format"`
	Hash      string          `json:"sha256"` // of the file
	Zone      string          `json:"zone"`   // where days begin
	Threshold string          `json:"threshold"`
	Days      int             `json:"days"`            // that the export speaks of
	More      bool            `json:"more,omitzero"`   // the provider has further pages of it
	Lines     []ReconcileLine `json:"lines"`           // by day, provider and target
	Sum       ReconcileSum    `json:"sum"`             // of all lines whose money is known
	Names     []ReconcileName `json:"names"`           // of models in the export, and what they were taken for
	Drifts    int             `json:"drifts"`          // lines past the threshold
	Done      *ReconcileDone  `json:"done,omitempty"`  // what was written; left out if nothing was to be
	Leases    []UnknownLease  `json:"leases"`          // parts of budgets that lost replicas had, which nobody can settle from an export
	Partly    bool            `json:"partly,omitzero"` // more calls are unknown than are looked at in one go: run it again after settling
	Behind    bool            `json:"behind,omitzero"` // calls wait in the journal for the store, and are missing here
}

// A ReconcileLine is a day of one target, or of several that the export does not tell apart.
type ReconcileLine struct {
	Day        string           `json:"day"`
	Provider   string           `json:"provider"`
	Targets    []string         `json:"targets"`              // none for a name that was not matched
	Names      []string         `json:"names"`                // in the export; * is all models together; none if it has nothing of them
	State      string           `json:"state"`                // fits, explained (by unknown calls), drifts, unfinished (the day), or no money
	BooksNano  int64            `json:"books_nano"`           // posted, estimated, settled and adjusted
	BilledNano *int64           `json:"billed_nano,omitzero"` // left out if the export has no money, and none can be told from its tokens
	Priced     bool             `json:"priced,omitzero"`      // billed_nano is told from tokens, at the prices of now
	DriftNano  int64            `json:"drift_nano"`           // billed less books
	Books      ReconcileTokens  `json:"books"`                // tokens that are recorded with exchanges that these targets answered
	Billed     *ReconcileTokens `json:"billed,omitempty"`     // tokens of the export
	Unknown    int64            `json:"unknown"`              // calls whose end is unknown
	MostNano   int64            `json:"most_nano"`            // that they may have cost
	Settle     []ReconcileStep  `json:"settle"`               // what they would be settled at
	Adjust     []ReconcileShare `json:"adjust"`               // what would correct the books for what is left
	LeftNano   int64            `json:"left_nano"`            // drift that unknown calls do not explain
	Why        string           `json:"why,omitzero"`         // why calls are not settled
}

// ReconcileTokens are tokens; those of the prompt include cached and written ones.
type ReconcileTokens struct {
	Input       int64 `json:"input"`
	Output      int64 `json:"output"`
	CachedInput int64 `json:"cached_input"`
	CacheWrite  int64 `json:"cache_write"`
}

// A ReconcileStep settles one call; at 0 it is voided.
type ReconcileStep struct {
	Try        string `json:"try"`
	AmountNano int64  `json:"amount_nano"`
}

// A ReconcileShare is what one project bears of a correction.
type ReconcileShare struct {
	Org         string `json:"org"`
	Project     string `json:"project"` // id
	ProjectName string `json:"project_name,omitzero"`
	Credential  int    `json:"credential,omitzero"`
	Target      string `json:"target,omitzero"`
	AmountNano  int64  `json:"amount_nano"`
}

// A ReconcileSum adds lines up, in nano-dollars.
type ReconcileSum struct {
	BooksNano  int64 `json:"books_nano"`
	BilledNano int64 `json:"billed_nano"`
	DriftNano  int64 `json:"drift_nano"`
	MostNano   int64 `json:"most_nano"` // that unknown calls of any line may have cost
}

// A ReconcileName says what a name of the export was taken for.
type ReconcileName struct {
	Provider string   `json:"provider"`
	Name     string   `json:"name"`
	Targets  []string `json:"targets"`     // none if it was not matched
	By       string   `json:"by,omitzero"` // name, family (but for a date), version (behind the target's name), or given
}

// A ReconcileDone says what was written.
type ReconcileDone struct {
	Settled        int64 `json:"settled"` // calls
	Voided         int64 `json:"voided"`
	Adjusted       int64 `json:"adjusted"`        // correcting entries
	SettledNano    int64 `json:"settled_nano"`    // that calls were settled at, together
	CorrectionNano int64 `json:"correction_nano"` // of the correcting entries, together
	Elsewhere      int64 `json:"elsewhere"`       // what somebody else had written meanwhile
}

func (a *API) reconcile(ctx context.Context, c *call, in ReconcileInput) (out Reconciliation, err error) {
	e, o, err := a.reconcileOptions(&in)
	if err != nil {
		return out, err
	}
	settle := in.Settle || in.Adjust
	if settle { // what waits for the store may be what the export has more
		if err := a.settle(ctx); err != nil {
			return out, err
		}
	} else if out.Behind, err = a.catchUp(ctx); err != nil {
		return out, err
	}
	s := reconcile.Sources{
		Ledger: a.o.Ledger, Recorded: a.recorded, Price: a.o.Price,
		Models: a.modelsOf, Known: a.modelKnown,
	}
	a.reconciling.Lock() // two at once would both find the same to be left
	defer a.reconciling.Unlock()
	r, err := reconcile.Compare(ctx, s, e, o)
	if err != nil {
		return out, err
	}
	if settle {
		done, err := reconcile.Settle(ctx, a.o.Ledger, r, o, in.Adjust)
		if err != nil {
			return out, err
		}
		out.Done = &ReconcileDone{
			Settled: done.Settled, Voided: done.Voided, Adjusted: done.Adjusted, SettledNano: int64(done.Amount),
			CorrectionNano: int64(done.Correction), Elsewhere: done.Elsewhere,
		}
		if r, err = reconcile.Compare(ctx, s, e, o); err != nil {
			return out, err
		}
	}
	out.Zone, out.Threshold = o.Zone.String(), in.Threshold
	a.showReconciled(&out, r)
	a.tellDrift(r)
	return out, nil
}

// reconcileOptions reads what is asked for.
func (a *API) reconcileOptions(in *ReconcileInput) (e *reconcile.Export, o reconcile.Options, err error) {
	o = reconcile.Options{Credential: in.Credential, Zone: time.UTC, Names: in.Names, Ignore: in.Ignore, Unfinished: in.Unfinished, Now: a.o.Now()}
	if in.Threshold == "" {
		in.Threshold = "1"
	}
	if o.Threshold, err = reconcile.ParseThreshold(in.Threshold); err != nil {
		return nil, o, badParam("threshold", "threshold: %v.", err)
	}
	if in.Format != "" && !slices.Contains(reconcile.Formats(), reconcile.Format(in.Format)) {
		return nil, o, badParam("format", "format is %s; send openai, anthropic or plain, or leave it out.", quote(in.Format))
	}
	if e, err = reconcile.Read([]byte(in.File), reconcile.Format(in.Format)); err != nil {
		f := badParam("file", "The export cannot be read: %v.", err)
		f.Hint = "Nothing was changed. docs/reconcile.md says which exports are known."
		return nil, o, f
	}
	if in.Zone != "" {
		if o.Zone, err = limit.Zone(in.Zone); err != nil {
			return nil, o, badParam("zone", "%s is not a zone that is known here; send a name such as Europe/Berlin.", quote(in.Zone))
		}
		if e.Format != reconcile.Plain && o.Zone != time.UTC {
			return nil, o, badParam("zone", "Days of this provider's exports are in UTC; leave zone out.")
		}
	}
	if in.Credential < 0 {
		return nil, o, badParam("credential", "credential is %d; they are counted from 1.", in.Credential)
	}
	for name, target := range in.Names {
		if _, ok := llm.ParseTarget(target); !ok {
			return nil, o, badParam("names", "%s stands for %s; send PROVIDER/MODEL.", quote(name), quote(target))
		}
	}
	o.Provider, err = a.exportOf(e, in.Provider)
	return e, o, err
}

// exportOf finds out which configured provider an export is of.
func (a *API) exportOf(e *reconcile.Export, named string) (string, error) {
	if e.Format == reconcile.Plain {
		if named != "" {
			return "", badParam("provider", "Each line of a plain file names its provider; leave provider out.")
		}
		return "", nil
	}
	vendors := a.o.Vendors()
	if named != "" {
		if _, ok := vendors[named]; !ok {
			return "", badParam("provider", "There is no provider %s in the configuration.", quote(named))
		}
		return named, nil
	}
	var all []string
	for name, vendor := range vendors {
		if vendor == string(e.Format) {
			all = append(all, name)
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	slices.Sort(all)
	if len(all) == 0 {
		return "", badParam("provider", "Say whose export it is: no provider in the configuration is known to be %s.", e.Format)
	}
	return "", badParam("provider", "Say whose export it is: %s.", strings.Join(all, " or "))
}

// recorded sums records by target.
func (a *API) recorded(ctx context.Context, from, to time.Time) (map[string]reconcile.Recorded, error) {
	sums, err := a.o.Records.Sums(ctx, usage.Query{From: from, To: to, By: []string{"target"}})
	if err != nil {
		return nil, err
	}
	all := make(map[string]reconcile.Recorded, len(sums))
	for _, s := range sums {
		all[s.Group["target"]] = reconcile.Recorded{Usage: s.Usage, Requests: s.Requests}
	}
	return all, nil
}

// modelsOf are the models that are configured of a provider.
func (a *API) modelsOf(provider string) []string {
	var all []string
	for _, r := range a.o.Routes() {
		for _, t := range r.Targets {
			if target, ok := llm.ParseTarget(t.Target); ok && target.Provider == provider {
				all = append(all, target.Model)
			}
		}
	}
	return all
}

// modelKnown says whether the catalogue has a model of exactly this name.
func (a *API) modelKnown(provider, model string) bool {
	vendor := a.o.Vendors()[provider]
	return slices.Contains(a.o.Catalog.Table().Vendors(model), vendor)
}

func (a *API) showReconciled(out *Reconciliation, r *reconcile.Report) {
	out.Format, out.Hash, out.Days, out.More, out.Partly = string(r.Export.Format), r.Export.Hash, len(r.Export.Days), r.Export.More, r.Partly
	out.Lines, out.Names, out.Leases = []ReconcileLine{}, []ReconcileName{}, unknownLeases(r.Leases)
	for i := range r.Lines {
		l := &r.Lines[i]
		out.Lines = append(out.Lines, a.lineOf(l))
		if l.State == reconcile.Drifts {
			out.Drifts++
		}
		out.Sum.MostNano = int64(llm.Money(out.Sum.MostNano).Plus(l.Most))
		if l.Money {
			out.Sum.BooksNano = int64(llm.Money(out.Sum.BooksNano).Plus(l.Books))
			out.Sum.BilledNano = int64(llm.Money(out.Sum.BilledNano).Plus(l.Billed))
			out.Sum.DriftNano = int64(llm.Money(out.Sum.DriftNano).Plus(l.Drift))
		}
	}
	for _, m := range r.Names {
		out.Names = append(out.Names, ReconcileName{Provider: m.Provider, Name: m.Name, Targets: targetsOf(m.Provider, m.Models), By: m.By})
	}
}

func (a *API) lineOf(l *reconcile.Line) ReconcileLine {
	out := ReconcileLine{
		Day: l.Date, Provider: l.Provider, Targets: targetsOf(l.Provider, l.Models), Names: append([]string{}, l.Names...), State: string(l.State),
		BooksNano: int64(l.Books), Priced: l.Priced, DriftNano: int64(l.Drift), Books: tokensOf(l.Recorded), Unknown: l.Unknown, MostNano: int64(l.Most),
		Settle: []ReconcileStep{}, Adjust: []ReconcileShare{}, LeftNano: int64(l.Left), Why: l.Why,
	}
	if l.Money {
		billed := int64(l.Billed)
		out.BilledNano = &billed
	}
	if l.Tokens {
		billed := tokensOf(l.Usage)
		out.Billed = &billed
	}
	for _, s := range l.Steps {
		out.Settle = append(out.Settle, ReconcileStep{Try: s.Try, AmountNano: int64(s.Amount)})
	}
	for _, s := range l.Shares {
		share := ReconcileShare{Org: s.Org, Project: s.Project, ProjectName: a.o.Keys.Name(s.Project), Credential: s.Credential, AmountNano: int64(s.Amount)}
		if s.Model != "" {
			share.Target = llm.Target{Provider: l.Provider, Model: s.Model}.String()
		}
		out.Adjust = append(out.Adjust, share)
	}
	return out
}

func targetsOf(provider string, models []string) []string {
	all := make([]string, len(models))
	for i, model := range models {
		all[i] = llm.Target{Provider: provider, Model: model}.String()
	}
	return all
}

func tokensOf(u llm.Usage) ReconcileTokens {
	return ReconcileTokens{Input: u.Input, Output: u.Output, CachedInput: u.CachedInput, CacheWrite: u.CacheWrite}
}

// tellDrift raises an alert for each provider whose books drift, and clears those of the others that were compared.
func (a *API) tellDrift(r *reconcile.Report) {
	worst, seen := map[string]*reconcile.Line{}, map[string]int{}
	for i := range r.Lines {
		l := &r.Lines[i]
		if l.State == reconcile.Unended { // it says nothing yet
			continue
		}
		if seen[l.Provider] += 0; l.State == reconcile.Drifts {
			seen[l.Provider]++
			if w := worst[l.Provider]; w == nil || max(l.Left, -l.Left) > max(w.Left, -w.Left) {
				worst[l.Provider] = l
			}
		}
	}
	for provider, drifts := range seen {
		text := ""
		if w := worst[provider]; w != nil {
			text = fmt.Sprintf("%d days and targets drift from the provider's export, the most on %s: $%s billed, $%s in the books.", drifts, w.Date, w.Billed, w.Books)
			if !w.Money {
				text = fmt.Sprintf("The tokens of %d days and targets drift from the provider's export, as on %s.", drifts, w.Date)
			}
		}
		a.o.Alerts.Set(alert.BooksDrift, provider, drifts > 0, text)
	}
}
