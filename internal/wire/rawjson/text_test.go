package rawjson

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// FuzzText holds what is quick here against the library: it must be the same, byte for byte.
func FuzzText(f *testing.F) {
	for _, s := range []string{
		"", "plain", "eight by", `"`, `\`, "line\nend\ttab", "\x00\x1f\x7f", "é", "seven.é", "日本語のテキスト", "🙂", "\xff", "ok \xc3", "\u2028<&>",
		`"a\nb"`, `"\u0041\n"`, `"\n\ud83d\ude42"`, `"\ud83d\n"`, `"\\\""`, `"\/\b\f\r\t"`, strings.Repeat(`one "line"`+"\n", 20),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, wrong := jsontext.AppendQuote([]byte("x"), s)
		got, err := appendQuoted([]byte("x"), s)
		if !bytes.Equal(got, want) || (err == nil) != (wrong == nil) {
			t.Fatalf("%q is written %s (%v), want %s (%v)", s, got, err, want, wrong)
		}
		raws := [][]byte{AppendQuoted(nil, s)}
		if raw := bytes.TrimSpace([]byte(s)); Valid(raw) && raw[0] == '"' {
			raws = append(raws, raw)
		}
		for _, raw := range raws {
			want, err := jsontext.AppendUnquote(nil, raw)
			if err != nil && len(want) == 0 {
				t.Fatalf("%s: %v", raw, err)
			}
			if got := AppendUnquoted([]byte("x"), raw); string(got) != "x"+string(want) {
				t.Fatalf("%s says %q, want %q", raw, got, want)
			}
			if got, text := Unquoted(raw), UnquotedString(raw); !bytes.Equal(got, want) || text != string(want) {
				t.Fatalf("%s says %q and %q, want %q", raw, got, text, want)
			}
		}
	})
}

func TestFieldsOfManyNames(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 40 {
		b.WriteString(`,"a long name of a member ` + strings.Repeat("x", i) + `\n":` + strings.Repeat("1", i+1))
	}
	object := []byte("{" + b.String()[1:] + "}")
	o := ObjectOf(object)
	for i, f := range Fields(object) {
		if want := "a long name of a member " + strings.Repeat("x", i) + "\n"; f.Name != want || len(f.Value.Of(object)) != i+1 || o.Fields[i] != f {
			t.Errorf("%d: %+v, %+v", i, f, o.Fields[i])
		}
	}
	o.Take(o.Fields[0].Name, o.Fields[39].Name)
	if len(o.Fields) != 38 || len(o.Rest()) != 38 {
		t.Errorf("%d members are left", len(o.Fields))
	}
}

const prompt = `Is the quick brown fox, at 10:30,` + "\n" + `over the lazy dog? "Yes." `

func BenchmarkAppendQuoted1K(b *testing.B) {
	s, dst := strings.Repeat(prompt, 16), make([]byte, 0, 2048)
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendQuoted(dst[:0], s)
	}
}

func BenchmarkUnquotedString1K(b *testing.B) {
	raw := AppendQuoted(nil, strings.Repeat(prompt, 16))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		_ = UnquotedString(raw)
	}
}

func BenchmarkObjectOf(b *testing.B) {
	value := []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" Hello"}}`)
	b.ReportAllocs()
	for b.Loop() {
		_ = ObjectOf(value).Str("type")
	}
}
