package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/anthropic"
	"github.com/penstock/penstock/internal/wire/openai"
)

// A loss is what a request may lose in another dialect, and under which of these names the answer says so.
type loss struct {
	what  string
	names []string
}

// losses are all. The page of dialects has them, and the test below finds no other.
var losses = []loss{
	{"reasoning of earlier turns, with its proof", []string{"reasoning_content", "reasoning"}},
	{"that the model is to reason, and how much", []string{"reasoning"}},
	{"marks for caching", []string{"cache_control"}},
	{"`temperature`", []string{"temperature"}},
	{"`top_p`", []string{"top_p"}},
	{"`top_k`", []string{"top_k"}},
	{"`seed`", []string{"seed"}},
	{"`frequency_penalty`", []string{"frequency_penalty"}},
	{"`presence_penalty`", []string{"presence_penalty"}},
	{"`verbosity`", []string{"verbosity"}},
	{"a cap above what the model can", []string{"max_tokens"}},
	{"the end user", []string{"user"}},
	{"`metadata`", []string{"metadata"}},
	{"`service_tier`", []string{"service_tier"}},
	{"`prompt_cache_key`", []string{"prompt_cache_key"}},
	{"the name of a speaker", []string{"name"}},
	{"citations of earlier turns", []string{"citations"}},
	{"`logit_bias`", []string{"logit_bias"}},
	{"that calls are made one at a time, for models that are asked for it in words", []string{"parallel_tool_calls"}},
	{"that what does not fit may be cut off", []string{"truncation"}},
	{"that the vendor clears what is old out of a conversation", []string{"context_management"}},
	{"what the vendor keeps and watches", []string{"store", "safety_identifier", "moderation"}},
	{"how long the vendor caches a prompt", []string{"prompt_cache_retention", "prompt_cache_options"}},
	{"a faster answer for more money", []string{"speed"}},
}

// lossTable is the part of the page that says what is lost.
func lossTable() string {
	var b strings.Builder
	b.WriteString("\n## What is lost on the way\n\nWhat a request says is asked of every model, or refused. Nothing else is left out than this, and then it is named in `X-Penstock-Adapted`;\n" +
		"a test draws requests of all that can be said and finds everything else on the other side.\n\n| what | named |\n|---|---|\n")
	for _, l := range losses {
		fmt.Fprintf(&b, "| %s | `%s` |\n", l.what, strings.Join(l.names, "` or `"))
	}
	return b.String()
}

// A drawing is a chat in which each thing that is said has a mark of its own, by which it is found again.
type drawing struct {
	*rapid.T
	chat  llm.Chat
	n     int
	marks map[string]*loss // which mark may be lost as what; nil is never
}

func (d *drawing) mark(may *loss) string {
	d.n++
	m := fmt.Sprintf("mark%03dx", d.n)
	d.marks[m] = may
	return m
}

func lossOf(name string) *loss {
	i := slices.IndexFunc(losses, func(l loss) bool { return slices.Contains(l.names, name) })
	return &losses[i]
}

func (d *drawing) maybe() bool { return rapid.Bool().Draw(d.T, "maybe") }

func (d *drawing) cache() *llm.CacheMark {
	if d.maybe() {
		return &llm.CacheMark{}
	}
	return nil
}

// said draws a part of what the user says.
func (d *drawing) said() llm.Part {
	p := llm.Part{Cache: d.cache()}
	switch rapid.IntRange(0, 5).Draw(d.T, "part") {
	case 0:
		p.Kind, p.MediaType, p.Data = llm.PartImage, "image/png", []byte(d.mark(nil))
	case 1:
		p.Kind, p.URL = llm.PartImage, "https://a.test/"+d.mark(nil)
	case 2:
		p.Kind, p.MediaType, p.Data, p.Filename = llm.PartFile, "application/pdf", []byte(d.mark(nil)), d.mark(nil)+".pdf"
	case 3:
		p.Kind, p.MediaType, p.Data = llm.PartFile, "text/plain", []byte(d.mark(nil))
	default:
		p.Kind, p.Text = llm.PartText, d.mark(nil)
	}
	return p
}

func (d *drawing) turns() {
	c := &d.chat
	text := func(role llm.Role) {
		c.Messages = append(c.Messages, llm.Message{Role: role, Parts: []llm.Part{{Kind: llm.PartText, Text: d.mark(nil), Cache: d.cache()}}})
	}
	for range rapid.IntRange(0, 2).Draw(d.T, "prompts") {
		text(llm.RoleSystem)
	}
	for range rapid.IntRange(1, 4).Draw(d.T, "turns") {
		m := llm.Message{Role: llm.RoleUser}
		for range rapid.IntRange(1, 3).Draw(d.T, "said") {
			m.Parts = append(m.Parts, d.said())
		}
		c.Messages = append(c.Messages, m)
		if d.maybe() {
			text(llm.RoleSystem)
		}
		answer := llm.Message{Role: llm.RoleAssistant}
		if d.maybe() {
			answer.Parts = append(answer.Parts, llm.Part{Kind: llm.PartReasoning, Text: d.mark(lossOf("reasoning_content")), Signature: d.mark(lossOf("reasoning_content"))})
		}
		answer.Parts = append(answer.Parts, llm.Part{Kind: llm.PartText, Text: d.mark(nil)})
		var results []llm.Message
		for range rapid.IntRange(0, 2).Draw(d.T, "calls") {
			id := d.mark(nil)
			answer.Parts = append(answer.Parts, llm.Part{Kind: llm.PartToolCall, CallID: id, ToolName: "f", Arguments: `{"a":"` + d.mark(nil) + `"}`})
			result := llm.Part{Kind: llm.PartToolResult, CallID: id, IsError: d.maybe()}
			for range rapid.IntRange(1, 2).Draw(d.T, "result") {
				result.Result = append(result.Result, d.said())
			}
			results = append(results, llm.Message{Role: llm.RoleTool, Parts: []llm.Part{result}})
		}
		c.Messages = append(append(c.Messages, answer), results...)
	}
	text(llm.RoleUser)
}

func (d *drawing) rest() {
	c := &d.chat
	c.Tools = []llm.Tool{{Name: "f", Description: d.mark(nil), Schema: []byte(`{"type":"object","properties":{"` + d.mark(nil) + `":{}}}`), Cache: d.cache()}}
	if d.maybe() {
		c.Choice = rapid.SampledFrom([]llm.ToolChoice{{Mode: llm.ToolAuto}, {Mode: llm.ToolRequired}, {Mode: llm.ToolNamed, Names: []string{"f"}}, {Mode: llm.ToolNone}}).Draw(d.T, "choice")
	}
	if d.maybe() {
		c.Stop = []string{d.mark(nil)}
	}
	if d.maybe() {
		c.User = d.mark(lossOf("user"))
	}
	if d.maybe() {
		c.Format = llm.Format{Kind: llm.FormatJSONSchema, Name: "n", Schema: []byte(`{"type":"object","properties":{"` + d.mark(nil) + `":{"type":"string"}}}`)}
	}
	number := func(to **float64, n float64) {
		if d.maybe() {
			*to = &n
		}
	}
	number(&c.Sampling.Temperature, rapid.SampledFrom([]float64{.25, 1.5}).Draw(d.T, "temperature"))
	number(&c.Sampling.TopP, .5)
	number(&c.Sampling.FrequencyPenalty, .5)
	number(&c.Sampling.PresencePenalty, .5)
	if d.maybe() {
		k, seed := int64(7), int64(9)
		c.Sampling.TopK, c.Sampling.Seed = &k, &seed
	}
	most := int64(4000)
	if d.maybe() {
		c.MaxOutput = &most
	}
	if d.maybe() {
		c.Reasoning.Effort = "high"
	}
	if d.maybe() {
		c.Metadata = map[string]string{"k": d.mark(lossOf("metadata"))}
	}
	if d.maybe() {
		c.CacheKey = d.mark(lossOf("prompt_cache_key"))
	}
	if no := false; d.maybe() {
		c.Parallel = &no
	}
}

// What is said in one dialect arrives in another, but for what the page says.
func TestCrossingsLoseOnlyWhatIsWritten(t *testing.T) {
	t.Parallel()
	type reader func([]byte) (*llm.Chat, error)
	crossings := map[string]func(c *llm.Chat, traits llm.Traits) ([]byte, []string, reader, error){
		"OpenAI": func(c *llm.Chat, traits llm.Traits) ([]byte, []string, reader, error) {
			body, adapted, err := openai.TranslateChat(c, openai.Server{Model: "m", Traits: traits})
			return body, adapted, openai.DecodeChat, err
		},
		"Anthropic": func(c *llm.Chat, traits llm.Traits) ([]byte, []string, reader, error) {
			body, adapted, err := anthropic.EncodeChat(c, "m", traits)
			return body, adapted, anthropic.DecodeChat, err
		},
	}
	for name, cross := range crossings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crossed := 0
			rapid.Check(t, func(rt *rapid.T) {
				d := &drawing{T: rt, marks: map[string]*loss{}}
				d.chat.Dialect = rapid.SampledFrom([]llm.Dialect{llm.OpenAI, llm.Anthropic, llm.Responses}).Draw(rt, "dialect")
				d.turns()
				d.rest()
				traits := rapid.SampledFrom([]llm.Traits{
					{}, {Thinking: llm.ThinkingBudget, LateSystem: true}, {Thinking: llm.ThinkingAdaptive, NoSampling: true}, {OneSampling: true},
					{Efforts: "low medium high", Takes: llm.TakesCompletionCap | llm.TakesEffort | llm.TakesCacheMarks},
				}).Draw(rt, "traits")
				body, adapted, decode, err := cross(&d.chat, traits)
				if err != nil {
					if f := fault.From(err); f.Code != fault.InvalidRequest || f.Param == "" {
						rt.Fatalf("%v", err)
					}
					return
				}
				crossed++
				for _, name := range adapted {
					lossOf(name) // it is written down, or this panics
				}
				got, err := decode(body)
				if err != nil {
					rt.Fatalf("%v: %s", err, body)
				}
				d.compare(rt, got, adapted, body)
			})
			t.Logf("%d requests crossed", crossed)
			if crossed == 0 {
				t.Error("everything was refused")
			}
		})
	}
}

func (d *drawing) compare(rt *rapid.T, got *llm.Chat, adapted []string, body []byte) {
	there := fmt.Sprintf("%s %s %s %v", everything(got), got.User, got.CacheKey, got.Metadata)
	named := func(l *loss) bool {
		return l != nil && slices.ContainsFunc(adapted, func(a string) bool { return slices.Contains(l.names, a) })
	}
	for m, may := range d.marks {
		if n := strings.Count(there, m); n == 0 && !named(may) {
			rt.Fatalf("%s is lost, adapted %q: %s", m, adapted, body)
		}
	}
	want := &d.chat
	same := func(name string, is bool) {
		if !is && !slices.Contains(adapted, name) {
			rt.Fatalf("%s is not what it was, adapted %q: %s", name, adapted, body)
		}
	}
	float := func(a, b *float64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }
	whole := func(a, b *int64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }
	same("temperature", float(want.Sampling.Temperature, got.Sampling.Temperature))
	same("top_p", float(want.Sampling.TopP, got.Sampling.TopP))
	same("frequency_penalty", float(want.Sampling.FrequencyPenalty, got.Sampling.FrequencyPenalty))
	same("presence_penalty", float(want.Sampling.PresencePenalty, got.Sampling.PresencePenalty))
	same("top_k", whole(want.Sampling.TopK, got.Sampling.TopK))
	same("seed", whole(want.Sampling.Seed, got.Sampling.Seed))
	same("max_tokens", want.MaxOutput == nil || whole(want.MaxOutput, got.MaxOutput))
	same("tool_choice", want.Choice.Mode == got.Choice.Mode || want.Choice.Mode == llm.ToolUnset || want.Choice.Mode == llm.ToolAuto && got.Choice.Mode == llm.ToolUnset ||
		want.Choice.Mode == llm.ToolNone && got.Choice.Mode == llm.ToolNone)
	same("parallel_tool_calls", want.Parallel == nil || got.Parallel != nil && !*got.Parallel || want.Choice.Mode == llm.ToolNone)
	errors := func(c *llm.Chat) (n int) {
		for _, m := range c.Messages {
			for _, p := range m.Parts {
				if p.Kind == llm.PartToolResult && (p.IsError || len(p.Result) > 0 && strings.HasPrefix(p.Result[0].Text, "Error: ")) {
					n++
				}
			}
		}
		return n
	}
	same("is_error", errors(want) == errors(got))
}

// everything is all that a chat says, as one text.
func everything(c *llm.Chat) string {
	var b strings.Builder
	var parts func(all []llm.Part)
	parts = func(all []llm.Part) {
		for _, p := range all {
			fmt.Fprintf(&b, "%s %s %s %s %s %s %s %s ", p.Text, p.URL, p.Data, p.Filename, p.CallID, p.Arguments, p.Signature, p.ToolName)
			parts(p.Result)
		}
	}
	for _, m := range c.Messages {
		parts(m.Parts)
	}
	for _, t := range c.Tools {
		fmt.Fprintf(&b, "%s %s %s ", t.Name, t.Description, t.Schema)
	}
	fmt.Fprintf(&b, "%v %s", c.Stop, c.Format.Schema)
	for _, m := range c.Extra {
		fmt.Fprintf(&b, " %s", m.Value)
	}
	return b.String()
}
