package catalog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
)

// A table's file is JSON, one value per line: a head, then a row for each model, so that a diff shows what has changed.
// Rates are decimal text in US dollars per million tokens.

type head struct {
	Sources []Source `json:"sources"`
	Vendors []Vendor `json:"vendors"`
}

// A row is a model. Without In it is unpriced; without Cached or Write those rates are In; without Out output is free, as
// for embeddings.
type row struct {
	Vendor    string `json:"v"`
	Model     string `json:"m"`
	rates     `json:",inline"`
	Long      []longRates `json:"long,omitempty"`
	Context   int64       `json:"context,omitzero"`
	MaxOutput int64       `json:"max,omitzero"`
	Can       string      `json:"can,omitzero"` // abilities, separated by spaces
	Released  string      `json:"released,omitzero"`
	Note      string      `json:"note,omitzero"`
	Source    int         `json:"source,omitzero"` // which of the head's
}

type rates struct {
	In     string `json:"in,omitzero"`
	Out    string `json:"out,omitzero"`
	Cached string `json:"cached,omitzero"`
	Write  string `json:"write,omitzero"`
	Heard  string `json:"heard,omitzero"`  // sound; without it, as In
	Spoken string `json:"spoken,omitzero"` // sound; without it, as Out
}

// longRates hold for prompts of more than Over tokens; each step is longer than the one before.
type longRates struct {
	Over  int64 `json:"over"`
	rates `json:",inline"`
}

// ReadTable reads a table's file. It is strict: unknown members, unknown vendors and models that are there twice are
// errors.
func ReadTable(r io.Reader) (*Table, error) {
	d := jsontext.NewDecoder(r)
	var h head
	if err := json.UnmarshalDecode(d, &h, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("read the head: %w", err)
	}
	var models []Model
	shared := map[string][]string{}
	for line := 2; ; line++ {
		var x row
		err := json.UnmarshalDecode(d, &x, json.RejectUnknownMembers(true))
		if errors.Is(err, io.EOF) {
			return NewTable(h.Sources, h.Vendors, models)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		m, err := x.model(h.Sources, shared)
		if err != nil {
			return nil, fmt.Errorf("line %d, %s/%s: %w", line, x.Vendor, x.Model, err)
		}
		models = append(models, m)
	}
}

// model makes the row's model. shared holds the lists of abilities that exist already: there are few different ones.
func (x *row) model(sources []Source, shared map[string][]string) (Model, error) {
	if x.Source < 0 || x.Source >= len(sources) {
		return Model{}, fmt.Errorf("there is no source %d in the head", x.Source)
	}
	can, ok := shared[x.Can]
	if !ok {
		can = strings.Fields(x.Can)
		shared[x.Can] = can
	}
	m := Model{
		Vendor: x.Vendor, Name: x.Model, Context: x.Context, MaxOutput: x.MaxOutput, Abilities: can,
		Released: x.Released, Note: x.Note, Source: sources[x.Source].String(),
	}
	if x.In == "" {
		return m, nil
	}
	base, err := x.price()
	if err != nil {
		return Model{}, err
	}
	m.Price = &base
	last, over := m.Price, int64(0)
	for _, step := range x.Long {
		p, err := step.price()
		if err != nil {
			return Model{}, err
		}
		if step.Over <= over {
			return Model{}, fmt.Errorf("the step over %d tokens is out of order", step.Over)
		}
		last.Long, last.LongOver = &p, step.Over
		last, over = &p, step.Over
	}
	return m, nil
}

// price reads rates; those that are left out are the input's, and none for sound.
func (x rates) price() (llm.Price, error) {
	var p llm.Price
	var errs []error
	for _, f := range []struct {
		to           *llm.Rate
		text, absent string
	}{{&p.Input, x.In, ""}, {&p.Output, x.Out, "0"}, {&p.CachedInput, x.Cached, x.In}, {&p.CacheWrite, x.Write, x.In},
		{&p.InputAudio, x.Heard, "0"}, {&p.OutputAudio, x.Spoken, "0"}} {
		text := f.text
		if text == "" {
			text = f.absent
		}
		rate, err := llm.ParseRate(text)
		*f.to = rate
		errs = append(errs, err)
	}
	return p, errors.Join(errs...)
}

// WriteTable writes a table's file. It is what gen uses.
func WriteTable(w io.Writer, t *Table) error {
	b := bufio.NewWriter(w)
	if err := writeLine(b, head{t.sources, t.vendors}); err != nil {
		return err
	}
	for i := range t.models {
		x, err := rowOf(&t.models[i], t.sources)
		if err != nil {
			return err
		}
		if err := writeLine(b, x); err != nil {
			return err
		}
	}
	return b.Flush()
}

func writeLine(w *bufio.Writer, v any) error {
	if err := json.MarshalWrite(w, v); err != nil {
		return err
	}
	return w.WriteByte('\n')
}

func rowOf(m *Model, sources []Source) (row, error) {
	x := row{
		Vendor: m.Vendor, Model: m.Name, Context: m.Context, MaxOutput: m.MaxOutput, Can: strings.Join(m.Abilities, " "),
		Released: m.Released, Note: m.Note, Source: -1,
	}
	for i, s := range sources {
		if s.String() == m.Source {
			x.Source = i
		}
	}
	if x.Source < 0 {
		return row{}, fmt.Errorf("%s/%s: the source %q is not the table's", m.Vendor, m.Name, m.Source)
	}
	if m.Price == nil {
		return x, nil
	}
	x.rates = ratesOf(m.Price)
	for p := m.Price; p.Long != nil; p = p.Long {
		x.Long = append(x.Long, longRates{p.LongOver, ratesOf(p.Long)})
	}
	return x, nil
}

func ratesOf(p *llm.Price) rates {
	x := rates{In: p.Input.PerMillion()}
	if p.Output != 0 {
		x.Out = p.Output.PerMillion()
	}
	if p.CachedInput != p.Input {
		x.Cached = p.CachedInput.PerMillion()
	}
	if p.CacheWrite != p.Input {
		x.Write = p.CacheWrite.PerMillion()
	}
	if p.InputAudio > 0 {
		x.Heard = p.InputAudio.PerMillion()
	}
	if p.OutputAudio > 0 {
		x.Spoken = p.OutputAudio.PerMillion()
	}
	return x
}
