package anthropic

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
)

// drawAnswer draws the deltas of an answer as codecs give them: parts open, grow, close, and never overlap.
func drawAnswer(rt *rapid.T) (deltas []llm.Delta, usage llm.Usage) {
	n := rapid.IntRange(0, 4).Draw(rt, "parts")
	for part := range n {
		var p llm.Part
		switch rapid.IntRange(0, 4).Draw(rt, "kind") {
		case 0:
			p = llm.Part{Kind: llm.PartToolCall, CallID: "call.1", ToolName: "f"}
		case 1:
			p = llm.Part{Kind: llm.PartReasoning}
		case 2:
			p = llm.Part{Kind: llm.PartReasoning, Redacted: []byte("b3BhcXVl")}
		case 3:
			p = llm.Part{Kind: llm.PartRefusal}
		default:
			p = llm.Part{Kind: llm.PartText}
		}
		deltas = append(deltas, llm.Delta{Part: part, Open: &p})
		switch {
		case p.Kind == llm.PartToolCall:
			for _, piece := range rapid.SampledFrom([][]string{{"{}"}, {`{"a`, `":[1,`, `2]}`}, {`{"cut": `}, nil, {`"text"`}}).Draw(rt, "arguments") {
				deltas = append(deltas, llm.Delta{Part: part, Text: piece})
			}
		case p.Redacted == nil:
			for range rapid.IntRange(1, 3).Draw(rt, "pieces") {
				deltas = append(deltas, llm.Delta{Part: part, Text: rapid.SampledFrom([]string{"a", "漢", "\u2028", `"`, "\n", "𝄞"}).Draw(rt, "text")})
			}
		}
		if p.Kind == llm.PartReasoning && p.Redacted == nil && rapid.Bool().Draw(rt, "proven") {
			deltas = append(deltas, llm.Delta{Part: part, Signature: "sig"})
		}
		if rapid.Bool().Draw(rt, "closed") {
			deltas = append(deltas, llm.Delta{Part: part, Close: true})
		}
	}
	finish := rapid.SampledFrom([]llm.FinishReason{llm.FinishStop, llm.FinishLength, llm.FinishTools, llm.FinishFilter, llm.FinishSequence, llm.FinishContext, llm.FinishPause, "new"}).Draw(rt, "finish")
	deltas = append(deltas, llm.Delta{Finish: finish, StopText: rapid.SampledFrom([]string{"", "STOP"}).Draw(rt, "stop")})
	usage = llm.Usage{Input: 100, CachedInput: rapid.Int64Range(0, 40).Draw(rt, "cached"), CacheWrite: rapid.Int64Range(0, 40).Draw(rt, "written"), Output: 50, Reasoning: rapid.Int64Range(0, 20).Draw(rt, "reasoning")}
	return deltas, usage
}

// read reads what was written with the reader of upstreams, whose canonical form must be what was put in.
func read(rt *rapid.T, stream string) (events []llm.Event) {
	s := Stream{Reading: Reading{Canonical: true}}
	ended := false
	for frame := range strings.SplitSeq(strings.TrimSuffix(stream, "\n\n"), "\n\n") {
		name, data, _ := strings.Cut(frame, "\ndata: ")
		var ev llm.Event
		if err := s.Scan([]byte(data), &ev, nil); err != nil {
			rt.Fatalf("%v: %s", err, frame)
		}
		if name != "event: "+ev.Name || ended {
			rt.Fatalf("%q, ended %t: %s", name, ended, frame)
		}
		ended = ev.Is(llm.End)
		ev.Deltas = append([]llm.Delta(nil), ev.Deltas...)
		events = append(events, ev)
	}
	if !ended {
		rt.Fatalf("no end: %s", stream)
	}
	return events
}

// summary is what deltas say, however they are cut.
func summary(deltas []llm.Delta) string {
	type told struct {
		Kind                        llm.PartKind
		Text, Sig, ID, Name, Redact string
	}
	var all []told
	finish, stop, refused := llm.FinishReason(""), "", false
	for _, d := range deltas {
		if d.Open != nil {
			kind := d.Open.Kind
			if kind == llm.PartRefusal {
				kind, refused = llm.PartText, true
			}
			all = append(all, told{Kind: kind, ID: callIDOf(d.Open), Name: d.Open.ToolName, Redact: string(d.Open.Redacted)})
		}
		if n := len(all); n > 0 {
			all[n-1].Text += d.Text
			all[n-1].Sig += d.Signature
		}
		if d.Finish != "" {
			if finish = d.Finish; refused && finish == llm.FinishStop {
				finish = llm.FinishFilter
			}
			stop = " " + d.StopText
		}
	}
	for i := range all {
		if all[i].Kind == llm.PartToolCall && all[i].Text == "" {
			all[i].Text = "{}"
		}
	}
	b, _ := json.Marshal(all)
	return string(b) + stopReason(finish) + stop
}

func callIDOf(p *llm.Part) string {
	if p.Kind != llm.PartToolCall {
		return ""
	}
	return callID(p)
}

// What is written is what was said: read back by the reader of the same dialect, streamed in any cuts, and plain.
func TestWrittenAnswersSayTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		deltas, usage := drawAnswer(rt)
		tr := Translator{ID: "msg_1", Model: "m"}
		var stream []byte
		for i := 0; i < len(deltas); {
			n := rapid.IntRange(1, len(deltas)-i).Draw(rt, "together")
			var err error
			if stream, err = tr.AppendEvent(stream, &llm.Event{Dialect: llm.OpenAI, Deltas: deltas[i : i+n]}); err != nil {
				rt.Fatal(err)
			}
			i += n
		}
		end := &llm.Event{Dialect: llm.OpenAI, Has: llm.UsageIn | llm.End, Usage: usage}
		stream, err := tr.AppendEvent(stream, end)
		if err != nil {
			rt.Fatal(err)
		}
		var back []llm.Delta
		var counted llm.Usage
		for _, ev := range read(rt, string(stream)) {
			back = append(back, ev.Deltas...)
			if ev.Is(llm.UsageIn) {
				counted = ev.Usage
			}
		}
		want := strings.NewReplacer(`"Sig":"sig"`, `"Sig":"openai:sig"`, `"b3BhcXVl"`, `"openai:b3BhcXVl"`).Replace(summary(deltas))
		if got := summary(back); got != want {
			rt.Fatalf("%s\nwant %s\n%s", got, want, stream)
		}
		if counted != usage {
			rt.Fatalf("%+v, want %+v", counted, usage)
		}

		// The plain answer is what the stream adds up to.
		plain := Translator{ID: "msg_1", Model: "m"}
		body, err := plain.AppendAnswer(nil, &llm.Event{Dialect: llm.OpenAI, Has: llm.UsageIn | llm.End, Usage: usage, Deltas: deltas})
		if err != nil {
			rt.Fatal(err)
		}
		var ev llm.Event
		if err := ScanAnswer(body, &ev, Reading{Canonical: true}); err != nil {
			rt.Fatalf("%v: %s", err, body)
		}
		if ev.Usage != usage {
			rt.Fatalf("plain: %+v", ev.Usage)
		}
		got := summary(ev.Deltas)
		for broken, kept := range map[string]string{`{"cut": `: `{"INVALID_JSON":"{\"cut\": "}`, `"text"`: `{"INVALID_JSON":"\"text\""}`} {
			b, _ := json.Marshal(broken)
			k, _ := json.Marshal(kept)
			want = strings.ReplaceAll(want, `"Text":`+string(b), `"Text":`+string(k))
		}
		if got != want {
			rt.Fatalf("plain %s\nwant  %s", got, want)
		}
	})
}

// The usage of the last event is real, whenever it came: with the end, or before.
func TestTrap16UsageAtTheEnd(t *testing.T) {
	t.Parallel()
	tr := Translator{}
	out, _ := tr.AppendEvent(nil, &llm.Event{Deltas: []llm.Delta{{Open: &llm.Part{Kind: llm.PartText}, Text: "x"}, {Finish: llm.FinishStop}}})
	if strings.Contains(string(out), "message_delta") {
		t.Errorf("the end is told before it is known what was used: %s", out)
	}
	out, _ = tr.AppendEvent(nil, &llm.Event{Has: llm.UsageIn, Usage: llm.Usage{Input: 30, CachedInput: 20, Output: 4}})
	if len(out) != 0 {
		t.Errorf("%s", out)
	}
	out, _ = tr.AppendEvent(nil, &llm.Event{Has: llm.End})
	if !strings.Contains(string(out), `"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":20,"output_tokens":4}`) {
		t.Errorf("%s", out)
	}
}

// Arguments that come whole are told all the same.
func TestTrap09ArgumentsThatComeWhole(t *testing.T) {
	t.Parallel()
	tr := Translator{}
	out, _ := tr.AppendEvent(nil, &llm.Event{Deltas: []llm.Delta{{Open: &llm.Part{Kind: llm.PartToolCall, CallID: "c", ToolName: "f"}, Text: `{"a":1}`, Close: true}}})
	if strings.Count(string(out), `"partial_json":"{\"a\":1}"`) != 1 || strings.Count(string(out), "content_block_stop") != 2 {
		t.Errorf("%s", out)
	}
}

// What has no form here is an error, and not left out.
func TestTrap26AnswersAreNotDropped(t *testing.T) {
	t.Parallel()
	for _, kind := range []llm.PartKind{llm.PartImage, llm.PartAudio, llm.PartOther, llm.PartFile} {
		tr := Translator{}
		_, err := tr.AppendEvent(nil, &llm.Event{Deltas: []llm.Delta{{Open: &llm.Part{Kind: kind}}}})
		_, plain := new(Translator).AppendAnswer(nil, &llm.Event{Deltas: []llm.Delta{{Open: &llm.Part{Kind: kind}}}})
		for _, err := range []error{err, plain} {
			if _, ok := errors.AsType[*UnwritableError](err); !ok {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
}
