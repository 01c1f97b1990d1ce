package gemini

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/secret"
	"github.com/penstock/penstock/internal/wire/openai"
)

// A saidPart is a part of an answer.
type saidPart struct {
	Kind                      llm.PartKind
	Text, ID, Name, Signature string
	Data                      []byte
}

// A heard is what comes of a choice.
type heard struct {
	Parts  []saidPart
	Finish llm.FinishReason
}

// An answered is what comes of an answer.
type answered struct {
	Choices [2]heard
	Usage   llm.Usage
}

var settings = provider.Settings{MaxBody: 1 << 20, MaxEvent: 1 << 20}

// answer decodes an answer whose body is read through r.
func answer(stream bool, r io.Reader) (a answered, err error) {
	body, kind := `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`, "application/json"
	if stream {
		body, kind = `{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true}`, streamType
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
			if d.Choice > 1 {
				return a, nil // of no interest here
			}
			c := &a.Choices[d.Choice]
			if d.Finish != "" {
				c.Finish = d.Finish
				continue
			}
			if d.Open != nil {
				c.Parts = append(c.Parts, saidPart{Kind: d.Open.Kind, ID: d.Open.CallID, Name: d.Open.ToolName, Data: d.Open.Data})
			}
			c.Parts[d.Part].Text += d.Text
			c.Parts[d.Part].Signature += d.Signature
		}
		if e.Is(llm.UsageIn) {
			a.Usage = e.Usage
		}
		if e.Is(llm.End) {
			return a, nil
		}
	}
}

type object = map[string]any

// A written is an answer as the provider would send it, both ways.
type written struct {
	whole  [2][]any // the parts of the choices
	frames []byte
	ends   []int // of frames, behind each
}

var counts = object{"promptTokenCount": 7, "candidatesTokenCount": 9, "thoughtsTokenCount": 2, "totalTokenCount": 18}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// frame sends parts of a choice.
func (w *written) frame(choice int, reason string, parts ...any) {
	c := object{"content": object{"parts": parts, "role": "model"}, "index": choice}
	if reason != "" {
		c["finishReason"] = reason
	}
	w.frames = append(append(append(w.frames, "data: "...), marshal(object{"candidates": []any{c}, "usageMetadata": counts, "responseId": "r"})...), "\r\n\r\n"...)
	w.ends = append(w.ends, len(w.frames))
}

// part draws a part of a choice and writes it both ways: text in pieces, all else whole.
func (w *written) part(t *rapid.T, choice int) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab é\"\\\n👋\u2028")), 1, 12, -1).Draw(t, "text")
	var part object
	switch kind := rapid.SampledFrom([]string{"text", "thought", "call", "image"}).Draw(t, "part"); kind {
	case "call":
		part = object{"functionCall": object{"name": "now", "args": object{"a": text}}}
		if rapid.Bool().Draw(t, "signed") {
			part["thoughtSignature"] = "cA=="
		}
		w.frame(choice, "", part)
	case "image":
		part = object{"inlineData": object{"mimeType": "image/png", "data": "AAEC"}}
		w.frame(choice, "", part)
	default:
		part = object{"text": text}
		for runes := []rune(text); len(runes) > 0; {
			n := rapid.IntRange(1, len(runes)).Draw(t, "piece")
			piece := object{"text": string(runes[:n])}
			if kind == "thought" {
				part["thought"], piece["thought"] = true, true
			}
			w.frame(choice, rapid.SampledFrom([]string{"", "STOP"}).Draw(t, "early"), piece)
			runes = runes[n:]
		}
	}
	w.whole[choice] = append(w.whole[choice], part)
}

// A stream says what its plain answer would, however its bytes come; and without its end it is none.
func TestStreamsArePlainAnswers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var w written
		choices := rapid.IntRange(1, 2).Draw(t, "choices")
		for range rapid.IntRange(choices, 6).Draw(t, "parts") {
			w.part(t, rapid.IntRange(0, choices-1).Draw(t, "choice"))
		}
		reason := rapid.SampledFrom([]string{"STOP", "MAX_TOKENS", "SAFETY"}).Draw(t, "reason")
		var candidates []any
		for i := range choices {
			w.frame(i, reason, object{"text": ""})
			candidates = append(candidates, object{"content": object{"parts": w.whole[i], "role": "model"}, "finishReason": reason, "index": i})
		}
		body, err := json.MarshalIndent(object{"candidates": candidates, "usageMetadata": counts, "responseId": "r"}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want, err := answer(false, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		same := func(got answered, err error) {
			if d := cmp.Diff(numbered(want), numbered(got)); d != "" || err != nil {
				t.Fatalf("%v\n%s\n%s", err, w.frames, d)
			}
		}
		same(answer(true, bytes.NewReader(w.frames)))
		at := rapid.IntRange(0, len(w.frames)).Draw(t, "cut")
		same(answer(true, io.MultiReader(bytes.NewReader(w.frames[:at]), iotest.OneByteReader(bytes.NewReader(w.frames[at:])))))
		broken := io.MultiReader(bytes.NewReader(w.frames[:at]), iotest.ErrReader(io.ErrUnexpectedEOF))
		if _, err := answer(true, broken); err == nil {
			t.Fatalf("whole, though the connection broke at %d of %d", at, len(w.frames))
		}
		if !slices.Contains(w.ends, at) && !slices.Contains(w.ends, at+1) { // CR, LF, CR is a blank line already
			if _, err := answer(true, bytes.NewReader(w.frames[:at])); err == nil {
				t.Fatalf("whole, though it ended within a frame, at %d of %d: ...%q and %q are left", at, len(w.frames), w.frames[max(0, at-40):at], w.frames[at:min(len(w.frames), at+20)])
			}
		}
	})
}

// numbered leaves out of ids what they are made of: the order in which calls of several choices come is not the same in both forms.
func numbered(a answered) answered {
	for i := range a.Choices {
		for k := range a.Choices[i].Parts {
			p := &a.Choices[i].Parts[k]
			p.ID, _, _ = strings.Cut(p.ID, "_")
		}
	}
	return a
}

// Whatever bytes come, they are an answer or a failure, the same however they are cut.
func FuzzDecode(f *testing.F) {
	w := &written{}
	w.frame(0, "", object{"text": "Hello.", "thought": true})
	w.frame(0, "STOP", object{"functionCall": object{"name": "now"}})
	f.Add(true, w.frames)
	f.Add(true, []byte("data: {\"error\":{\"code\":503,\"message\":\"a\"}}\n\n"))
	f.Add(false, []byte(`{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}`))
	f.Fuzz(func(t *testing.T, stream bool, body []byte) {
		first, err := answer(stream, bytes.NewReader(body))
		second, err2 := answer(stream, iotest.OneByteReader(bytes.NewReader(body)))
		if d := cmp.Diff(first, second); d != "" || (err == nil) != (err2 == nil) {
			t.Fatalf("%v, %v\n%s", err, err2, d)
		}
		if _, ok := errors.AsType[*provider.Failure](err); err != nil && !ok && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%v is not a Failure", err)
		}
	})
}

// A stream that breaks, or ends before the model said why, is no answer, whatever came before.
func TestTrap20StreamsWithoutTheirEnd(t *testing.T) {
	t.Parallel()
	var w written
	w.frame(0, "", object{"text": "a"})
	if _, err := answer(true, bytes.NewReader(w.frames)); err == nil || !strings.Contains(err.Error(), "cut") {
		t.Errorf("no reason: %v", err)
	}
	w.frame(0, "STOP", object{"text": "b"})
	for name, r := range map[string]io.Reader{
		"broken":           io.MultiReader(bytes.NewReader(w.frames), iotest.ErrReader(io.ErrUnexpectedEOF)),
		"within the frame": bytes.NewReader(bytes.TrimRight(w.frames, "\r\n")),
	} {
		if _, err := answer(true, r); err == nil {
			t.Errorf("%s: whole", name)
		}
	}
	if _, err := answer(true, bytes.NewReader(w.frames)); err != nil {
		t.Error(err)
	}
}

// How long to wait is in the body, where others have a header.
func TestTrap25WaitsAreInTheBody(t *testing.T) {
	t.Parallel()
	for delay, want := range map[string]time.Duration{"7s": 7 * time.Second, "0.250s": 250 * time.Millisecond, "90000s": time.Hour, "x": 0, "-1s": 0} {
		body := `{"error":{"code":429,"message":"a","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"` + delay + `"}]}}`
		err := New().DecodeError(&http.Response{StatusCode: 429, Body: io.NopCloser(strings.NewReader(body))}, settings)
		if f, ok := errors.AsType[*provider.Failure](err); !ok || f.RetryAfter != want {
			t.Errorf("%s: %+v", delay, err)
		}
	}
}

// Keys go to Gemini's own API and tokens to Vertex AI; what is neither goes nowhere, and is not told.
func TestCredentials(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]http.Header{
		"https://generativelanguage.googleapis.com":                       {"X-Goog-Api-Key": {"secret"}},
		"https://eu-aiplatform.googleapis.com/v1/projects/p/locations/eu": {"Authorization": {"Bearer secret"}},
	} {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		req := &http.Request{Header: http.Header{}}
		if err := provider.Authorize(New(), req, provider.Settings{BaseURL: u}, secret.New("secret"), time.Time{}); err != nil || !cmp.Equal(req.Header, want) {
			t.Errorf("%s: %v %v", base, err, req.Header)
		}
		for _, wrong := range []string{"se\ncret", "se\x00cret", "sécret"} {
			if err := provider.Authorize(New(), req, provider.Settings{BaseURL: u}, secret.New(wrong), time.Time{}); err == nil || strings.Contains(err.Error(), "cret") {
				t.Errorf("%q: %v", wrong, err)
			}
		}
	}
}

// The list of models costs nothing, where there is one.
func TestModels(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"https://a.test": "https://a.test/v1beta/models", "https://a.test/x/v1": "https://a.test/x/v1/models", "https://a.test/v1/projects/p/locations/l": "",
	} {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		req := New().Models(t.Context(), provider.Settings{BaseURL: u})
		if req == nil && want != "" || req != nil && req.URL.String() != want {
			t.Errorf("%s: %v", base, req)
		}
	}
}

// The tokens of a chat are counted by the vendor.
func TestCounts(t *testing.T) {
	t.Parallel()
	req, err := openai.ParseChat([]byte(`{"model":"m","messages":[{"role":"user","content":"Hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Op = llm.OpCount
	u, _ := url.Parse("https://a.test")
	s := provider.Settings{BaseURL: u, MaxBody: 1 << 20}
	out, err := New().Encode(t.Context(), s, llm.Target{Model: "m"}, req)
	if err != nil || out.URL.String() != "https://a.test/v1beta/models/m:countTokens" {
		t.Fatalf("%v %v", err, out)
	}
	for body, want := range map[string]int64{`{"totalTokens":12}`: 12, `{}`: -1} {
		a, err := New().Decode(&http.Response{Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}, s, llm.Target{}, req)
		if want < 0 {
			if f, ok := errors.AsType[*provider.Failure](err); !ok || f.Reason != provider.ReasonGarbage {
				t.Error(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, err := a.Next(); err != nil || e.Count != want || !e.Is(llm.End) {
			t.Errorf("%v %+v", err, e)
		}
	}
}
