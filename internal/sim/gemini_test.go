package sim_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/sim"
)

func geminis(t *testing.T) *bench {
	t.Helper()
	models := map[string]sim.Model{"*": {}}
	return setup(t, sim.Config{Seed: 1, Providers: map[string]sim.Provider{
		"gem": {Dialect: "gemini", Models: models}, "closed": {Dialect: "gemini", Key: "AIzaX", Models: models},
	}})
}

const (
	generate   = `{"contents":[{"role":"user","parts":[{"text":"echo:one two"}]}]}`
	ofVertex   = "/v1/projects/p/locations/l/publishers/google/models/m"
	geminiCall = `{"functionCall":{"name":"n","args":{}},"thoughtSignature":"a"}`
	geminiBack = `{"functionResponse":{"name":"n","response":{"output":"x"}}}`
)

func TestGeminiAnswers(t *testing.T) {
	t.Parallel()
	b := geminis(t)
	for _, path := range []string{"/gem/v1beta/models/m", "/gem" + ofVertex} {
		plain := b.post(t.Context(), path+":generateContent", generate)
		if plain.status != http.StatusOK || !strings.Contains(plain.body, `{"text":"one two"}`) || !strings.Contains(plain.body, `"finishReason":"STOP"`) {
			t.Errorf("%d %s", plain.status, plain.body)
		}
		stream := b.post(t.Context(), path+":streamGenerateContent?alt=sse", generate)
		if strings.Count(stream.body, "data: ") != 3 || strings.Count(stream.body, "STOP") != 1 || !strings.HasPrefix(stream.header.Get("Content-Type"), "text/event-stream") {
			t.Errorf("%d %s", stream.status, stream.body)
		}
	}
	if got := b.post(t.Context(), "/gem/v1beta/models/m:generateContent", generate, sim.KnobHeader, "status=429&retry_after=7"); got.status != 429 ||
		got.header.Get("Retry-After") != "" || !strings.Contains(got.body, `"retryDelay":"7s"`) || !strings.Contains(got.body, `"RESOURCE_EXHAUSTED"`) {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	calls := b.post(t.Context(), "/gem/v1beta/models/m:streamGenerateContent?alt=sse", generate, sim.KnobHeader, "tool_calls=2&reasoning=3")
	if strings.Count(calls.body, `"functionCall"`) != 2 || strings.Count(calls.body, "thoughtSignature") != 1 || !strings.Contains(calls.body, `"thought":true`) ||
		strings.LastIndex(calls.body, `"functionCall"`) > strings.Index(calls.body, "finishReason") {
		t.Errorf("%s", calls.body)
	}
	if got := b.post(t.Context(), "/gem/v1beta/models/m:batchEmbedContents", `{"requests":[{"model":"models/m","content":{"parts":[{"text":"a"}]},"outputDimensionality":2}]}`); !strings.HasPrefix(got.body, `{"embeddings":[{"values":[`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := b.post(t.Context(), "/gem"+ofVertex+":predict", `{"instances":[{"content":"a"}],"parameters":{"outputDimensionality":2}}`); !strings.Contains(got.body, `"token_count":1`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := b.post(t.Context(), "/closed/v1beta/models/m:generateContent", generate, "X-Goog-Api-Key", "AIzaX"); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := b.post(t.Context(), "/closed/v1beta/models/m:generateContent", generate); got.status != http.StatusUnauthorized {
		t.Errorf("%d %s", got.status, got.body)
	}
	if bill := b.bill(); bill.Calls[0].Model != "m" || bill.Calls[0].Completion != 2 || bill.Calls[0].Prompt != 3 {
		t.Errorf("%+v", bill.Calls)
	}
}

// Requests are held against the rules of the dialect.
func TestGeminiRefuses(t *testing.T) {
	t.Parallel()
	b := geminis(t)
	user := func(parts string) string { return `{"role":"user","parts":[` + parts + `]}` }
	model := func(parts string) string { return `{"role":"model","parts":[` + parts + `]}` }
	for name, contents := range map[string]string{
		"nothing":                   "",
		"a role that is none":       `{"role":"assistant","parts":[{"text":"a"}]}`,
		"an empty turn":             user(""),
		"an empty text":             user(`{"text":""}`),
		"an empty part":             user(`{}`),
		"a result of nothing":       user(geminiBack),
		"a call of the user":        user(geminiCall),
		"a call without a result":   model(geminiCall) + "," + user(`{"text":"a"}`),
		"fewer results than calls":  model(geminiCall+","+geminiCall) + "," + user(geminiBack),
		"a result that is a string": model(geminiCall) + "," + user(strings.Replace(geminiBack, `{"output":"x"}`, `"x"`, 1)),
		"a call without its proof":  model(strings.Replace(geminiCall, `,"thoughtSignature":"a"`, "", 1)) + "," + user(geminiBack),
		"data without a type":       user(`{"inlineData":{"data":"AAAA"}}`),
	} {
		got := b.post(t.Context(), "/gem/v1beta/models/gemini-3-x:generateContent", `{"contents":[`+contents+`]}`)
		if got.status != http.StatusBadRequest || !strings.Contains(got.body, `"INVALID_ARGUMENT"`) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	for name, more := range map[string]string{
		"too hot": `"generationConfig":{"temperature":2.1}`, "no room": `"generationConfig":{"maxOutputTokens":0}`, "too many": `"generationConfig":{"candidateCount":9}`,
		"a member that is none": `"frequency_penalty":1`, "a schema for text": `"generationConfig":{"responseJsonSchema":{}}`, "a choice of nothing": `"toolConfig":{"functionCallingConfig":{"mode":"ANY"}}`,
		"a name that is none": `"tools":[{"functionDeclarations":[{"name":"1"}]}]`,
	} {
		if got := b.post(t.Context(), "/gem/v1beta/models/m:generateContent", generate[:len(generate)-1]+","+more+"}"); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}
