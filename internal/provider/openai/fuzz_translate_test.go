package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/wire/anthropic"
)

func seeds(f *testing.F, pattern string) (all [][]byte) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// FuzzEncodeTranslated: whatever a caller of another dialect says is put in words, or refused with its place.
func FuzzEncodeTranslated(f *testing.F) {
	for _, b := range seeds(f, "anthropic_*/request.json") {
		f.Add(b, uint8(0))
		f.Add(b, uint8(255))
	}
	f.Fuzz(func(t *testing.T, body []byte, takes uint8) {
		r, err := anthropic.ParseMessages(body)
		if err != nil {
			return
		}
		s := provider.Settings{BaseURL: &url.URL{Scheme: "http", Host: "up.test", Path: "/v1"}, StreamUsage: true, Takes: llm.Takes(takes)}
		req, err := New().Encode(t.Context(), s, target, r)
		if e, ok := errors.AsType[*fault.Error](err); ok && e.Kind == fault.BadRequest {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		sent, err := io.ReadAll(req.Body)
		if err != nil {
			t.Fatal(err)
		}
		var o struct {
			Model    string            `json:"model"`
			Messages []json.RawMessage `json:"messages"`
		}
		if err := json.Unmarshal(sent, &o); err != nil || o.Model != target.Model {
			t.Fatalf("%s became %s: %v", body, sent, err)
		}
	})
}

// FuzzDecodeTranslated: whatever a server says is told in steps that do not overlap, and the same however its bytes come.
func FuzzDecodeTranslated(f *testing.F) {
	for _, b := range seeds(f, "*/upstream.sse") {
		f.Add(b, true)
	}
	for _, b := range seeds(f, "*/upstream.json") {
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, body []byte, stream bool) {
		whole := steps(t, bytes.NewReader(body), stream)
		if bitwise := steps(t, iotest.OneByteReader(bytes.NewReader(body)), stream); bitwise != whole {
			t.Errorf("byte by byte:\n%s\nwhole:\n%s", bitwise, whole)
		}
	})
}

// steps are the canonical steps of an answer, and how it ended.
func steps(t *testing.T, body io.Reader, stream bool) (told string) {
	t.Helper()
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body), ContentLength: -1}
	a, err := New().Decode(resp, provider.Settings{MaxBody: 1 << 20, MaxEvent: 1 << 16}, target, foreign(stream))
	if err != nil {
		return "failed"
	}
	defer func() { _ = a.Close() }()
	open, finished := map[int]int{}, map[int]bool{}
	for {
		e, err := a.Next()
		if err != nil {
			return told + "failed"
		}
		for _, d := range e.Deltas {
			at, isOpen := open[d.Choice]
			switch {
			case finished[d.Choice]:
				t.Fatalf("a step behind the end of choice %d", d.Choice)
			case d.Open != nil && isOpen, d.Open == nil && d.Finish == "" && (!isOpen || at != d.Part):
				t.Fatalf("part %d of choice %d, and %d is open (%t)", d.Part, d.Choice, at, isOpen)
			case d.Finish != "":
				finished[d.Choice] = true
			}
			if d.Open != nil {
				open[d.Choice] = d.Part
				told += string(d.Open.Kind) + d.Open.CallID + d.Open.ToolName
			}
			if d.Close {
				delete(open, d.Choice)
			}
			told += fmt.Sprintf("%d.%d %q %q %t %s\n", d.Choice, d.Part, d.Text, d.Signature, d.Close, d.Finish)
		}
		if e.Is(llm.End) {
			if len(open) > 0 {
				t.Fatalf("parts are open at the end: %v", open)
			}
			return told + "whole"
		}
	}
}
