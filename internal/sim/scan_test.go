package sim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// Where the glance finds a fast model, a real reader of JSON must find the same.
func FuzzFastCall(f *testing.F) {
	for _, seed := range []string{
		`{"model":"quick","messages":[{"role":"user","content":"a"}]}`,
		`{"messages":[{"content":"\\\" \"model\":\"quick\""}],"model":"quick","stream":true,"stream_options":{"include_usage":true}}`,
		`{"model":"quick"`, `{"a":[{"b":"}"}],"model":"quick"}`, `{}`, ``, `{"model":"quick",}`, `{"model":quick}`, "{\"\":\"\\", `[`, `{"x":1`,
	} {
		f.Add([]byte(seed))
	}
	p := &provider{models: map[string]*model{"quick": {name: "quick", fast: newFastAnswer("quick")}}}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := p.fastCall(body)
		var want struct {
			Model   string `json:"model"`
			Stream  bool   `json:"stream"`
			Options struct {
				Usage bool `json:"include_usage"`
			} `json:"stream_options"`
		}
		if !ok || !json.Valid(body) || bytes.Count(body, []byte("model")) > 1 || bytes.Count(body, []byte("stream")) > 2 || json.Unmarshal(body, &want) != nil {
			return
		}
		if strings.Contains(strings.ToLower(string(body)), `\u`) || bytes.Count(bytes.ToLower(body), []byte("include_usage")) > 1 {
			return // names may be written with escapes, and twice; the glance knows neither
		}
		if got.model.name != want.Model || (got.stream != want.Stream && bytes.Contains(body, []byte(`"stream"`))) {
			t.Errorf("%q: %+v, want %+v", body, got, want)
		}
	})
}

func FuzzParseHead(f *testing.F) {
	f.Add("POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
	f.Add("POST / HTTP/1.1\r\ncontent-length:-3\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		if h, ok := parseHead([]byte(text)); ok && (h.length < 0 || !strings.HasPrefix(text, "POST ")) {
			t.Errorf("%q: %+v", text, h)
		}
	})
}

func TestInstancesFitTheirSchema(t *testing.T) {
	t.Parallel()
	for schema, want := range map[string]string{
		``:                       `{}`,
		`not JSON`:               `{}`,
		`{"type":"string"}`:      `"water"`,
		`{"enum":["b","a"]}`:     `"b"`,
		`{"const":{"a":[null]}}`: `{"a":[null]}`,
		`{"type":["null","integer"],"minimum":2.5}`:                                     `3`,
		`{"type":"number","exclusiveMinimum":4,"maximum":9}`:                            `5`,
		`{"type":"string","minLength":7}`:                                               `"waterrr"`,
		`{"type":"string","maxLength":2}`:                                               `"wa"`,
		`{"type":"string","format":"date"}`:                                             `"2026-01-02"`,
		`{"items":{"type":"boolean"},"minItems":2}`:                                     `[true,true]`,
		`{"properties":{"a":{"type":"null"},"b":{"type":"string"}}}`:                    `{"a":null,"b":"water"}`,
		`{"properties":{"a":{},"b":{"type":"integer"}},"required":["b"]}`:               `{"b":1}`,
		`{"anyOf":[{"type":"object","properties":{}},{"type":"boolean"}]}`:              `true`,
		`{"allOf":[{"properties":{"a":{"const":1}}},{"properties":{"b":{"const":2}}}]}`: `{"a":1,"b":2}`,
		`{"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"]}}}`: `{"next":null,"v":1}`,
		`{"$ref":"#/nowhere/0"}`: `null`,
	} {
		if got := string(instance(json.RawMessage(schema))); got != want {
			t.Errorf("%s: %s, want %s", schema, got, want)
		}
	}
	// A schema that never ends still ends.
	endless := instance(json.RawMessage(`{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}`))
	if !json.Valid(endless) {
		t.Errorf("%s", endless)
	}
}

func FuzzInstance(f *testing.F) {
	f.Add([]byte(`{"type":"array","minItems":100,"items":{"type":"array","minItems":100,"items":{"type":"array","minItems":100}}}`))
	f.Add([]byte(`{"allOf":[{"$ref":"#"},{"$ref":"#"}]}`))
	f.Fuzz(func(t *testing.T, schema []byte) {
		if got := instance(schema); !json.Valid(got) {
			t.Errorf("%q: %s", schema, got)
		}
	})
}

// The tokens of a text put together are the text, so that an echo is exact.
func FuzzTokens(f *testing.F) {
	f.Add("  a b\n\n c\u3000d ")
	f.Fuzz(func(t *testing.T, text string) {
		if got := strings.Join(tokens(text), ""); got != text {
			t.Errorf("%q became %q", text, got)
		}
		if got := strings.Join(slicesOf(text, callTokenBytes), ""); got != text {
			t.Errorf("%q became %q", text, got)
		}
	})
}

// What a benchmark's upstream costs is taken from the two cores that the gateway has too.
func TestFastAnswerAllocatesLittle(t *testing.T) {
	p := Config{Seed: 1, Providers: map[string]Provider{"a": {Models: map[string]Model{"quick": {Fast: true}}}}}
	s, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{sim: s}
	body := `{"model":"quick","stream":true,"messages":[{"role":"user","content":"hello"}]}`
	text := "POST /a/v1/chat/completions HTTP/1.1\r\nHost: sim\r\nContent-Length: 78\r\n\r\n" + body
	source := strings.NewReader(text)
	r := bufio.NewReaderSize(source, frontBuffer)
	out := make([]byte, 0, frontBuffer)
	allocs := testing.AllocsPerRun(200, func() {
		source.Reset(text)
		r.Reset(source)
		head, err := peekHead(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := f.answer(r, head, out[:0]); !ok {
			t.Fatal("not taken")
		}
	})
	if allocs > 4 {
		t.Errorf("%.0f allocations a call, want 4 at most", allocs)
	}
}
