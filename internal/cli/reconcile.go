package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/reconcile"
)

func (a *app) reconcileCommand() *cobra.Command {
	f, in := &adminFlags{}, admin.ReconcileInput{}
	var all bool
	c := &cobra.Command{
		Use:   "reconcile FILE",
		Short: "Set a provider's export beside the books; settle what is unknown, and say what drifts",
		Long: `Set a provider's export of usage or costs beside the books, by day and target: what is booked, what the provider
has, and the difference. Exports are those of OpenAI and Anthropic, as JSON from their APIs or as CSV from their
web pages, or a plain CSV of your own. "-" reads the standard input.

Calls whose end nobody saw explain a difference as far as each may have cost. --settle settles them at that, and
voids them where the provider has nothing more than the books; --adjust corrects the books by what is left as well.
Without these nothing is written. What is past the threshold raises an alert, and the exit code is 1; it is 2 if the
export cannot be read. The same file twice changes nothing the second time.`,
		Example: `  penstock reconcile usage.json
  penstock reconcile costs.csv --settle
  penstock reconcile bill.csv --zone Europe/Berlin --threshold 0.5 --json
  penstock reconcile costs.json --match "ft:gpt-4o:acme=openai/support" --ignore "web search*" --adjust`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := a.readExport(args[0])
			if err != nil {
				return err
			}
			in.File = string(text)
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.Reconciliation
			if err := client.patiently().call(cmd.Context(), http.MethodPost, "/reconcile", nil, in, &out); err != nil {
				return notDrift(err)
			}
			if f.json {
				err = a.printJSON(out)
			} else {
				err = a.sayReconciled(&out, all)
			}
			if err == nil && out.Drifts > 0 {
				return fail(exitFailure, "see docs/reconcile.md; what is right as it is can be left out with --ignore, and what is not is corrected with --adjust",
					"%s from the export by more than %s %% and a cent", plural(out.Drifts, "line of the table drifts", "lines of the table drift"), strings.TrimSuffix(out.Threshold, "%"))
			}
			return err
		},
	}
	f.add(c)
	c.Flags().StringVar(&in.Format, "format", "", "openai, anthropic or plain (default: what the file looks like)")
	c.Flags().StringVar(&in.Provider, "provider", "", "whose export it is, by the name in the configuration (default: the only one of the format's provider)")
	c.Flags().IntVar(&in.Credential, "credential", 0, "only what was sent with this credential of the provider's, counted from 1, if the export is of its account")
	c.Flags().StringVar(&in.Zone, "zone", "", "where the days of a plain file begin, such as Europe/Berlin (default: UTC)")
	c.Flags().StringVar(&in.Threshold, "threshold", "", "drift to tell of, in per cent (default: 1); less than a cent is never told of")
	c.Flags().StringToStringVar(&in.Names, "match", nil, "what a name of the export stands for: `NAME=PROVIDER/MODEL`")
	c.Flags().StringArrayVar(&in.Ignore, "ignore", nil, "a `NAME` of the export that is no business of Penstock; * stands for anything; may be repeated")
	c.Flags().BoolVar(&in.Settle, "settle", false, "settle calls whose end is unknown, where the export explains them")
	c.Flags().BoolVar(&in.Adjust, "adjust", false, "settle, and correct the books by what is left")
	c.Flags().BoolVar(&in.Unfinished, "unfinished", false, "also days that are not over, or not wholly in the export")
	c.Flags().BoolVar(&all, "all", false, "show lines that fit as well")
	return c
}

// notDrift gives what is wrong with the export, or with what was asked about it, another exit code than drift has.
func notDrift(err error) error {
	var e *exitError
	if errors.As(err, &e) && (e.status == http.StatusBadRequest || e.status == http.StatusRequestEntityTooLarge) {
		e.code = exitUsage
	}
	return err
}

// readExport reads a file, or the standard input.
func (a *app) readExport(name string) ([]byte, error) {
	const most = reconcile.MaxFile
	from := a.in
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, fail(exitUsage, "name the file that you have from the provider, or - for the standard input", "read the export: %v", err)
		}
		defer file.Close()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, most+1))
	switch {
	case err != nil:
		return nil, fail(exitUsage, "", "read the export: %v", err)
	case len(text) > most:
		return nil, fail(exitUsage, "export a shorter time, or by day and model only", "the export is over %d MiB", most>>20)
	case len(bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))) == 0:
		return nil, fail(exitUsage, "save the export again, and name that file", "The export is empty")
	case !utf8.Valid(text):
		return nil, fail(exitUsage, "save it as CSV or JSON in UTF-8; a packed file has to be unpacked", "The export is not text in UTF-8")
	}
	return text, nil
}

func (a *app) sayReconciled(out *admin.Reconciliation, all bool) error {
	t := table{
		head: []string{"DAY", "TARGET", "BOOKS", "BILLED", "DIFFERENCE", "SHARE", "TOKENS", "BILLED TOKENS", "UNKNOWN", "STATE"},
		text: []string{"TARGET", "STATE"}, right: []string{"BOOKS", "BILLED", "DIFFERENCE", "SHARE", "TOKENS", "BILLED TOKENS", "UNKNOWN"},
	}
	fit := 0
	for i := range out.Lines {
		l := &out.Lines[i]
		if l.State == "fits" && l.Unknown == 0 && !all {
			fit++
			continue
		}
		t.add(reconcileRow(l)...)
	}
	t.add("sum", "", figure.Money(llm.Money(out.Sum.BooksNano)), figure.Money(llm.Money(out.Sum.BilledNano)), signed(out.Sum.DriftNano),
		shareOf(out.Sum.DriftNano, max(out.Sum.BooksNano, out.Sum.BilledNano)), "", "", atMost(out.Sum.MostNano), "")
	if err := a.printTable(&t); err != nil {
		return err
	}
	if fit > 0 {
		fmt.Fprintf(a.err, "%s left out; show all with --all.\n", plural(fit, "line that fits is", "lines that fit are"))
	}
	a.saySettling(out)
	a.sayNames(out)
	return nil
}

func reconcileRow(l *admin.ReconcileLine) []string {
	target := strings.Join(l.Targets, ", ")
	if target == "" {
		target = l.Provider + ": " + strings.Join(l.Names, ", ") + " (not matched)"
	}
	billed, difference, share, tokens, state := figure.None, figure.None, figure.None, figure.None, l.State
	if l.BilledNano != nil {
		billed, difference = figure.Money(llm.Money(*l.BilledNano)), signed(l.DriftNano)
		share = shareOf(l.DriftNano, max(l.BooksNano, *l.BilledNano))
		if l.Priced {
			billed = "~" + billed
		}
	}
	if l.Billed != nil {
		tokens = figure.Count(l.Billed.Input + l.Billed.Output)
	}
	if l.Why != "" {
		state += ": " + l.Why
	}
	return []string{
		l.Day, target, figure.Money(llm.Money(l.BooksNano)), billed, difference, share, figure.Count(l.Books.Input + l.Books.Output), tokens,
		atMost(l.MostNano), state,
	}
}

// signed is a difference.
func signed(nano int64) string {
	if nano > 0 {
		return "+" + figure.Money(llm.Money(nano))
	}
	return figure.Money(llm.Money(nano))
}

// shareOf is a difference's share of the larger amount.
func shareOf(difference, of int64) string {
	if difference < 0 {
		return "-" + figure.Percent(-difference, of)
	}
	return figure.Percent(difference, of)
}

func atMost(nano int64) string {
	if nano == 0 {
		return ""
	}
	return "<= " + figure.Money(llm.Money(nano))
}

// saySettling says what was written, or what would be.
func (a *app) saySettling(out *admin.Reconciliation) {
	if d := out.Done; d != nil {
		fmt.Fprintf(a.err, "Settled %s at $%s together, voided %d", plural(int(d.Settled), "call", "calls"), llm.Money(d.SettledNano), d.Voided)
		if d.Adjusted > 0 {
			fmt.Fprintf(a.err, "; %s, $%s together", plural(int(d.Adjusted), "correction", "corrections"), llm.Money(d.CorrectionNano))
		}
		fmt.Fprintln(a.err, ".")
		if d.Elsewhere > 0 {
			fmt.Fprintf(a.err, "Somebody else wrote %d of them meanwhile; run it again.\n", d.Elsewhere)
		}
	} else {
		var calls, corrections int
		var amount, correction llm.Money
		for i := range out.Lines {
			for _, s := range out.Lines[i].Settle {
				calls, amount = calls+1, amount.Plus(llm.Money(s.AmountNano))
			}
			for _, s := range out.Lines[i].Adjust {
				corrections, correction = corrections+1, correction.Plus(llm.Money(s.AmountNano))
			}
		}
		if calls > 0 {
			fmt.Fprintf(a.err, "--settle would settle %s at $%s together.\n", plural(calls, "unknown call", "unknown calls"), amount)
		}
		if corrections > 0 {
			fmt.Fprintf(a.err, "--adjust would make %s, $%s together.\n", plural(corrections, "correction", "corrections"), correction)
		}
	}
	for _, l := range out.Leases {
		fmt.Fprintf(a.err, "The lease %s of budget %s is unknown: %d in it. If its replica is lost: penstock ledger settle %s\n", clean(l.Lease), clean(l.Budget), l.Amount, clean(l.Lease))
	}
	if out.Partly {
		fmt.Fprintln(a.err, "More calls are unknown than are looked at in one go: run it again after --settle.")
	}
	if out.Behind {
		fmt.Fprintln(a.err, "It is not all: calls wait in the journal for the store.")
	}
	if out.More {
		fmt.Fprintln(a.err, "The provider has further pages of this export (has_more).")
	}
}

// sayNames says what names were taken for, where that is not plain.
func (a *app) sayNames(out *admin.Reconciliation) {
	for _, n := range out.Names {
		switch {
		case len(n.Targets) == 0:
			fmt.Fprintf(a.err, "Not matched: %s. Say what it is with --match %q, or leave it out with --ignore.\n", clean(n.Name), n.Name+"="+n.Provider+"/MODEL")
		case n.By == "version" || len(n.Targets) > 1:
			fmt.Fprintf(a.err, "%s was taken for %s.\n", clean(n.Name), clean(strings.Join(slices.Sorted(slices.Values(n.Targets)), " and ")))
		}
	}
}
