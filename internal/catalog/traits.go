package catalog

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
)

// A trait is a row of the file of traits: how models are asked whose names fit. Of several rows the first counts. What is in
// no row is asked in the plainest way.
type trait struct {
	Vendors     string       `json:"v"` // with spaces between
	Model       string       `json:"m"` // a glob, see [llm.MatchName]
	Thinking    llm.Thinking `json:"thinking,omitzero"`
	NoSampling  bool         `json:"no_sampling,omitzero"`
	OneSampling bool         `json:"one_sampling,omitzero"`
	NoSchema    bool         `json:"no_schema,omitzero"`
	LateSystem  bool         `json:"late_system,omitzero"`
	NoPenalties bool         `json:"no_penalties,omitzero"`
	Signatures  bool         `json:"signatures,omitzero"`
	Always      bool         `json:"always_thinks,omitzero"`
	Least       int64        `json:"least_thinking,omitzero"`
	Most        int64        `json:"most_thinking,omitzero"`
	Efforts     string       `json:"efforts,omitzero"` // from least to most, with spaces between
	Takes       string       `json:"takes,omitzero"`   // names of [llm.TakesOf], with spaces between

	takes llm.Takes
}

// of reports whether the row is about a vendor's model.
func (t *trait) of(vendor, model string) bool {
	return vendor != "" && slices.Contains(strings.Fields(t.Vendors), vendor) && llm.MatchName(t.Model, model)
}

// The rows are from the vendor's documentation and its answers to others, as of November 2026: which models take temperature,
// which take a schema, which are asked to reason by a budget and which by an effort.
//
//go:embed data/traits.jsonl
var embeddedTraits []byte

var traits = sync.OnceValue(func() []trait {
	all, err := readTraits(bytes.NewReader(embeddedTraits))
	if err != nil {
		panic(fmt.Sprintf("the traits in the binary are broken: %v", err)) // a test reads them
	}
	return all
})

func readTraits(r io.Reader) (all []trait, err error) {
	d := jsontext.NewDecoder(r)
	for {
		var t trait
		err := json.UnmarshalDecode(d, &t, json.RejectUnknownMembers(true))
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("row %d: %w", len(all)+1, err)
		}
		var unknown string
		if t.takes, unknown = llm.TakesOf(strings.Fields(t.Takes)); unknown != "" {
			return nil, fmt.Errorf("row %d: there is no %q to take", len(all)+1, unknown)
		}
		all = append(all, t)
	}
}

// Traits are what decides how the model is asked.
func (m *Model) Traits() llm.Traits {
	out := TraitsOf(m.Vendor, m.Name)
	out.MaxOutput = m.MaxOutput
	return out
}

// TraitsOf are the traits of a vendor's model, be it one that the catalogue has or a newer one whose name fits a row.
func TraitsOf(vendor, model string) llm.Traits {
	all := traits()
	i := slices.IndexFunc(all, func(t trait) bool { return t.of(vendor, model) })
	if i < 0 {
		return llm.Traits{}
	}
	t := &all[i]
	return llm.Traits{
		Thinking: t.Thinking, NoSampling: t.NoSampling, OneSampling: t.OneSampling, NoSchema: t.NoSchema, LateSystem: t.LateSystem,
		NoPenalties: t.NoPenalties, Signatures: t.Signatures, AlwaysThinks: t.Always, LeastThinking: t.Least, MostThinking: t.Most,
		Efforts: t.Efforts, Takes: t.takes,
	}
}
