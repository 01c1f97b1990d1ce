package store

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
)

// TestRecordsAreWrittenAsJSONHasThem: whatever is in the fields of a record, all of them that there are, its text is that of the library
// that reads it, to the byte.
func TestRecordsAreWrittenAsJSONHasThem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := new(usage.Record)
		draw(t, reflect.ValueOf(r).Elem(), rapid.IntRange(0, 3).Draw(t, "zeros"))
		var want bytes.Buffer
		err := json.MarshalWrite(&want, r, recordText)
		got, ours := encode([]byte("before"), r)
		if (err == nil) != (ours == nil) {
			t.Fatalf("%v, and json says %v", ours, err)
		}
		if err == nil && string(got) != "before"+want.String() {
			t.Fatalf("got  %s\nwant %s", got, want.Bytes())
		}
	})
}

// draw fills a value with what may be there; of zeros in a row of four fields stay zero.
func draw(t *rapid.T, v reflect.Value, zeros int) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		zone := rapid.SampledFrom([]*time.Location{time.UTC, time.UTC, time.Local, time.FixedZone("", 3600), time.FixedZone("", 61)}).Draw(t, "zone")
		at := rapid.SampledFrom([]int64{0, 1, 1_764_374_400_000_000, 1_764_374_400_120_000, -62135596800_000_000, -99999999999_000_000, 999999999999_000_000}).Draw(t, "time")
		v.Set(reflect.ValueOf(time.UnixMicro(at).In(zone)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			tag := v.Type().Field(i).Tag.Get("json")
			if tag == "-" || v.Type().Field(i).Type == reflect.TypeFor[[]pipeline.Charge]() || rapid.IntRange(0, 3).Draw(t, "zero") < zeros {
				continue
			}
			draw(t, v.Field(i), zeros)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		draw(t, v.Elem(), zeros)
	case reflect.Slice:
		n := rapid.IntRange(0, 2).Draw(t, "length")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			draw(t, v.Index(i), zeros)
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(rapid.Uint64Range(0, 255).Draw(t, "byte"))
		}
	case reflect.String:
		v.SetString(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"ex_1", "{", "a\xffb", "gr\u00fcn\x00\n", `\"`, "<&>\u2028", "\x7f"})).Draw(t, "text"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.OneOf(rapid.Int64(), rapid.Int64Range(-1, 200)).Draw(t, "number"))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(rapid.Float64Range(-1e30, 1e30).Draw(t, "float"))
	default:
		t.Fatalf("a field of kind %s is new here", v.Kind())
	}
}

func BenchmarkRecordText(b *testing.B) {
	r := &usage.Record{ID: "ex_01M8N2FCBYHSMBX88H8S6S45AA", Time: time.UnixMicro(1_764_374_400_120_001).UTC(), Org: "bench", Project: "prj_01M8N2F3GD80PP26P7CSMB9V30",
		Key: "key_01M8N2F3JV4S7CH2T70711RDEB", User: "ann@example.org", Model: "bench", Target: "mock/bench-model", Op: "chat", Dialect: "openai", Status: 200, CostNano: 162500,
		Timings: usage.Timings{TotalNS: 1625639, FirstNS: 1625458, OverheadNS: 130816}, Stages: []pipeline.Decision{{Stage: "auth", Decision: "key bench (psk_6ucfAP), project bench", AtNS: 73037},
			{Stage: "route", Decision: "the only target is mock/bench-model", AtNS: 119704, TookNS: 11582}},
		Tries: []pipeline.Try{{ID: "ex_01M8N2FCBYHSMBX88H8S6S45AA-1", Target: "mock/bench-model", StartNS: 130816, TookNS: 1494823, FirstNS: 1625458, Status: 200, Reason: "ok",
			AnswerID: "chatcmpl-bench", Model: "bench-model", Finish: []llm.FinishReason{"stop"}, Outcome: pipeline.SettledActual, CostNano: 162500, BoundNano: 719750}}}
	var room []byte
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			room, _ = encode(room[:0], r)
		}
	})
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		var w bytes.Buffer
		for b.Loop() {
			w.Reset()
			_ = json.MarshalWrite(&w, r, recordText)
		}
	})
}
