package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/sim"
)

// Moderations are passed on where the provider has them, and refused in words, before anything is spent, where it has none. They
// are in the books, without tokens.
func TestModerations(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{
		Config: allDialects + "  omni-moderation-latest: { targets: [gpt/omni-moderation-latest] }\n  judges: { targets: [claude/m, gpt/judge] }\n",
		Sim:    &sim.Config{Seed: 1, Providers: speakerProviders()},
	})
	key := e.Key("home")
	for name, c := range map[string]struct {
		body    string
		flagged []bool
		target  string
	}{
		"a text":       {`{"model":"gpt","input":"violence"}`, []bool{true}, "gpt/m"},
		"texts":        {`{"model":"gpt","input":["peace","violence"]}`, []bool{false, true}, "gpt/m"},
		"parts":        {`{"model":"gpt","input":[{"type":"text","text":"violence"},{"type":"image_url","image_url":{"url":"https://e.test/a.png"}}]}`, []bool{true}, "gpt/m"},
		"no model":     {`{"input":"peace"}`, []bool{false}, "gpt/omni-moderation-latest"},
		"the other":    {`{"model":"judges","input":"peace"}`, []bool{false}, "gpt/judge"},
		"more members": {`{"model":"gpt","input":"peace","x_new":[1]}`, []bool{false}, "gpt/m"},
	} {
		a := e.Post(key, "/v1/moderations", c.body)
		var got struct {
			ID, Model string
			Results   []struct {
				Flagged    bool
				Categories map[string]bool
			}
		}
		if err := json.Unmarshal(a.Body, &got); err != nil || a.Status != http.StatusOK || len(got.Results) != len(c.flagged) || !strings.HasPrefix(got.ID, "modr-") {
			t.Fatalf("%s: %d %s", name, a.Status, a.Text())
		}
		for i, r := range got.Results {
			if r.Flagged != c.flagged[i] || r.Categories["violence"] != c.flagged[i] {
				t.Errorf("%s: %s", name, a.Text())
			}
		}
		if !strings.Contains(c.body, got.Model) && got.Model != "omni-moderation-latest" || a.Header.Get("X-Penstock-Target") != c.target {
			t.Errorf("%s: model %q, target %q", name, got.Model, a.Header.Get("X-Penstock-Target"))
		}
		r := e.Record(a.ID())
		if r.Op != llm.OpModerations || r.Usage != (llm.Usage{}) || r.Tries[len(r.Tries)-1].Outcome != pipeline.SettledActual {
			t.Errorf("%s: record %+v", name, r)
		}
	}
	for model, vendor := range map[string]string{"claude": "Anthropic", "bed": "Bedrock", "gem": "Gemini", "azure": "Azure"} {
		a := e.Post(key, "/v1/moderations", `{"model":"`+model+`","input":"peace"}`)
		if a.Status != http.StatusBadRequest || !strings.Contains(a.Text(), vendor) || !strings.Contains(a.Text(), `"param":"model"`) {
			t.Errorf("%s: %d %s", model, a.Status, a.Text())
		}
	}
	for body, want := range map[string]string{
		`{"model":"gpt"}`: `"param":"input"`, `{"model":"gpt","input":[]}`: `"param":"input"`, `{"model":"gpt","input":[1]}`: `"param":"input`,
		`{"model":"nobody","input":"a"}`: "nobody",
	} {
		if a := e.Post(key, "/v1/moderations", body); a.Status < 400 || a.Status > 404 || !strings.Contains(a.Text(), want) {
			t.Errorf("%s: %d %s", body, a.Status, a.Text())
		}
	}
	if a := e.Post("psk_wrong", "/v1/moderations", `{"model":"gpt","input":"a"}`); a.Status != http.StatusUnauthorized {
		t.Errorf("without a key: %d", a.Status)
	}
	e.CheckBill()
}
