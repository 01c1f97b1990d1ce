package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/usage"
)

func (a *app) latencyCommand() *cobra.Command {
	f := &adminFlags{}
	var by, from, to, project, model, target, of string
	var csv bool
	c := &cobra.Command{
		Use:   "latency",
		Short: "Percentiles of how long answers took, by project, model, target, day or hour",
		Long: "Percentiles of how long answers took that did not fail: the whole, the first token of a stream, Penstock's own part, and the\n" +
			"time for an output token. All but the longest are at most 4.5 % off.",
		Example: `  penstock latency
  penstock latency --of first-token --by target --from 2026-11-28
  penstock latency --by hour --model support --csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, ok := latencyParts[of]; !ok {
				return fail(exitUsage, "Say total, first-token, own or per-token.", "--of %s is not a part of a latency", of)
			}
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			only := onlyFlags{project: project, model: model, target: target}
			var out admin.Latencies
			query := only.query(url.Values{"group_by": {by}, "from": {from}, "to": {to}})
			if err := client.call(cmd.Context(), http.MethodGet, "/latency", query, nil, &out); err != nil {
				return err
			}
			if out.Behind {
				fmt.Fprintln(a.err, "The store does not take records at the moment; those that wait in the journal are missing here.")
			}
			switch {
			case f.json:
				return a.printJSON(out)
			case csv:
				head, rows := usage.LatencyTable(out.GroupBy, out.Data)
				return figure.CSV(a.out, head, rows)
			}
			return a.latencyTable(out, of)
		},
	}
	f.add(c)
	c.Flags().StringVar(&by, "by", "model", "what to tell apart; several with commas: project, model, target, day or hour")
	c.Flags().StringVar(&of, "of", "total", "which part the table shows: total, first-token, own (Penstock's) or per-token")
	c.Flags().StringVar(&from, "from", "", "first day or instant, UTC (default: 24 hours before the end)")
	c.Flags().StringVar(&to, "to", "", "day or instant before which to stop, UTC (default: now)")
	c.Flags().StringVar(&project, "project", "", "only this project")
	c.Flags().StringVar(&model, "model", "", "only this model, as it was asked for")
	c.Flags().StringVar(&target, "target", "", "only answered by this PROVIDER/MODEL")
	c.Flags().BoolVar(&csv, "csv", false, "print all parts in nanoseconds as CSV")
	c.MarkFlagsMutuallyExclusive("json", "csv")
	return c
}

// latencyParts are the parts of a latency by the words of --of.
var latencyParts = map[string]func(*usage.Latency) usage.Quantiles{
	"total":       func(l *usage.Latency) usage.Quantiles { return l.Total },
	"first-token": func(l *usage.Latency) usage.Quantiles { return l.First },
	"own":         func(l *usage.Latency) usage.Quantiles { return l.Overhead },
	"per-token":   func(l *usage.Latency) usage.Quantiles { return l.PerToken },
}

func (a *app) latencyTable(out admin.Latencies, of string) error {
	if len(out.Data) == 0 {
		fmt.Fprintf(a.err, "Nothing was answered from %s to %s. Widen with --from.\n", out.From.Format(time.RFC3339), out.To.Format(time.RFC3339))
		return nil
	}
	t := table{right: []string{"ANSWERS", "P50", "P90", "P95", "P99", "LONGEST"}}
	for _, g := range out.GroupBy {
		t.head = append(t.head, strings.ToUpper(g))
	}
	t.text = t.head[:len(t.head):len(t.head)]
	t.head = append(t.head, "ANSWERS", "P50", "P90", "P95", "P99", "LONGEST")
	for i := range out.Data {
		l := &out.Data[i]
		q := latencyParts[of](l)
		cells := a.groupCells(out.GroupBy, out.Names, l.Group)
		cells = append(cells, figure.Count(q.Count))
		for _, ns := range []int64{q.P50, q.P90, q.P95, q.P99, q.Max} {
			cell := figure.None
			if q.Count > 0 {
				cell = figure.Duration(time.Duration(ns))
			}
			cells = append(cells, cell)
		}
		t.add(cells...)
	}
	return a.printTable(&t)
}
