package limit

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/tokens"
)

// A form is how a stream comes: in a dialect's own events, or in the canonical form.
type form struct {
	name      string
	dialect   llm.Dialect
	canonical bool
	begins    []llm.Event
	says      func(text string) llm.Event
	ends      []llm.Event
}

var forms = []form{
	{
		name: "openai", dialect: llm.OpenAI,
		says: func(text string) llm.Event {
			return llm.Event{Has: llm.Content, Raw: []byte(`{"choices":[{"index":0,"delta":{"content":` + quote(text) + `}}]}`)}
		},
		ends: []llm.Event{{Has: llm.Finish, Raw: []byte(`{}`)}, {Has: llm.UsageIn, Raw: []byte(`{}`)}, {Has: llm.End, Raw: []byte("[DONE]")}},
	},
	{
		name: "anthropic", dialect: llm.Anthropic,
		begins: []llm.Event{
			{Name: "message_start", Raw: []byte(`{"type":"message_start"}`), Has: llm.UsageIn}, {Name: "content_block_start", Raw: []byte(`{}`)},
			{Name: "content_block_stop", Raw: []byte(`{}`)}, {Name: "content_block_start", Raw: []byte(`{}`)},
		},
		says: func(string) llm.Event {
			return llm.Event{Has: llm.Content, Name: "content_block_delta", Raw: []byte(`{}`)}
		},
		ends: []llm.Event{{Name: "content_block_stop", Raw: []byte(`{}`)}, {Has: llm.Finish | llm.UsageIn, Name: "message_delta"}, {Has: llm.End, Name: "message_stop"}},
	},
	{
		name: "responses", dialect: llm.Responses,
		begins: []llm.Event{
			{Name: "response.created", Raw: []byte(`{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress","output":[]}}`)},
			{Name: "response.in_progress", Raw: []byte(`{}`)},
		},
		says: func(string) llm.Event {
			return llm.Event{Has: llm.Content, Name: "response.output_text.delta", Raw: []byte(`{}`)}
		},
		ends: []llm.Event{{Has: llm.Finish | llm.UsageIn | llm.End, Name: "response.completed", Raw: []byte(`{}`)}},
	},
	{
		name: "canonical", dialect: llm.Gemini, canonical: true,
		begins: []llm.Event{{Deltas: []llm.Delta{{Open: &llm.Part{Kind: llm.PartText}}}}},
		says:   func(text string) llm.Event { return llm.Event{Has: llm.Content, Deltas: []llm.Delta{{Text: text}}} },
		ends: []llm.Event{
			{Has: llm.Finish | llm.UsageIn, Deltas: []llm.Delta{{Close: true}, {Finish: llm.FinishStop}}}, {Has: llm.End, Deltas: []llm.Delta{}},
		},
	},
}

// stream is one that says the texts. It notes how many of its events were taken.
func (f *form) stream(texts []string, taken *int) iter.Seq2[llm.Event, error] {
	all := append([]llm.Event{}, f.begins...)
	for _, text := range texts {
		ev := f.says(text)
		ev.Text = []byte(text)
		all = append(all, ev)
	}
	all = append(all, f.ends...)
	return func(yield func(llm.Event, error) bool) {
		for _, ev := range all {
			ev.Dialect = f.dialect
			*taken++
			if !yield(ev, nil) {
				return
			}
		}
	}
}

func (f *form) length(texts []string) int { return len(f.begins) + len(texts) + len(f.ends) }

// TestAStreamWithinItsCapIsLeftAlone, however it is cut, also at exactly its cap.
func TestAStreamWithinItsCapIsLeftAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(forms).Draw(t, "form")
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"hello ", "Wörter ", "日本語", "🌊", "x", "12345", "\n\n", "func(a, b int) ", "antidisestablishmentarianism "}), 1, 40).Draw(t, "words")
		text := strings.Repeat(strings.Join(words, ""), rapid.IntRange(1, 50).Draw(t, "times"))
		text = text[:min(len(text), tokens.MaxExact)]
		var pieces []string
		for rest := text; rest != ""; {
			n := min(rapid.SampledFrom([]int{1, 3, 7, 50, 5000}).Draw(t, "cut"), len(rest))
			if len(pieces) > 300 {
				n = len(rest)
			}
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		model := rapid.SampledFrom([]string{"gpt-4o", "gpt-5-mini", "claude-haiku-4-5", "llama-2", "nobody"}).Draw(t, "model")
		most, _ := tokens.Count(model, text)
		taken, got := 0, 0
		m := newMeter(llm.Target{Provider: "p", Model: model}, "support", max(most, 1), 1)
		for ev, err := range m.watch(f.stream(pieces, &taken), &llm.Meta{}) {
			if err != nil || ev.Usage.Estimated {
				t.Fatalf("%s of %s was ended after %d of %d events, at a cap of %d", f.name, model, taken, f.length(pieces), most)
			}
			got++
		}
		if want := f.length(pieces); got != want || taken != want {
			t.Fatalf("%d of %d events passed, %d were taken", got, want, taken)
		}
	})
}

// TestLongTextsAreCountedInPieces, and what that adds to the count ends no stream.
func TestLongTextsAreCountedInPieces(t *testing.T) {
	t.Parallel()
	for _, words := range []string{"日本語の文章です。", "antidisestablishmentarianism", "नमस्ते दुनिया ", "🌊🌊", "a b c d ", "{\"a\":[1,2,3]}\n", "0123456789"} {
		text := strings.Repeat(words, tokens.MaxExact/len(words))
		most, exact := tokens.Count("gpt-4o", text)
		m := newMeter(llm.Target{Model: "gpt-4o"}, "m", most, 1)
		for rest := text; rest != ""; rest = rest[min(len(rest), 100):] {
			m.note(&llm.Event{Dialect: llm.OpenAI, Text: []byte(rest[:min(len(rest), 100)])})
			if m.over() {
				t.Errorf("%q: ended at %d bytes of %d, %d counted of %d", words, m.bytes, len(text), m.counted, most)
				break
			}
		}
		if !exact || m.whole == 0 || !m.exact {
			t.Errorf("%q: exact %v, %d pieces", words, exact, m.whole)
		}
	}
}

// BenchmarkMeter is what it costs to meter an answer of 2,000 tokens that comes to half of its cap.
func BenchmarkMeter(b *testing.B) {
	tokens.Warm()
	ev := llm.Event{Has: llm.Content, Dialect: llm.OpenAI, Text: []byte(" word")}
	b.ReportAllocs()
	for b.Loop() {
		m := newMeter(llm.Target{Model: "gpt-4o"}, "m", 4000, 1)
		for range 2000 {
			m.note(&ev)
			if m.over() {
				b.Fatal("it is over")
			}
		}
	}
}

// TestAStreamIsEndedAtItsCap as its dialect says that, soon after it, and its provider is not listened to any longer.
func TestAStreamIsEndedAtItsCap(t *testing.T) {
	t.Parallel()
	for i := range forms {
		f := &forms[i]
		for model, exact := range map[string]bool{"gpt-4o": true, "claude-haiku-4-5": false} {
			for _, most := range []int64{64, 500, 3000} {
				t.Run(fmt.Sprint(f.name, " ", model, " ", most), func(t *testing.T) {
					t.Parallel()
					pieces := make([]string, 10_000)
					for i := range pieces {
						pieces[i] = " word"
					}
					meta, taken := &llm.Meta{ID: "id_\"1"}, 0
					cuts := 0
					m := newMeter(llm.Target{Provider: "p", Model: model}, "support", most, 1)
					m.cut = func() { cuts++ }
					var all []llm.Event
					for ev, err := range m.watch(f.stream(pieces, &taken), meta) {
						if err != nil {
							t.Fatal(err)
						}
						all = append(all, ev)
					}
					said := int64(taken - len(f.begins))
					slack := slackTokens + 8 + slackPiece*most*5/piece
					if !exact {
						slack += most * 40 / 100
					}
					if said < most || said > most+slack || cuts != 1 {
						t.Errorf("%d tokens passed of %d, and it was cut %d times", said, most, cuts)
					}
					f.checkEnding(t, all[taken:], most, taken)
					if len(meta.Finish) != 1 || meta.Finish[0] != llm.FinishLength {
						t.Errorf("finish %q", meta.Finish)
					}
				})
			}
		}
	}
}

// checkEnding checks the events that were put in the place of the provider's.
func (f *form) checkEnding(t *testing.T, ending []llm.Event, most int64, before int) {
	t.Helper()
	var has llm.Has
	var usage llm.Usage
	var text strings.Builder
	for i, ev := range ending {
		has |= ev.Has
		if ev.Dialect != f.dialect || ev.Is(llm.End) != (i == len(ending)-1) || f.canonical != (ev.Deltas != nil) {
			t.Errorf("event %d: %+v", i, ev)
		}
		if ev.Is(llm.UsageIn) {
			usage = ev.Usage
		}
		if string(ev.Raw) != "[DONE]" && ev.Raw != nil && !json.Valid(ev.Raw) {
			t.Errorf("not JSON: %s", ev.Raw)
		}
		fmt.Fprintf(&text, "%s %s %+v\n", ev.Name, ev.Raw, ev.Deltas)
	}
	if want := llm.Finish | llm.UsageIn | llm.End; has&want != want || usage.Output != most || !usage.Estimated {
		t.Errorf("%b, usage %+v", has, usage)
	}
	for _, want := range map[string][]string{
		"openai":    {`"id":"id_\"1"`, `"model":"support"`, `"finish_reason":"length"`, "[DONE]"},
		"anthropic": {`content_block_stop {"type":"content_block_stop","index":1}`, `"stop_reason":"max_tokens"`, "message_stop"},
		"responses": {"response.incomplete ", `"reason":"max_output_tokens"`, `"id":"resp_1"`, `"status":"incomplete"`, fmt.Sprintf(`"sequence_number":%d`, before)},
		"canonical": {"Close:true", "Finish:length"},
	}[f.name] {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s is not in the ending: %s", want, &text)
		}
	}
}

// TestEachChoiceIsEnded that had not ended, and no other.
func TestEachChoiceIsEnded(t *testing.T) {
	t.Parallel()
	events := func(yield func(llm.Event, error) bool) {
		all := []llm.Event{
			{Deltas: []llm.Delta{{Choice: 0, Open: &llm.Part{Kind: llm.PartText}}, {Choice: 1, Open: &llm.Part{Kind: llm.PartText}}}},
			{Deltas: []llm.Delta{{Choice: 0, Text: "x", Close: true}, {Choice: 0, Finish: llm.FinishStop}}},
		}
		for range 1000 {
			all = append(all, llm.Event{Has: llm.Content, Text: []byte(" word"), Deltas: []llm.Delta{{Choice: 1, Text: " word"}}})
		}
		for _, ev := range all {
			ev.Dialect = llm.Gemini
			if !yield(ev, nil) {
				return
			}
		}
	}
	var last []llm.Delta
	for ev := range newMeter(llm.Target{Model: "gpt-4o"}, "m", 50, 2).watch(events, nil) {
		if len(ev.Deltas) > 0 {
			last = ev.Deltas
		}
	}
	if len(last) != 2 || !last[0].Close || last[0].Choice != 1 || last[1].Choice != 1 || last[1].Finish != llm.FinishLength {
		t.Errorf("%+v", last)
	}
	raw := func(yield func(llm.Event, error) bool) {
		for i := range 1000 {
			ev := llm.Event{Has: llm.Content, Dialect: llm.OpenAI, Text: []byte(" word"), Raw: fmt.Appendf(nil, `{"choices":[{"index":%d,"delta":{"content":" word"}}]}`, i%3)}
			if !yield(ev, nil) {
				return
			}
		}
	}
	meta := &llm.Meta{Finish: []llm.FinishReason{"", llm.FinishStop}}
	m := newMeter(llm.Target{Model: "gpt-4o"}, "m", 30, 3)
	var ended [3]bool
	for ev := range m.watch(raw, meta) {
		var c struct {
			Choices []struct {
				Index  int
				Finish *string `json:"finish_reason"`
			}
		}
		if json.Unmarshal(ev.Raw, &c) == nil {
			for _, one := range c.Choices {
				ended[one.Index] = ended[one.Index] || one.Finish != nil
			}
		}
	}
	if ended != [3]bool{true, false, true} || fmt.Sprint(meta.Finish) != "[length stop length]" { // the second had ended before
		t.Errorf("ended %v, %q", ended, meta.Finish)
	}
}

// TestAStreamThatFailsFails, also at its cap.
func TestAStreamThatFailsFails(t *testing.T) {
	t.Parallel()
	failed := fmt.Errorf("broken")
	n := 0
	for _, err := range newMeter(llm.Target{Model: "gpt-4o"}, "m", 1, 1).watch(func(yield func(llm.Event, error) bool) { yield(llm.Event{}, failed) }, nil) {
		if n++; err != failed {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d events", n)
	}
}
