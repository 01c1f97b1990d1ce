package openai

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
)

// FuzzDecode feeds the codec with whatever: it neither panics nor hangs, ends every answer with an end or a failure, and
// says the same however the bytes come.
func FuzzDecode(f *testing.F) {
	for _, pattern := range []string{"upstream.sse", "upstream.json"} {
		files, err := filepath.Glob(filepath.Join("testdata", "*", pattern))
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds: %v", err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, pattern == "upstream.sse", false)
			f.Add(b, pattern == "upstream.sse", true)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, stream, embeddings bool) {
		r := &llm.Request{Op: llm.OpChat, Dialect: llm.OpenAI, Stream: stream, Choices: 1}
		if embeddings {
			r.Op, r.Stream = llm.OpEmbeddings, false
		}
		whole := decodeAll(t, bytes.NewReader(body), r)
		if bitwise := decodeAll(t, iotest.OneByteReader(bytes.NewReader(body)), r); bitwise != whole {
			t.Errorf("byte by byte: %+v\nwhole: %+v", bitwise, whole)
		}
	})
}

// A result is what came of an answer.
type result struct {
	text   string
	events int
	usage  llm.Usage
	reason provider.Reason
	whole  bool
}

func decodeAll(t *testing.T, body io.Reader, r *llm.Request) result {
	t.Helper()
	var res result
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body), ContentLength: -1}
	a, err := New().Decode(resp, provider.Settings{MaxBody: 1 << 20, MaxEvent: 1 << 16}, target, r)
	if err == nil {
		defer func() { _ = a.Close() }()
	}
	for err == nil && !res.whole {
		var e llm.Event
		if e, err = a.Next(); err != nil {
			break
		}
		res.events++
		res.text += string(e.Text)
		res.whole = e.Is(llm.End)
		if e.Is(llm.UsageIn) {
			res.usage = e.Usage
		}
		if e.ModelAt.End > len(e.Raw) || e.ModelAt.Start > e.ModelAt.End {
			t.Fatalf("the model lies at %v of %d bytes", e.ModelAt, len(e.Raw))
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) { // the stream ended within an event
		res.reason = provider.ReasonCut
	} else if err != nil {
		f, ok := errors.AsType[*provider.Failure](err)
		if !ok {
			t.Fatalf("%v is not a Failure, and the network did not fail", err)
		}
		res.reason = f.Reason
	}
	if res.usage.Input < 0 || res.usage.Output < 0 {
		t.Fatalf("usage %+v", res.usage)
	}
	return res
}
