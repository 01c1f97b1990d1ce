package openai

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"pgregory.net/rapid"
)

func mustParse(t testing.TB, body string) *llm.Request {
	t.Helper()
	r, err := ParseChat([]byte(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return r
}

func TestAppendRequest(t *testing.T) {
	t.Parallel()
	const head, hello = `{"model" : "m", `, `"messages":[{"role":"user","content":"hi"}]`
	tests := map[string]struct {
		body               string
		streamUsage, tiers bool
		want               string
	}{
		"model only":              {head + hello + `, "x": [1, 2] }`, true, true, `{"model" : "target", ` + hello + `, "x": [1, 2] }`},
		"usage asked":             {head + hello + `,"stream":true}`, true, true, `{"model" : "target", ` + hello + `,"stream":true,"stream_options":{"include_usage":true}}`},
		"usage asked already":     {head + hello + `,"stream":true,"stream_options":{ "include_usage":true }}`, true, true, `{"model" : "target", ` + hello + `,"stream":true,"stream_options":{ "include_usage":true }}`},
		"usage declined":          {head + hello + `,"stream":true,"stream_options":{"include_usage":false, "a":1}}`, true, true, `{"model" : "target", ` + hello + `,"stream":true,"stream_options":{"include_usage":true, "a":1}}`},
		"other options":           {head + hello + `,"stream":true,"stream_options":{"include_obfuscation":false}}`, true, true, `{"model" : "target", ` + hello + `,"stream":true,"stream_options":{"include_obfuscation":false,"include_usage":true}}`},
		"no options":              {head + hello + `,"stream":true,"stream_options":{}}`, true, true, `{"model" : "target", ` + hello + `,"stream":true,"stream_options":{"include_usage":true}}`},
		"null options":            {head + hello + `,"stream":true,"stream_options":null}`, true, true, `{"model" : "target", ` + hello + `,"stream":true,"stream_options":{"include_usage":true}}`},
		"no stream":               {head + hello + `,"stream":false,"stream_options":{"include_usage":false}}`, true, true, `{"model" : "target", ` + hello + `,"stream":false,"stream_options":{"include_usage":false}}`},
		"server without options":  {head + hello + `,"stream":true,"stream_options":{"include_usage":true}}`, false, true, `{"model":"target",` + hello + `,"stream":true}`},
		"others stay there":       {head + hello + `,"stream":true,"stream_options":{"include_usage":true,"a":1}}`, false, true, `{"model" : "target", ` + hello + `,"stream":true,"stream_options":{"a":1}}`},
		"none to take out":        {head + hello + `,"stream":true}`, false, true, `{"model" : "target", ` + hello + `,"stream":true}`},
		"null to take out":        {head + hello + `,"stream":true,"stream_options":null}`, false, true, `{"model" : "target", ` + hello + `,"stream":true,"stream_options":null}`},
		"service tier":            {head + hello + `,"service_tier":"flex"}`, true, true, `{"model" : "target", ` + hello + `,"service_tier":"flex"}`},
		"no service tiers":        {head + hello + `,"service_tier":"flex"}`, true, false, `{"model":"target",` + hello + `}`},
		"all at once":             {`{"service_tier":"flex",` + head[1:] + hello + `,"stream":true}`, true, false, `{"model":"target",` + hello + `,"stream":true,"stream_options":{"include_usage":true}}`},
		"model of the same name":  {`{"model":"target", ` + hello + "}\n", true, false, `{"model":"target", ` + hello + "}\n"},
		"model that is escaped":   {`{"mod\u0065l":"m",` + hello + `}`, true, true, `{"mod\u0065l":"target",` + hello + `}`},
		"cap passes as it was":    {head + hello + `,"max_tokens":5}`, true, true, `{"model" : "target", ` + hello + `,"max_tokens":5}`},
		"trap 28: the newer name": {head + hello + `,"max_completion_tokens":5}`, true, true, `{"model" : "target", ` + hello + `,"max_completion_tokens":5}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := mustParse(t, tt.body)
			if got := string(AppendRequest([]byte(">"), r, "target", tt.streamUsage, tt.tiers)); got != ">"+tt.want {
				t.Errorf("\n got %s\nwant >%s", got, tt.want)
			}
			if string(r.Raw) != tt.body {
				t.Errorf("the client's bytes were changed: %s", r.Raw)
			}
		})
	}
}

// TestAppendRequestKeepsEdits: what a stage has set goes out, in every try.
func TestAppendRequestKeepsEdits(t *testing.T) {
	t.Parallel()
	r := mustParse(t, `{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}`)
	r.Set("messages", []byte(`[]`))
	r.Set("stream_options", []byte(`{"a":1}`))
	want := `{"model":"t","messages":[],"stream":true,"stream_options":{"a":1,"include_usage":true}}`
	for range 2 {
		if got := string(AppendRequest(nil, r, "t", true, true)); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
}

// TestAppendRequestAgainstMaps compares with editing a decoded map.
func TestAppendRequestAgainstMaps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body, err := json.Marshal(drawChat(t))
		if err != nil {
			t.Fatal(err)
		}
		r, err := ParseChat(body)
		if err != nil {
			t.Skip("refused")
		}
		streamUsage, tiers := rapid.Bool().Draw(t, "usage"), rapid.Bool().Draw(t, "tiers")
		got := AppendRequest(nil, r, "a \"b\"", streamUsage, tiers)

		var want map[string]any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		want["model"] = "a \"b\""
		if !tiers {
			delete(want, "service_tier")
		}
		options, _ := want["stream_options"].(map[string]any)
		switch {
		case want["stream"] != true:
		case streamUsage && options == nil:
			want["stream_options"] = map[string]any{"include_usage": true}
		case streamUsage:
			options["include_usage"] = true
		case len(options) > 0:
			if delete(options, "include_usage"); len(options) == 0 {
				delete(want, "stream_options")
			}
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if want, got := canonical(t, text), canonical(t, got); want != got {
			t.Fatalf("\n got %s\nwant %s", got, want)
		}
	})
}
