package penstocktest

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/store"
)

// Books are what was found in the ledger.
type Books struct {
	ledger.Report

	Windows []ledger.Pool // of budgets
	// Tries are the entries of tries, by the try's id.
	Tries map[string]ledger.Entry
}

// CheckBooks is CheckBill, and more: the Penstock is stopped in good order, and then its ledger must be its records try by try and
// so the providers' bill, it must add up, and nothing may be held of any budget but what is unknown. SQLite only.
func (e *Env) CheckBooks() *Books {
	e.T.Helper()
	unknown := e.CheckBill()
	records := e.Records()
	e.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := store.Open(ctx, "sqlite:"+filepath.Join(e.Dir, "data", "penstock.db"), store.Options{})
	if err != nil {
		e.T.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	report, err := ledger.Check(ctx, s)
	if err != nil {
		e.T.Fatal(err)
	}
	for i := range report.Findings {
		e.T.Errorf("ledger: %s", report.Findings[i].String())
	}
	if int64(unknown) != report.Unknown {
		e.T.Errorf("%d tries are unknown, and %d in the ledger", unknown, report.Unknown)
	}
	b := &Books{Report: *report, Tries: map[string]ledger.Entry{}}
	if err := s.ReadLedger(ctx, func(n ledger.Snapshot) error {
		return n.Pools(ctx, func(p *ledger.Pool) error {
			b.Windows = append(b.Windows, *p)
			return nil
		})
	}); err != nil {
		e.T.Fatal(err)
	}
	for _, p := range b.Windows {
		if p.Held != 0 {
			e.T.Errorf("%d of %s %q are held, and nothing runs", p.Held, p.Rule, p.Subject)
		}
		if unknown == 0 && p.Unknown != 0 {
			e.T.Errorf("%d of %s %q are unknown, and no try is", p.Unknown, p.Rule, p.Subject)
		}
	}
	entries, err := s.LedgerEntries(ctx, ledger.Query{Limit: 1 << 30})
	if err != nil {
		e.T.Fatal(err)
	}
	for _, entry := range entries {
		if _, twice := b.Tries[entry.Try]; twice && slices.Contains([]ledger.Kind{ledger.Posted, ledger.Estimated, ledger.Pending}, entry.Kind) {
			e.T.Errorf("try %s is in the ledger twice", entry.Try)
		}
		b.Tries[entry.Try] = entry
	}
	found := 0
	for _, r := range records {
		for i := range r.Tries {
			try := &r.Tries[i]
			entry, ok := b.Tries[try.ID]
			if ok {
				found++
			}
			if !ok && try.Outcome != pipeline.Released && (try.CostNano > 0 || len(try.Charges) > 0) {
				e.T.Errorf("try %s (%s) of %s is not in the ledger", try.ID, try.Outcome, try.CostNano)
			}
			if ok && (entry.Kind != kinds[try.Outcome] || entry.Kind != ledger.Pending && entry.Amount != try.CostNano) {
				e.T.Errorf("try %s: %s of %s, and in the ledger %s of %s", try.ID, try.Outcome, try.CostNano, entry.Kind, entry.Amount)
			}
		}
	}
	if found != len(b.Tries) {
		e.T.Errorf("%d tries are in the ledger, and %d of them in records", len(b.Tries), found)
	}
	return b
}

var kinds = map[pipeline.Outcome]ledger.Kind{
	pipeline.SettledActual: ledger.Posted, pipeline.SettledEstimated: ledger.Estimated, pipeline.Unknown: ledger.Pending,
}
