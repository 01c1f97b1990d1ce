package openai

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
)

// heard is what deltas say of one choice, put together, in a form in which plain answers and streams are the same.
func heard(t interface{ Fatalf(string, ...any) }, all []llm.Delta) string {
	texts := map[llm.PartKind]string{}
	calls := map[string]string{}
	open, part, finish := -1, llm.Part{}, ""
	for _, d := range all {
		if d.Finish != "" {
			finish += string(d.Finish) + d.StopText
			continue
		}
		if d.Open != nil {
			if open >= 0 {
				t.Fatalf("part %d opens while %d is open", d.Part, open)
			}
			open, part = d.Part, *d.Open
		}
		if d.Part != open {
			t.Fatalf("part %d grows while %d is open", d.Part, open)
		}
		if part.Kind == llm.PartToolCall {
			calls[part.CallID] += d.Text
			if d.Open != nil {
				calls[part.CallID] = part.ToolName + calls[part.CallID]
			}
		} else {
			texts[part.Kind] += d.Text + d.Signature
			if d.Open != nil {
				texts[part.Kind] += string(part.Redacted)
			}
		}
		if d.Close {
			open = -1
		}
	}
	if open >= 0 {
		t.Fatalf("part %d is left open", open)
	}
	return fmt.Sprintf("%v %v %s", texts, calls, finish)
}

func streamed(t interface{ Fatalf(string, ...any) }, chunks ...string) []llm.Delta {
	d := Deltas{Request: []byte("r")}
	var all []llm.Delta
	for _, c := range chunks {
		got, err := d.Chunk([]byte(c))
		if err != nil {
			t.Fatalf("%v: %s", err, c)
		}
		all = append(all, got...)
	}
	return append(all, d.End()...)
}

func chunkWith(inner string) string { return `{"choices":[{"index":0,"delta":{` + inner + `}}]}` }

const ended = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`

func callsIn(pieces ...string) string {
	return chunkWith(`"tool_calls":[` + strings.Join(pieces, ",") + `]`)
}

// Traps 2, 8, 19 and 24: calls come in many shapes, and are told one after the other, each with an id of its own.
func TestTrap19CallsDoNotOverlap(t *testing.T) {
	t.Parallel()
	const f, g = `{"index":0,"id":"a","function":{"name":"f","arguments":""}}`, `{"index":1,"id":"b","function":{"name":"g","arguments":""}}`
	arguments := func(index, text string) string { return `{` + index + `"function":{"arguments":` + text + `}}` }
	const want = `map[] map[a:f{"x":1} b:g{"y":2}] tool_calls`
	for name, chunks := range map[string][]string{
		"one after the other": {callsIn(f), callsIn(arguments(`"index":0,`, `"{\"x\":1}"`)), callsIn(g), callsIn(arguments(`"index":1,`, `"{\"y\":2}"`))},
		"interleaved":         {callsIn(f), callsIn(g), callsIn(arguments(`"index":1,`, `"{\"y\""`)), callsIn(arguments(`"index":0,`, `"{\"x\":"`)), callsIn(arguments(`"index":1,`, `":2}"`)), callsIn(arguments(`"index":0,`, `"1}"`))},
		"both in a chunk":     {callsIn(f, g), callsIn(arguments(`"index":1,`, `"{\"y\":2}"`), arguments(`"index":0,`, `"{\"x\":1}"`))},
		"whole":               {callsIn(`{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}`, `{"index":1,"id":"b","function":{"name":"g","arguments":"{\"y\":2}"}}`)},
		"no index":            {callsIn(`{"id":"a","function":{"name":"f","arguments":""}}`), callsIn(arguments(``, `"{\"x\":1}"`)), callsIn(`{"id":"b","function":{"name":"g","arguments":"{"}}`), callsIn(arguments(``, `"\"y\":2}"`))},
		"same index":          {callsIn(f), callsIn(arguments(`"index":0,`, `"{\"x\":1}"`)), callsIn(strings.Replace(g, `:1,`, `:0,`, 1)), callsIn(arguments(`"index":0,`, `"{\"y\":2}"`))},
		"repeated id":         {callsIn(f), callsIn(`{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}`), callsIn(g), callsIn(`{"index":1,"id":"b","function":{"arguments":"{\"y\":2}"}}`)},
		"empty id":            {callsIn(f), callsIn(`{"index":0,"id":"","function":{"arguments":"{\"x\":1}"}}`), callsIn(g), callsIn(`{"index":1,"id":"","function":{"arguments":"{\"y\":2}"}}`)},
	} {
		if got := heard(t, streamed(t, append(chunks, ended)...)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := heard(t, streamed(t, callsIn(f, g), ended)); got != `map[] map[a:f{} b:g{}] tool_calls` {
		t.Errorf("trap 8, no arguments: %s", got)
	}
	twice := streamed(t, callsIn(`{"index":0,"function":{"name":"f","arguments":"{}"}}`, `{"index":1,"id":"","function":{"name":"f","arguments":"{}"}}`), ended)
	var ids []string
	for _, d := range twice {
		if d.Open != nil {
			ids = append(ids, d.Open.CallID)
		}
	}
	if len(ids) != 2 || ids[0] == ids[1] || ids[0] == "" || ids[1] == "" {
		t.Errorf("trap 2, invented ids: %q", ids)
	}
	if got := heard(t, streamed(t, chunkWith(`"function_call":{"name":"f","arguments":"{\"x\""}`), chunkWith(`"function_call":{"arguments":":1}"}`), ended)); !strings.Contains(got, `f{"x":1}`) || !strings.HasSuffix(got, "tool_calls") {
		t.Errorf("the oldest form: %s", got)
	}
	d := Deltas{}
	for _, c := range []string{callsIn(f), callsIn(arguments(`"index":0,`, `"{}"`)), callsIn(g), callsIn(arguments(`"index":0,`, `"x"`))} {
		_, _ = d.Chunk([]byte(c))
	}
	if d.err == nil {
		t.Error("arguments behind the end of a call are lost")
	}
}

// Reasoning comes under several names, and twice; what ends a choice, in several words.
func TestDeltasOfTextAndReasoning(t *testing.T) {
	t.Parallel()
	for chunk, want := range map[string]string{
		chunkWith(`"reasoning":"why"`):                                                                                  `map[reasoning:why] map[] stop`,
		chunkWith(`"reasoning_content":"why","reasoning":"why"`):                                                        `map[reasoning:why] map[] stop`,
		chunkWith(`"reasoning":"a","reasoning_details":[{"text":"a","signature":"s"},{"data":"zz"}]`):                   `map[reasoning:aszz] map[] stop`,
		chunkWith(`"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"}]},{"type":"text","text":"b"}]`): `map[reasoning:a text:b] map[] stop`,
		chunkWith(`"refusal":"no"`):                                                                                     `map[refusal:no] map[] stop`,
		`{"choices":[{"delta":{"content":"a"},"finish_reason":"length"}]}`:                                              `map[text:a] map[] stop`,
	} {
		if got := heard(t, streamed(t, chunk, ended)); got != want {
			t.Errorf("%s: %s, want %s", chunk, got, want)
		}
	}
	for choice, want := range map[string]string{
		`"finish_reason":"length"`: "length", `"finish_reason":"content_filter"`: "content_filter", `"finish_reason":"eos"`: "stop",
		`"finish_reason":"stop","stop_reason":"##"`: "stop_sequence##", `"finish_reason":"model_length"`: "length",
	} {
		d := Deltas{}
		all, err := d.Answer([]byte(`{"choices":[{"message":{"content":"a"},` + choice + `}]}`))
		if got := heard(t, all); err != nil || got != "map[text:a] map[] "+want {
			t.Errorf("%s: %s, %v", choice, got, err)
		}
	}
}

// A plain answer says what the stream of the same answer says, however that is cut and interleaved.
func TestStreamsSayWhatPlainAnswersSay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{"", "a", "two\nlines 日本 😀 \"x\""})
		message := obj{"role": "assistant", "content": text.Draw(t, "content"), "reasoning_content": text.Draw(t, "reasoning"), "refusal": text.Draw(t, "refusal")}
		lists := [][]obj{}
		for _, name := range []string{"reasoning_content", "content", "refusal"} {
			var l []obj
			for _, r := range message[name].(string) {
				l = append(l, obj{name: string(r)})
			}
			lists = append(lists, l)
		}
		var calls []obj
		for i := range rapid.IntRange(0, 3).Draw(t, "calls") {
			arguments := rapid.SampledFrom([]string{"{}", `{"a":{"b":"}"}}`, `{"broken`}).Draw(t, "arguments")
			id := fmt.Sprint("c", i)
			calls = append(calls, obj{"id": id, "type": "function", "function": obj{"name": "f", "arguments": arguments}})
			piece := func(o obj) obj { o["index"] = i; return obj{"tool_calls": []obj{o}} }
			l := []obj{piece(obj{"id": id, "type": "function", "function": obj{"name": "f", "arguments": ""}})}
			for len(arguments) > 0 {
				n := rapid.IntRange(1, len(arguments)).Draw(t, "cut")
				l = append(l, piece(obj{"function": obj{"arguments": arguments[:n]}}))
				arguments = arguments[n:]
			}
			lists = append(lists, l)
		}
		message["tool_calls"] = calls
		marshal := func(v any) string {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		var chunks []string
		for {
			lists = slices.DeleteFunc(lists, func(l []obj) bool { return len(l) == 0 })
			if len(lists) == 0 {
				break
			}
			i := rapid.IntRange(0, len(lists)-1).Draw(t, "next")
			chunks = append(chunks, marshal(obj{"choices": []obj{{"index": 0, "delta": lists[i][0]}}}))
			lists[i] = lists[i][1:]
		}
		d := Deltas{}
		plain, err := d.Answer([]byte(marshal(obj{"choices": []obj{{"index": 0, "message": message, "finish_reason": "stop"}}})))
		if err != nil {
			t.Fatal(err)
		}
		want, got := heard(t, plain), heard(t, streamed(t, append(chunks, ended)...))
		if got != want {
			t.Fatalf("stream %s\nplain  %s\n%s", got, want, strings.Join(chunks, "\n"))
		}
	})
}

// FuzzDeltas: whatever comes, parts do not overlap, and nothing panics.
func FuzzDeltas(f *testing.F) {
	f.Add([]byte(callsIn(`{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}`)), []byte(ended))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		d := Deltas{}
		var ev llm.Event
		var all []llm.Delta
		for _, chunk := range [][]byte{a, b, a} {
			if ScanChunk(chunk, &ev, nil, nil) != nil {
				return
			}
			got, err := d.Chunk(chunk)
			if err != nil {
				return
			}
			all = append(all, got...)
		}
		byChoice := map[int][]llm.Delta{}
		for _, delta := range append(all, d.End()...) {
			byChoice[delta.Choice] = append(byChoice[delta.Choice], delta)
		}
		for _, of := range byChoice {
			heard(t, of)
		}
	})
}
