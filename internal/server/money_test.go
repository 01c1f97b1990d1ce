package server_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/pipeline"
)

// TestUsageIsAskedForAndHidden: Penstock always asks a stream's provider for usage, and the client sees it if it asked too.
func TestUsageIsAskedForAndHidden(t *testing.T) {
	t.Parallel()
	quiet := `  quiet: { dialect: openai, base_url: "http://%SIM%/sim-b/v1", vendor: none, stream_usage: false }`
	w := start(t, penstocktest.Options{Config: settings(nil, quiet)})
	w.model("")
	w.Price("quiet/x")
	body := func(model, options string) string {
		return `{"model":"` + model + `","stream":true` + options + `,"messages":[{"role":"user","content":"say:5"}]}`
	}
	for _, c := range []struct {
		model, options string
		shown          bool
		arrives        string // of the options; "" is none
		estimated      bool
	}{
		{"sim-a/gpt-x", ``, false, `"stream_options":{"include_usage":true}`, false},
		{"sim-a/gpt-x", `,"stream_options":{"include_usage":false}`, false, `"stream_options":{"include_usage":true}`, false},
		{"sim-a/gpt-x", `,"stream_options":null`, false, `"stream_options":{"include_usage":true}`, false},
		{"sim-a/gpt-x", `,"stream_options":{ "include_usage" : true }`, true, `"stream_options":{ "include_usage" : true }`, false},
		{"sim-a/gpt-x", `,"stream_options":{"include_obfuscation":false}`, false, `"stream_options":{"include_obfuscation":false,"include_usage":true}`, false},
		{"quiet/x", ``, false, "", true},
		{"quiet/x", `,"stream_options":{"include_usage":true}`, false, "", true},
	} {
		a := w.Post(w.key, chatPath, body(c.model, c.options))
		s := read(t, a.Text())
		shown := false
		for _, chunk := range s.chunks {
			shown = shown || chunk.Usage != nil && len(chunk.Choices) == 0
		}
		sent := w.lastRequest().Body
		if !s.done || shown != c.shown || (c.arrives == "") == strings.Contains(sent, "stream_options") || !strings.Contains(sent, c.arrives) {
			t.Errorf("%s%s: shown %v, arrived %s", c.model, c.options, shown, sent)
		}
		if r := w.record(a); r.Usage.Estimated != c.estimated || r.CostNano == 0 {
			t.Errorf("%s%s: record %+v", c.model, c.options, r)
		}
	}
	w.CheckBill()
}

// TestUsageHoweverItComes equals the bill: early, split, cumulative, twice, zero, or far too much. An explicit zero is zero.
func TestUsageHoweverItComes(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	for _, kind := range []string{"true", "early", "split", "cumulative", "twice", "zero", "huge"} {
		for _, stream := range []bool{false, true} {
			a := w.ask(w.model("usage="+kind), strings.Repeat("four ", 100), stream)
			r := w.record(a)
			if a.Status != http.StatusOK || r.Tries[0].Outcome != pipeline.SettledActual || (kind == "zero") != (r.CostNano == 0) {
				t.Errorf("%s, stream %v: %d, tries %+v", kind, stream, a.Status, r.Tries)
			}
			if !stream && a.Header.Get("X-Penstock-Cost") != r.CostNano.String() {
				t.Errorf("%s: header %q, record %s", kind, a.Header.Get("X-Penstock-Cost"), r.CostNano)
			}
		}
	}
	if unknown := w.CheckBill(); unknown != 0 {
		t.Errorf("%d tries are unknown", unknown)
	}
}

// TestMissingUsageIsEstimated, within 15 % and marked, also of a stream that broke or was left.
func TestMissingUsageIsEstimated(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	prompt := "say:400 " + strings.Repeat("cat ", 1000) // four bytes a token, as the simulator counts
	for _, knobs := range []string{"usage=none", "usage=null", "usage=none&reasoning=100", "usage=none&cut=300&flush=1", "error_at=300&flush=1"} {
		for _, stream := range []bool{false, true} {
			if !stream && strings.Contains(knobs, "=300") {
				continue
			}
			name := "sim-a/gpt-5-mini?" + knobs
			w.Price(name)
			a := w.ask(name, prompt, stream)
			try := w.record(a).Tries[0]
			calls := w.Sim.Bill().Calls
			call := calls[len(calls)-1]
			off := func(n, truth int64) float64 { return math.Abs(float64(n-truth)) / float64(truth) }
			if try.Outcome != pipeline.SettledEstimated || !try.Usage.Estimated || off(try.Usage.Input, call.Prompt) > 0.15 || off(try.Usage.Output, call.Completion) > 0.15 ||
				off(int64(try.CostNano), int64(call.Cost)) > 0.15 {
				t.Errorf("%s, stream %v: try %+v; the bill has %d, %d, %s", knobs, stream, try, call.Prompt, call.Completion, call.Cost)
			}
			if !stream && a.Header.Get("X-Penstock-Cost") != try.CostNano.String() {
				t.Errorf("%s: header %q, record %s", knobs, a.Header.Get("X-Penstock-Cost"), try.CostNano)
			}
		}
	}
	w.CheckBill()
}

// TestUnpricedIsNotFree: it is marked, and no cost is shown.
func TestUnpricedIsNotFree(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	a := w.ask("sim-a/nobody-knows-the-price", "hello", false)
	if r := w.record(a); a.Status != 200 || !r.Unpriced || r.CostNano != 0 || !r.Tries[0].Unpriced || r.Usage.Output != 20 || a.Header["X-Penstock-Cost"] != nil {
		t.Errorf("%v, record %+v", a.Header, r)
	}
	w.Price("sim-a/nobody-knows-the-price")
	a = w.ask("sim-a/nobody-knows-the-price", "hello", false)
	if r := w.record(a); r.Unpriced || r.CostNano == 0 || a.Header.Get("X-Penstock-Cost") != r.CostNano.String() {
		t.Errorf("%v, record %+v", a.Header, r)
	}
	w.CheckBill()
}

// TestPlainAndStreamedCostTheSame for the same tokens.
func TestPlainAndStreamedCostTheSame(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	model := w.model("cached=0.3&reasoning=7")
	plain, streamed := w.record(w.ask(model, "say:33", false)), w.record(w.ask(model, "say:33", true))
	if plain.Usage != streamed.Usage || plain.CostNano != streamed.CostNano || plain.Usage.Reasoning != 7 {
		t.Errorf("plain %+v %s, streamed %+v %s", plain.Usage, plain.CostNano, streamed.Usage, streamed.CostNano)
	}
	w.CheckBill()
}

// TestFault10BothTriesAreBooked, each at its own price.
func TestFault10BothTriesAreBooked(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(map[string][]string{"two": {"sim-a/x?hidden_reasoning=300&cut=0:rst", "sim-b/y"}})})
	w.Price("sim-a/x?hidden_reasoning=300&cut=0:rst", "sim-b/y")
	r := w.record(w.ask("two", "hello", true))
	if len(r.Tries) != 2 || r.Tries[0].Outcome != pipeline.Unknown || r.Tries[1].Outcome != pipeline.SettledActual {
		t.Errorf("tries %+v", r.Tries)
	}
	if unknown := w.CheckBill(); unknown != 1 {
		t.Errorf("%d tries are unknown, want the one that was cut before its usage came", unknown)
	}
}

// TestEmbeddings: floats and base64, from texts and tokens, also from a provider that ignores the wish.
func TestEmbeddings(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	for _, model := range []string{w.model(""), w.model("ignore_format=1")} {
		for _, input := range []string{`"one"`, `["one","two"]`, `[1,2,3]`, `[[1,2],[3]]`} {
			for _, format := range []string{"", "float", "base64"} {
				body := fmt.Sprintf(`{"model":%q,"input":%s}`, model, input)
				if format != "" {
					body = fmt.Sprintf(`{"model":%q,"input":%s,"encoding_format":%q}`, model, input, format)
				}
				a := w.Post(w.key, embedPath, body)
				want := 1
				if strings.HasPrefix(input, `["`) || strings.HasPrefix(input, "[[") {
					want = 2
				}
				vectors := vectorsOf(t, a, format == "base64")
				if a.Status != http.StatusOK || len(vectors) != want {
					t.Errorf("%s: %d, %d vectors: %.200s", body, a.Status, len(vectors), a.Body)
				}
				for _, v := range vectors {
					if norm := length(v); len(v) != 256 || math.Abs(norm-1) > 0.01 {
						t.Errorf("%s: %d dimensions, length %v", body, len(v), norm)
					}
				}
				if r := w.record(a); r.Op != llm.OpEmbeddings || r.Usage.Input == 0 || r.Usage.Output != 0 || r.Stream {
					t.Errorf("%s: record %+v", body, r)
				}
			}
		}
	}
	w.CheckBill()
}

func vectorsOf(t *testing.T, a penstocktest.Answer, packed bool) (all [][]float64) {
	t.Helper()
	var answer struct{ Data []struct{ Embedding any } }
	if err := json.Unmarshal(a.Body, &answer); err != nil {
		t.Errorf("%v: %.200s", err, a.Body)
	}
	for _, d := range answer.Data {
		var v []float64
		switch e := d.Embedding.(type) {
		case []any:
			for _, x := range e {
				v = append(v, x.(float64))
			}
		case string:
			b, err := base64.StdEncoding.DecodeString(e)
			if err != nil {
				t.Error(err)
			}
			for ; len(b) >= 4; b = b[4:] {
				v = append(v, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
			}
		}
		if _, text := d.Embedding.(string); text != packed {
			t.Errorf("base64 was asked for: %v, and came: %v", packed, text)
		}
		all = append(all, v)
	}
	return all
}

func length(v []float64) (sum float64) {
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}
