package console

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
)

// An exchangeView answers: why did this one behave so, and what did it cost?
type exchangeView struct {
	exchangeRow
	Headline, Status, Story string
	Money, Tokens           string
	Steps                   []step
	Choice                  *usage.ChoiceView // nil if there was nothing to choose
	Axis                    [5]string         // what the marks of the time line stand for
	JSON                    string
	Bodies                  bodiesForm
}

// A step is a line of the decision record: what a stage decided, or a try.
type step struct {
	Name, Text string
	Detail     string
	Start      string
	Took       string
	Bars       []span2
	Mark       string // where a stage decided, or the first token came; "" if that is not known
	Class      string
	Try        *tryCells
	Why        bool // it says which target was chosen: the page says why
}

// A span2 is a stretch of the time line.
type span2 struct{ X, Width, Class string }

// tryCells are the figures of a try.
type tryCells struct {
	Outcome, Input, Output, Cost, First string
	Finish, Model                       string // as the provider said; no model if it is the target's
	Upstream, Answer                    string // the provider's ids of the call and of the answer
	Way                                 string // which server and credential, and whether it is a hedge
}

func (c *Console) exchange(v *visit) error {
	return c.exchangePage(v, http.StatusOK, nil)
}

// exchangePage shows an exchange; fill puts in what was filled in and refused.
func (c *Console) exchangePage(v *visit, status int, fill func(*exchangeView)) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	r, err := c.record(ctx, v.part)
	if err != nil {
		return err
	}
	text, err := json.Marshal(r, jsontext.WithIndent("  "), json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return err
	}
	data := exchangeView{
		exchangeRow: exchangeRow{r, c.o.Keys.Name(r.Project), c.o.Keys.Name(r.Key)},
		Headline:    r.Headline(), Status: r.StatusWords(), Story: r.Story(), Money: r.CostWords(), Tokens: usage.TokenWords(r.Usage),
		Steps: stepsOf(r), Choice: r.ChoiceView(), JSON: string(text), Bodies: c.bodiesFormOf(v, r),
	}
	for i := range data.Axis {
		data.Axis[i] = figure.Duration(time.Duration(r.Timings.TotalNS) * time.Duration(i) / 4)
	}
	if fill != nil {
		fill(&data)
	}
	f := c.frame(v, "exchange", "Exchange "+short(r.ID), data)
	f.Command = "penstock explain " + r.ID
	return c.send(v, status, "frame.html", f)
}

// record finds the record of an exchange, of one that has just been answered, too.
func (c *Console) record(ctx context.Context, id string) (*usage.Record, error) {
	behind := c.settle(ctx)
	r, err := c.o.Records.Record(ctx, "", id)
	if err != nil && behind != nil {
		return nil, fault.Wrap(fault.RecordsBehind, behind, "Records cannot be read at the moment: they wait in the journal for the store.")
	}
	return r, err
}

// settle waits for the records of all that has been answered, so that one who got an answer finds its record.
func (c *Console) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return c.o.Sync(ctx)
}

// short is an id as tables show it: its kind and its last characters.
func short(id string) string {
	kind, rest, ok := strings.Cut(id, "_")
	if !ok || len(rest) < 8 {
		return id
	}
	return kind + "…" + rest[len(rest)-6:]
}

// Short is the id as tables show it.
func (r exchangeRow) Short() string { return short(r.ID) }

// stepsOf are the stages in their order, and behind them the tries.
func stepsOf(r *usage.Record) []step {
	all := make([]step, 0, len(r.Stages)+len(r.Tries))
	choice := r.ChoiceView()
	for i, d := range r.Stages {
		s := step{Name: d.Stage, Text: d.Decision, Took: figure.None}
		if d.TookNS > 0 {
			s.Took = figure.Duration(time.Duration(d.TookNS))
		}
		if d.AtNS > 0 {
			s.Start = figure.Duration(time.Duration(d.AtNS - d.TookNS))
			s.Mark = share(float64(d.AtNS)/float64(max(r.Timings.TotalNS, d.AtNS)), 1)
		}
		s.Why = choice != nil && i == choice.Stage
		all = append(all, s)
	}
	for i := range r.Tries {
		all = append(all, tryStep(r, i))
	}
	return all
}

func tryStep(r *usage.Record, i int) step {
	t := &r.Tries[i]
	s := step{
		Name: "try " + figure.Count(int64(i+1)), Text: t.Target, Detail: t.Detail, Start: figure.Duration(time.Duration(t.StartNS)),
		Took: figure.Duration(time.Duration(t.TookNS)), Class: "ok",
		Try: &tryCells{
			Outcome: usage.TryWords(t), Input: figure.Count(t.Usage.Input), Output: figure.Count(t.Usage.Output),
			Cost: usage.SettledWords(t), First: figure.None,
			Finish: usage.FinishWords(t), Model: usage.OtherModel(t), Upstream: t.Upstream, Answer: t.AnswerID,
			Way: usage.WayWords(t),
		},
	}
	if t.Usage.Estimated {
		s.Try.Input, s.Try.Output = "~"+s.Try.Input, "~"+s.Try.Output
	}
	whole := float64(max(r.Timings.TotalNS, t.StartNS+t.TookNS, 1))
	at := func(ns int64) float64 { return float64(ns) / whole }
	draw := func(from, to int64, class string) {
		s.Bars = append(s.Bars, span2{share(at(from), 1), share(max(at(to)-at(from), 0.004), 1), class})
	}
	end := t.StartNS + t.TookNS
	switch failed := t.Reason != "ok"; {
	case failed:
		s.Class = "bad"
		draw(t.StartNS, end, "failed")
	case t.FirstNS > t.StartNS:
		draw(t.StartNS, min(t.FirstNS, end), "waiting")
		draw(min(t.FirstNS, end), end, "streaming")
	default:
		draw(t.StartNS, end, "streaming")
	}
	if t.FirstNS > 0 {
		s.Try.First = figure.Duration(time.Duration(t.FirstNS - t.StartNS))
		s.Mark = share(at(t.FirstNS), 1)
	}
	if t.Outcome == pipeline.Unknown && s.Class == "ok" {
		s.Class = "warn"
	}
	if t.Reason == "ok" && t.Status != 0 {
		s.Try.Outcome = figure.Count(int64(t.Status)) + " ok"
	}
	return s
}
