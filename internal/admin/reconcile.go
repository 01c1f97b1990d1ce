package admin

import (
	"context"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/reconcile"
)

// A ReconcileInput is a provider's export, and what to do with it. Nothing is written unless settle or adjust says so.
type ReconcileInput struct {
	File       string            `json:"file"`                              // the text of the export: JSON or CSV, at most 12 MiB before it is written as JSON
	Format     string            `json:"format,omitzero"`                   // openai, anthropic or plain; what the file looks like if it is left out
	Provider   string            `json:"provider,omitzero"`                 // whose export it is, as it is configured; if it is left out, the only one that is of the format's provider
	Credential int               `json:"credential,omitzero"`               // compare only what was sent with this credential of the provider's, from 1; all if it is left out
	Zone       string            `json:"zone,omitzero"`                     // where the days of a plain file begin: a name such as Europe/Berlin; UTC if it is left out
	Threshold  string            `json:"threshold,omitzero" kind:"decimal"` // drift that is told of, in per cent; 1 if it is left out. Less than a cent is never told of
	Names      map[string]string `json:"names,omitempty"`                   // what names of the export stand for: PROVIDER/MODEL
	Ignore     []string          `json:"ignore,omitempty"`                  // names of the export that are no business of Penstock; * stands for anything
	Settle     bool              `json:"settle,omitzero"`                   // settle calls whose end is unknown, where the export explains them
	Adjust     bool              `json:"adjust,omitzero"`                   // correct the books by what is left; settles as well
	Unfinished bool              `json:"unfinished,omitzero"`               // also days that are not over, or not wholly in the export
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

func (a *API) reconcile(ctx context.Context, _ *call, in ReconcileInput) (out Reconciliation, err error) {
	if n := len(in.File); n > reconcile.MaxFile {
		f := fault.New(fault.BodyTooLarge, "The export has %d bytes; %d MiB are the most.", n, reconcile.MaxFile>>20)
		f.Param, f.Hint = "file", "Export a shorter time, or by day and model only."
		return out, f
	}
	r, err := a.o.Desk.Run(ctx, &reconcile.Request{
		File: []byte(in.File), Format: in.Format, Provider: in.Provider, Credential: in.Credential, Zone: in.Zone, Threshold: in.Threshold,
		Names: in.Names, Ignore: in.Ignore, Settle: in.Settle, Adjust: in.Adjust, Unfinished: in.Unfinished,
	})
	if err != nil {
		return out, err
	}
	if done := r.Done; done != nil {
		out.Done = &ReconcileDone{
			Settled: done.Settled, Voided: done.Voided, Adjusted: done.Adjusted, SettledNano: int64(done.Amount),
			CorrectionNano: int64(done.Correction), Elsewhere: done.Elsewhere,
		}
	}
	out.Zone, out.Threshold, out.Behind = r.Zone.String(), r.Threshold, r.Behind
	a.showReconciled(&out, r.Report)
	return out, nil
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
