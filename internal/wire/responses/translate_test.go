package responses

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

func newTranslator() *Translator {
	r, err := Parse([]byte(`{"model":"fast","input":"hi","instructions":"Be\nbrief.","tools":[{"type":"function","name":"f",
		"parameters":{"type":"object"}}],"temperature":0.5,"previous_response_id":"resp_0","user":null}`))
	if err != nil {
		panic(err)
	}
	return &Translator{ID: "resp_1", Created: 1700000000, Model: "fast", Echo: Echo(r, true)}
}

// An accumulator adds up a stream as the vendor's own library for JavaScript does, and is as strict.
type accumulator struct {
	next     int
	response obj
	ended    string
}

func at(all any, i any) (obj, error) {
	l, _ := all.([]any)
	n := int(i.(float64))
	if n >= len(l) {
		return nil, fmt.Errorf("nothing at index %d", n)
	}
	return l[n].(obj), nil
}

func (a *accumulator) event(name string, data []byte) error {
	var e obj
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	if e["type"] != name || int(e["sequence_number"].(float64)) != a.next {
		return fmt.Errorf("event %s: %s, expected number %d", name, data, a.next)
	}
	a.next++
	if a.response == nil && name != "response.created" && name != "error" {
		return fmt.Errorf("first event %s", name)
	}
	if a.ended != "" && name != "error" {
		return fmt.Errorf("%s behind %s", name, a.ended)
	}
	var item, part obj
	var err error
	if _, ok := e["item_id"]; ok {
		if item, err = at(a.response["output"], e["output_index"]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if item["id"] != e["item_id"] {
			return fmt.Errorf("%s is of %v, not %v", name, e["item_id"], item["id"])
		}
		if i, ok := e["content_index"]; ok && !strings.HasSuffix(name, "part.added") {
			part, err = at(item["content"], i)
		} else if i, ok := e["summary_index"]; ok && !strings.HasSuffix(name, "part.added") {
			part, err = at(item["summary"], i)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	grow := func(o obj, name string) { o[name] = o[name].(string) + e["delta"].(string) }
	same := func(o obj, name string) {
		if o[name] != e[name] {
			err = fmt.Errorf("%s: %v, added up %v", e["type"], e[name], o[name])
		}
	}
	switch name {
	case "response.created", "response.in_progress":
		a.response = e["response"].(obj)
	case "response.completed", "response.incomplete", "response.failed":
		a.ended = name
		if diff := cmp.Diff(a.response["output"], e["response"].(obj)["output"]); diff != "" && name != "response.failed" {
			return fmt.Errorf("the whole is another than its parts: %s", diff)
		}
		a.response = e["response"].(obj)
	case "response.output_item.added":
		a.response["output"] = append(a.response["output"].([]any), e["item"])
	case "response.output_item.done":
		all := a.response["output"].([]any)
		i := int(e["output_index"].(float64))
		now, before := e["item"].(obj), all[i].(obj)
		for _, member := range []string{"content", "summary", "arguments", "input"} {
			if diff := cmp.Diff(before[member], now[member]); diff != "" {
				return fmt.Errorf("item %d is another than what was told of it: %s", i, diff)
			}
		}
		all[i] = now
	case "response.content_part.added":
		item["content"] = append(item["content"].([]any), e["part"])
	case "response.reasoning_summary_part.added":
		item["summary"] = append(item["summary"].([]any), e["part"])
	case "response.content_part.done", "response.reasoning_summary_part.done":
		if diff := cmp.Diff(part, e["part"]); diff != "" {
			return fmt.Errorf("%s: %s", name, diff)
		}
	case "response.output_text.delta":
		grow(part, "text")
		part["logprobs"] = append(part["logprobs"].([]any), e["logprobs"].([]any)...)
	case "response.output_text.done", "response.reasoning_summary_text.done":
		same(part, "text")
	case "response.reasoning_summary_text.delta":
		grow(part, "text")
	case "response.refusal.delta":
		grow(part, "refusal")
	case "response.refusal.done":
		same(part, "refusal")
	case "response.function_call_arguments.delta":
		grow(item, "arguments")
	case "response.function_call_arguments.done":
		same(item, "arguments")
	case "response.custom_tool_call_input.delta":
		grow(item, "input")
	case "response.custom_tool_call_input.done":
		same(item, "input")
	case "error":
		a.ended = name
	default:
		return fmt.Errorf("an event that the library does not know: %s", name)
	}
	return err
}

func (a *accumulator) all(stream []byte) error {
	for block := range bytes.SplitSeq(bytes.TrimSuffix(stream, []byte("\n\n")), []byte("\n\n")) {
		head, data, ok := bytes.Cut(block, []byte("\ndata: "))
		name, named := bytes.CutPrefix(head, []byte("event: "))
		if !ok || !named || bytes.ContainsAny(data, "\r\n") {
			return fmt.Errorf("not an event: %q", block)
		}
		if err := a.event(string(name), data); err != nil {
			return err
		}
	}
	return nil
}

// drawAnswer draws the deltas of an answer, as a provider that streams them gives them.
func drawAnswer(t *rapid.T) []llm.Delta {
	var all []llm.Delta
	for i := range rapid.IntRange(0, 6).Draw(t, "parts") {
		p := llm.Part{Kind: rapid.SampledFrom([]llm.PartKind{
			llm.PartText, llm.PartText, llm.PartRefusal, llm.PartReasoning, llm.PartReasoning, llm.PartToolCall, llm.PartImage,
		}).Draw(t, "kind")}
		open := llm.Delta{Part: i, Open: &p}
		switch p.Kind {
		case llm.PartToolCall:
			p.CallID, p.ToolName, p.Custom = rapid.SampledFrom([]string{"", "c1"}).Draw(t, "id"), "f", rapid.Bool().Draw(t, "custom")
			open.Signature = rapid.SampledFrom([]string{"", "sig"}).Draw(t, "signature")
		case llm.PartImage:
			p.Data, p.MediaType = []byte{1}, "image/png"
		case llm.PartReasoning:
			if rapid.IntRange(0, 4).Draw(t, "redacted") == 0 {
				p.Redacted = []byte("data")
			}
		}
		all = append(all, open)
		if p.Redacted == nil && p.Kind != llm.PartImage {
			for _, text := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "é\n", `"{}"`, "🙂"}), 0, 3).Draw(t, "texts") {
				d := llm.Delta{Part: i, Text: text}
				if p.Kind == llm.PartText && rapid.IntRange(0, 3).Draw(t, "logprobs") == 0 {
					d.Logprobs = []byte(`{"content":[{"token":"a","logprob":-1,"bytes":[97],"top_logprobs":[]}],"refusal":null}`)
				}
				all = append(all, d)
			}
			if p.Kind == llm.PartReasoning && rapid.Bool().Draw(t, "signed") {
				all = append(all, llm.Delta{Part: i, Signature: "sig"})
			}
		}
		if rapid.IntRange(0, 4).Draw(t, "closes") > 0 { // some providers leave it to what follows
			all = append(all, llm.Delta{Part: i, Close: true})
		}
	}
	return append(all, llm.Delta{Finish: rapid.SampledFrom([]llm.FinishReason{
		llm.FinishStop, llm.FinishSequence, llm.FinishLength, llm.FinishContext, llm.FinishTools, llm.FinishFilter, llm.FinishPause, llm.FinishError,
	}).Draw(t, "finish")})
}

var counted = llm.Usage{Input: 10, Output: 20, CachedInput: 3, CacheWrite: 2, Reasoning: 5}

// TestStreamIsAnswer: however deltas are cut into events, the events keep the order that clients insist on, what they tell adds up to
// the response at the end, and that is the plain answer.
func TestStreamIsAnswer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		deltas := drawAnswer(t)
		plain, err := newTranslator().AppendAnswer(nil, &llm.Event{Has: llm.End | llm.UsageIn, Dialect: llm.Gemini, Deltas: deltas, Usage: counted})
		if err != nil {
			t.Fatal(err)
		}
		s := newTranslator()
		var stream []byte
		for rest := deltas; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			if stream, err = s.AppendEvent(stream, &llm.Event{Dialect: llm.Gemini, Deltas: rest[:n]}); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if stream, err = s.AppendEvent(stream, &llm.Event{Has: llm.End | llm.UsageIn, Usage: counted}); err != nil {
			t.Fatal(err)
		}
		var a accumulator
		if err := a.all(stream); err != nil {
			t.Fatalf("%v\n%s", err, stream)
		}
		var want obj
		if err := json.Unmarshal(plain, &want); err != nil {
			t.Fatalf("%v: %s", err, plain)
		}
		if diff := cmp.Diff(want, a.response); diff != "" {
			t.Fatalf("-plain +streamed:\n%s\n%s", diff, stream)
		}
	})
}

// TestAnswerGoesBack: what clients keep of an answer and send back is what the model said, with the proofs of its reasoning.
func TestAnswerGoesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		deltas := drawAnswer(t)
		plain, err := newTranslator().AppendAnswer(nil, &llm.Event{Has: llm.End, Dialect: llm.Anthropic, Deltas: deltas})
		if err != nil {
			t.Fatal(err)
		}
		var r struct{ Output json.RawMessage }
		if err := json.Unmarshal(plain, &r); err != nil {
			t.Fatal(err)
		}
		if string(r.Output) == "[]" {
			return
		}
		c := roundTrip(t, []byte(`{"model":"m","input":`+string(r.Output)+`}`))
		if len(c.Messages) != 1 {
			t.Fatalf("%d turns: %s", len(c.Messages), r.Output)
		}
		said := func(parts []llm.Part) (all []string) {
			for _, p := range parts {
				switch {
				case p.Kind == llm.PartToolCall:
					all = append(all, "call "+p.ToolName+" "+p.Arguments)
				case p.Kind == llm.PartReasoning && p.Redacted != nil:
					all = append(all, "redacted "+string(p.Redacted))
				case p.Kind == llm.PartReasoning && (p.Text != "" || p.Signature != ""):
					all = append(all, "reasoning "+p.Text+" "+p.Signature)
				case (p.Kind == llm.PartText || p.Kind == llm.PartRefusal) && p.Text != "":
					all = append(all, string(p.Kind)+" "+p.Text)
				}
			}
			return slices.CompactFunc(all, func(now, before string) bool { // a proof that is given twice is sent back once
				return now == "reasoning  sig" && strings.HasPrefix(before, "reasoning ") && strings.HasSuffix(before, " sig")
			})
		}
		var want []llm.Part
		proof := ""
		for _, d := range deltas {
			if d.Open != nil {
				p := *d.Open
				if d.Signature != "" && proof != d.Signature {
					want = append(want, llm.Part{Kind: llm.PartReasoning, Signature: d.Signature})
				}
				want = append(want, p)
				proof = ""
			}
			if d.Finish != "" {
				continue
			}
			last := &want[len(want)-1]
			if last.Kind == llm.PartToolCall {
				last.Arguments += d.Text
			} else {
				last.Text += d.Text
				if d.Signature != "" {
					last.Signature, proof = d.Signature, d.Signature
				}
			}
		}
		if diff := cmp.Diff(said(want), said(c.Messages[0].Parts)); diff != "" {
			t.Fatalf("-said +sent back:\n%s\n%s", diff, r.Output)
		}
	})
}

// TestAnswer looks at a whole plain answer.
func TestAnswer(t *testing.T) {
	t.Parallel()
	got, err := newTranslator().AppendAnswer(nil, &llm.Event{Has: llm.End | llm.UsageIn, Dialect: llm.Anthropic, Usage: counted, Deltas: []llm.Delta{
		{Open: &llm.Part{Kind: llm.PartReasoning}, Text: "Hm.", Signature: "s", Close: true},
		{Part: 1, Open: &llm.Part{Kind: llm.PartText}, Text: "Hello", Close: true},
		{Part: 2, Open: &llm.Part{Kind: llm.PartToolCall, CallID: "c1", ToolName: "f"}, Text: "{}", Close: true},
		{Choice: 1, Open: &llm.Part{Kind: llm.PartText}, Text: "never asked for"},
		{Finish: llm.FinishTools},
	}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"resp_1","object":"response","created_at":1700000000,"status":"completed","error":null,"incomplete_details":null,"model":"fast","output":[
	{"id":"rs_1_0","type":"reasoning","summary":[{"type":"summary_text","text":"Hm."}],"encrypted_content":"anthropic:s"},
	{"id":"msg_1_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"Hello"}]},
	{"id":"fc_1_2","type":"function_call","status":"completed","arguments":"{}","call_id":"c1","name":"f"}],
	"usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":3,"cache_write_tokens":2},"output_tokens":20,"output_tokens_details":{"reasoning_tokens":5},"total_tokens":30},
	"background":false,"instructions":"Be\nbrief.","max_output_tokens":null,"max_tool_calls":null,"metadata":{},"parallel_tool_calls":true,"previous_response_id":"resp_0",
	"prompt_cache_key":null,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"service_tier":null,"store":true,"temperature":0.5,
	"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[{"type":"function","name":"f","parameters":{"type":"object"}}],"top_logprobs":0,"top_p":1.0,
	"truncation":"disabled","user":null}`
	if diff := cmp.Diff(canonical(t, []byte(want)), canonical(t, got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// An answer that was cut short says so, in its last item too.
func TestIncomplete(t *testing.T) {
	t.Parallel()
	for finish, reason := range map[llm.FinishReason]string{
		llm.FinishLength: "max_output_tokens", llm.FinishContext: "max_output_tokens", llm.FinishFilter: "content_filter",
	} {
		got, err := newTranslator().AppendAnswer(nil, &llm.Event{Has: llm.End, Deltas: []llm.Delta{
			{Open: &llm.Part{Kind: llm.PartText}, Text: "Hel", Close: true}, {Finish: finish},
		}})
		if err != nil || !bytes.Contains(got, []byte(`"status":"incomplete","error":null,"incomplete_details":{"reason":"`+reason+`"}`)) ||
			!bytes.Contains(got, []byte(`"type":"message","status":"incomplete"`)) {
			t.Errorf("%s: %s, %v", finish, got, err)
		}
	}
}

// TestTrap21BrokenStream: an error amid a stream is told as one, and nothing that looks like a whole answer comes before it.
func TestTrap21BrokenStream(t *testing.T) {
	t.Parallel()
	s := newTranslator()
	stream, err := s.AppendEvent(nil, &llm.Event{Deltas: []llm.Delta{{Open: &llm.Part{Kind: llm.PartText}, Text: "Hel"}}})
	if err != nil {
		t.Fatal(err)
	}
	stream = s.AppendFailure(stream, fault.New(fault.StreamCut, "It was cut."))
	var a accumulator
	if err := a.all(stream); err != nil {
		t.Fatalf("%v\n%s", err, stream)
	}
	if a.ended != "error" || a.response["status"] != "failed" || !bytes.Contains(stream, []byte(`"code":"stream_interrupted"`)) {
		t.Errorf("%s: %v", a.ended, a.response)
	}
	if !bytes.Contains(stream, []byte(`"error":{"message":"It was cut.`)) { // what makes libraries raise
		t.Errorf("%s", stream)
	}
	var empty accumulator
	if err := empty.all(newTranslator().AppendFailure(nil, fault.New(fault.StreamCut, "It was cut."))); err != nil || empty.ended != "error" {
		t.Errorf("%v", err)
	}
}

// A part that the dialect has no form for is an error, and not left out.
func TestUnwritable(t *testing.T) {
	t.Parallel()
	for _, p := range []llm.Part{{Kind: llm.PartOther}, {Kind: llm.PartAudio, Data: []byte{1}}, {Kind: llm.PartImage, URL: "https://example.com"}} {
		if got, err := newTranslator().AppendAnswer(nil, &llm.Event{Has: llm.End, Deltas: []llm.Delta{{Open: &p}}}); err == nil {
			t.Errorf("%s: %s", p.Kind, got)
		}
	}
}

func BenchmarkTranslateStream(b *testing.B) {
	open, text, end := &llm.Event{Deltas: []llm.Delta{{Open: &llm.Part{Kind: llm.PartText}}}},
		&llm.Event{Deltas: []llm.Delta{{Text: " and the quick brown fox"}}}, &llm.Event{Has: llm.End, Deltas: []llm.Delta{{Finish: llm.FinishStop}}}
	events := slices.Concat([]*llm.Event{open}, slices.Repeat([]*llm.Event{text}, 48), []*llm.Event{end})
	dst := make([]byte, 0, 32<<10)
	echo := newTranslator().Echo
	b.ReportAllocs()
	for b.Loop() {
		t := Translator{ID: "resp_1", Created: 1700000000, Model: "fast", Echo: echo}
		for _, e := range events {
			dst, _ = t.AppendEvent(dst[:0], e)
		}
	}
}
