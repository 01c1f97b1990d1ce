package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/sim"
)

// servedBy is a provider of three dialects, which says that it served as the model's name has it: TIER@REGION, either of which may be "".
func servedBy(t *testing.T) (address string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, name, _ := strings.Cut(string(body), `"model":"`)
		name, _, _ = strings.Cut(name, `"`)
		tier, region, _ := strings.Cut(name, "@")
		stream := strings.Contains(string(body), `"stream":true`)
		w.Header().Set("Content-Type", "application/json")
		if stream {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "/responses"):
			answer := `{"id":"r","object":"response","created_at":1,"status":"%s","model":"m","service_tier":"%s","output":[{"type":"message","id":"i","status":"completed","role":"assistant","content":[{"type":"output_text","text":"hi","annotations":[]}]}],"usage":{"input_tokens":100,"output_tokens":10,"total_tokens":110}}`
			if !stream {
				fmt.Fprintf(w, answer, "completed", tier)
				return
			}
			fmt.Fprintf(w, "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":"+answer+"}\n\n", "in_progress", "auto")
			fmt.Fprintf(w, "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":1,\"response\":"+answer+"}\n\n", "completed", tier)
		case strings.HasSuffix(r.URL.Path, "/messages"):
			usage := fmt.Sprintf(`"usage":{"input_tokens":100,"output_tokens":%%d,"service_tier":"%s","inference_geo":"%s"}`, tier, region)
			if !stream {
				fmt.Fprintf(w, `{"id":"m","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn",`+usage+`}`, 10)
				return
			}
			fmt.Fprintf(w, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],"+usage+"}}\n\n", 1)
			fmt.Fprint(w, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"hi\"}}\n\n"+
				"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"+
				"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":10}}\n\n"+
				"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
		default:
			said := `"id":"c","model":"m","service_tier":"` + tier + `","choices":[{"index":0,"%s":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110}}`
			if !stream {
				fmt.Fprintf(w, `{"object":"chat.completion",`+said, "message")
				return
			}
			fmt.Fprintf(w, `data: {"object":"chat.completion.chunk",`+said+"\n\ndata: [DONE]\n\n", "delta")
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestPricesGoByWhatWasServed, and not by what was asked for; and as much is reserved as may be billed.
func TestPricesGoByWhatWasServed(t *testing.T) {
	t.Parallel()
	at := servedBy(t)
	w := start(t, penstocktest.Options{Config: settings(nil, `
  tiers: { dialect: openai, base_url: "`+at+`/v1", vendor: none, service_tiers: true, takes: [responses] }
  plain: { dialect: openai, base_url: "`+at+`/v1", vendor: none }
  claude: { dialect: anthropic, base_url: "`+at+`", vendor: anthropic }`)})
	b := w.budget(dollars(1_000_000_000))
	// A dollar a million tokens as usual, half of it for flex, two for priority: 110 tokens cost 110,000 nano-dollars.
	price := func(target string) {
		t.Helper()
		in := admin.PriceInput{Target: target, Input: "1", Output: "1", Variants: []admin.PriceVariant{
			{Tier: "flex", Input: "0.5", Output: "0.5"}, {Tier: "priority", Input: "2", Output: "2"},
		}}
		if status := w.Admin(http.MethodPut, "/prices", admin.PricesInput{Data: []admin.PriceInput{in}}, nil); status != http.StatusOK {
			t.Fatalf("price of %s: status %d", target, status)
		}
	}
	all := llm.Money(0)
	for _, c := range []struct {
		path, target, more string
		cost               llm.Money // of what is known to be billed
		percent            int64     // what is reserved for a token, of the usual price
		noted              bool
	}{
		{chatPath, "tiers/default@", `,"service_tier":"auto"`, 110_000, 200, false},
		{chatPath, "tiers/priority@", `,"service_tier":"auto"`, 220_000, 200, false},
		{chatPath, "tiers/priority@", ``, 220_000, 200, false},
		{chatPath, "tiers/flex@", `,"service_tier":"flex"`, 55_000, 100, false},
		{chatPath, "tiers/default@", `,"service_tier":"flex"`, 110_000, 100, false},
		{chatPath, "tiers/priority@", `,"service_tier":"fast"`, 220_000, 200, false},
		{chatPath, "tiers/default@", `,"service_tier":"priority"`, 110_000, 200, false},
		{chatPath, "tiers/default@", `,"service_tier":"default"`, 110_000, 100, false},
		{chatPath, "tiers/scale@", `,"service_tier":"auto"`, 110_000, 200, true},
		{chatPath, "plain/priority@", `,"service_tier":"default"`, 220_000, 200, false}, // which the provider is not told
		{"/v1/responses", "tiers/priority@", `,"service_tier":"auto"`, 220_000, 200, false},
		{"/v1/messages", "claude/standard@not_available", ``, 110_000, 220, false},
		{"/v1/messages", "claude/priority@global", ``, 220_000, 220, false},
		{"/v1/messages", "claude/standard@us", `,"inference_geo":"us"`, 121_000, 220, false},
		{"/v1/messages", "claude/standard@us", ``, 121_000, 220, false}, // as the workspace has it
		{"/v1/messages", "claude/standard@global", `,"inference_geo":"global"`, 110_000, 200, false},
		{chatPath, "claude/priority@us", ``, 242_000, 220, false},
	} {
		for _, stream := range []bool{false, true} {
			price(c.target)
			body := fmt.Sprintf(`{"model":%q,"max_tokens":50,"stream":%v,"messages":[{"role":"user","content":"hi"}]%s}`, c.target, stream, c.more)
			if c.path == "/v1/responses" {
				body = fmt.Sprintf(`{"model":%q,"max_output_tokens":50,"stream":%v,"input":"hi"%s}`, c.target, stream, c.more)
			}
			a := w.Post(w.key, c.path, body)
			if a.Status != http.StatusOK {
				t.Fatalf("%s: %d %s", body, a.Status, a.Body)
			}
			r := w.record(a)
			try := r.Tries[0]
			// Reserved are the bytes of the body, some more, and the cap.
			least := llm.Money(int64(len(body)+50) * 1000 * c.percent / 100)
			if try.CostNano != c.cost || try.BoundNano < least || try.BoundNano > least*2 {
				t.Errorf("%s: cost %d, want %d; reserved %d, want some %d (served %q in %q)", body, try.CostNano, c.cost, try.BoundNano, least, try.Tier, try.Region)
			}
			all += try.CostNano
			noted := false
			for _, s := range r.Stages {
				noted = noted || s.Stage == "price"
			}
			if noted != c.noted {
				t.Errorf("%s: %+v", body, r.Stages)
			}
		}
	}
	if p := w.window(b.ID); p.OverrunNano == nil || *p.OverrunNano != 0 || p.SettledNano == nil || *p.SettledNano != int64(all) {
		t.Errorf("%+v, and the calls came to %d", p, all)
	}
}

// TestAPriceForEachCall is reserved with the tokens, booked once for a try that was billed, and not for one that failed.
func TestAPriceForEachCall(t *testing.T) {
	t.Parallel()
	provider := sim.Provider{Models: map[string]sim.Model{"*": {Price: sim.Price{Input: "1", Cached: "0.5", Output: "4", Call: "0.005"}, Output: "20"}}}
	w := start(t, penstocktest.Options{
		Config: settings(map[string][]string{"two": {"sim-a/x?status=429", "sim-b/y"}, "one": {"sim-b/y"}, "quiet": {"sim-b/y?usage=none"}}),
		Sim:    &sim.Config{Seed: 1, Providers: map[string]sim.Provider{"sim-a": provider, "sim-b": provider}},
	})
	var in admin.PricesInput
	for _, target := range []string{"sim-a/x?status=429", "sim-b/y", "sim-b/y?usage=none"} {
		in.Data = append(in.Data, admin.PriceInput{Target: target, Input: "1", CachedInput: "0.5", Output: "4", PerCall: "0.005"})
	}
	if status := w.Admin(http.MethodPut, "/prices", in, nil); status != http.StatusOK {
		t.Fatalf("prices: status %d", status)
	}
	b := w.budget(dollars(20_000_000))
	for _, model := range []string{"two", "one", "quiet"} {
		a := w.ask(model, "hello", model == "two")
		r := w.record(a)
		if len(r.Tries) == 0 {
			t.Fatalf("%s: %d %s", model, a.Status, a.Body)
		}
		last := r.Tries[len(r.Tries)-1]
		if a.Status != http.StatusOK || last.FeeNano != 5_000_000 || last.CostNano <= 5_000_000 || last.CostNano > last.BoundNano || last.BoundNano < 5_000_000 {
			t.Errorf("%s: %d, try %+v", model, a.Status, last)
		}
		if first := r.Tries[0]; model == "two" && (len(r.Tries) != 2 || first.CostNano != 0 || first.FeeNano != 0) {
			t.Errorf("%s: first %+v", model, first)
		}
	}
	// Of two cents, three calls took three halves: what is left buys no further one.
	if a := w.ask("one", "hello", false); isRefused(a) != "" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if p := w.window(b.ID); p.OverrunNano == nil || *p.OverrunNano != 0 || *p.SettledNano < 15_000_000 {
		t.Errorf("%+v", p)
	}
	w.CheckBooks()
}
