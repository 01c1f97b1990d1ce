package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

var update = flag.Bool("update", false, "write what is expected anew; read the difference afterwards")

// parserFor chooses the parser for a file of testdata by its name.
func parserFor(name string) func([]byte) (*llm.Request, error) {
	if strings.HasPrefix(filepath.Base(name), "embeddings") {
		return ParseEmbeddings
	}
	return ParseChat
}

// TestBrokenBodies compares what is said of each body in testdata/broken with the file beside it.
func TestBrokenBodies(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/broken/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d bodies, %v", len(files), err)
	}
	said := make(map[string]string)
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parserFor(file)(body)
		f, ok := errors.AsType[*fault.Error](err)
		if !ok {
			t.Errorf("%s: %v, want a *fault.Error", file, err)
			continue
		}
		if f.Kind != fault.BadRequest {
			t.Errorf("%s: kind %v, want a bad request", file, f.Kind)
		}
		got := fmt.Sprintf("%s\ncode %s\nparam %s\n", f.Text(), f.Code, f.Param)
		compare(t, strings.TrimSuffix(file, ".json")+".txt", got)
		if strings.Contains(got, "confidential") {
			t.Errorf("%s: the caller's text is quoted: %s", file, got)
		}
		if len(got) > 500 {
			t.Errorf("%s: %d bytes are too many to say", file, len(got))
		}
		said[got] += file + " "
	}
	if len(said) < 20 {
		t.Errorf("only %d different errors", len(said))
	}
}

// compare checks got against a golden file, or writes it.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestParseChat(t *testing.T) {
	t.Parallel()
	const hello = `"messages":[{"role":"user","content":"hi"}]`
	tests := map[string]struct {
		body string
		want llm.Request
	}{
		"least": {`{"model":"m",` + hello + `}`, llm.Request{Model: "m", Choices: 1}},
		"most": {
			`{"model":"m",` + hello + `,"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false},` +
				`"max_tokens":5,"n":3,"user":"u","service_tier":"flex","seed":-1,"stop":["a","b"],"temperature":-0}`,
			llm.Request{Model: "m", Stream: true, IncludeUsage: true, MaxOutput: 5, Choices: 3, User: "u", ServiceTier: "flex"},
		},
		"white space": {" {\r\n\t\"model\" : \"m\" , " + hello + " } \n", llm.Request{Model: "m", Choices: 1}},
		"escapes":     {`{"mod\u0065l":"a\/b \ud83d\ude00",` + hello + `}`, llm.Request{Model: "a/b 😀", Choices: 1}},
		"null is absent": {
			`{"model":"m",` + hello + `,"stream":null,"max_tokens":null,"n":null,"user":null,"stop":null,"tools":null,` +
				`"stream_options":{"include_usage":null},"response_format":null,"temperature":null}`,
			llm.Request{Model: "m", Choices: 1},
		},
		"the larger cap counts": {`{"model":"m",` + hello + `,"max_completion_tokens":7,"max_tokens":9}`, llm.Request{Model: "m", MaxOutput: 9, Choices: 1}},
		"in either order":       {`{"model":"m",` + hello + `,"max_tokens":9,"max_completion_tokens":7}`, llm.Request{Model: "m", MaxOutput: 9, Choices: 1}},
		"numbers that JSON allows": {
			`{"model":"m",` + hello + `,"temperature":1e400,"top_p":9007199254740993,"x":-0,"logit_bias":{"50256":-100}}`,
			llm.Request{Model: "m", Choices: 1},
		},
		"unknown members": {
			`{"model":"m",` + hello + `,"__proto__":{"admin":true},"guided_json":{"Model":1,"a":[{}]},"":null,"models":["x"]}`,
			llm.Request{Model: "m", Choices: 1},
		},
		"all roles and contents": {
			`{"model":"m","messages":[{"role":"developer","content":"a"},{"role":"system","content":[{"type":"text","text":"b"}]},` +
				`{"role":"user","content":[]},{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":""}}]},` +
				`{"role":"tool","tool_call_id":"1","content":"c"},{"role":"function","name":"f","content":"d"},{"role":"assistant"},` +
				`{"role":"assistant","content":"","refusal":null,"name":null,"tool_calls":null}]}`,
			llm.Request{Model: "m", Choices: 1},
		},
		"tools": {
			`{"model":"m",` + hello + `,"tools":[{"type":"function","function":{"name":"f","parameters":{}}},{"type":"custom","custom":{"name":"g"}},` +
				`{"type":"web_search"},{"type":"function","function":null}],"tool_choice":"auto","parallel_tool_calls":false}`,
			llm.Request{Model: "m", Choices: 1},
		},
		"non-characters and NUL": {`{"model":"m","messages":[{"role":"user","content":"\u0000 \uffff ` + "\uFFFE" + `"}]}`, llm.Request{Model: "m", Choices: 1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseChat([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			checkFields(t, got)
			tt.want.Dialect, tt.want.Op = llm.OpenAI, llm.OpChat
			if diff := cmp.Diff(summary(&tt.want), summary(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// summary is what a parser notes of a request.
func summary(r *llm.Request) string {
	return fmt.Sprintf("%s %s model %q stream %v usage %v max %d n %d user %q tier %q base64 %v",
		r.Dialect, r.Op, r.Model, r.Stream, r.IncludeUsage, r.MaxOutput, r.Choices, r.User, r.ServiceTier, r.Base64)
}

// checkFields compares the spans with what another parser finds.
func checkFields(t interface{ Fatalf(string, ...any) }, r *llm.Request) {
	var want map[string]json.RawMessage
	if err := json.Unmarshal(r.Raw, &want); err != nil {
		t.Fatalf("accepted, but not JSON for encoding/json: %v", err)
	}
	if len(want) != len(r.Fields) {
		t.Fatalf("%d fields, want %d", len(r.Fields), len(want))
	}
	for _, f := range r.Fields {
		if got := f.Value.Of(r.Raw); !bytes.Equal(got, want[f.Name]) {
			t.Fatalf("field %q is %q, want %q", f.Name, got, want[f.Name])
		}
	}
	if diff := cmp.Diff(rawjson.Fields(r.Raw), r.Fields, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("the cursor finds other fields (-cursor +reader):\n%s", diff)
	}
	if got := r.AppendBody(nil); !bytes.Equal(got, r.Raw) {
		t.Fatalf("without edits the body is %q, want %q", got, r.Raw)
	}
}

func TestParseEmbeddings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		body   string
		base64 bool
		inputs int
	}{
		{`{"model":"m","input":"a"}`, false, 1},
		{`{"model":"m","input":["a","b","c"],"encoding_format":"float"}`, false, 3},
		{`{"model":"m","input":[1,2,3],"encoding_format":"base64","dimensions":256}`, true, 1},
		{`{"model":"m","input":[[1,2],[3]],"user":"u","encoding_format":null}`, false, 2},
		{`{"model":"m","input":"","input_type":"query"}`, false, 1},
	}
	for _, tt := range tests {
		r, err := ParseEmbeddings([]byte(tt.body))
		if err != nil {
			t.Errorf("%s: %v", tt.body, err)
			continue
		}
		checkFields(t, r)
		if r.Op != llm.OpEmbeddings || r.Base64 != tt.base64 || CountInputs(r) != tt.inputs {
			t.Errorf("%s: %s, %d inputs", tt.body, summary(r), CountInputs(r))
		}
	}
}

// TestDepth: what is allowed passes at exactly the limit, and brackets in strings count for nothing.
func TestDepth(t *testing.T) {
	t.Parallel()
	body := func(depth int, text string) []byte {
		return fmt.Appendf(nil, `{"model":"m","messages":[{"role":"user","content":%q}],"x":%s%s}`,
			text, strings.Repeat("[", depth), strings.Repeat("]", depth))
	}
	if _, err := ParseChat(body(rawjson.MaxDepth-1, strings.Repeat("[{", 1000))); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := ParseChat(body(rawjson.MaxDepth, "")); err == nil {
		t.Error("over the limit: accepted")
	}
}

// jsonValue draws JSON text, with white space.
func jsonValue(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		kinds := 5
		if depth > 0 {
			kinds = 7
		}
		space := rapid.SampledFrom([]string{"", "", " ", "\n\t"}).Draw(t, "space")
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return rapid.SampledFrom([]string{"null", "true", "false"}).Draw(t, "literal")
		case 1:
			return rapid.SampledFrom([]string{"0", "-1", "1.5e-7", "18446744073709551616"}).Draw(t, "number")
		case 2, 3, 4:
			return jsonString(t)
		case 5:
			all := rapid.SliceOfN(jsonValue(depth-1), 0, 3).Draw(t, "elements")
			return "[" + space + strings.Join(all, space+",") + "]"
		}
		names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "url", "text", "\\u0063", "é"}), 0, 3, rapid.ID).Draw(t, "names")
		var all []string
		for _, name := range names {
			all = append(all, `"`+name+`"`+space+":"+jsonValue(depth-1).Draw(t, "value"))
		}
		return "{" + strings.Join(all, ","+space) + space + "}"
	})
}

// jsonString draws a string as JSON.
func jsonString(t *rapid.T) string {
	pieces := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "{", "]", ":", ",", " ", `\"`, `\\`, `\n`, `\u0041`, `\ud83d\ude00`, "é", "日"}), 0, 6)
	return `"` + strings.Join(pieces.Draw(t, "pieces"), "") + `"`
}

// TestUnknownMembersPass: whatever else is in a body, the parser finds its members where they are and leaves them alone.
func TestUnknownMembersPass(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body := `{"x1": ` + jsonValue(3).Draw(t, "x1") + ` ,"model":"m","x2":` + jsonValue(3).Draw(t, "x2") +
			"\n,\"messages\":[{\"role\":\"user\",\"content\":" + jsonString(t) + `,"x":` + jsonValue(2).Draw(t, "x") + "}]}"
		r, err := ParseChat([]byte(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		checkFields(t, r)
	})
}

// FuzzParseChat: what is accepted is what every other reader of JSON would read the same way.
func FuzzParseChat(f *testing.F) {
	files, err := filepath.Glob("testdata/broken/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		if body, err := os.ReadFile(file); err == nil && len(body) < 4096 {
			f.Add(body)
		}
	}
	f.Add(chatBody(1 << 10))
	f.Add([]byte(everything))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, parse := range []func([]byte) (*llm.Request, error){ParseChat, ParseEmbeddings} {
			r, err := parse(body)
			if err != nil {
				if f, ok := errors.AsType[*fault.Error](err); !ok || f.Kind != fault.BadRequest || len(f.Text()) > 1000 {
					t.Fatalf("%q: error %v", body, err)
				}
				continue
			}
			checkFields(t, r)
			var other struct {
				Model  string `json:"model"`
				Stream *bool  `json:"stream"`
			}
			if err := json.Unmarshal(body, &other); err != nil || other.Model != r.Model {
				t.Fatalf("%q: model %q, another reader says %q, %v", body, r.Model, other.Model, err)
			}
			out := AppendRequest(nil, r, "other", true, false)
			var changed struct {
				Model string `json:"model"`
			}
			if err := json.Unmarshal(out, &changed); err != nil || changed.Model != "other" {
				t.Fatalf("%q became %q", body, out)
			}
			if r.Op == llm.OpChat {
				roundTrip(t, body)
			}
		}
	})
}
