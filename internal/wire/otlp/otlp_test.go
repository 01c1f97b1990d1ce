package otlp

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	tracerpc "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// Whatever is written is read back by the protocol's own types, and nothing is left over.
func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Custom(func(t *rapid.T) string {
			return strings.Repeat("x", rapid.IntRange(0, 40_000).Draw(t, "length")) // lengths of one to three bytes
		}))
		list := rapid.SliceOfN(text, 0, 4).Draw(t, "list")
		number, float, word := rapid.Int64().Draw(t, "int"), rapid.Float64().Draw(t, "double"), text.Draw(t, "text")
		span := Span{
			Trace: [16]byte{1}, ID: [8]byte{2}, Parent: [8]byte{3}, State: "a=1", Flags: 1, Remote: true,
			Name: text.Draw(t, "name"), Kind: Client, Start: 5, End: rapid.Int64Min(5).Draw(t, "end"), Failed: rapid.Bool().Draw(t, "failed"),
			Attrs:  []Attr{{}, String("s", word), Int("i", number), Double("d", float), Bool("b", true), Strings("l", list)},
			Events: []Event{{7, text.Draw(t, "event"), []Attr{Double("took", 0.5)}}},
		}
		source := Source{Resource: []Attr{String("r", word)}, Scope: "s", Version: "v", Schema: "u"}
		n := rapid.IntRange(0, 3).Draw(t, "spans")
		var items []byte
		for range n {
			items = span.Append(items)
		}
		var got tracerpc.ExportTraceServiceRequest
		if err := proto.Unmarshal(source.AppendRequest(nil, items), &got); err != nil {
			t.Fatal(err)
		}
		spans := got.ResourceSpans[0].ScopeSpans[0].Spans
		if len(spans) != n || got.ResourceSpans[0].Resource.Attributes[0].Value.GetStringValue() != word || got.ResourceSpans[0].SchemaUrl != "u" {
			t.Fatalf("got %d spans, want %d", len(spans), n)
		}
		for _, s := range spans {
			failed := s.Status.GetCode() == 2
			if s.Name != span.Name || s.EndTimeUnixNano != uint64(span.End) || failed != span.Failed || s.Flags != 1|1<<8|1<<9 || s.Events[0].Name != span.Events[0].Name ||
				s.Events[0].Attributes[0].GetKey() != "took" || s.Events[0].Attributes[0].GetValue().GetDoubleValue() != 0.5 {
				t.Fatalf("got %v, want %v", s, span)
			}
			a := s.Attributes
			if len(a) != 5 || a[0].Value.GetStringValue() != word || a[1].Value.GetIntValue() != number ||
				math.Float64bits(a[2].Value.GetDoubleValue()) != math.Float64bits(float) || !a[3].Value.GetBoolValue() {
				t.Fatalf("got %v", a)
			}
			if diff := cmp.Diff(list, textsOf(a[4].Value)); diff != "" && len(list) > 0 {
				t.Fatal(diff)
			}
		}
	})
}

func textsOf(v *common.AnyValue) (list []string) {
	for _, one := range v.GetArrayValue().GetValues() {
		list = append(list, one.GetStringValue())
	}
	return list
}

func FuzzParseAnswer(f *testing.F) {
	full, err := proto.Marshal(&tracerpc.ExportTraceServiceResponse{PartialSuccess: &tracerpc.ExportTracePartialSuccess{RejectedSpans: 3, ErrorMessage: "no"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte{})
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := ParseAnswer(b)
		var want tracerpc.ExportTraceServiceResponse
		if err := proto.Unmarshal(b, &want); err != nil {
			return // ParseAnswer need not see everything that is wrong
		}
		if p := want.PartialSuccess; !ok || got.Rejected != p.GetRejectedSpans() || got.Message != p.GetErrorMessage() {
			t.Fatalf("got %+v, %v; want %v", got, ok, p)
		}
	})
}
