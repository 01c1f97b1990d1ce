package sim_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/sim/simtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A bench is a simulator with a client that hides nothing.
type bench struct {
	t      testing.TB
	sim    *sim.Sim
	base   string
	client *http.Client
}

func setup(t testing.TB, c sim.Config) *bench {
	t.Helper()
	s, base := simtest.Start(t, c)
	return &bench{t: t, sim: s, base: base, client: client(t, nil)}
}

// client follows no redirect and undoes no compression.
func client(t testing.TB, transport *http.Transport) *http.Client {
	t.Helper()
	if transport == nil {
		transport = &http.Transport{}
	}
	transport.DisableCompression = true
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// A got is what a client sees of a call.
type got struct {
	status int
	header http.Header
	body   string
	err    error // of the call, or of reading its body
	took   time.Duration
}

// post sends body and reads the answer whole.
func (b *bench) post(ctx context.Context, path, body string, header ...string) got {
	b.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.base+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer sk-sim-0123456789abcdef")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	start := time.Now()
	resp, err := b.client.Do(r)
	if err != nil {
		return got{err: err, took: time.Since(start)}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return got{status: resp.StatusCode, header: resp.Header, body: string(text), err: err, took: time.Since(start)}
}

// chat asks the model "gpt-x?do". more are members of the body.
func (b *bench) chat(do string, stream bool, more ...string) got {
	b.t.Helper()
	return b.post(b.t.Context(), "/v1/chat/completions", chatBody(do, stream, more...))
}

// chatBody asks for usage in streams.
func chatBody(do string, stream bool, more ...string) string {
	model := simtest.Model
	if do != "" {
		model += "?" + do
	}
	name, _ := json.Marshal(model)
	body := `{"model":` + string(name)
	if len(more) == 0 || !strings.Contains(more[0], `"messages"`) {
		body += `,"messages":[{"role":"user","content":"twelve bytes"}]`
	}
	if stream {
		body += `,"stream":true,"stream_options":{"include_usage":true}`
	}
	for _, m := range more {
		body += "," + m
	}
	return body + "}"
}

// bill waits until all calls have ended.
func (b *bench) bill() sim.Bill {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
	defer cancel()
	if err := b.sim.Idle(ctx); err != nil {
		b.t.Fatalf("calls are still open: %v", err)
	}
	return b.sim.Bill()
}

// untilOpen waits until n calls are open.
func untilOpen(s *sim.Sim, n int) {
	for {
		if all, _ := s.Peak(); all.Open >= n {
			return
		}
		runtime.Gosched()
	}
}

// last is the bill's last call.
func (b *bench) last() sim.Call {
	b.t.Helper()
	calls := b.bill().Calls
	if len(calls) == 0 {
		b.t.Fatal("nothing is on the bill")
	}
	return calls[len(calls)-1]
}

// A usage is that of an answer.
type usage struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
	Total      int64 `json:"total_tokens"`
	Input      struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	Output struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

// A message is a plain answer's, or an event's delta.
type message struct {
	Role             string  `json:"role"`
	Content          *string `json:"content"`
	Refusal          *string `json:"refusal"`
	Reasoning        string  `json:"reasoning"`
	ReasoningContent string  `json:"reasoning_content"`
	ToolCalls        []struct {
		Index    *int    `json:"index"`
		ID       *string `json:"id"`
		Type     string  `json:"type"`
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
}

// A completion is a plain answer or an event.
type completion struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Model   string `json:"model"`
	Choices []struct {
		Index    int      `json:"index"`
		Message  *message `json:"message"`
		Delta    *message `json:"delta"`
		Finish   *string  `json:"finish_reason"`
		Logprobs *struct {
			Content []struct {
				Token string `json:"token"`
				Top   []any  `json:"top_logprobs"`
			} `json:"content"`
		} `json:"logprobs"`
	} `json:"choices"`
	Usage *usage `json:"usage"`
	Error *struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Code    *string `json:"code"`
	} `json:"error"`
}

// plain reads a plain answer or an error.
func (g got) plain(t testing.TB) completion {
	t.Helper()
	var c completion
	if err := json.Unmarshal([]byte(g.body), &c); err != nil {
		t.Fatalf("%v in %q", err, g.body)
	}
	return c
}

// said is the first choice's text.
func (g got) said(t testing.TB) string {
	t.Helper()
	c := g.plain(t)
	if len(c.Choices) == 0 || c.Choices[0].Message == nil || c.Choices[0].Message.Content == nil {
		t.Fatalf("no text in %q", g.body)
	}
	return *c.Choices[0].Message.Content
}

// A transcript is what a stream held, read as the standard for server-sent events says.
type transcript struct {
	events   []string // data
	names    []string // of the events, "" where there was none
	comments int
	done     bool
	chunks   []completion // the events that are JSON
	broken   int          // the events that are not
}

// stream reads a stream.
func (g got) stream() transcript {
	var out transcript
	name, data, some := "", "", false
	for line := range strings.SplitSeq(strings.ReplaceAll(g.body, "\r\n", "\n"), "\n") {
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && some:
			out.add(name, data)
			name, data, some = "", "", false
		case field == "" && line != "":
			out.comments++
		case field == "event":
			name = value
		case field == "data" && some:
			data += "\n" + value
		case field == "data":
			data, some = value, true
		}
	}
	return out
}

func (o *transcript) add(name, data string) {
	if data == "[DONE]" {
		o.done = true
		return
	}
	o.events, o.names = append(o.events, data), append(o.names, name)
	var c completion
	if json.Unmarshal([]byte(data), &c) != nil {
		o.broken++
		return
	}
	o.chunks = append(o.chunks, c)
}

// text is the content of a choice.
func (o *transcript) text(choice int) string {
	var b strings.Builder
	for _, c := range o.chunks {
		for _, ch := range c.Choices {
			if ch.Index == choice && ch.Delta != nil && ch.Delta.Content != nil {
				b.WriteString(*ch.Delta.Content)
			}
		}
	}
	return b.String()
}

// contents counts the events that have text.
func (o *transcript) contents() int {
	n := 0
	for _, c := range o.chunks {
		for _, ch := range c.Choices {
			if ch.Delta != nil && ch.Delta.Content != nil && *ch.Delta.Content != "" {
				n++
			}
		}
	}
	return n
}

// usages are the usages that are not null.
func (o *transcript) usages() []usage {
	var all []usage
	for _, c := range o.chunks {
		if c.Usage != nil {
			all = append(all, *c.Usage)
		}
	}
	return all
}

// finish is the last finish reason, "" if there was none.
func (o *transcript) finish() string {
	finish := ""
	for _, c := range o.chunks {
		for _, ch := range c.Choices {
			if ch.Finish != nil {
				finish = *ch.Finish
			}
		}
	}
	return finish
}

// unzip undoes gzip.
func unzip(t testing.TB, body string) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatalf("not gzip: %v", err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
