package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/usage"
)

const (
	// maxModels is how many models the page shows; the others are found by its field.
	maxModels = 60
	// modelsLook is how far back its figures go.
	modelsLook = 24 * time.Hour
)

// A Model is a name that can be asked for, and what answers it, in the order in which it is tried.
type Model struct {
	Name, Route string
	Targets     []Target
}

// A Target is PROVIDER/MODEL as it is configured.
type Target struct {
	Name               string
	Provider           string
	Price              *Price // nil: unpriced
	Context, MaxOutput int64  // tokens, 0 if they are not known
}

// A Price is what a target costs, in dollars per million tokens as decimal text, and where that is from.
type Price struct {
	Target                                 string
	Input, Output, CachedInput, CacheWrite string
	catalog.PartTexts
	PerCall, Hourly string // US dollars, "" is nothing
	Variants        []catalog.VariantText
	Source          string
	Own             bool      // an operator set it
	Set             time.Time // when, zero if none did
}

// A Health is what is known of a provider from the tries of the last five minutes.
type Health struct {
	Tries, Failed int64
	Refusing      bool // our credential, or it cannot be read
}

// A modelsView answers: which targets answer for this name, and may I trust them?
type modelsView struct {
	Find      string
	Models    []modelRow
	Providers []providerRow
	Failures  []*usage.Record
	More      int // models that are not shown
	Unpriced  int // targets in use without a price
	Behind    bool
}

type modelRow struct {
	Name, Route string
	Sum         usage.Sum
	Targets     []targetLine
}

type targetLine struct {
	Target
	State    targetState
	Provider providerRow
	Answered int64 // exchanges of this model
	Share    string
	Latency  usage.Latency // of all models that it answers
	Used     bool
}

// A providerRow is a provider in a word.
type providerRow struct {
	Name        string
	Class, Word string // ok, warn, bad; quiet if nobody asked it
	Health      Health
	Note        string
}

func (c *Console) models(v *visit) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	d := &modelsView{Find: v.r.URL.Query().Get("find"), Behind: c.catchUp(ctx)}
	if err := c.fillModels(ctx, v, d); err != nil {
		return err
	}
	f := c.frame(v, "models", "Models and targets", d)
	f.Command = "penstock route status"
	return c.send(v, http.StatusOK, "frame.html", f)
}

func (c *Console) fillModels(ctx context.Context, v *visit, d *modelsView) error {
	from := v.now.Add(-modelsLook)
	sums, err := c.o.Records.Sums(ctx, usage.Query{From: from, By: []string{"model", "target"}})
	if err != nil {
		return err
	}
	times, err := c.o.Records.Latencies(ctx, usage.LatencyQuery{From: from, By: []string{"target"}})
	if err != nil {
		return err
	}
	if d.Failures, err = c.o.Records.Records(ctx, usage.Filter{Status: "error", From: from, Limit: 8}); err != nil {
		return err
	}
	health, now := c.o.Health(), time.Now()
	latency := map[string]usage.Latency{}
	for _, l := range times {
		latency[l.Group["target"]] = l
	}
	byModel, answered := map[string]usage.Sum{}, map[[2]string]int64{}
	for _, s := range sums {
		model := s.Group["model"]
		byModel[model] = byModel[model].Plus(s)
		answered[[2]string{model, s.Group["target"]}] = s.Requests
	}
	unpriced, seen := map[string]bool{}, map[string]bool{}
	for _, m := range c.o.Models() {
		row := modelRow{Name: m.Name, Route: m.Route, Sum: byModel[m.Name]}
		found := strings.Contains(strings.ToLower(m.Name), strings.ToLower(d.Find))
		for _, t := range m.Targets {
			line := targetLine{Target: t, Provider: providerOf(t.Provider, health), Answered: answered[[2]string{m.Name, t.Name}], Latency: latency[t.Name]}
			line.Share = figure.Percent(line.Answered, row.Sum.Requests)
			line.Used = line.Answered > 0
			line.State, _ = c.targetStateOf(t.Name, now, v.now)
			unpriced[t.Name] = unpriced[t.Name] || t.Price == nil && line.Used
			found = found || strings.Contains(strings.ToLower(t.Name), strings.ToLower(d.Find))
			row.Targets = append(row.Targets, line)
			if !seen[t.Provider] {
				seen[t.Provider] = true
				d.Providers = append(d.Providers, line.Provider)
			}
		}
		if found {
			d.Models = append(d.Models, row)
		}
	}
	for _, is := range unpriced {
		if is {
			d.Unpriced++
		}
	}
	slices.SortFunc(d.Providers, func(x, y providerRow) int { return strings.Compare(x.Name, y.Name) })
	slices.SortStableFunc(d.Models, func(x, y modelRow) int { return cmp.Compare(y.Sum.Requests, x.Sum.Requests) })
	if d.More = len(d.Models) - maxModels; d.More > 0 {
		d.Models = d.Models[:maxModels]
	}
	return nil
}

// downShare is the share of failed tries, in percent, from which a provider is called down, and shakyShare from which it
// is not called well. Both are of at least fewTries.
const (
	downShare  = 90
	shakyShare = 10
	fewTries   = 10
)

// providerOf says how a provider is.
func providerOf(name string, all map[string]Health) providerRow {
	h := all[name]
	r := providerRow{Name: name, Health: h, Class: "ok", Word: "answers"}
	r.Note = figure.Count(h.Failed) + " of " + figure.Count(h.Tries) + " tries failed"
	switch {
	case h.Refusing:
		r.Class, r.Word, r.Note = "bad", "refuses us", "it refuses Penstock's credential, or that cannot be read"
	case h.Tries == 0:
		r.Class, r.Word, r.Note = "quiet", "quiet", "nothing was asked of it"
	case h.Tries >= fewTries && h.Failed*100 >= h.Tries*downShare:
		r.Class, r.Word = "bad", "down"
	case h.Tries >= fewTries && h.Failed*100 >= h.Tries*shakyShare:
		r.Class, r.Word = "warn", "shaky"
	}
	return r
}
