package bedrock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/wire/eventstream"
	"github.com/penstock/penstock/internal/wire/openai"
)

// A saidPart is a part of an answer.
type saidPart struct {
	Kind                              llm.PartKind
	Text, ID, Name, Signature, Hidden string
}

// An answered is what comes of an answer.
type answered struct {
	Parts  []saidPart
	Finish llm.FinishReason
	Usage  llm.Usage
}

var settings = provider.Settings{MaxBody: 1 << 20, MaxEvent: 1 << 20}

// answer decodes an answer whose body is read through r.
func answer(stream bool, r io.Reader) (a answered, err error) {
	body, kind := `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`, "application/json"
	if stream {
		body, kind = `{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true}`, eventstream.MediaType
	}
	req, err := openai.ParseChat([]byte(body))
	if err != nil {
		return a, err
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(r), ContentLength: -1}
	in, err := New().Decode(resp, settings, llm.Target{Model: "m"}, req)
	if err != nil {
		return a, err
	}
	defer func() { _ = in.Close() }()
	for {
		e, err := in.Next()
		if err != nil {
			return a, err
		}
		for _, d := range e.Deltas {
			if d.Finish != "" {
				a.Finish = d.Finish
				continue
			}
			if d.Open != nil {
				a.Parts = append(a.Parts, saidPart{Kind: d.Open.Kind, ID: d.Open.CallID, Name: d.Open.ToolName, Hidden: string(d.Open.Redacted)})
			}
			a.Parts[d.Part].Text += d.Text
			a.Parts[d.Part].Signature += d.Signature
		}
		if e.Is(llm.UsageIn) {
			a.Usage = e.Usage
		}
		if e.Is(llm.End) {
			return a, nil
		}
	}
}

// A written is an answer as the provider would send it, both ways.
type written struct {
	content []any
	frames  []byte
	ends    []int // of frames, behind each
}

func (w *written) event(name string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	w.frames = eventstream.Append(w.frames, eventstream.Event{Name: name, Data: b})
	w.ends = append(w.ends, len(w.frames))
}

type object = map[string]any

func (w *written) delta(block int, d any) {
	w.event("contentBlockDelta", object{"contentBlockIndex": block, "delta": d})
}

// pieces cuts text between characters.
func pieces(t *rapid.T, text string) (all []string) {
	runes := []rune(text)
	for len(runes) > 0 {
		n := rapid.IntRange(1, len(runes)).Draw(t, "piece")
		all = append(all, string(runes[:n]))
		runes = runes[n:]
	}
	return all
}

// block draws a block and writes it both ways.
func (w *written) block(t *rapid.T, i int) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab é\"\\\n👋")), 1, 12, -1).Draw(t, "text")
	switch rapid.SampledFrom([]string{"text", "call", "thought", "hidden"}).Draw(t, "block") {
	case "text":
		w.content = append(w.content, object{"text": text})
		for _, p := range pieces(t, text) {
			w.delta(i, object{"text": p})
		}
	case "call":
		input := object{}
		if rapid.Bool().Draw(t, "arguments") {
			input["a"] = text
		}
		id := fmt.Sprint("tooluse_", i)
		w.content = append(w.content, object{"toolUse": object{"toolUseId": id, "name": "now", "input": input}})
		w.event("contentBlockStart", object{"contentBlockIndex": i, "start": object{"toolUse": object{"toolUseId": id, "name": "now"}}})
		whole, err := json.Marshal(input)
		if err != nil {
			panic(err)
		}
		if len(input) > 0 {
			for _, p := range pieces(t, string(whole)) {
				w.delta(i, object{"toolUse": object{"input": p}})
			}
		}
	case "thought":
		w.content = append(w.content, object{"reasoningContent": object{"reasoningText": object{"text": text, "signature": "s"}}})
		for _, p := range pieces(t, text) {
			w.delta(i, object{"reasoningContent": object{"text": p}})
		}
		w.delta(i, object{"reasoningContent": object{"signature": "s"}})
	case "hidden":
		w.content = append(w.content, object{"reasoningContent": object{"redactedContent": "cmVk"}})
		w.delta(i, object{"reasoningContent": object{"redactedContent": "cmVk"}})
	}
	w.event("contentBlockStop", object{"contentBlockIndex": i})
}

// A stream is its plain answer, however its bytes come; and cut anywhere before its reason to end, it is an error.
func TestStreamsArePlainAnswers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &written{}
		w.event("messageStart", object{"role": "assistant"})
		for i := range rapid.IntRange(1, 4).Draw(t, "blocks") {
			w.block(t, i)
		}
		reason := rapid.SampledFrom([]string{"end_turn", "tool_use", "max_tokens", "stop_sequence", "guardrail_intervened", "x"}).Draw(t, "reason")
		usage := object{"inputTokens": 3, "outputTokens": 5, "totalTokens": 17, "cacheReadInputTokens": 9}
		w.event("messageStop", object{"stopReason": reason})
		stopped := len(w.frames)
		w.event("metadata", object{"usage": usage})
		body, err := json.Marshal(object{"output": object{"message": object{"content": w.content}}, "stopReason": reason, "usage": usage})
		if err != nil {
			t.Fatal(err)
		}
		want, err := answer(false, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		var packets []io.Reader
		for rest := w.frames; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "packet")
			packets = append(packets, bytes.NewReader(rest[:n]))
			rest = rest[n:]
		}
		got, err := answer(true, io.MultiReader(packets...))
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Fatalf("%v\n%s", err, d)
		}
		// Trap 20: an end is none without its proof.
		at := rapid.IntRange(0, len(w.frames)-1).Draw(t, "cut at")
		if _, err := answer(true, bytes.NewReader(w.frames[:at])); (err == nil) != (at == stopped) {
			t.Fatalf("cut at %d, and the reason to end is at %d: %v", at, stopped, err)
		}
	})
}

// A stream that ends cleanly without saying why is broken off, though everything seems to be there.
func TestTrap20StreamsWithoutMessageStop(t *testing.T) {
	t.Parallel()
	w := &written{}
	w.event("messageStart", object{"role": "assistant"})
	w.delta(0, object{"text": "Hello."})
	w.event("contentBlockStop", object{"contentBlockIndex": 0})
	for _, usage := range []bool{false, true} {
		if usage {
			w.event("metadata", object{"usage": object{"inputTokens": 1, "outputTokens": 2}})
		}
		_, err := answer(true, bytes.NewReader(w.frames))
		if f, ok := errors.AsType[*provider.Failure](err); !ok || f.Reason != provider.ReasonCut {
			t.Errorf("with usage %t: %v", usage, err)
		}
	}
}

// An exception in a stream is an error, wherever it stands, and means what it would mean as a status.
func TestTrap21ExceptionsInStreams(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		status   int
		fallback bool
	}{
		"throttlingException": {429, true}, "serviceUnavailableException": {503, true}, "internalServerException": {500, true},
		"modelStreamErrorException": {424, true}, "modelTimeoutException": {408, true}, "validationException": {400, false}, "somethingNew": {0, true},
	} {
		for _, begun := range []bool{false, true} {
			w := &written{}
			if begun {
				w.event("messageStart", object{"role": "assistant"})
				w.delta(0, object{"text": "Hel"})
			}
			w.frames = eventstream.Append(w.frames, eventstream.Event{Name: name, Failed: true, Data: []byte(`{"message":"a"}`)})
			_, err := answer(true, bytes.NewReader(w.frames))
			f, ok := errors.AsType[*provider.Failure](err)
			if !ok || f.Status != want.status || f.Fallback() != want.fallback || f.NothingBilled && begun {
				t.Errorf("%s, begun %t: %+v", name, begun, f)
			}
		}
	}
}
