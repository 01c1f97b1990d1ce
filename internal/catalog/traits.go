package catalog

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
)

// A trait is a row of the file of traits: how models are asked whose names fit. Of several rows the first counts. What is in
// no row is asked in the plainest way.
type trait struct {
	Vendor      string       `json:"v"`
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
		all = append(all, t)
	}
}

// Traits are what decides how the model is asked.
func (m *Model) Traits() llm.Traits {
	out := llm.Traits{MaxOutput: m.MaxOutput}
	for _, t := range traits() {
		if t.Vendor == m.Vendor && llm.MatchName(t.Model, m.Name) {
			out.Thinking, out.NoSampling, out.OneSampling = t.Thinking, t.NoSampling, t.OneSampling
			out.NoSchema, out.LateSystem = t.NoSchema, t.LateSystem
			out.NoPenalties, out.Signatures, out.AlwaysThinks = t.NoPenalties, t.Signatures, t.Always
			out.LeastThinking, out.MostThinking, out.Efforts = t.Least, t.Most, t.Efforts
			break
		}
	}
	return out
}
