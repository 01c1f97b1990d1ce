package bedrock

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/wire/eventstream"
)

// Whatever bytes come, they are an answer or a failure, the same however they are cut.
func FuzzDecode(f *testing.F) {
	w := &written{}
	w.event("messageStart", object{"role": "assistant"})
	w.delta(0, object{"text": "Hello."})
	w.event("messageStop", object{"stopReason": "end_turn"})
	f.Add(true, w.frames)
	f.Add(true, eventstream.Append(nil, eventstream.Event{Name: "throttlingException", Failed: true, Data: []byte("{}")}))
	f.Add(false, []byte(`{"output":{"message":{"content":[{"text":"a"}]}},"stopReason":"end_turn"}`))
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
