package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/usage"
)

// maxTrace is how many exchanges of a trace are listed.
const maxTrace = 1000

// A tracePage is the control API's list of exchanges, as far as it matters here.
type tracePage struct {
	Data   []usage.Record `json:"data"`
	Next   string         `json:"next"`
	Behind bool           `json:"behind,omitzero"`
}

// explainTrace lists the exchanges of a trace, the oldest first, as a trace is read.
func (a *app) explainTrace(ctx context.Context, client *adminClient, f *adminFlags, trace string) error {
	query := url.Values{"trace": {trace}, "limit": {fmt.Sprint(maxTrace)}}
	var page tracePage
	if err := client.call(ctx, http.MethodGet, "/exchanges", query, nil, &page); err != nil {
		return err
	}
	if f.json {
		return a.printJSON(page)
	}
	if page.Behind {
		fmt.Fprintln(a.err, "The store does not take records at the moment; those that wait in the journal are missing here.")
	}
	if len(page.Data) == 0 {
		fmt.Fprintln(a.err, "No exchange of this trace is here.")
		return nil
	}
	slices.Reverse(page.Data)
	t := &table{
		head:  []string{"time", "exchange", "model", "target", "status", "took", "tokens in", "out", "cost"},
		right: []string{"status", "took", "tokens in", "out", "cost"}, text: []string{"model", "target"},
	}
	for i := range page.Data {
		r := &page.Data[i]
		t.add(r.Time.Local().Format("15:04:05.000"), r.ID, r.Model, r.Target, fmt.Sprint(r.Status), figure.Duration(time.Duration(r.Timings.TotalNS)),
			figure.Count(r.Usage.Input), figure.Count(r.Usage.Output), r.CostWords())
	}
	if page.Next != "" {
		fmt.Fprintf(a.err, "The newest %d are listed; the trace has more.\n", maxTrace)
	}
	return a.printTable(t)
}
