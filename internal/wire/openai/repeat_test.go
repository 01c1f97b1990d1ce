package openai

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/llm"
)

// follow scans events one after the other, and holds each against a scan of it alone. It says how many were not parsed.
func follow(t testing.TB, events ...string) (repeats int) {
	t.Helper()
	var c ChunkScanner
	var metas [2]llm.Meta
	buffer := []byte("there before")
	for i, data := range events {
		var got, want llm.Event
		if c.between([]byte(data)) != nil {
			repeats++
		}
		gotErr := c.Scan([]byte(data), &got, buffer[:5], &metas[0])
		wantErr := ScanChunk([]byte(data), &want, nil, &metas[1])
		if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) || string(got.Text) != string(want.Text) {
			t.Fatalf("event %d of %q: %v, %v, text %q, want %q", i, events, gotErr, wantErr, got.Text, want.Text)
		}
		got.Text, want.Text = nil, nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("event %d of %q (-want +got):\n%s", i, events, diff)
		}
	}
	if diff := cmp.Diff(metas[1], metas[0]); diff != "" {
		t.Fatalf("meta of %q (-want +got):\n%s", events, diff)
	}
	return repeats
}

func TestChunksThatRepeat(t *testing.T) {
	t.Parallel()
	with := func(text string) string { return strings.Replace(usualChunk, " Hello", text, 1) }
	behind := func(text string) string { return `{"choices":[{"delta":{"content":"` + text + `"}}],"model":"m"}` }
	for name, tt := range map[string]struct {
		events  []string
		repeats int
	}{
		"texts":              {[]string{with("a"), with("bc"), with("d"), with("☂😀")}, 3},
		"model behind":       {[]string{behind("a"), behind("bcd"), behind("e")}, 2},
		"escapes":            {[]string{with("a"), with(`\n`), with("b"), with(`\"`), with("c"), with(`\u00e9`), with("d")}, 0},
		"an empty text":      {[]string{with("a"), with(""), with("b")}, 0},
		"not UTF-8":          {[]string{with("a"), with("\xff"), with("b")}, 0},
		"not JSON":           {[]string{with("a"), with("a\nb"), with("c")}, 0},
		"another id":         {[]string{with("a"), strings.Replace(with("b"), "123", "124", 1), with("c")}, 0},
		"a finish":           {[]string{with("a"), strings.Replace(with("b"), `"finish_reason":null`, `"finish_reason":"stop"`, 1), with("c")}, 0},
		"only finishes":      {[]string{delta(`"delta":{"content":"a"},"finish_reason":"stop"`), delta(`"delta":{"content":"b"},"finish_reason":"stop"`)}, 0},
		"the id is the text": {[]string{`{"id":"a","choices":[{"delta":{"content":"a"}}]}`, `{"id":"b","choices":[{"delta":{"content":"a"}}]}`}, 0},
		"two texts":          {[]string{delta(`"delta":{"content":"a","refusal":"b"}`), delta(`"delta":{"content":"c","refusal":"b"}`)}, 0},
		"two names for one":  {[]string{delta(`"delta":{"reasoning":"a","reasoning_content":"a"}`), delta(`"delta":{"reasoning":"b","reasoning_content":"a"}`)}, 0},
		"parts":              {[]string{delta(`"delta":{"content":[{"type":"text","text":"a"}]}`), delta(`"delta":{"content":[{"type":"text","text":"b"}]}`)}, 0},
		"arguments":          {[]string{delta(`"delta":{"tool_calls":[{"function":{"arguments":"a"}}]}`), delta(`"delta":{"tool_calls":[{"function":{"arguments":"b"}}]}`)}, 1},
		"long events":        {[]string{behind(strings.Repeat("a", 5000)), behind(strings.Repeat("b", 5000)), behind("c"), behind("d")}, 1},
		"done":               {[]string{with("a"), "[DONE]", with("b")}, 0},
	} {
		if got := follow(t, tt.events...); got != tt.repeats {
			t.Errorf("%s: %d were not parsed, want %d", name, got, tt.repeats)
		}
	}
}

// Whoever puts something new into each event is not compared for ever.
func TestChunksThatNeverRepeat(t *testing.T) {
	t.Parallel()
	var c ChunkScanner
	for i := range 20 {
		var ev llm.Event
		if err := c.Scan([]byte(strings.Replace(usualChunk, "123", fmt.Sprint(i), 1)), &ev, nil, nil); err != nil || string(ev.Text) != " Hello" {
			t.Fatal(err, ev)
		}
	}
	if c.misses != enough {
		t.Errorf("%d misses", c.misses)
	}
}

// FuzzChunkScanner: events that differ in one place are found to say what they say alone, wherever that place is.
func FuzzChunkScanner(f *testing.F) {
	i := strings.Index(usualChunk, " Hello")
	f.Add(usualChunk[:i], "a", "bc", "d", usualChunk[i+len(" Hello"):])
	f.Add(`{"id":"`, "a", "b", "c", `","choices":[{"delta":{"content":"a"}}]}`)
	f.Add(`{"choices":[{"delta":{"reasoning":"`, "a", "b", "c", `","reasoning_content":"a"}}],"model":"m"}`)
	f.Add(`{"choices":[{"delta":{"content":["`, "a", "b", "c", `","a"]}}],"usage":{"prompt_tokens":1}}`)
	f.Add(`{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":"`, "a", `\n`, "c", `"}}]}}]}`)
	f.Add(`{"choices":[{"finish_reason":"`, "a", "stop", "", `","delta":{"content":"a"}}]}`)
	f.Fuzz(func(t *testing.T, before, a, b, c, after string) {
		follow(t, before+a+after, before+b+after, before+c+after, before+a+after)
	})
}

// BenchmarkChunkScanner is the usual stream: BenchmarkScanChunk, where only the text is new.
func BenchmarkChunkScanner(b *testing.B) {
	data, text := []byte(usualChunk), make([]byte, 0, 64)
	var ev llm.Event
	var c ChunkScanner
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Scan(data, &ev, text, nil); err != nil {
			b.Fatal(err)
		}
	}
}
