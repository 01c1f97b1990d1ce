package console

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/bodies"
)

// JSON on lines of its own is what encoding/json makes of it.
func FuzzIndent(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":"x\\\"],{"}],"c":{},"d":[ ]}`, "[]", `"\\"`, " [ [ ] , {\"é\" :\n-1e9} ] ", "{"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		var want bytes.Buffer
		if err := json.Indent(&want, bytes.TrimSpace(text), "", "  "); err != nil {
			t.Fatal(err)
		}
		got := indent(text, 1<<20)
		if want.Len() < 1<<20 && string(got) != want.String() {
			t.Errorf("%q becomes %q, want %q", text, got, want.String())
		}
		if short := indent(text, 7); len(short) > 7 || !bytes.HasPrefix(got, short) {
			t.Errorf("%q becomes %q within 7 bytes", text, short)
		}
	})
}

// A page is bounded, whatever was kept, and says what it leaves out.
func TestWhatIsShownIsBounded(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 5000) + strings.Repeat("1,", 500_000) + "1" + strings.Repeat("]", 5000) // indented, 5 GB
	for name, c := range map[string]struct {
		part  bodies.Part
		notes []string
		begin string
	}{
		"whole":    {bodies.Part{Size: 7, Text: []byte(`{"a":1}`)}, nil, "{\n  \"a\": 1\n}"},
		"events":   {bodies.Part{Size: 9, Text: []byte("data: {}\n")}, nil, "data: {}\n"},
		"none":     {bodies.Part{}, nil, ""},
		"cut":      {bodies.Part{Size: 99, Text: []byte("{\"a\":\"\xc3")}, []string{"Only the first 7 B of 99 B were kept"}, `{"a":"`},
		"deep":     {bodies.Part{Size: int64(len(deep)), Text: []byte(deep)}, []string{"shows its beginning"}, "[\n  [\n    ["},
		"long":     {bodies.Part{Size: 3 << 20, Text: []byte(strings.Repeat("ä€", 5<<18)[:3<<20])}, []string{"shows its beginning"}, "ä€"},
		"both":     {bodies.Part{Size: 5 << 20, Text: make([]byte, 1<<20)}, []string{"Only the first", "shows its beginning"}, "\x00"},
		"no UTF-8": {bodies.Part{Size: 3, Text: []byte("a\xffb")}, nil, "a\uFFFDb"},
	} {
		got := bodyOf("request", "Request", &c.part)
		if len(got.Text) > maxShown || !utf8.ValidString(got.Text) || !strings.HasPrefix(got.Text, c.begin) || strings.HasSuffix(got.Text, "\uFFFD") {
			t.Errorf("%s: %d bytes, %.40q", name, len(got.Text), got.Text)
		}
		if len(got.Notes) != len(c.notes) {
			t.Errorf("%s: notes %q", name, got.Notes)
			continue
		}
		for i, note := range c.notes {
			if !strings.Contains(got.Notes[i], note) {
				t.Errorf("%s: note %q, want %q", name, got.Notes[i], note)
			}
		}
	}
}
