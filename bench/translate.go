package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/penstock/penstock/bench/mock"
)

// translatePart is the part that compares calls that are translated with calls that are passed on, all by the same process.
const translatePart = "translate"

// A way is from a client's dialect to a provider's.
type way struct {
	name     string
	from     mock.Dialect
	model    string     // that the client asks for
	ceilings [2]float64 // how many times the CPU time of the first way may be used, by what is asked; 0 is none
}

// ways are what is measured. What the others are compared with is the first: a call that is passed on as it is.
var ways = []way{
	{name: "OpenAI to OpenAI, passed on", from: mock.OpenAI, model: "bench"},
	{name: "OpenAI to Anthropic", from: mock.OpenAI, model: "bench-anthropic", ceilings: [2]float64{2.5, 2.0}},
	{name: "OpenAI to Gemini", from: mock.OpenAI, model: "bench-gemini"},
	{name: "OpenAI to Bedrock", from: mock.OpenAI, model: "bench-bedrock"},
	{name: "Anthropic to Anthropic, passed on", from: mock.Anthropic, model: "bench-anthropic"},
	{name: "Anthropic to OpenAI", from: mock.Anthropic, model: "bench"},
}

// translated are the workloads of the part.
var translated = [2]workload{{"10 KB plain", 10, false}, {"stream of 50 events", 1, true}}

// providers is the configuration of a Penstock with a provider of each dialect. Requests to Bedrock are signed, as they would be.
const providers = `listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
data: data
providers:
  openai: { dialect: openai, base_url: %[1]s/v1, models: [%[2]s], vendor: none }
  anthropic: { dialect: anthropic, base_url: %[1]s, models: [%[2]s], vendor: none }
  gemini: { dialect: gemini, base_url: %[1]s, models: [%[2]s], vendor: none }
  bedrock: { dialect: bedrock, base_url: %[1]s, region: us-east-1, credential: "file:%[3]s", models: [%[2]s], vendor: none }
models:
  bench: { targets: [openai/%[2]s] }
  bench-anthropic: { targets: [anthropic/%[2]s] }
  bench-gemini: { targets: [gemini/%[2]s] }
  bench-bedrock: { targets: [bedrock/%[2]s] }
`

// startTranslator starts the Penstock of the part.
func startTranslator(ctx context.Context, o options, dir, address string) (*target, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key := filepath.Join(dir, "key") // which the mock does not look at
	if err := os.WriteFile(key, []byte("BENCHBENCHBENCH0:notasecretnotasecret"), 0o600); err != nil {
		return nil, err
	}
	t, err := startPenstock(ctx, o.binary, dir, penstock{
		configuration: fmt.Sprintf(providers, address, mock.Model, key),
		providers:     []string{"openai", "anthropic", "gemini", "bedrock"},
	})
	if err != nil {
		return nil, fmt.Errorf("the Penstock that translates: %w", err)
	}
	return t, nil
}

// measureTranslation takes turns between the ways, for each workload.
func measureTranslation(ctx context.Context, r *results) error {
	for _, load := range translated {
		for round := range r.options.rounds + 1 {
			for _, w := range ways {
				d := r.options.round
				if round == 0 {
					d = warmUp
				}
				call, err := r.translator.callOf(w.from, w.model, w.model, load)
				if err != nil {
					return err
				}
				t, err := r.translator.drive(ctx, call, turn{target: w.name, workload: load.name}, r.options.conns, d)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", load.name, w.name, err)
				}
				if round == 0 {
					continue
				}
				r.translated = append(r.translated, t)
				say("%-20s round %d  %-34s %7.1f µs CPU a request  %8.0f answers/s", load.name, round, w.name, t.micros, t.rate)
			}
		}
	}
	return nil
}

// timesPassedOn is how many times the CPU time of the first way a way used, round by round.
func (r *results) timesPassedOn(w way, load workload) []float64 {
	base, _ := turnsOf(r.translated, ways[0].name, load.name)
	micros, _ := turnsOf(r.translated, w.name, load.name)
	return ratios(micros, base)
}

func (r *results) writeTranslated(p printer) {
	p("## Translation: CPU time per request\n")
	p("Closed loop, %d connections, %d rounds of %s in which the ways take turns, all through one Penstock with records on. A way is", r.options.conns, r.options.rounds, r.options.round)
	p("from the client's dialect to the provider's. Medians in µs; beside them the median of the ratios to the first way, round by")
	p("round [least-most]. Plain answers are of 50 tokens; requests to Bedrock are signed.\n")
	p("| | %s | ceiling | %s | ceiling |", translated[0].name, translated[1].name)
	p("| --- | --- | --- | --- | --- |")
	for _, w := range ways {
		row := "| " + w.name
		for i, load := range translated {
			micros, _ := turnsOf(r.translated, w.name, load.name)
			base, _ := turnsOf(r.translated, ways[0].name, load.name)
			row += fmt.Sprintf(" | %.0f", median(micros))
			if w.name != ways[0].name {
				row += ": " + ratio(micros, base)
			}
			row += " |"
			if w.ceilings[i] > 0 {
				row += fmt.Sprintf(" %.1f", w.ceilings[i])
			}
		}
		p("%s |", row)
	}
	p("")
}
