// Command gen makes the catalogue's data from two public tables: that of models.dev, which is the newer and counts for
// more, and the price table of LiteLLM, which adds what models.dev lacks, above all embedding models and dated snapshots.
//
// It is for whoever brings the catalogue up to date: run it with go generate, with the paths of the tables in MODELS_DEV
// and LITELLM, and the dates and revisions of the copies in sources below; then read the diff. It says on standard error
// where the tables disagree. It is no part of the running program and fetches nothing.
package main

import (
	"cmp"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/llm"
)

// sources are the copies that were read. Change them together with the data.
var sources = []catalog.Source{
	{Name: "models.dev", Date: "2026-07-02", Licence: "MIT", Revision: "anomalyco/models.dev f3fc69229967"},
	{Name: "LiteLLM", Date: "2025-09-05", Licence: "MIT", Revision: "AgentOps-AI/tokencost e7f7c1928084"},
}

func main() {
	modelsDev := flag.String("models-dev", "", "models.dev as JSON lines, gzipped: a model with its provider on each line")
	liteLLM := flag.String("litellm", "", "LiteLLM's price table, gzipped JSON")
	out := flag.String("out", "data/models.jsonl", "the file to write")
	flag.Parse()
	if err := run(*modelsDev, *liteLLM, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(modelsDev, liteLLM, out string) error {
	first, err := readModelsDev(modelsDev)
	if err != nil {
		return fmt.Errorf("read %s: %w", modelsDev, err)
	}
	second, err := readLiteLLM(liteLLM)
	if err != nil {
		return fmt.Errorf("read %s: %w", liteLLM, err)
	}
	models := merge(first, second)
	t, err := catalog.NewTable(sources, vendors(), models)
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	if err := catalog.WriteTable(f, t); err != nil {
		return err
	}
	priced := 0
	for _, m := range models {
		if m.Price != nil {
			priced++
		}
	}
	fmt.Fprintf(os.Stderr, "%d models, %d of them priced\n", len(models), priced)
	return f.Close()
}

// merge puts both tables together, ordered by vendor as in the list of vendors and by name. Where both have a model the
// first table's word counts; what differs is reported.
func merge(first, second []catalog.Model) []catalog.Model {
	have := map[string]*catalog.Model{}
	for i := range first {
		have[first[i].Vendor+"/"+first[i].Name] = &first[i]
	}
	models := slices.Clone(first)
	both, same := 0, 0
	for _, m := range second {
		known := have[m.Vendor+"/"+m.Name]
		if known == nil {
			models = append(models, m)
			continue
		}
		if known.Price == nil || m.Price == nil {
			continue
		}
		both++
		if known.Price.Input == m.Price.Input && known.Price.Output == m.Price.Output {
			same++
			continue
		}
		report("differs: %s/%s: %s has %s, %s has %s", m.Vendor, m.Name, known.Source, words(known.Price), m.Source, words(m.Price))
	}
	report("%d models are priced in both tables, %d of them alike", both, same)
	order := map[string]int{}
	for i, v := range vendors() {
		order[v.Name] = i
	}
	slices.SortFunc(models, func(a, b catalog.Model) int {
		return cmp.Or(cmp.Compare(order[a.Vendor], order[b.Vendor]), strings.Compare(a.Name, b.Name))
	})
	return models
}

func words(p *llm.Price) string {
	return p.Input.PerMillion() + " in, " + p.Output.PerMillion() + " out"
}

func report(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// open reads a gzipped file whole.
func open(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}
