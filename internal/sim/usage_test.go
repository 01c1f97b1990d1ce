package sim_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/sim/simtest"
)

func TestUsageKinds(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	for _, c := range []struct {
		kind                                  string
		reports                               []int64 // completion tokens, in the order of the stream
		billedPrompt, billedCompletion, plain int64   // plain -1: no usage
	}{
		{"true", []int64{8}, 3, 8, 8},
		{"none", nil, 3, 8, -1},
		{"null", nil, 3, 8, -1},
		{"zero", []int64{0}, 0, 0, 0},
		{"early", []int64{8}, 3, 8, 8},
		{"split", []int64{0, 8}, 3, 8, 8},
		{"cumulative", []int64{1, 2, 3, 4, 5, 6, 7, 8, 8}, 3, 8, 8},
		{"twice", []int64{4, 8}, 3, 8, 8},
		{"huge", []int64{80}, 3, 80, 80},
	} {
		t.Run(c.kind, func(t *testing.T) {
			s := b.chat("usage="+c.kind, true).stream()
			var reports []int64
			for _, u := range s.usages() {
				reports = append(reports, u.Completion)
			}
			if len(reports) != len(c.reports) {
				t.Fatalf("reports %v, want %v", reports, c.reports)
			}
			for i := range reports {
				is(t, "report", reports[i], c.reports[i])
			}
			line := b.last()
			is(t, "billed prompt", line.Prompt, c.billedPrompt)
			is(t, "billed completion", line.Completion, c.billedCompletion)

			u := b.chat("usage="+c.kind, false).plain(t).Usage
			switch {
			case c.plain < 0:
				is(t, "plain usage", u, nil)
			case u == nil:
				t.Error("no usage in the plain answer")
			default:
				is(t, "plain usage", u.Completion, c.plain)
			}
			is(t, "streamed and plain cost", b.last().Cost, line.Cost)
		})
	}
	s := b.chat("usage=early", true).stream()
	is(t, "early comes first", s.chunks[0].Usage != nil, true)
	is(t, "huge is over the cap", b.chat("usage=huge", false, `"max_tokens":30`).plain(t).Usage.Completion, 300)
}

func TestCachedShareIsCheaper(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	u := b.chat("cached=0.5", false, `"messages":[{"role":"user","content":"`+strings.Repeat("x", 400)+`"}]`).plain(t).Usage
	is(t, "prompt", u.Prompt, 100)
	is(t, "cached", u.Input.Cached, 50)
	// 50 at $1, 50 at $0.50, 8 at $4 a million
	is(t, "cost", b.last().Cost, llm.Money(50*1000+50*500+8*4000))
}

func TestBilledWhateverWasAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	is(t, "status", b.chat("status=500&bill=300", false).status, 500)
	is(t, "prompt", b.last().Prompt, 3)
	is(t, "completion", b.last().Completion, 300)
	b.chat("status=500", false)
	is(t, "an ordinary error costs", b.last().Cost, 0)

	b.chat("hidden_reasoning=300&cut=0:rst", true)
	is(t, "reasoned before the cut", b.last().Completion, 300)
	is(t, "cut", b.last().Cut, true)
	b.chat("cut=3", true)
	is(t, "sent before the cut", b.last().Completion, 3)
	b.chat("error_at=2", true)
	is(t, "sent before the error", b.last().Completion, 2)
	b.chat("cut=1", false)
	is(t, "a plain answer was generated whole", b.last().Completion, 8)
}

func TestMaxTokensEndsWithLength(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	g := b.chat("", false, `"max_completion_tokens":5`)
	is(t, "finish", *g.plain(t).Choices[0].Finish, "length")
	is(t, "words", len(strings.Fields(g.said(t))), 5)
	deaf := b.chat("deaf=1&events=12", true, `"max_tokens":5`).stream()
	is(t, "what a deaf provider generates", deaf.contents(), 12)
	is(t, "how it says that it ended", deaf.finish(), "stop")
	s := b.chat("hidden_reasoning=3", true, `"max_tokens":5`).stream()
	is(t, "finish", s.finish(), "length")
	is(t, "contents", s.contents(), 2)
	is(t, "tokens", s.usages()[0].Completion, 5)
	s = b.chat("hidden_reasoning=30", true, `"max_tokens":5`).stream()
	is(t, "contents", s.contents(), 0)
	is(t, "tokens", s.usages()[0].Completion, 5)
}

func TestMessagesSteer(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	const text = `  "a" \ b` + "\n\té 漢 \u2028 end "
	said, _ := json.Marshal("echo:" + text)
	ask := `"messages":[{"role":"system","content":"s"},{"role":"user","content":"say:3"},{"role":"assistant","content":"x"},{"role":"user","content":[{"type":"text","text":` + string(said) + `},{"type":"image_url","image_url":{"url":"u"}}]}]`
	is(t, "echo", b.chat("", false, ask).said(t), text)
	s := b.chat("", true, ask).stream()
	is(t, "streamed echo", s.text(0), text)
	is(t, "prompt", s.usages()[0].Prompt, int64((1+5+1+len("echo:"+text)+3)/4+85))
	is(t, "say", len(strings.Fields(b.chat("", false, `"messages":[{"role":"user","content":"say:21 and no more"}]`).said(t))), 21)
	g := b.chat("", false, `"messages":[{"role":"user","content":`+jsonText(sim.Prompt(500, 37))+`}]`)
	is(t, "prompt asked", g.plain(t).Usage.Prompt, 500)
	is(t, "answer asked", g.plain(t).Usage.Completion, 37)
}

func jsonText(s string) string { b, _ := json.Marshal(s); return string(b) }

func TestChoicesAreInterleaved(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	s := b.chat("", true, `"n":3`).stream()
	is(t, "contents", s.contents(), 24)
	is(t, "tokens", s.usages()[0].Completion, 24)
	is(t, "second event of content", s.chunks[3+1].Choices[0].Index, 1)
	is(t, "different texts", s.text(0) != s.text(1), true)
	is(t, "choices", len(b.chat("", false, `"n":3`).plain(t).Choices), 3)
}

func TestLogprobs(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	c := b.chat("per_event=4", false, `"logprobs":true,"top_logprobs":2`).plain(t).Choices[0]
	is(t, "tokens", len(c.Logprobs.Content), 8)
	is(t, "alternatives", len(c.Logprobs.Content[0].Top), 2)
	text := ""
	for _, l := range c.Logprobs.Content {
		text += l.Token
	}
	is(t, "text", text, *c.Message.Content)
	s := b.chat("per_event=4", true, `"logprobs":true`).stream()
	is(t, "token of an event", s.chunks[1].Choices[0].Logprobs.Content[0].Token, *s.chunks[1].Choices[0].Delta.Content)
}

const twoTools = `"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer","minimum":2}},"required":["city","days"]}}},{"type":"function","function":{"name":"time","parameters":{}}}]`

func TestToolsAreCalled(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	for _, c := range []struct{ do, more, names string }{
		{"", twoTools, ""},
		{"", twoTools + `,"tool_choice":"required"`, "weather"},
		{"", twoTools + `,"tool_choice":{"type":"function","function":{"name":"time"}}`, "time"},
		{"tool_calls=3", twoTools, "weather time weather"},
		{"tool_calls=1", `"temperature":1`, "lookup"},
		{"", `"messages":[{"role":"user","content":"call:time"}],` + twoTools, "time"},
		{"", `"messages":[{"role":"user","content":"call:time"}],"tool_choice":"none",` + twoTools, ""},
	} {
		m := b.chat(c.do, false, c.more).plain(t).Choices[0]
		var names []string
		for _, call := range m.Message.ToolCalls {
			names = append(names, call.Function.Name)
			is(t, "arguments are JSON", json.Valid([]byte(call.Function.Arguments)), true)
		}
		is(t, c.do+c.more, strings.Join(names, " "), c.names)
		is(t, "finish", *m.Finish == "tool_calls", c.names != "")
	}
	arguments := b.chat("", false, twoTools+`,"tool_choice":"required"`).plain(t).Choices[0].Message.ToolCalls[0].Function.Arguments
	is(t, "arguments", arguments, `{"city":"water","days":2}`)
}

func TestShapesOfToolCalls(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	for shape, want := range map[string]struct {
		indexes string // of all deltas of calls
		ids     int    // deltas with an id that is not empty
		types   int
	}{
		"plain":        {"000000 11", 2, 2},
		"whole":        {"01", 2, 2},
		"no_index":     {"------ --", 2, 2},
		"same_index":   {"000000 00", 2, 2},
		"repeat_id":    {"000000 11", 8, 2},
		"empty_id":     {"000000 11", 2, 2},
		"no_type":      {"000000 11", 2, 0},
		"interleaved":  {"0101 0000", 2, 2},
		"reordered":    {"11 000000", 2, 2},
		"split_escape": {"", 2, 2},
	} {
		indexes, ids, types := "", 0, 0
		var arguments [2]string
		for _, c := range b.chat("tool_calls=2&shape="+shape, true, twoTools).stream().chunks {
			for _, ch := range c.Choices {
				for _, call := range ch.Delta.ToolCalls {
					if call.Index == nil {
						indexes += "-"
					} else {
						indexes += string(rune('0' + *call.Index))
						arguments[*call.Index] += call.Function.Arguments
					}
					if call.ID != nil && *call.ID != "" {
						ids++
					}
					if call.Type != "" {
						types++
					}
				}
			}
		}
		if want.indexes != "" {
			is(t, shape+" indexes", indexes, strings.ReplaceAll(want.indexes, " ", ""))
		}
		is(t, shape+" ids", ids, want.ids)
		is(t, shape+" types", types, want.types)
		if shape != "no_index" && shape != "same_index" {
			is(t, shape+" arguments are JSON", json.Valid([]byte(arguments[0])) && json.Valid([]byte(arguments[1])), true)
		}
	}
}

func TestStructuredOutput(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	const format = `"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"]}}}`
	is(t, "instance", b.chat("", false, format).said(t), `{"ok":true}`)
	s := b.chat("", true, format).stream()
	is(t, "streamed instance", s.text(0), `{"ok":true}`)
	is(t, "ignored", strings.Contains(b.chat("ignore_format=1", false, format).said(t), "{"), false)
	is(t, "any object", b.chat("", false, `"response_format":{"type":"json_object"}`).said(t), "{}")
}

// embed asks for embeddings of input, which is JSON, and gives them as they came.
func (b *bench) embed(input, more string) (vectors []json.RawMessage, u usage) {
	b.t.Helper()
	g := b.post(b.t.Context(), "/v1/embeddings", `{"model":"gpt-x","input":`+input+more+`}`)
	var out struct {
		Data []struct {
			Index     int             `json:"index"`
			Embedding json.RawMessage `json:"embedding"`
		} `json:"data"`
		Usage usage `json:"usage"`
	}
	if err := json.Unmarshal([]byte(g.body), &out); err != nil {
		b.t.Fatalf("%v in %q", err, g.body)
	}
	for i, d := range out.Data {
		if d.Index != i {
			b.t.Errorf("vector %d has index %d", i, d.Index)
		}
		vectors = append(vectors, d.Embedding)
	}
	return vectors, out.Usage
}

func floats(t *testing.T, raw json.RawMessage) []float32 {
	t.Helper()
	var v []float32
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEmbeddings(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	one, u := b.embed(`"hello you"`, "")
	v := floats(t, one[0])
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	is(t, "dimensions", len(v), 256)
	is(t, "unit", math.Abs(sum-1) < 1e-4, true)
	is(t, "tokens", u.Prompt, 3)
	is(t, "billed", b.last().Prompt, 3)
	is(t, "billed completion", b.last().Completion, 0)

	two, u := b.embed(`["hello you","other"]`, `,"dimensions":8`)
	is(t, "vectors", len(two), 2)
	is(t, "dimensions", len(floats(t, two[0])), 8)
	is(t, "different", string(two[0]) != string(two[1]), true)
	is(t, "tokens", u.Total, 5)

	again, _ := b.embed(`"hello you"`, `,"encoding_format":"base64"`)
	raw, err := base64.StdEncoding.DecodeString(strings.Trim(string(again[0]), `"`))
	if err != nil || len(raw) != 4*256 {
		t.Fatalf("%d bytes of base64, %v", len(raw), err)
	}
	is(t, "the same as floats", math.Float32frombits(binary.LittleEndian.Uint32(raw)), v[0])

	tokens, u := b.embed(`[[1,2,3],[4]]`, "")
	is(t, "vectors of tokens", len(tokens), 2)
	is(t, "tokens", u.Prompt, 4)
	single, _ := b.embed(`[1,2,3]`, "")
	is(t, "a list of tokens is one input", string(single[0]), string(tokens[0]))
}

func TestEmbeddingsThatGoWrong(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	g := b.post(t.Context(), "/v1/embeddings", `{"model":"gpt-x?ignore_format=1","input":"a","encoding_format":"base64","dimensions":3}`)
	is(t, "floats in spite of base64", strings.Contains(g.body, `"embedding":[`), true)
	is(t, "status", b.post(t.Context(), "/v1/embeddings", `{"model":"gpt-x?status=503","input":"a"}`).status, 503)
	is(t, "huge", b.post(t.Context(), "/v1/embeddings", `{"model":"gpt-x?usage=huge","input":"a"}`).plain(t).Usage.Prompt, 10)
	is(t, "and billed so", b.last().Prompt, 10)
	is(t, "no usage", b.post(t.Context(), "/v1/embeddings", `{"model":"gpt-x?usage=none","input":"a"}`).plain(t).Usage, nil)
	for _, bad := range []string{`""`, `[]`, `{}`, `[[]]`, `["",1]`, `null`, `3`} {
		is(t, bad, b.post(t.Context(), "/v1/embeddings", `{"model":"gpt-x","input":`+bad+`}`).status, 400)
	}
}

// TestPartsAreBilled at their own rates, to the last one.
func TestPartsAreBilled(t *testing.T) {
	t.Parallel()
	c := simtest.Config()
	price := sim.Price{Input: "1", Write: "1.25", WriteHour: "2", Output: "5", InputAudio: "32", Audio: "64", Image: "30", Search: "0.01"}
	c.Providers["parts"] = sim.Provider{Models: map[string]sim.Model{"*": {Price: price, Output: "8"}}}
	b := setup(t, c)
	prompt := `"messages":[{"role":"user","content":"` + strings.Repeat("x", 400) + `"}]`
	for do, want := range map[string]struct {
		parts llm.Parts
		cost  func(prompt int64) int64 // nano-dollars
	}{
		"written=0.5": {llm.Parts{CacheWriteMinutes: 50}, func(n int64) int64 { return (n-50)*1000 + 50*1250 + 8*5000 }},
		"written=0.5&hour=0.4&searches=3": {llm.Parts{CacheWriteHour: 20, CacheWriteMinutes: 30, Searches: 3}, func(n int64) int64 {
			return (n-50)*1000 + 30*1250 + 20*2000 + 8*5000 + 30_000_000
		}},
		"heard=0.25&spoken=0.5&pictures=0.5": {llm.Parts{InputAudio: 25, OutputAudio: 4, OutputImage: 2}, func(n int64) int64 {
			return (n-25)*1000 + 25*32_000 + 2*5000 + 4*64_000 + 2*30_000
		}},
		"usage=zero&heard=1&searches=2": {llm.Parts{}, func(int64) int64 { return 0 }},
	} {
		for _, stream := range []bool{false, true} {
			b.post(t.Context(), "/parts/v1/chat/completions", chatBody(do, stream, prompt))
			line := b.last()
			is(t, do+": parts", line.Parts, want.parts)
			is(t, do+": cost", int64(line.Cost), want.cost(line.Prompt))
		}
	}
}
