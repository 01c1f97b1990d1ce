package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/llm"
)

func (a *app) ledgerCommand() *cobra.Command {
	f := &adminFlags{}
	c := group(&cobra.Command{
		Use:   "ledger",
		Short: "The books: what every call cost, months, corrections, and whether all fits",
		Long: `The books. Every call to a provider that costs something has one entry, from the account of the project whose
money it is to that of the provider that gets it; entries are only ever added. A call whose end nobody saw
is pending, at the most that it may have cost, until somebody says what it came to. Entries outlive the
records of exchanges, which retention deletes.`,
		Example: `  penstock ledger list --project checkout
  penstock ledger check
  penstock ledger close --month 2026-11 -o november.csv
  penstock ledger list --unknown
  penstock ledger settle ex_01K97K2QJ8W6T2Z3N5V4M1R0XY-1 --amount 0.0042 --reason "the provider's bill"`,
	})
	f.add(c)
	c.AddCommand(a.ledgerList(f), a.ledgerCheck(f), a.ledgerClose(f), a.ledgerSettle(f), a.ledgerAdjust(f))
	return c
}

func (a *app) ledgerList(f *adminFlags) *cobra.Command {
	var project, provider, try, kind, budget, subject, from, to string
	var unknown, accounts bool
	var limit int
	c := &cobra.Command{
		Use:   "list",
		Short: "List entries, the newest first; or accounts, or what is unknown",
		Long: `List entries of the books, the newest first. "--accounts" lists accounts with what their entries come to.
"--unknown" lists what nobody knows the end of: calls that were under way when a replica died, and the parts
of budgets that such a replica had. Both come right by themselves when it starts again on its journal.`,
		Example: `  penstock ledger list --project checkout --from 2026-11-01
  penstock ledger list --unknown
  penstock ledger list --accounts --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			switch {
			case unknown:
				var out admin.Unknowns
				if err := client.call(cmd.Context(), http.MethodGet, "/ledger/unknown", nil, nil, &out); err != nil {
					return err
				}
				return a.sayUnknown(f, &out)
			case accounts:
				all, err := list[admin.LedgerAccount](cmd.Context(), client, "/ledger/accounts", nil)
				if err != nil {
					return err
				}
				return a.sayAccounts(f, all)
			}
			query := queryOf("project", project, "provider", provider, "try", try, "kind", kind, "budget", budget, "subject", subject, "from", from, "to", to)
			var out page[admin.LedgerEntry]
			for more := true; more; more = out.Next != "" && len(out.Data) < limit { // of a budget, a page may be short
				query.Set("limit", strconv.Itoa(limit-len(out.Data)))
				var next page[admin.LedgerEntry]
				if err := client.call(cmd.Context(), http.MethodGet, "/ledger", query, nil, &next); err != nil {
					return err
				}
				next.Data = append(out.Data, next.Data...)
				out = next
				query.Set("after", out.Next)
			}
			return a.sayEntries(f, &out)
		},
	}
	c.Flags().StringVar(&project, "project", "", "only entries of this project, by name or id")
	c.Flags().StringVar(&provider, "provider", "", "only entries of this provider")
	c.Flags().StringVar(&try, "try", "", "only entries of this try, by id")
	c.Flags().StringVar(&kind, "kind", "", "only posted, estimated, pending, settled, void, adjusted or lease")
	c.Flags().StringVar(&budget, "budget-id", "", "only entries that count for this budget")
	c.Flags().StringVar(&subject, "subject", "", "only the part of this project, key or end user, of a budget for each")
	c.Flags().StringVar(&from, "from", "", "first day or instant, UTC")
	c.Flags().StringVar(&to, "to", "", "day or instant before which to stop, UTC")
	c.Flags().IntVar(&limit, "limit", 50, "at most so many, up to 1000")
	c.Flags().BoolVar(&unknown, "unknown", false, "what nobody knows the end of")
	c.Flags().BoolVar(&accounts, "accounts", false, "accounts, with what their entries come to")
	c.MarkFlagsMutuallyExclusive("unknown", "accounts")
	return c
}

func (a *app) sayEntries(f *adminFlags, out *page[admin.LedgerEntry]) error {
	if f.json {
		return a.printJSON(out)
	}
	if len(out.Data) == 0 {
		_, err := fmt.Fprintln(a.err, "There are no such entries. Calls of models that have a price make them: penstock price list")
		return err
	}
	t := table{
		head: []string{"ENTRY", "SENT", "KIND", "FROM", "TO", "AMOUNT", "TARGET", "TRY", "NOTE"}, right: []string{"ENTRY", "AMOUNT"},
		text: []string{"FROM", "TO", "TARGET", "NOTE"},
	}
	for _, e := range out.Data {
		t.add(strconv.FormatInt(e.Number, 10), e.At.Local().Format("Jan 2 15:04:05"), e.Kind, e.Debit, e.Credit, "$"+e.Amount, e.Target, e.Try, e.Note)
	}
	return a.printTable(&t)
}

func (a *app) sayAccounts(f *adminFlags, all []admin.LedgerAccount) error {
	if f.json {
		return a.printJSON(page[admin.LedgerAccount]{Data: all})
	}
	t := table{head: []string{"ACCOUNT", "PROJECT", "AMOUNT", "PENDING"}, right: []string{"AMOUNT", "PENDING"}, text: []string{"PROJECT"}}
	for _, one := range all {
		t.add(one.Name, one.ProjectName, "$"+llm.Money(one.NetNano).String(), "$"+llm.Money(one.PendingNano).String())
	}
	return a.printTable(&t)
}

func (a *app) sayUnknown(f *adminFlags, out *admin.Unknowns) error {
	switch {
	case f.json:
		return a.printJSON(out)
	case len(out.Tries)+len(out.Leases) == 0:
		_, err := fmt.Fprintln(a.err, "Nothing is unknown.")
		return err
	}
	t := table{head: []string{"UNKNOWN", "SINCE", "PROJECT", "OF", "AT MOST", "WHY"}, right: []string{"AT MOST"}, text: []string{"PROJECT", "OF", "WHY"}}
	const when = "Jan 2 15:04:05"
	for _, u := range out.Tries {
		t.add(u.Try, u.At.Local().Format(when), cmp.Or(u.ProjectName, u.Project), u.Target, "$"+u.Most, u.Reason)
	}
	for _, l := range out.Leases {
		why := "its replica does not renew it"
		if l.Restored {
			why = "it is from before a restore"
		}
		of := "budget " + l.Budget
		if l.Subject != "" {
			of += " for " + l.Subject
		}
		t.add(l.Lease, l.Renewed.Local().Format(when), "", of, strconv.FormatInt(l.Amount, 10), why)
	}
	if err := a.printTable(&t); err != nil {
		return err
	}
	if len(out.Leases) > 0 {
		fmt.Fprintln(a.err, "Of leases, the amount is in nano-dollars, or in tokens of a budget in tokens.")
	}
	_, err := fmt.Fprintln(a.err, "Say what one came to: penstock ledger settle ID --amount DOLLARS --reason WHY, or --void")
	return err
}

func (a *app) ledgerCheck(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Add up all entries and compare: with accounts, budgets, leases and exchanges",
		Long: `Add up all entries of the books and compare: with the balances of accounts; with what is settled, unknown and
over of every window of a budget, and what is held with its leases; and with what the exchanges cost that are
still kept. What does not fit is told with what it should be, and the exit code is 1.`,
		Example: `  penstock ledger check`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.LedgerReport
			if err := client.read(cmd.Context(), "/ledger/check", nil, &out); err != nil {
				return err
			}
			if f.json {
				err = a.printJSON(out)
			} else {
				err = a.sayReport(&out)
			}
			if err == nil && !out.OK {
				return fail(exitFailure, "tell us of it with a support bundle: penstock support-bundle FILE", "%s of the books fit",
					plural(len(out.Findings)+int(out.More), "thing does not fit: not all", "things do not fit: not all"))
			}
			return err
		},
	}
}

func (a *app) sayReport(out *admin.LedgerReport) error {
	if len(out.Findings) > 0 {
		t := table{head: []string{"WHERE", "WHAT", "FOUND", "EXPECTED"}, right: []string{"FOUND", "EXPECTED"}, text: []string{"WHERE", "WHAT"}}
		for _, x := range out.Findings {
			t.add(x.Where, x.What, strconv.FormatInt(x.Found, 10), strconv.FormatInt(x.Expected, 10))
		}
		return a.printTable(&t)
	}
	_, err := fmt.Fprintf(a.out, "The books fit: %s on %s, %s, %s.\nSpent: $%s. Unknown: %s, at most $%s.\n",
		counted(out.Entries, "entry", "entries"), counted(out.Accounts, "account", "accounts"),
		counted(out.Windows, "window of a budget", "windows of budgets"), counted(out.Exchanges, "exchange", "exchanges"),
		llm.Money(out.SpentNano), counted(out.Unknown, "call", "calls"), llm.Money(out.PendingNano))
	return err
}

func (a *app) ledgerClose(f *adminFlags) *cobra.Command {
	var month, zone, path string
	c := &cobra.Command{
		Use:   "close [--month 2026-11]",
		Short: "Write what a month came to as CSV: by organisation, project, provider, target and kind",
		Long: `Write what a month came to as CSV, a row for each organisation, project, provider, credential, target and kind
of entry. The amounts of all rows but the pending ones add up to what the accounts hold for the month, which
is said at the end. A call belongs to the month in which it was sent. What is told later, such as by a replica that
was away, or settled, changes a month that was closed: keep the file.

Rows of the kind "usage" have no money but tokens, by the target that answered: what was sent, cached and generated,
and the parts that providers bill apart, such as what was kept in a cache for an hour, sound, pictures and searches.`,
		Example: `  penstock ledger close --month 2026-11 -o november.csv
  penstock ledger close --month 2026-11 --zone Europe/Berlin`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.LedgerClose
			if err := client.read(cmd.Context(), "/ledger/close", queryOf("month", month, "zone", zone), &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			return a.writeClose(&out, path)
		},
	}
	c.Flags().StringVar(&month, "month", "", "the month, such as 2026-11 (default: the last one that is over)")
	c.Flags().StringVar(&zone, "zone", "", "where the month begins, such as Europe/Berlin (default: UTC)")
	c.Flags().StringVarP(&path, "output", "o", "", "write to this `FILE` instead of the standard output")
	return c
}

func (a *app) writeClose(out *admin.LedgerClose, path string) error {
	rows := make([][]string, 0, len(out.Rows))
	for _, r := range out.Rows {
		kind, _ := ledger.KindOf(r.Kind) // of a newer Penstock it may be none of ours
		t := ledger.Total{
			Org: r.Org, Project: r.Project, Provider: r.Provider, Credential: r.Credential, Target: r.Target, Kind: kind, Entries: r.Entries, Amount: llm.Money(r.Nano),
		}
		rows = append(rows, t.CloseRow(out.Month, r.ProjectName))
	}
	for _, n := range out.Usage {
		counted := ledger.Counted{Org: n.Org, Project: n.Project, Target: n.Target, Requests: n.Requests, Usage: n.Usage}
		rows = append(rows, counted.CloseRow(out.Month, n.ProjectName))
	}
	var text bytes.Buffer
	if err := figure.CSV(&text, ledger.CloseHead(), rows); err != nil {
		return err
	}
	if path == "" {
		if _, err := a.out.Write(text.Bytes()); err != nil {
			return err
		}
	} else if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		return fail(exitFailure, "name another file with -o", "write %s: %v", path, err)
	}
	fmt.Fprintf(a.err, "%s (%s) came to $%s.", out.Month, out.Zone, llm.Money(out.TotalNano))
	if out.PendingNano > 0 {
		fmt.Fprintf(a.err, " Unknown are at most $%s more: penstock ledger list --unknown", llm.Money(out.PendingNano))
	}
	fmt.Fprintln(a.err)
	if out.Behind {
		fmt.Fprintln(a.err, "It is not all: calls wait in the journal for the store.")
	}
	if out.UsageGone {
		fmt.Fprintln(a.err, "There are no tokens in it: calls of the month are deleted, and their sums have whole hours of UTC only.")
	}
	if time.Now().Before(out.To) {
		fmt.Fprintf(a.err, "The month is not over until %s.\n", out.To.Format(time.RFC3339))
	}
	return nil
}

func (a *app) ledgerSettle(f *adminFlags) *cobra.Command {
	in := admin.LedgerSettleInput{}
	var tokens int64
	c := &cobra.Command{
		Use:   "settle TRY|LEASE --amount DOLLARS | --void",
		Short: "Say what a call or a lease came to of which nobody knows",
		Long: `Say what a call came to whose end nobody saw, as the provider's bill has it; or what was spent from a lease,
a part of a budget that a replica had which is lost. What it holds of budgets comes free but for that. Do it
for a lease only if its replica does not come back with its journal: what that tells later is not counted twice,
but what goes beyond the amount is over the budget.`,
		Example: `  penstock ledger settle ex_01K97K2QJ8W6T2Z3N5V4M1R0XY-1 --amount 0.0042 --reason "the provider's bill"
  penstock ledger settle ex_01K97K2QJ8W6T2Z3N5V4M1R0XY-1 --void --reason "not on the provider's bill"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.ID = args[0]
			if cmd.Flags().Changed("tokens") {
				in.Tokens = &tokens
			}
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.LedgerEntry
			if err := client.call(cmd.Context(), http.MethodPost, "/ledger/settle", nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			_, err = fmt.Fprintf(a.err, "Settled: entry %d (%s) says what %s came to.\n", out.Number, out.Kind, clean(out.Try))
			return err
		},
	}
	c.Flags().StringVar(&in.Amount, "amount", "", "US dollars, as decimal text")
	c.Flags().Int64Var(&tokens, "tokens", 0, "tokens, for budgets in tokens (default: as many as were reserved)")
	c.Flags().BoolVar(&in.Void, "void", false, "it came to nothing")
	c.Flags().StringVar(&in.Reason, "reason", "", "why, in one line; it stays in the audit chain")
	c.MarkFlagsMutuallyExclusive("amount", "void")
	c.MarkFlagsMutuallyExclusive("tokens", "void")
	_ = c.MarkFlagRequired("reason") // it is there
	return c
}

func (a *app) ledgerAdjust(f *adminFlags) *cobra.Command {
	in := admin.LedgerAdjustInput{}
	c := &cobra.Command{
		Use:   "adjust --project P --provider NAME --amount DOLLARS",
		Short: "Correct the books: so much more was billed, or less",
		Long: `Correct the books by an entry: the provider has billed so much more than is in them, or with a - before the
amount, so much less. It belongs to the month of --at. Budgets stay as they are. If no answer comes, it is sent
once more under the same key, and not booked twice; a script that may be run again gives it a key with --once.`,
		Example: `  penstock ledger adjust --project checkout --provider openai --amount -0.25 --at 2026-11-30 --reason "credit note 4711"`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			if in.Key == "" {
				in.Key = ledger.NewKey()
			}
			var out admin.LedgerEntry
			if err := client.callAgain(cmd.Context(), "/ledger/adjust", in, &out); err != nil {
				var e *exitError
				if errors.As(err, &e) && e.lost {
					e.hint = "whether it is booked is not known: give the command again with --once " + in.Key + ", and it is booked once"
				}
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			_, err = fmt.Fprintf(a.err, "Corrected: entry %d, $%s from %s to %s.\n", out.Number, out.Amount, clean(out.Debit), clean(out.Credit))
			return err
		},
	}
	c.Flags().StringVar(&in.Project, "project", "", "whose money it is, by name or id")
	c.Flags().StringVar(&in.Provider, "provider", "", "whose bill it is, by its name in the configuration, or in the books")
	c.Flags().IntVar(&in.Credential, "credential", 0, "which of the provider's credentials, counted from 1, if it has several")
	c.Flags().StringVar(&in.Target, "target", "", "PROVIDER/MODEL, if it is about one")
	c.Flags().StringVar(&in.Try, "try", "", "try that it corrects, if it is about one")
	c.Flags().StringVar(&in.Amount, "amount", "", "US dollars, as decimal text; below 0 less was billed")
	c.Flags().StringVar(&in.At, "at", "", "day or instant whose month it belongs to (default: now)")
	c.Flags().StringVar(&in.Reason, "reason", "", "why, in one line; it stays in the audit chain")
	c.Flags().StringVar(&in.Key, "once", "", "key of this correction: given again with the same `KEY`, it is not booked again (default: a new one)")
	for _, name := range []string{"project", "provider", "amount", "reason"} {
		_ = c.MarkFlagRequired(name) // it is there
	}
	return c
}
