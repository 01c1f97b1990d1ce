package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
)

func (a *app) explainCommand() *cobra.Command {
	f, trace := &adminFlags{}, ""
	c := &cobra.Command{
		Use:   "explain EXCHANGE",
		Short: "Say why an exchange went as it did: stages, tries, tokens, money",
		Long: `Say why an exchange went as it did: what each stage decided, every try, tokens and money.
The id is the X-Request-Id of the answer. With --trace, list the exchanges of a trace instead.`,
		Example: `  penstock explain ex_01K97K2QJ8W6T2Z3N5V4M1R0XY
  penstock explain --trace 4bf92f3577b34da6a3ce929d0e0e4736`,
		Args: func(cmd *cobra.Command, args []string) error {
			if trace != "" {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			if trace != "" {
				return a.explainTrace(cmd.Context(), client, f, trace)
			}
			var r usage.Record
			if err := client.call(cmd.Context(), http.MethodGet, "/exchanges/"+url.PathEscape(args[0]), nil, nil, &r); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(r)
			}
			a.explain(a.out, &r)
			return nil
		},
	}
	f.add(c)
	c.Flags().StringVar(&trace, "trace", "", "list the exchanges of this trace, by its W3C trace id (32 hexadecimal digits)")
	return c
}

// explain writes a record the way a colleague would tell it: the sentence, then the steps, then tokens.
func (a *app) explain(w io.Writer, r *usage.Record) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	zone, _ := r.Time.Local().Zone()
	p("%s", a.paint(a.tty, bold, clean(fmt.Sprintf("%s, %s, %s, %s, %s %s", headline(r), statusWords(r),
		figure.Duration(time.Duration(r.Timings.TotalNS)), recordCost(r), r.Time.Local().Format("Jan 2 15:04:05"), zone))))
	p("%s", clean(story(r)))
	for _, s := range r.Stages {
		p("  %-7s %s", clean(s.Stage), clean(s.Decision))
	}
	for i := range r.Tries {
		a.explainTry(w, r, i)
	}
	p("  tokens  %s", tokenWords(r.Usage))
	if !r.Trace.IsZero() {
		p("  trace   %s%s", r.Trace, parentWords(r))
	}
	if len(r.Tags) > 0 {
		p("  tags    %s", clean(strings.Join(r.Tags, ", ")))
	}
	if r.Error != nil {
		p("  error   %s: %s", a.paint(a.tty, bad, clean(r.Error.Code)), clean(r.Error.Message))
		if r.Error.Detail != "" {
			p("  cause   %s", clean(r.Error.Detail))
		}
	}
}

// parentWords says whose the trace is.
func parentWords(r *usage.Record) string {
	if r.ParentSpan.IsZero() {
		return ""
	}
	return ", the caller's, below its span " + r.ParentSpan.String()
}

func headline(r *usage.Record) string {
	if r.Target == "" {
		return r.Model + " -> nobody"
	}
	return r.Model + " -> " + r.Target
}

func statusWords(r *usage.Record) string {
	s := fmt.Sprint(r.Status)
	if r.Status == 0 {
		s = "status unknown"
	}
	if failed := failedTries(r); failed > 0 && r.Error == nil {
		s += " after " + plural(failed, "failure", "failures")
	}
	return s
}

func failedTries(r *usage.Record) int {
	n := 0
	for _, t := range r.Tries {
		if t.Reason != "" && t.Reason != "ok" {
			n++
		}
	}
	return n
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "one " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// story is the second line: whose fault it was, and what the caller saw of it.
func story(r *usage.Record) string {
	var s string
	failed := failedTries(r)
	switch {
	case r.Replayed:
		return "Penstock ended while this was under way; what the caller saw is not known. Settled after a restart, from the journal."
	case r.Error != nil && r.Error.Code == string(fault.ClientGone):
		s = "The client left before the answer was whole."
	case r.Error != nil && r.Status < 400:
		s = "The answer broke off; the caller saw an error event."
	case r.Error != nil && len(r.Tries) == 0:
		s = "The request was refused; no target was asked."
	case r.Error != nil && failed == 0:
		s = "A target answered, and the answer could not be passed on; the caller saw the error."
	case r.Error != nil:
		s = "No target answered; the caller saw the error."
	case failed > 0:
		first := r.Tries[0]
		s = fmt.Sprintf("%s failed (%s), so %s answered. The caller saw no error.", first.Target, tryWords(&first), r.Target)
	default:
		s = "Answered at the first try."
	}
	return s + " Penstock's own time: " + figure.Duration(time.Duration(r.Timings.OverheadNS)) + "."
}

func tryWords(t *pipeline.Try) string {
	if t.Reason == "status" && t.Status != 0 {
		return fmt.Sprint(t.Status)
	}
	return strings.ReplaceAll(t.Reason, "_", " ")
}

// explainTry draws one try on the time line of the whole exchange: x for a failure, dots for waiting, # for the answer.
func (a *app) explainTry(w io.Writer, r *usage.Record, i int) {
	const cells = 24
	t := &r.Tries[i]
	total := max(r.Timings.TotalNS, 1)
	at := func(ns int64) int { return int(min(max(ns, 0), total) * cells / total) }
	start, end := at(t.StartNS), max(at(t.StartNS+t.TookNS), at(t.StartNS)+1)
	line := []byte(strings.Repeat(" ", start) + strings.Repeat("#", end-start))
	switch {
	case t.Reason != "ok":
		line = []byte(strings.Repeat(" ", start) + strings.Repeat("x", end-start))
	case t.FirstNS > 0:
		for c := start; c < min(at(t.FirstNS), end-1); c++ {
			line[c] = '.'
		}
	}
	result := tryWords(t)
	if t.Reason == "ok" {
		result = fmt.Sprint(t.Status)
	}
	fmt.Fprintf(w, "  try %-3d %-32s %-20s %8s  %-*s  %s\n", i+1, clean(t.Target), clean(result),
		figure.Duration(time.Duration(t.TookNS)), cells+1, line, settledWords(t))
	if t.Detail != "" && t.Reason != "ok" {
		fmt.Fprintf(w, "          %s\n", a.paint(a.tty, dim, clean(t.Detail)))
	}
}

func settledWords(t *pipeline.Try) string {
	switch {
	case t.Outcome == pipeline.Unknown:
		return "what was billed is unknown"
	case t.Unpriced:
		return "unpriced"
	case t.Outcome == pipeline.SettledEstimated:
		return "settled ~" + figure.Money(t.CostNano)
	}
	return "settled " + figure.Money(t.CostNano)
}

func recordCost(r *usage.Record) string {
	switch {
	case r.Unpriced:
		return figure.Unpriced
	case r.CostUnknown() && r.CostNano == 0:
		return "cost unknown"
	case r.CostUnknown():
		return "at least " + figure.Money(r.CostNano)
	}
	return figure.Money(r.CostNano)
}

func tokenWords(u llm.Usage) string {
	s := fmt.Sprintf("%s in, %s out", figure.Count(u.Input), figure.Count(u.Output))
	if u.CachedInput > 0 {
		s += fmt.Sprintf(", %s of the input cached", figure.Count(u.CachedInput))
	}
	if u.Reasoning > 0 {
		s += fmt.Sprintf(", %s of the output reasoning", figure.Count(u.Reasoning))
	}
	switch {
	case u.Estimated:
		return s + " (estimated by Penstock)"
	case u.Input+u.Output == 0:
		return s
	}
	return s + " (reported by the provider)"
}
