package route

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/wire/anthropic"
	"github.com/penstock/penstock/internal/wire/openai"
	"github.com/penstock/penstock/internal/wire/rawjson"
	"github.com/penstock/penstock/internal/wire/responses"
)

// A conversation that goes on is sent to the target that has had it, however its next call is written: of three that are alike, the
// one that had the first turn is asked for each further one.
func TestConversationsStay(t *testing.T) {
	t.Parallel()
	const instructions = `"instructions":"Be brief."`
	long := func(what string) string { return strings.Repeat(what+" is what we talk about. ", 200) }
	for name, c := range map[string]struct {
		parse func([]byte) (*llm.Request, error)
		turns []string
		goOn  bool // with what the turns before had
	}{
		"the same messages and more": {openai.ParseChat, []string{
			`{"model":"m","messages":[{"role":"user","content":"` + long("Iron") + `"}]}`,
			`{"model":"m","messages":[{"role":"user","content":"` + long("Iron") + `"},{"role":"assistant","content":"Yes."},{"role":"user","content":"Why?"}]}`,
		}, false},
		"with another cap, label and place of the messages": {openai.ParseChat, []string{
			`{"max_tokens":100,"metadata":{"call":"1"},"user":"ada","model":"m","messages":[{"role":"user","content":"` + long("Iron") + `"}]}`,
			`{"max_tokens":2000,"metadata":{"call":"1234"},"model":"m","stream":true,"messages":[{"role":"user", "content": "` + long("Iron") + `"},{"role":"assistant","content":"Yes."}]}`,
		}, false},
		"as parts": {openai.ParseChat, []string{
			`{"model":"m","messages":[{"role":"user","content":"` + long("Iron") + `"}]}`,
			`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"` + long("Iron") + `"}]},{"role":"assistant","content":"Yes."}]}`,
		}, false},
		"with the mark for the cache further on": {anthropic.ParseMessages, []string{
			`{"model":"m","max_tokens":10,"messages":[{"role":"user","content":[{"type":"text","text":"` + long("Iron") + `","cache_control":{"type":"ephemeral"}}]}]}`,
			`{"model":"m","max_tokens":10,"messages":[{"role":"user","content":[{"type":"text","text":"` + long("Iron") + `"}]},` +
				`{"role":"assistant","content":"Yes."},{"role":"user","content":[{"type":"text","text":"Why?","cache_control":{"type":"ephemeral","ttl":"1h"}}]}]}`,
		}, false},
		"from a response": {responses.Parse, []string{
			`{"model":"m",` + instructions + `,"input":"` + long("Iron") + `"}`,
			`{"model":"m","previous_response_id":"resp_0",` + instructions + `,"input":[{"role":"user","content":"` + long("Copper") + `"}]}`,
			`{"model":"m","previous_response_id":"resp_1",` + instructions + `,"input":"Why?"}`,
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := play(t, &cast{}, ModelConfig{Targets: Targets("a/m", "b/m", "c/m"), Route: Fastest})
			var past []responses.Past
			for i, body := range c.turns {
				r, err := c.parse([]byte(body))
				if err != nil {
					t.Fatal(err)
				}
				own := r.Field("input")
				if c.goOn && i > 0 {
					joined, err := responses.Joined(past, own, func(int64) error { return nil })
					if err != nil {
						t.Fatal(err)
					}
					r.Set("input", joined)
				}
				size := r.Size()
				choice, order := s.chosen(&pipeline.Exchange{Op: llm.OpChat, Request: r})
				if i > 0 && order[0] != "c/m" {
					t.Errorf("turn %d of %d bytes goes to %v: %+v", i+1, size, order, choice.Candidates)
				}
				s.had(r, "c/m")
				id := fmt.Sprintf("resp_%d", i)
				past = append(past, responses.Past{Input: responses.InputItems(own, id), Response: []byte(`{"id":"` + id + `","output":[{"type":"message","id":"msg_` + id +
					`","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Yes.","annotations":[]}]}]}`)})
			}
		})
	}
}

// had makes it so that a target was sent a request.
func (s *theatre) had(r *llm.Request, key string) {
	c := s.choose(&pipeline.Exchange{Op: llm.OpChat, Request: r}, s.pool())
	defer c.free()
	s.pool().prefix.sent(&c.prompt.begin, since(s.pool().prefix.born, c.now), s.upstream(key).bit)
}

// TestLongBeginningsTellApart: what many conversations share, tools and all, may be longer than they are; they are told apart behind it.
func TestLongBeginningsTellApart(t *testing.T) {
	t.Parallel()
	s := play(t, &cast{}, ModelConfig{Targets: Targets("a/m", "b/m", "c/m"), Route: Fastest})
	shared := `"tools":[{"type":"function","function":{"name":"f","description":"` + strings.Repeat("What it does is long to tell. ", 3000) + `"}}]`
	request := func(what string, turns int) *pipeline.Exchange {
		said := `{"role":"user","content":"` + strings.Repeat(what+" is what we talk about. ", 400) + `"}`
		r, err := openai.ParseChat([]byte(`{"model":"m",` + shared + `,"messages":[` + strings.Repeat(said+",", turns-1) + said + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		return &pipeline.Exchange{Op: llm.OpChat, Request: r}
	}
	for what, who := range map[string]string{"Iron": "b/m", "Copper": "c/m"} {
		s.had(request(what, 2).Request, who)
	}
	for what, who := range map[string]string{"Iron": "b/m", "Copper": "c/m"} {
		if choice, order := s.chosen(request(what, 3)); order[0] != who {
			t.Errorf("%s goes to %v, want %s: %+v", what, order, who, choice.Candidates)
		}
	}
}

// TestPicturesInTheBeginning: of a prompt that is pictures for the most part, as much is taken to be cached as of its bytes.
func TestPicturesInTheBeginning(t *testing.T) {
	t.Parallel()
	f := facts{tokens: 8000, whole: 80_000}
	if got := f.part(40_000); got != 4000 {
		t.Errorf("half of it has %d tokens, want 4,000", got)
	}
	if got := f.part(90_000); got != 8000 {
		t.Errorf("all of it has %d tokens", got)
	}
}

// FuzzCutter: what was said begins alike whatever comes behind it, and nothing but that is cut.
func FuzzCutter(f *testing.F) {
	f.Add("hello", "and now?", 300)
	f.Add(`a \" b \\`, `"id":"x"`, 600)
	f.Fuzz(func(t *testing.T, one, two string, times int) {
		p := newPrefixes()
		said := strings.Repeat(one, min(max(times, 1), 2000))
		cut := func(content ...string) (b beginning) {
			c := cutter{seed: p.seed, to: &b, room: blockBytes(0)}
			var value []byte
			for _, one := range content {
				value = append(value, ',')
				value = rawjson.AppendQuoted(value, one)
			}
			c.texts(value)
			return b
		}
		short, longer := cut(said), cut(said, two)
		if longer.n < short.n {
			t.Fatalf("%d blocks with more, %d without", longer.n, short.n)
		}
		for i := range short.n {
			if short.hashes[i] != longer.hashes[i] {
				t.Fatalf("block %d of %d differs", i, short.n)
			}
		}
	})
}
