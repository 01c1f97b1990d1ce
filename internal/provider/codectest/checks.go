package codectest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/wire/eventstream"
)

// pure sees to it that a codec keeps nothing: the same again gives the same.
func (c *testCase) pure(t *testing.T) {
	t.Helper()
	if first, second := c.encode(t), c.encode(t); first != second {
		t.Errorf("two requests of the same differ:\n%s\n%s", first, second)
	}
	r := c.parse(t)
	if _, err := c.codec.Encode(t.Context(), c.settings, c.target, r); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.Raw, c.request) {
		t.Error("Encode changes the client's own bytes")
	}
	if first, second := c.events(t, bytes.NewReader(c.body)), c.events(t, bytes.NewReader(c.body)); first != second {
		t.Errorf("two answers of the same differ:\n%s\n%s", first, second)
	}
}

// isStream reports whether the answer is a stream.
func (c *testCase) isStream() bool {
	return bytes.Contains(c.head, []byte("text/event-stream")) || bytes.Contains(c.head, []byte(eventstream.MediaType))
}

// step is how far apart the cuts of a long body are, so that a case costs some hundred of them. (That every byte is a
// place to cut is tested in wire/sse.)
func (c *testCase) step() int { return 1 + len(c.body)/150 }

// cuts is S2: the events are the same however the bytes come.
func (c *testCase) cuts(t *testing.T) {
	t.Helper()
	want := c.events(t, bytes.NewReader(c.body))
	if got := c.events(t, iotest.OneByteReader(bytes.NewReader(c.body))); got != want {
		t.Errorf("byte by byte:\n%s\nwhole:\n%s", got, want)
	}
	if got := c.events(t, iotest.DataErrReader(bytes.NewReader(c.body))); got != want {
		t.Errorf("with the end together with the last bytes:\n%s\nelse:\n%s", got, want)
	}
	for at := 1; at < len(c.body); at += c.step() {
		got := c.events(t, io.MultiReader(bytes.NewReader(c.body[:at]), bytes.NewReader(c.body[at:])))
		if got != want {
			t.Errorf("cut at %d:\n%s\nwhole:\n%s", at, got, want)
			return
		}
	}
}

// prefixes is S1: an answer whose connection breaks is never whole, and what it says until then is what it would have
// said.
func (c *testCase) prefixes(t *testing.T) {
	t.Helper()
	want := c.events(t, bytes.NewReader(c.body))
	if strings.Contains(want, "failure") {
		return
	}
	for at := 0; at < len(c.body); at += c.step() {
		broken := io.MultiReader(bytes.NewReader(c.body[:at]), iotest.ErrReader(io.ErrUnexpectedEOF))
		got := c.events(t, broken)
		if got == want {
			continue // all that counts has arrived
		}
		said, _, failed := strings.Cut(got, "failure")
		if !failed || !strings.HasPrefix(want, said) {
			t.Errorf("broken at %d of %d:\n%s\nwhole:\n%s", at, len(c.body), got, want)
			return
		}
	}
}

// serve plays the answer to one request through a pipe; hold keeps the connection open behind it. left is told when the
// other side has closed it.
func (c *testCase) serve(left chan<- struct{}, hold bool) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer close(left)
			defer func() { _ = far.Close() }()
			req, err := http.ReadRequest(bufio.NewReader(far))
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = far.Write(append(bytes.Clone(c.head), c.body...))
			if hold {
				_, _ = io.Copy(io.Discard, far)
			}
		}()
		return near, nil
	}
}

func (c *testCase) newClient(t *testing.T, dial func(context.Context, string, string) (net.Conn, error)) *provider.Client {
	t.Helper()
	cl, err := provider.New("house", provider.Config{
		BaseURL: c.settings.BaseURL.String(), APIVersion: c.settings.APIVersion, StreamUsage: &c.settings.StreamUsage, ServiceTiers: c.settings.ServiceTiers,
	}, provider.Options{
		Codec: c.codec, Traits: c.settings.Traits, DialContext: dial, MaxBody: maxBody, MaxEvent: maxEvent,
		Defaults: provider.Timeouts{FirstToken: 10 * time.Second, Gap: 10 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// client sees to it that the answer is the same through a whole Client.
func (c *testCase) client(t *testing.T) {
	t.Helper()
	want := c.events(t, bytes.NewReader(c.body))
	left := make(chan struct{})
	cl := c.newClient(t, c.serve(left, false))
	var out strings.Builder
	resp, err := cl.Do(t.Context(), provider.Via{}, c.target, c.parse(t))
	if err != nil {
		writeFailure(&out, err)
	} else {
		for e, err := range resp.Events {
			if err != nil {
				writeFailure(&out, err)
				break
			}
			writeEvent(&out, &e)
			if e.Is(llm.End) {
				writeMeta(&out, resp.Meta)
			}
		}
	}
	<-left
	got := out.String()
	// What fails before content is an error of Do, without the events before it.
	if want != got && !(err != nil && strings.HasSuffix(want, got) && !strings.Contains(want, "event content")) {
		t.Errorf("through a client:\n%s\nby the codec alone:\n%s", got, want)
	}
}

// leaves sees to it that breaking off a stream ends the upstream's work.
func (c *testCase) leaves(t *testing.T) {
	t.Helper()
	if !c.isStream() {
		return
	}
	left := make(chan struct{})
	cl := c.newClient(t, c.serve(left, true))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	resp, err := cl.Do(ctx, provider.Via{}, c.target, c.parse(t))
	if err == nil {
		for _, err := range resp.Events {
			if err != nil {
				t.Errorf("the first event: %v", err)
			}
			break
		}
	}
	select {
	case <-left:
	case <-time.After(time.Second):
		t.Error("a second after the stream was broken off, the upstream was still being read")
	}
}

// statuses sees to it that every status that is no success is a failure in proper form, whatever its body.
func statuses(t *testing.T, codec provider.Codec) {
	t.Helper()
	const canary = "canary-5f1d"
	bodies := map[string]string{
		"nothing": "", "HTML": "<html><body><h1>" + canary + "</h1></body></html>", "text": canary, "array": "[]", "null": "null",
		"broken JSON": `{"error":{"message":"` + canary, "control characters": "\x00\x1b[31m" + canary + "\r\n",
		"an error":      `{"error":{"message":"` + canary + `","type":"t","code":"c","param":null}}`,
		"a long error":  `{"error":{"message":"` + strings.Repeat(canary, 100_000) + `"}}`,
		"invalid UTF-8": "{\"error\":{\"message\":\"\xff\"}}",
	}
	for status := 300; status < 600; status++ {
		for name, body := range bodies {
			resp := &http.Response{
				StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{}, ContentLength: int64(len(body)),
				Body: io.NopCloser(strings.NewReader(body)),
			}
			err := codec.DecodeError(resp, provider.Settings{MaxBody: maxBody, MaxEvent: maxEvent})
			f, ok := errors.AsType[*provider.Failure](err)
			if !ok {
				t.Fatalf("status %d, %s: %v is not a Failure", status, name, err)
			}
			if problem := wrongFailure(f, status, canary); problem != "" {
				t.Errorf("status %d, %s: %s: %+v", status, name, problem, f)
			}
		}
	}
}

func wrongFailure(f *provider.Failure, status int, canary string) string {
	shown := f.Message + f.Code + f.Param + string(f.Body)
	switch {
	case f.Status != status:
		return "another status"
	case f.Reason != provider.ReasonStatus && status >= 400:
		return "another reason"
	case wrongBill(f, status):
		return "wrong about what was billed"
	case f.Message == "" || len(f.Message) > 4000 || strings.ContainsAny(f.Message, "\r\n\x00\x1b"):
		return "the message is not one line"
	case len(f.Error()) > 10_000 || strings.ContainsAny(f.Error(), "\r\n\x00\x1b"):
		return "the text for operators is not one line"
	case (status == 401 || status == 403) && strings.Contains(f.Error()+shown, canary):
		return "repeats what was said of the credential"
	case status >= 500 && strings.Contains(f.Message, canary):
		return "tells the caller what the provider said of itself"
	}
	return ""
}

// wrongBill holds what a failure says of the bill against what is known of every dialect: a refused request costs nothing,
// and a server that broke may have worked before. Of the rest, 408 and overloads, a dialect may have rules of its own.
func wrongBill(f *provider.Failure, status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusServiceUnavailable, 529:
		return false
	}
	return f.NothingBilled != (status >= 400 && status < 500)
}

// writeMeta writes down what the provider says of its answer.
func writeMeta(out *strings.Builder, m *llm.Meta) {
	fmt.Fprintf(out, "meta: id %q, model %q, finish %q", m.ID, m.Model, m.Finish)
	if m.Tier != "" || m.Region != "" {
		fmt.Fprintf(out, ", served %q in %q", m.Tier, m.Region)
	}
	out.WriteByte('\n')
}

// writeEvent writes an event down, but for what depends on how the bytes came.
func writeEvent(out *strings.Builder, e *llm.Event) {
	out.WriteString("event")
	for _, h := range []struct {
		has  llm.Has
		name string
	}{{llm.Content, "content"}, {llm.Finish, "finish"}, {llm.UsageIn, "usage"}, {llm.End, "end"}, {llm.Hidden, "hidden"}} {
		if e.Is(h.has) {
			out.WriteString(" " + h.name)
		}
	}
	if e.Name != "" {
		fmt.Fprintf(out, " name=%q", e.Name)
	}
	if !e.ModelAt.IsZero() {
		fmt.Fprintf(out, " model=%s", e.ModelAt.Of(e.Raw))
	}
	out.WriteByte('\n')
	if len(e.Text) > 0 {
		fmt.Fprintf(out, "  text  %q\n", e.Text)
	}
	if e.Is(llm.UsageIn) {
		u := e.Usage
		fmt.Fprintf(out, "  usage {Input:%d Output:%d CachedInput:%d CacheWrite:%d Reasoning:%d Estimated:%v}\n",
			u.Input, u.Output, u.CachedInput, u.CacheWrite, u.Reasoning, u.Estimated)
		if u.Parts != (llm.Parts{}) {
			fmt.Fprintf(out, "  parts %+v\n", u.Parts)
		}
	}
	for i := range e.Deltas {
		writeDelta(out, &e.Deltas[i])
	}
	raw := e.Raw
	if len(raw) > 2000 {
		raw = fmt.Appendf(nil, "%s ... %d bytes", raw[:100], len(raw))
	}
	fmt.Fprintf(out, "  raw   %s\n", bytes.ReplaceAll(raw, []byte("\n"), []byte("\n        ")))
}

// writeDelta writes a step of the canonical form down.
func writeDelta(out *strings.Builder, d *llm.Delta) {
	fmt.Fprintf(out, "  delta %d.%d", d.Choice, d.Part)
	if p := d.Open; p != nil {
		fmt.Fprintf(out, " open=%s", p.Kind)
		if p.Kind == llm.PartToolCall {
			fmt.Fprintf(out, " %s(%s)", p.ToolName, p.CallID)
		}
		if p.Redacted != nil {
			fmt.Fprintf(out, " redacted=%q", p.Redacted)
		}
		if p.Citations != nil {
			fmt.Fprintf(out, " citations=%s", p.Citations)
		}
	}
	if d.Text != "" {
		fmt.Fprintf(out, " text=%q", d.Text)
	}
	if d.Signature != "" {
		fmt.Fprintf(out, " signature=%q", d.Signature)
	}
	if d.Close {
		out.WriteString(" close")
	}
	if d.Finish != "" {
		fmt.Fprintf(out, " finish=%s", d.Finish)
	}
	if d.StopText != "" {
		fmt.Fprintf(out, " stop=%q", d.StopText)
	}
	out.WriteByte('\n')
}

// writeFailure writes down how an answer failed. What is no Failure yet is what reading gave.
func writeFailure(out *strings.Builder, err error) {
	f, ok := errors.AsType[*provider.Failure](err)
	if !ok {
		fmt.Fprintf(out, "failure of the network: %v\n", err)
		return
	}
	fmt.Fprintf(out, "failure %s", f.Reason)
	if f.Reason == provider.ReasonStatus {
		fmt.Fprintf(out, " status=%d", f.Status)
	}
	if f.NothingBilled {
		out.WriteString(" nothing-billed")
	}
	if f.Code != "" || f.Param != "" {
		fmt.Fprintf(out, " code=%q param=%q", f.Code, f.Param)
	}
	fmt.Fprintf(out, "\n  message  %s\n", f.Message)
	if f.Body != nil {
		fmt.Fprintf(out, "  body     %s\n", f.Body)
	}
	if f.Err != nil {
		fmt.Fprintf(out, "  operator %v\n", f.Err)
	}
}
