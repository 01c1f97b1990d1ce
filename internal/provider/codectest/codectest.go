// Package codectest holds a codec against what every codec must do, and against recorded answers.
//
// It is for the tests of packages under provider/. It does not test what is around a codec: connections, timers and
// credentials are provider's.
//
// A case is a folder with
//
//	request.json     what the client sends
//	settings.json    optional: stream_usage, service_tiers, model, traits, base_url, api_version
//	upstream.json    what the provider answers: a plain answer with status 200,
//	upstream.sse     or a stream with status 200,
//	upstream.frames  or a stream in Amazon's binary framing, as lines: see framed
//	upstream.http    or a whole answer with its head
//	want_request.txt what the provider is sent
//	want_events.txt  the events that come of the answer, and the failure at its end
//	want_answer.txt  what the client is sent, where that is translated
//
// A case without an answer is about the request alone, which may be one that is refused.
//
// The last ones are written by go test -update, and read by a person.
package codectest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/wire/anthropic"
	"github.com/penstock/penstock/internal/wire/eventstream"
	"github.com/penstock/penstock/internal/wire/openai"
	"github.com/penstock/penstock/internal/wire/responses"
)

var update = flag.Bool("update", false, "write the want files of the codecs' cases")

// Run runs all cases in dir, each as a subtest, and then what needs no case.
func Run(t *testing.T, codec provider.Codec, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "fuzz" {
			continue
		}
		t.Run(e.Name(), func(t *testing.T) {
			t.Parallel()
			c := read(t, codec, filepath.Join(dir, e.Name()))
			c.golden(t)
			if c.head == nil {
				return
			}
			c.pure(t)
			c.cuts(t)
			c.prefixes(t)
			c.client(t)
			c.leaves(t)
		})
	}
	t.Run("errors", func(t *testing.T) {
		t.Parallel()
		statuses(t, codec)
	})
}

// A testCase is a case that has been read.
type testCase struct {
	codec    provider.Codec
	speaks   llm.Dialect // the client
	dir      string
	target   llm.Target
	settings provider.Settings
	request  []byte
	head     []byte // of the answer, up to and including the blank line
	body     []byte
}

// The limits of the cases; one goes beyond them.
const (
	maxBody  = 1 << 20
	maxEvent = 16 << 10
)

func read(t *testing.T, codec provider.Codec, dir string) *testCase {
	t.Helper()
	file := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return b
	}
	s := struct {
		StreamUsage  bool        `json:"stream_usage"`
		ServiceTiers bool        `json:"service_tiers"`
		Model        string      `json:"model"`
		BaseURL      string      `json:"base_url"`
		APIVersion   string      `json:"api_version"`
		Client       llm.Dialect `json:"client"` // whose request it is; "" is OpenAI's
		Traits       llm.Traits
	}{StreamUsage: true, Model: "target-model", BaseURL: "http://up.test/base"}
	if b := file("settings.json"); b != nil {
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatalf("settings.json: %v", err)
		}
	}
	c := &testCase{codec: codec, dir: dir, speaks: s.Client, request: bytes.TrimSpace(file("request.json")), target: llm.Target{Provider: "house", Model: s.Model}}
	base, err := url.Parse(s.BaseURL)
	if err != nil {
		t.Fatalf("settings.json: %v", err)
	}
	c.settings = provider.Settings{
		BaseURL: base, APIVersion: s.APIVersion, Region: "us-east-1", StreamUsage: s.StreamUsage, ServiceTiers: s.ServiceTiers,
		MaxBody: maxBody, MaxEvent: maxEvent, Traits: func(string) llm.Traits { return s.Traits },
	}
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: "
	if b := file("upstream.json"); b != nil {
		c.head, c.body = []byte(ok+"application/json\r\n\r\n"), b
	} else if b := file("upstream.sse"); b != nil {
		c.head, c.body = []byte(ok+"text/event-stream\r\n\r\n"), b
	} else if b := file("upstream.frames"); b != nil {
		c.head, c.body = []byte(ok+eventstream.MediaType+"\r\n\r\n"), framed(t, string(b))
	} else if head, body, found := bytes.Cut(file("upstream.http"), []byte("\n\n")); found {
		c.head = append(bytes.ReplaceAll(head, []byte("\n"), []byte("\r\n")), "\r\n\r\n"...)
		c.body = body
	}
	return c
}

// parse reads the client's request anew, for a request belongs to one exchange.
func (c *testCase) parse(t *testing.T) *llm.Request {
	t.Helper()
	r, err := openai.ParseChat(slices.Clone(c.request))
	switch {
	case c.speaks == llm.Anthropic:
		r, err = anthropic.ParseMessages(slices.Clone(c.request))
	case c.speaks == llm.Responses:
		r, err = responses.Parse(slices.Clone(c.request))
	case err != nil:
		r, err = openai.ParseEmbeddings(slices.Clone(c.request))
	}
	if err != nil {
		t.Fatalf("request.json: %v", err)
	}
	return r
}

// answer is the answer with its body read through r.
func (c *testCase) answer(t *testing.T, r io.Reader) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(c.head)), nil)
	if err != nil {
		t.Fatalf("upstream: %v", err)
	}
	resp.Body = io.NopCloser(r)
	return resp
}

// events decodes the answer and writes down what comes of it.
func (c *testCase) events(t *testing.T, body io.Reader) string {
	t.Helper()
	var out strings.Builder
	resp := c.answer(t, body)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		writeFailure(&out, c.codec.DecodeError(resp, c.settings))
		return out.String()
	}
	a, err := c.codec.Decode(resp, c.settings, c.target, c.parse(t))
	if err != nil {
		writeFailure(&out, err)
		return out.String()
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	for {
		e, err := a.Next()
		if err != nil {
			writeFailure(&out, err)
			return out.String()
		}
		writeEvent(&out, &e)
		if e.Is(llm.End) {
			if _, err := a.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("behind the end: %v, want io.EOF", err)
			}
			writeMeta(&out, a.Meta())
			return out.String()
		}
	}
}

func (c *testCase) golden(t *testing.T) {
	t.Helper()
	c.compare(t, "want_request.txt", c.encode(t))
	if c.head == nil {
		return
	}
	c.compare(t, "want_events.txt", c.events(t, bytes.NewReader(c.body)))
	if told, ok := c.translated(t); ok {
		c.compare(t, "want_answer.txt", told)
	}
}

// translated is what a client is sent; ok is false if that is what the provider sent.
func (c *testCase) translated(t *testing.T) (told string, ok bool) {
	t.Helper()
	r := c.parse(t)
	a, err := c.codec.Decode(c.answer(t, bytes.NewReader(c.body)), c.settings, c.target, r)
	if err != nil {
		return "", false
	}
	defer func() { _ = a.Close() }()
	tell := teller(r)
	var out []byte
	for {
		e, err := a.Next()
		if err != nil {
			return string(out), ok
		}
		ok = ok || len(e.Deltas) > 0
		if out, err = tell(out, &e); err != nil {
			return fmt.Sprintf("%s\nunwritable: %v\n", out, err), ok
		}
	}
}

// teller writes events for a client of the request's dialect.
func teller(r *llm.Request) func(dst []byte, e *llm.Event) ([]byte, error) {
	toOpenAI := openai.Translator{ID: "chatcmpl-1", Created: 1, Model: r.Model, Usage: r.IncludeUsage}
	toAnthropic := anthropic.Translator{ID: "msg_1", Model: r.Model}
	event, answer := toOpenAI.AppendEvent, toOpenAI.AppendAnswer
	if r.Dialect == llm.Anthropic {
		event, answer = toAnthropic.AppendEvent, toAnthropic.AppendAnswer
	}
	if r.Stream {
		return event
	}
	return func(dst []byte, e *llm.Event) ([]byte, error) {
		dst, err := answer(dst, e)
		return append(dst, '\n'), err
	}
}

func (c *testCase) compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join(c.dir, name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil { //nolint:gosec // a test's own data, in the repository
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (go test -update writes it):\n%s", name, diff)
	}
}

// encode writes down the request that the provider would get.
func (c *testCase) encode(t *testing.T) string {
	t.Helper()
	r := c.parse(t)
	req, err := c.codec.Encode(t.Context(), c.settings, c.target, r)
	if f, ok := errors.AsType[*fault.Error](err); ok && c.head == nil {
		return fmt.Sprintf("refused %s, param %q\n  message %s\n  hint    %s\n", f.Code, f.Param, f.Error(), f.Hint)
	}
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	if req.ContentLength != int64(len(body)) {
		t.Errorf("ContentLength %d, the body has %d bytes", req.ContentLength, len(body))
	}
	if !json.Valid(body) {
		t.Errorf("the body is not JSON: %s", body)
	}
	again, err := req.GetBody()
	if err != nil {
		t.Fatalf("GetBody: %v", err)
	}
	if b, err := io.ReadAll(again); err != nil || !bytes.Equal(b, body) {
		t.Errorf("GetBody gives another body: %v", err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s\n", req.Method, req.URL)
	names := make([]string, 0, len(req.Header))
	for name := range req.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&out, "%s: %s\n", name, strings.Join(req.Header[name], ", "))
	}
	if c.speaks != "" && len(r.Adapted) > 0 {
		fmt.Fprintf(&out, "adapted: %s\n", strings.Join(r.Adapted, ", "))
	}
	fmt.Fprintf(&out, "\n%s\n", body)
	return out.String()
}
