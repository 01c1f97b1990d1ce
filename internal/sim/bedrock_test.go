package sim_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/wire/eventstream"
)

func bedrocks(t *testing.T) *bench {
	t.Helper()
	models := map[string]sim.Model{"*": {}}
	return setup(t, sim.Config{Seed: 1, Providers: map[string]sim.Provider{
		"bed": {Dialect: "bedrock", Models: models}, "closed": {Dialect: "bedrock", Key: "AKIAIOSFODNN7EXAMPLE:secret", Models: models},
		"token": {Dialect: "bedrock", Key: "ABSKx", Models: models},
	}})
}

// frames reads a stream: the names of its events, and what ended it.
func frames(body string) (names []string, err error) {
	s := eventstream.NewScanner(strings.NewReader(body), 1<<20)
	for {
		e, err := s.Next()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return names, err
		}
		if n := len(names); n == 0 || names[n-1] != e.Name {
			names = append(names, e.Name)
		}
	}
}

const converse = `{"messages":[{"role":"user","content":[{"text":"echo:one two"}]}]}`

func TestBedrockAnswers(t *testing.T) {
	t.Parallel()
	b := bedrocks(t)
	plain := b.post(t.Context(), "/bed/model/a%2Fb%3A0/converse", converse)
	if plain.status != http.StatusOK || !strings.Contains(plain.body, `{"text":"one two"}`) || !strings.Contains(plain.body, `"stopReason":"end_turn"`) {
		t.Errorf("%d %s", plain.status, plain.body)
	}
	for do, want := range map[string]string{
		"":           "messageStart contentBlockDelta contentBlockStop messageStop metadata",
		"no_done=1":  "messageStart contentBlockDelta contentBlockStop",
		"error_at=1": "messageStart contentBlockDelta internalServerException",
		"comments=1": "messageStart contentBlockDelta contentBlockStop messageStop metadata",
		"chunks=5,1": "messageStart contentBlockDelta contentBlockStop messageStop metadata",
	} {
		got := b.post(t.Context(), "/bed/model/m/converse-stream", converse, sim.KnobHeader, do)
		names, err := frames(got.body)
		if s := strings.Join(names, " "); s != want || err != nil || got.header.Get("Content-Type") != eventstream.MediaType {
			t.Errorf("%s: %s, %v", do, s, err)
		}
	}
	if got := b.post(t.Context(), "/bed/model/m/converse", converse, sim.KnobHeader, "status=429"); got.status != 429 || !strings.HasPrefix(got.header.Get("X-Amzn-Errortype"), "ThrottlingException:") {
		t.Errorf("%d %v", got.status, got.header)
	}
	if bill := b.bill(); len(bill.Calls) != 7 || bill.Calls[0].Model != "a/b:0" || bill.Calls[0].Completion != 2 {
		t.Errorf("%+v", bill.Calls)
	}
}

// Requests are held against the rules of the dialect.
func TestBedrockRefuses(t *testing.T) {
	t.Parallel()
	b := bedrocks(t)
	user := func(content string) string { return `{"role":"user","content":[` + content + `]}` }
	model := func(content string) string { return `{"role":"assistant","content":[` + content + `]}` }
	const use, result = `{"toolUse":{"toolUseId":"a","name":"n","input":{}}}`, `{"toolResult":{"toolUseId":"a","content":[]}}`
	for name, messages := range map[string]string{
		"nothing":                 "",
		"the model begins":        model(`{"text":"a"}`),
		"the user twice":          user(`{"text":"a"}`) + "," + user(`{"text":"a"}`),
		"an empty turn":           user(""),
		"a blank text":            user(`{"text":" "}`),
		"a result of nothing":     user(result),
		"a call without a result": user(`{"text":"a"}`) + "," + model(use) + "," + user(`{"text":"a"}`),
		"calls without tools":     user(`{"text":"a"}`) + "," + model(use) + "," + user(result),
		"an id that is not taken": user(`{"text":"a"}`) + "," + model(strings.Replace(use, `"a"`, `"a.b"`, 1)),
		"a name of a document":    user(`{"text":"a"},{"document":{"name":"a.pdf"}}`),
		"two documents":           user(`{"document":{"name":"a"}},{"document":{"name":"a"}}`),
	} {
		got := b.post(t.Context(), "/bed/model/m/converse", `{"messages":[`+messages+`]}`)
		if got.status != http.StatusBadRequest || !strings.HasPrefix(got.header.Get("X-Amzn-Errortype"), "ValidationException:") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	for name, more := range map[string]string{
		"too hot": `"inferenceConfig":{"temperature":1.1}`, "no room": `"inferenceConfig":{"maxTokens":0}`, "no tools": `"toolConfig":{"tools":[]}`,
		"a tool without a type": `"toolConfig":{"tools":[{"toolSpec":{"name":"n","inputSchema":{"json":{}}}}]}`,
		"an empty description":  `"toolConfig":{"tools":[{"toolSpec":{"name":"n","description":"","inputSchema":{"json":{"type":"object"}}}}]}`,
		"a schema that is none": `"outputConfig":{"textFormat":{"structure":{"jsonSchema":{"schema":"{"}}}}`,
	} {
		if got := b.post(t.Context(), "/bed/model/m/converse", converse[:len(converse)-1]+","+more+"}"); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

func hashOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

func TestBedrockChecksSignatures(t *testing.T) {
	t.Parallel()
	b := bedrocks(t)
	ask := func(id, secret, body, sent string, at time.Time) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.base+"/closed/model/a%3Ab%20c/converse", strings.NewReader(sent))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		keys := aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: "token"}
		if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, hashOf(body), "bedrock", "eu-west-1", at); err != nil {
			t.Fatal(err)
		}
		resp, err := b.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	const id = "AKIAIOSFODNN7EXAMPLE"
	now := time.Now()
	for name, c := range map[string]struct{ got, want int }{
		"right":          {ask(id, "secret", converse, converse, now), 200},
		"another secret": {ask(id, "other", converse, converse, now), 401},
		"another id":     {ask("AKIAIOSFODNN7EXAMPLF", "secret", converse, converse, now), 401},
		"another body":   {ask(id, "secret", converse, converse+" ", now), 401},
		"too old":        {ask(id, "secret", converse, converse, now.Add(-10*time.Minute)), 401},
		"a bearer":       {b.post(t.Context(), "/closed/model/m/converse", converse).status, 401},
		"another token":  {b.post(t.Context(), "/token/model/m/converse", converse).status, 401},
		"the token":      {b.post(t.Context(), "/token/model/m/converse", converse, "Authorization", "Bearer ABSKx").status, 200},
		"nothing":        {b.post(t.Context(), "/bed/model/m/converse", converse, "Authorization", "").status, 200},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", name, c.got, c.want)
		}
	}
	shown := fmt.Sprintf("%+v", b.sim.Requests())
	if strings.Contains(shown, "token]") || strings.Contains(shown, "Signature=") {
		t.Error("the list of requests shows credentials")
	}
}

func TestAzurePaths(t *testing.T) {
	t.Parallel()
	b := setup(t, sim.Config{Seed: 1, Providers: map[string]sim.Provider{"az": {Dialect: "azure", Models: map[string]sim.Model{"*": {}}}}})
	const body = `{"model":"in-body","messages":[{"role":"user","content":"echo:hi"}]}`
	for path, want := range map[string]string{
		"/az/openai/v1/chat/completions": "in-body", "/az/openai/deployments/in-path/chat/completions?api-version=2024-10-21": "in-path",
		"/az/openai/deployments/a%2Fb/chat/completions": "a/b", "/az/v1/chat/completions": "", "/az/openai/deployments/chat/completions": "",
	} {
		got := b.post(t.Context(), path, body)
		if (got.status == 200) != (want != "") || want != "" && !strings.Contains(got.body, `"model":"`+want+`"`) {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	got := b.post(t.Context(), "/az/openai/v1/chat/completions", body, sim.KnobHeader, "status=400&code=content_filter&pad=3")
	if got.status != 400 || !strings.Contains(got.body, `"innererror":{"code":"ResponsibleAIPolicyViolation"`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	stream := b.post(t.Context(), "/az/openai/v1/chat/completions", body[:len(body)-1]+`,"stream":true}`)
	if first, _, _ := bytes.Cut([]byte(stream.body), []byte("\n")); !bytes.Contains(first, []byte("prompt_filter_results")) {
		t.Errorf("begins with %s", first)
	}
}
