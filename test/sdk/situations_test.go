package sdk_test

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// dialects are those of the simulated providers, each of which has its dialect's name.
var dialects = []string{"openai", "azure", "anthropic", "gemini", "bedrock"}

// situationsFile is what the suites of all languages share: they read it too.
//
//go:embed situations.json
var situationsFile []byte

// A situation is one that a client can get into with a provider of any dialect. As a model it is called by its name and the
// dialect's, "failing-gemini".
type situation struct {
	// Do has the knobs of each target in turn, DoOf those that are others with providers of a dialect.
	Do   []string            `json:"do"`
	DoOf map[string][]string `json:"do_of"`
	// Dialects are those in which there is such a thing; all without.
	Dialects []string `json:"dialects"`
	// Calls is how many calls reach the provider for one of the client's that fails, however it retries.
	Calls int64 `json:"calls"`
	// Says are words of the error, RetryAfter whether it says when to come again.
	Says       string `json:"says"`
	RetryAfter bool   `json:"retry_after"`
	// OpenAI and Anthropic are the error that clients of the dialect are given, the zero value if none is.
	OpenAI    outcome `json:"openai"`
	Anthropic outcome `json:"anthropic"`
}

// An outcome is an error as one dialect has it.
type outcome struct {
	Status int    `json:"status"`
	Type   string `json:"type"`
}

func situations(t *testing.T) map[string]situation {
	t.Helper()
	var all map[string]situation
	if err := json.Unmarshal(situationsFile, &all); err != nil {
		t.Fatalf("situations.json: %v", err)
	}
	return all
}

// A target is one of a situation's with the providers of one dialect, who call it "failing-2".
type target struct{ situation, dialect, name, do string }

// targets are all there are, in order.
func targets(all map[string]situation) []target {
	var list []target
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		for _, d := range dialects {
			if s.Dialects != nil && !slices.Contains(s.Dialects, d) {
				continue
			}
			do, special := s.DoOf[d]
			if !special {
				do = s.Do
			}
			for i, knobs := range do {
				list = append(list, target{situation: name, dialect: d, name: fmt.Sprintf("%s-%d", name, i+1), do: knobs})
			}
		}
	}
	return list
}

// credential is what the simulated providers want to see. For Bedrock it is an access key, which signs.
const credential = "AKIDEXAMPLE00000:providerCredential1"

// simConfig makes a provider of each dialect, with a model for each target.
func simConfig(all map[string]situation) string {
	var b strings.Builder
	b.WriteString("listen: 127.0.0.1:0\nseed: 1\nproviders:\n")
	for _, d := range dialects {
		fmt.Fprintf(&b, "  %s:\n    dialect: %s\n    key: %s\n    models:\n", d, d, credential)
		for _, m := range targets(all) {
			if m.dialect == d {
				fmt.Fprintf(&b, "      %s: { price: { input: \"1\", output: \"4\" }, output: \"20\", dimensions: 16, do: %q }\n", m.name, m.do)
			}
		}
	}
	return b.String()
}

// bases are where the dialects' APIs begin below a simulated provider.
var bases = map[string]string{"openai": "/v1"}

// bodyLimit is the size from which bodies are refused.
const bodyLimit = "1MB"

// penstockConfig has a provider of each dialect, and a model for each situation with each.
func penstockConfig(all map[string]situation, sim string) string {
	var b strings.Builder
	b.WriteString("listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\ndata: data\nlog: { level: warn }\n" +
		"timeouts: { connect: 2s, first_token: 1s, gap: 2s, total: 30s }\nlimits: { body: " + bodyLimit + " }\nproviders:\n")
	for _, d := range dialects {
		region := ""
		if d == "bedrock" {
			region = ", region: us-east-1"
		}
		fmt.Fprintf(&b, "  %s: { dialect: %s, base_url: %s/%s%s, credential: env:SIM_CREDENTIAL%s }\n", d, d, sim, d, bases[d], region)
	}
	b.WriteString("models:\n")
	byModel := map[string][]string{}
	for _, m := range targets(all) {
		model := m.situation + "-" + m.dialect
		byModel[model] = append(byModel[model], m.dialect+"/"+m.name)
	}
	for _, model := range slices.Sorted(maps.Keys(byModel)) {
		fmt.Fprintf(&b, "  %s: { targets: [%s], tries: %d }\n", model, strings.Join(byModel[model], ", "), len(byModel[model]))
	}
	return b.String()
}

// prices are those that the simulator bills.
func prices(all map[string]situation) string {
	var b strings.Builder
	b.WriteString("prices:\n")
	for _, m := range targets(all) {
		fmt.Fprintf(&b, "  %s/%s: { input: 1, output: 4 }\n", m.dialect, m.name)
	}
	return b.String()
}

// pixel is an image in PNG.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="

// everywhere runs a test of a situation with each provider that has it.
func everywhere(t *testing.T, name, situation string, run func(t *testing.T, dialect, model string)) {
	t.Run(name, func(t *testing.T) {
		for _, d := range dialects {
			if only := situations(t)[situation].Dialects; only == nil || slices.Contains(only, d) {
				t.Run(d, func(t *testing.T) { run(t, d, situation+"-"+d) })
			}
		}
	})
}
