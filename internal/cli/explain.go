package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/usage"
)

func (a *app) explainCommand() *cobra.Command {
	f, trace := &adminFlags{}, ""
	var bodies, reason string
	c := &cobra.Command{
		Use:   "explain EXCHANGE",
		Short: "Say why an exchange went as it did: stages, tries, tokens, money",
		Long: `Say why an exchange went as it did: what each stage decided, every try, tokens and money.
The id is the X-Request-Id of the answer. With --trace, list the exchanges of a trace instead. With --bodies, print what was
asked and answered: that takes the permission bodies.read and a reason, and leaves an entry in the audit chain.`,
		Example: `  penstock explain ex_01K97K2QJ8W6T2Z3N5V4M1R0XY
  penstock explain ex_01K97K2QJ8W6T2Z3N5V4M1R0XY --bodies --reason "ticket 4711"
  penstock explain --trace 4bf92f3577b34da6a3ce929d0e0e4736`,
		Args: func(cmd *cobra.Command, args []string) error {
			if trace != "" {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case bodies != "" && reason == "":
				return fail(exitUsage, `say why, as in --reason "ticket 4711"; it stays in the audit chain`, "Bodies are read for a reason only")
			case bodies == "" && reason != "":
				return fail(exitUsage, "leave --reason out, or add --bodies", "--reason is for reading bodies; a record is read without one")
			}
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			if trace != "" {
				return a.explainTrace(cmd.Context(), client, f, trace)
			}
			if bodies != "" {
				return a.explainBodies(cmd.Context(), client, f, args[0], bodies, reason)
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
	c.Flags().StringVar(&bodies, "bodies", "", "print what was asked and answered instead: both, or =request or =answer; it is audited")
	c.Flags().Lookup("bodies").NoOptDefVal = "both"
	c.Flags().StringVar(&reason, "reason", "", "why the bodies are read; it stays in the audit chain")
	c.Flags().StringVar(&trace, "trace", "", "list the exchanges of this trace, by its W3C trace id (32 hexadecimal digits)")
	c.MarkFlagsMutuallyExclusive("bodies", "trace")
	return c
}

// explain writes a record the way a colleague would tell it: the sentence, then the steps, then tokens.
func (a *app) explain(w io.Writer, r *usage.Record) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	zone, _ := r.Time.Local().Zone()
	p("%s", a.paint(a.tty, bold, clean(fmt.Sprintf("%s, %s, %s, %s, %s %s", r.Headline(), r.StatusWords(),
		figure.Duration(time.Duration(r.Timings.TotalNS)), r.CostWords(), r.Time.Local().Format("Jan 2 15:04:05"), zone))))
	p("%s", clean(r.Story()))
	choice := r.ChoiceView()
	for i, s := range r.Stages {
		p("  %-7s %s", clean(s.Stage), clean(s.Decision))
		if choice != nil && i == choice.Stage {
			explainChoice(w, choice)
		}
	}
	for i := range r.Tries {
		a.explainTry(w, r, i)
	}
	p("  tokens  %s", usage.TokenWords(r.Usage))
	if !r.Trace.IsZero() {
		p("  trace   %s%s", r.Trace, parentWords(r))
	}
	if clock := r.ClockWords(); clock != "" {
		p("  clock   %s", clock)
	}
	if r.Class != "" {
		p("  class   %s", clean(r.Class))
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

// explainChoice lists what there was to choose from, below the line that says how it was chosen.
func explainChoice(w io.Writer, c *usage.ChoiceView) {
	if c.Plain {
		return
	}
	t := table{head: slices.Clone(c.Head), right: c.Head[3:]}
	for i := range c.Rows {
		t.add(c.Rows[i].Cells()...)
	}
	for line := range strings.Lines(t.lay(0)) {
		fmt.Fprint(w, "          "+line)
	}
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
	result := usage.TryWords(t)
	if t.Reason == "ok" {
		result = fmt.Sprint(t.Status)
		if finish := usage.FinishWords(t); finish != "" {
			result += ", " + finish
		}
	}
	fmt.Fprintf(w, "  try %-3d %-32s %-20s %8s  %-*s  %s\n", i+1, clean(t.Target), clean(result),
		figure.Duration(time.Duration(t.TookNS)), cells+1, line, usage.SettledWords(t))
	if way := usage.WayWords(t); way != "" {
		fmt.Fprintf(w, "          %s\n", a.paint(a.tty, dim, clean(way)))
	}
	if model := usage.OtherModel(t); model != "" {
		fmt.Fprintf(w, "          %s\n", a.paint(a.tty, dim, clean("answered as "+model)))
	}
	if served := usage.ServedWords(t); served != "" {
		fmt.Fprintf(w, "          %s\n", a.paint(a.tty, dim, clean(served)))
	}
	if t.Detail != "" && t.Reason != "ok" {
		fmt.Fprintf(w, "          %s\n", a.paint(a.tty, dim, clean(t.Detail)))
	}
}
