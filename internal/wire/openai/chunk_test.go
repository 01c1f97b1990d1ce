package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/llm"
)

// delta makes a chunk of one choice.
func delta(members string) string {
	return `{"id":"c","model":"gpt","choices":[{"index":0,` + members + `}]}`
}

// told says what a scan told of an event.
func told(ev *llm.Event) string {
	var b strings.Builder
	for _, h := range []struct {
		has  llm.Has
		name string
	}{{llm.Content, "content"}, {llm.Finish, "finish"}, {llm.UsageIn, "usage"}, {llm.End, "end"}, {llm.Hidden, "hidden"}} {
		if ev.Is(h.has) {
			b.WriteString(h.name + " ")
		}
	}
	if len(ev.Text) > 0 {
		fmt.Fprintf(&b, "%q ", ev.Text)
	}
	if u := ev.Usage; u != (llm.Usage{}) {
		fmt.Fprintf(&b, "%d/%d cached %d written %d reasoning %d", u.Input, u.Output, u.CachedInput, u.CacheWrite, u.Reasoning)
		if u.Estimated {
			b.WriteString(" in part")
		}
	}
	return strings.TrimSpace(b.String())
}

func TestScanChunk(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ data, want string }{
		"role":                  {delta(`"delta":{"role":"assistant","content":""},"finish_reason":null`), ""},
		"text":                  {delta(`"delta":{"content":"a\n\u00e9\ud83d\ude00"}`), `content "a\né😀"`},
		"backslashes":           {delta(`"delta":{"content":"\\","refusal":"\\\"\\"}`), `content "\\\\\"\\"`},
		"null content":          {delta(`"delta":{"content":null,"refusal":null,"tool_calls":null,"function_call":null,"audio":null}`), ""},
		"empty delta, finish":   {delta(`"delta":{},"finish_reason":"stop"`), "finish"},
		"text and finish":       {delta(`"delta":{"content":"a"},"finish_reason":"length"`), `content finish "a"`},
		"finish that is empty":  {delta(`"delta":{},"finish_reason":""`), ""},
		"unknown finish":        {delta(`"delta":{},"finish_reason":"eos"`), "finish"},
		"refusal":               {delta(`"delta":{"refusal":"no"}`), `content "no"`},
		"reasoning_content":     {delta(`"delta":{"content":"","reasoning_content":"hm"}`), `content "hm"`},
		"reasoning":             {delta(`"delta":{"reasoning":"hm"}`), `content "hm"`},
		"reasoning twice":       {delta(`"delta":{"reasoning":"hm","reasoning_content":"hm","reasoning_details":[{"type":"reasoning.text","text":"hm"}]}`), `content "hm"`},
		"reasoning_details":     {delta(`"delta":{"content":"","reasoning_details":[{"type":"reasoning.summary","summary":"s","signature":"x"}]}`), `content "s"`},
		"no reasoning_details":  {delta(`"delta":{"reasoning_details":[ ]}`), ""},
		"content of parts":      {delta(`"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"}]},{"type":"text","text":"b"}]}`), `content "ab"`},
		"tool call begins":      {delta(`"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":""}}]}`), `content "f"`},
		"tool call grows":       {delta(`"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}},{"index":1,"function":{"arguments":"1"}}]}`), `content "{\"a\":1"`},
		"custom tool":           {delta(`"delta":{"tool_calls":[{"index":0,"custom":{"input":"ls"}}]}`), `content "ls"`},
		"odd tool calls":        {delta(`"delta":{"tool_calls":[{"index":-1},{"index":1000000000},null]}`), "content"},
		"no tool calls":         {delta(`"delta":{"content":"","tool_calls":[]}`), ""},
		"function_call":         {delta(`"delta":{"function_call":{"name":"f","arguments":"{"}}`), `content "f{"`},
		"audio":                 {delta(`"delta":{"audio":{"id":"a","data":"AAAA","transcript":"hi"}}`), `content "hi"`},
		"choices interleaved":   {`{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1000000000,"delta":{"content":"b"},"finish_reason":"stop"}]}`, `content finish "ab"`},
		"null delta":            {delta(`"delta":null`), ""},
		"unknown object":        {`{"type":"ping"}`, ""},
		"prompt filter (Azure)": {`{"id":"","model":"","choices":[],"prompt_filter_results":[{}]}`, ""},
		"null choices":          {`{"choices":null}`, ""},
		"null error":            {delta(`"delta":{"content":"a"},"error":null`), `content "a"`},
		"half surrogate":        {delta(`"delta":{"content":"\ud83d"}`), `content "` + "\uFFFD" + `"`},
		"white space":           {" {\n\t\"choices\" : [ { \"delta\" : { \"content\" : \"a\" } , \"finish_reason\" : \"stop\" } ] } ", `content finish "a"`},
		"escaped names":         {`{"choi\u0063es":[{"delta":{"c\u006fntent":"a"}}]}`, `content "a"`},
		"number for content":    {delta(`"delta":{"content":7}`), ""},

		"done":                {"[DONE]", "end"},
		"done, spaces":        {"  [DONE] ", "end"},
		"usage null":          {`{"choices":[],"usage":null}`, ""},
		"usage not an object": {`{"choices":[],"usage":7}`, ""},
		"empty usage":         {`{"choices":[],"usage":{}}`, "hidden"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ev := llm.Event{Has: llm.Content, Name: "left over", Usage: llm.Usage{Input: 99}, ModelAt: llm.Span{End: 1}}
			if err := ScanChunk([]byte(tt.data), &ev, nil, nil); err != nil {
				t.Fatal(err)
			}
			if got := told(&ev); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if string(ev.Raw) != tt.data || ev.Dialect != llm.OpenAI || ev.Name != "" {
				t.Errorf("event %+v", ev)
			}
		})
	}
}

// TestTrap8EmptyArguments: a call without arguments comes with "" or without any; it is content nevertheless, and its
// bytes pass as they came.
func TestTrap8EmptyArguments(t *testing.T) {
	t.Parallel()
	for _, call := range []string{`{"index":0,"id":"c1","type":"function","function":{"name":"","arguments":""}}`, `{"index":0,"id":"c1"}`} {
		data := delta(`"delta":{"tool_calls":[` + call + `]}`)
		var ev llm.Event
		if err := ScanChunk([]byte(data), &ev, nil, nil); err != nil || !ev.Is(llm.Content) || len(ev.Text) > 0 {
			t.Errorf("%s: %s, %v", call, told(&ev), err)
		}
		if got := string(AppendChunk(nil, &ev, "gpt")); got != "data: "+data+"\n\n" {
			t.Errorf("%s became %s", data, got)
		}
	}
}

// TestUsage covers traps 17, 18 and 23 of the dialects: what comes in parts, what counts once, and where it may stand.
func TestUsage(t *testing.T) {
	t.Parallel()
	only := func(usage string) string { return `{"choices":[],"usage":{` + usage + `}}` }
	tests := map[string]struct{ data, want string }{
		"usage": {only(`"prompt_tokens":10,"completion_tokens":5,"total_tokens":15`), "usage hidden 10/5 cached 0 written 0 reasoning 0"},
		"details": {
			only(`"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":3},"completion_tokens_details":{"reasoning_tokens":2}`),
			"usage hidden 10/5 cached 4 written 3 reasoning 2",
		},
		"details null":  {only(`"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":null,"completion_tokens_details":null`), "usage hidden 10/5 cached 0 written 0 reasoning 0"},
		"zero":          {only(`"prompt_tokens":0,"completion_tokens":0`), "usage hidden"},
		"DeepSeek":      {only(`"prompt_tokens":10,"completion_tokens":5,"prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":4`), "usage hidden 10/5 cached 6 written 0 reasoning 0"},
		"from the sum":  {only(`"prompt_tokens":10,"total_tokens":15`), "usage hidden 10/5 cached 0 written 0 reasoning 0"},
		"from the sum2": {only(`"completion_tokens":5,"total_tokens":15`), "usage hidden 10/5 cached 0 written 0 reasoning 0"},

		"trap 17: only input":            {only(`"prompt_tokens":10`), "usage hidden 10/0 cached 0 written 0 reasoning 0 in part"},
		"trap 17: only output":           {only(`"completion_tokens":5`), "usage hidden 0/5 cached 0 written 0 reasoning 0 in part"},
		"negative":                       {only(`"prompt_tokens":-10,"completion_tokens":5`), "usage hidden 0/5 cached 0 written 0 reasoning 0 in part"},
		"string":                         {only(`"prompt_tokens":"10","completion_tokens":5`), "usage hidden 0/5 cached 0 written 0 reasoning 0 in part"},
		"fraction":                       {only(`"prompt_tokens":10,"completion_tokens":5.5`), "usage hidden 10/0 cached 0 written 0 reasoning 0 in part"},
		"absurd":                         {only(`"prompt_tokens":10,"completion_tokens":1099511627777`), "usage hidden 10/0 cached 0 written 0 reasoning 0 in part"},
		"beyond 64 bits":                 {only(`"prompt_tokens":10,"completion_tokens":99999999999999999999999999999999999999`), "usage hidden 10/0 cached 0 written 0 reasoning 0 in part"},
		"long, and begins like a number": {only(`"prompt_tokens":10,"completion_tokens":5.00000000000000000000000000000001`), "usage hidden 10/0 cached 0 written 0 reasoning 0 in part"},
		"largest":                        {only(`"prompt_tokens":10,"completion_tokens":1099511627776`), "usage hidden 10/1099511627776 cached 0 written 0 reasoning 0"},
		"nothing of use":                 {only(`"prompt_tokens":null,"completion_tokens":"x"`), "hidden"},

		"trap 18: cache counts once":        {only(`"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"prompt_tokens_details":{"cached_tokens":90,"cache_write_tokens":10}`), "usage hidden 100/5 cached 90 written 10 reasoning 0"},
		"trap 18: cache left out":           {only(`"prompt_tokens":3,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":90}`), "usage hidden 93/5 cached 90 written 0 reasoning 0"},
		"trap 18: left out, sum says so":    {only(`"prompt_tokens":95,"completion_tokens":5,"total_tokens":190,"prompt_tokens_details":{"cached_tokens":90}`), "usage hidden 185/5 cached 90 written 0 reasoning 0"},
		"reasoning left out":                {only(`"prompt_tokens":10,"completion_tokens":5,"total_tokens":35,"completion_tokens_details":{"reasoning_tokens":20}`), "usage hidden 10/25 cached 0 written 0 reasoning 20"},
		"reasoning left out, without a sum": {only(`"prompt_tokens":10,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":20}`), "usage hidden 10/25 cached 0 written 0 reasoning 20"},
		"thoughts only in the sum (Gemini)": {only(`"prompt_tokens":10,"completion_tokens":5,"total_tokens":40`), "usage hidden 10/30 cached 0 written 0 reasoning 0"},

		"trap 23: beside choices":          {`{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`, `content usage "a" 1/2 cached 0 written 0 reasoning 0`},
		"trap 23: before choices":          {`{"usage":{"prompt_tokens":1,"completion_tokens":2},"choices":[{"delta":{}}]}`, "usage 1/2 cached 0 written 0 reasoning 0"},
		"trap 23: no choices member":       {`{"usage":{"prompt_tokens":1,"completion_tokens":2}}`, "usage hidden 1/2 cached 0 written 0 reasoning 0"},
		"trap 23: in the choice":           {delta(`"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":1,"completion_tokens":2}`), "finish usage 1/2 cached 0 written 0 reasoning 0"},
		"trap 23: in the choice (Moon)":    {delta(`"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":3,"completion_tokens":2,"cached_tokens":1}`), "finish usage 3/2 cached 1 written 0 reasoning 0"},
		"trap 23: x_groq":                  {`{"choices":[{"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":{"prompt_tokens":1,"completion_tokens":2}}}`, "finish usage 1/2 cached 0 written 0 reasoning 0"},
		"trap 23: its proper place counts": {`{"usage":{"prompt_tokens":1,"completion_tokens":2},"choices":[{"delta":{},"usage":{"prompt_tokens":8,"completion_tokens":9}}],"x_groq":{"usage":{"prompt_tokens":8,"completion_tokens":9}}}`, "usage 1/2 cached 0 written 0 reasoning 0"},
		"trap 23: also behind":             {`{"choices":[{"delta":{},"usage":{"prompt_tokens":8,"completion_tokens":9}}],"x_groq":null,"usage":{"prompt_tokens":1,"completion_tokens":2}}`, "usage 1/2 cached 0 written 0 reasoning 0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ev llm.Event
			if err := ScanChunk([]byte(tt.data), &ev, nil, nil); err != nil {
				t.Fatal(err)
			}
			if got := told(&ev); got != tt.want {
				t.Errorf("%s\ngot  %s\nwant %s", tt.data, got, tt.want)
			}
		})
	}
}

// TestTrap24BareDeltas: a first delta without a role, a finish without a delta. Nothing is invented.
func TestTrap24BareDeltas(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		delta(`"delta":{"content":"a"}`):                                `content "a"`,
		`{"choices":[{"delta":{"content":"a"}}]}`:                       `content "a"`,
		`{"choices":[{"finish_reason":"stop"}]}`:                        "finish",
		`{"object":"chat.completion.chunk","choices":[{"message":{}}]}`: "",
	} {
		var ev llm.Event
		if err := ScanChunk([]byte(data), &ev, nil, nil); err != nil || told(&ev) != want {
			t.Errorf("%s: %s, %v; want %s", data, told(&ev), err, want)
		}
		if got := AppendChunk(nil, &ev, "m"); ev.ModelAt.IsZero() && string(got) != "data: "+data+"\n\n" {
			t.Errorf("%s became %s", data, got)
		}
	}
}

func TestScanChunkErrors(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"nothing": "", "blank": " ", "text": "hello", "HTML": "<html>", "array": "[]", "null": "null", "DONE without brackets": "DONE",
		"cut": `{"choices":[{"delta":{"content":"a`, "two": `{}{}`, "trailing": `{"choices":[]} x`, "NaN": `{"a":NaN}`,
		"not UTF-8": "{\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}", "raw line break": "{\"a\":\"\n\"}",
		"choices object": `{"choices":{}}`, "choices of strings": `{"choices":["a"]}`, "bare comma": `{"a":1,}`,
	} {
		var ev llm.Event
		if err := ScanChunk([]byte(data), &ev, nil, nil); !errors.Is(err, ErrGarbage) {
			t.Errorf("%s: %v, want garbage", name, err)
		}
	}
	for name, tt := range map[string]struct{ data, message, code string }{
		"object":           {`{"error":{"message":"slow down","type":"rate_limit_error","code":"slow_down","param":null}}`, "slow down", "slow_down"},
		"beside choices":   {`{"choices":[],"usage":null,"error":{"message":"boom","code":502}}`, "boom", "502"},
		"text":             {`{"error":"boom"}`, "boom", ""},
		"says nothing":     {`{"error":{}}`, "The provider reported an error and did not describe it.", ""},
		"vLLM":             {`{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}`, "too long", "400"},
		"in a choice":      {`{"choices":[{"delta":{"content":""},"finish_reason":"error","error":{"code":502,"message":"gone"}}]}`, "gone", "502"},
		"behind a content": {delta(`"delta":{"content":"a"}`)[:len(delta(`"delta":{"content":"a"}`))-1] + `,"error":{"message":"boom"}}`, "boom", ""},
	} {
		var ev llm.Event
		err := ScanChunk([]byte(tt.data), &ev, nil, nil)
		if inBand, ok := errors.AsType[*InBandError](err); !ok {
			t.Errorf("%s: %v, want an error in band", name, err)
		} else if inBand.Message != tt.message || inBand.Code != tt.code || !json.Valid(inBand.Raw) {
			t.Errorf("%s: %+v, raw %s", name, inBand.UpstreamError, inBand.Raw)
		}
	}
	for _, nothing := range []string{`{"error":null}`, `{"error":""}`, `{"error":false}`} {
		var ev llm.Event
		if err := ScanChunk([]byte(nothing), &ev, nil, nil); err != nil {
			t.Errorf("%s: %v", nothing, err)
		}
	}
}

// TestScanChunkText: text is appended to the caller's buffer, which can be used again.
func TestScanChunkText(t *testing.T) {
	t.Parallel()
	buf := append(make([]byte, 0, 64), "before "...)
	var ev llm.Event
	if err := ScanChunk([]byte(delta(`"delta":{"content":"a"}`)), &ev, buf, nil); err != nil {
		t.Fatal(err)
	}
	if string(ev.Text) != "a" || string(buf[:8]) != "before a" {
		t.Errorf("text %q, buffer %q", ev.Text, buf[:8])
	}
	if err := ScanChunk([]byte(delta(`"delta":{}`)), &ev, buf[:0], nil); err != nil || ev.Text == nil || len(ev.Text) != 0 || cap(ev.Text) != 64 {
		t.Errorf("without text the buffer has to come back: %d of %d, %v", len(ev.Text), cap(ev.Text), err)
	}
}

func TestAppendChunk(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ data, model, want string }{
		"renamed":         {delta(`"delta":{}`), "support", `data: {"id":"c","model":"support","choices":[{"index":0,"delta":{}}]}` + "\n\n"},
		"quoted":          {delta(`"delta":{}`), `a"b`, `data: {"id":"c","model":"a\"b","choices":[{"index":0,"delta":{}}]}` + "\n\n"},
		"no model":        {`{"choices":[]}`, "support", "data: {\"choices\":[]}\n\n"},
		"model null":      {`{"model":null,"choices":[]}`, "support", "data: {\"model\":null,\"choices\":[]}\n\n"},
		"model elsewhere": {`{"x":{"model":"a"},"choices":[{"model":"b"}]}`, "support", "data: {\"x\":{\"model\":\"a\"},\"choices\":[{\"model\":\"b\"}]}\n\n"},
		"several lines":   {"{\n\"model\":\"a\",\n\"choices\":[]}", "support", "data: { \"model\":\"support\", \"choices\":[]}\n\n"},
		"done":            {" [DONE]", "support", "data: [DONE]\n\n"},
	}
	for name, tt := range tests {
		var ev llm.Event
		if err := ScanChunk([]byte(tt.data), &ev, nil, nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := string(AppendChunk([]byte("x"), &ev, tt.model)); got != "x"+tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		if string(ev.Raw) != tt.data {
			t.Errorf("%s: the provider's bytes were changed: %q", name, ev.Raw)
		}
	}
	named := llm.Event{Name: "keepalive", Raw: []byte("{}")}
	if got := string(AppendChunk(nil, &named, "m")); got != "event: keepalive\ndata: {}\n\n" {
		t.Errorf("a named event: %q", got)
	}
	if got := string(AppendChunk(nil, &llm.Event{Has: llm.End}, "m")); got != "data: [DONE]\n\n" {
		t.Errorf("an end without bytes: %q", got)
	}
}

// FuzzScanChunk: whatever comes, what is accepted is JSON in UTF-8, stays so on the way out, and is one event.
func FuzzScanChunk(f *testing.F) {
	for _, seed := range []string{
		usualChunk, "[DONE]", delta(`"delta":{"content":[{"type":"text","text":"a"}]},"usage":{"prompt_tokens":1}`), `{"error":{"message":"a"}}`,
		delta(`"delta":{"tool_calls":[{"function":{"arguments":"\ud83d"}}]},"finish_reason":"stop"`), `[{"error":{}}]`, "{\n}", `{"object":"error"}`,
		`{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":7}}}`, usualAnswer,
	} {
		f.Add([]byte(seed), "support")
	}
	f.Fuzz(func(t *testing.T, data []byte, model string) {
		var ev llm.Event
		if err := ScanChunk(data, &ev, nil, nil); err == nil {
			out := AppendChunk(nil, &ev, model)
			payload, ok := bytes.CutPrefix(out, []byte("data: "))
			payload, end := bytes.CutSuffix(payload, []byte("\n\n"))
			if !ok || !end || bytes.IndexByte(payload, '\n') >= 0 || !ev.Is(llm.End) && (!json.Valid(payload) || !utf8.Valid(payload)) {
				t.Fatalf("%q became %q", data, out)
			}
			if u := ev.Usage; u.CachedInput+u.CacheWrite > u.Input || u.Reasoning > u.Output || u.Input < 0 || u.Output < 0 {
				t.Fatalf("%q: %+v", data, u)
			}
		} else if json.Valid(data) && utf8.Valid(data) && data[0] == '{' && errors.Is(err, ErrGarbage) && !bytes.Contains(data, []byte("choi")) &&
			!bytes.Contains(data, []byte(`\u`)) && !bytes.Contains(data, []byte("error")) {
			t.Fatalf("%q: %v", data, err)
		}
		for _, op := range []llm.Operation{llm.OpChat, llm.OpEmbeddings} {
			if err := ScanAnswer(op, data, &ev, nil); err == nil {
				if out := AppendAnswer(nil, &ev, model); !json.Valid(out) {
					t.Fatalf("%q became %q", data, out)
				}
			}
		}
		AnswerText(nil, data)
		if e, ok := ParseError(data); ok && (!json.Valid(e.Raw) || e.Message == "") {
			t.Fatalf("%q: %+v", data, e)
		}
		if fixed, err := FixEmbeddings(data, true, 0); err == nil && !json.Valid(fixed) {
			t.Fatalf("%q became %q", data, fixed)
		}
	})
}
