package route

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// factsOf is an exchange of which every fact is known.
func factsOf() *pipeline.Exchange {
	x := exchange(0)
	body := `{"messages":[{"content":"image"}],"metadata":{"team":"blue","n":3},"tools":[{}]}`
	at := func(part string) llm.Span {
		i := strings.Index(body, part)
		return llm.Span{Start: i, End: i + len(part)}
	}
	x.Request = &llm.Request{
		Model: "m", Op: llm.OpChat, Dialect: llm.OpenAI, Stream: true, MaxOutput: 500, User: "ada", Raw: []byte(body),
		Fields: []llm.Field{{Name: "metadata", Value: at(`{"team":"blue","n":3}`)}, {Name: "tools", Value: at(`[{}]`)}},
		DecodeChat: func([]byte) (*llm.Chat, error) {
			return &llm.Chat{Messages: []llm.Message{{Parts: []llm.Part{{Kind: llm.PartImage}, {Kind: llm.PartToolResult, Result: []llm.Part{{Kind: llm.PartFile}}}}}}}, nil
		},
	}
	x.Tags, x.Class = []string{"batch", "night"}, "flex"
	x.Time = time.Date(2026, 1, 26, 21, 30, 0, 0, time.UTC) // a Monday
	x.Caller = &pipeline.Caller{Org: "acme", ProjectName: "shop", KeyName: "ci", Labels: map[string]string{"tier": "free"}}
	return x
}

func TestWhatRulesCanAsk(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]bool{
		`model == "m"`: true, `operation == "chat"`: true, `dialect == "openai"`: true, `tokens == 20`: true, `tokens > 20`: false, `max_output == 500`: true,
		`stream`: true, `has_tools`: true, `has_images`: true, `has_audio`: false, `has_files`: true,
		`"batch" in tags && size(tags) == 2`: true, `metadata["team"] == "blue"`: true, `"n" in metadata`: false, `class == "flex"`: true,
		`user == "ada"`: true, `org == "acme"`: true, `project == "shop"`: true, `key == "ci"`: true, `labels["tier"] == "free"`: true,
		`region == "eu-central"`: true, `hour == 21`: true, `weekday == 1`: true, `now > timestamp("2026-01-01T00:00:00Z")`: true,
		`now.getHours("Europe/Berlin") == 22`: true, `project.startsWith("sh") && project.matches("^s.*p$")`: true,
		`labels["tier"] in ["free", "trial"]`: true,
	} {
		s := play(t, &cast{}, ModelConfig{Targets: Targets("a/m", "b/m"), Rules: []RuleConfig{{If: expression, Name: "r", Only: []string{"b/m"}}}})
		x := factsOf()
		choice, order := s.chosen(x)
		held := choice.Rule == "r" && slices.Equal(order, []string{"b/m"}) && choice.Candidates[0].Excluded == "not among those of the rule r"
		not := choice.Rule == "" && len(order) == 2
		if want && !held || !want && !not {
			t.Errorf("%s: %+v, order %v", expression, choice, order)
		}
	}
}

// TestEveryFactIsKnown: of a bare exchange, too, each fact has a value of its type.
func TestEveryFactIsKnown(t *testing.T) {
	t.Parallel()
	for _, f := range ruleFacts {
		expression := f.name + " == " + f.name
		s := play(t, &cast{}, ModelConfig{Targets: Targets("a/m", "b/m"), Rules: []RuleConfig{{If: expression, Route: Weighted}}})
		for _, x := range []*pipeline.Exchange{factsOf(), exchange(0)} {
			if choice, _ := s.chosen(x); choice.Rule != "1" || choice.Policy != Weighted {
				t.Errorf("%s does not hold: %+v, %+v", expression, choice, x.Decisions)
			}
		}
	}
}

func TestARuleThatCannotBeWorkedOut(t *testing.T) {
	t.Parallel()
	s := play(t, &cast{}, ModelConfig{Targets: Targets("a/m", "b/m"), Rules: []RuleConfig{
		{If: `labels["team"] == "red"`, Name: "red", Only: []string{"b/m"}}, {If: `labels[?"team"].orValue("none") == "none"`, Name: "none", Route: Fastest},
	}})
	x := factsOf()
	choice, _ := s.chosen(x)
	if choice.Rule != "none" || choice.Policy != Fastest {
		t.Errorf("%+v", choice)
	}
	if got := x.Decisions[0].Decision; got != "the rule red could not be worked out: no such key: team" {
		t.Errorf("the record says %q", got)
	}
}

// TestTheFirstRuleThatHoldsCounts, and what it leaves out is out for fallbacks, too.
func TestTheFirstRuleThatHoldsCounts(t *testing.T) {
	t.Parallel()
	s := play(t, &cast{roles: map[string]role{"c/m": fails(status(503))}}, ModelConfig{
		Targets: []TargetConfig{{Target: "a/m", Weight: 1}, {Target: "b/m", Weight: 1, Tags: []string{"own"}}, {Target: "c/m", Weight: 1, Tags: []string{"own"}}},
		Rules: []RuleConfig{
			{If: "false", Only: []string{"a/m"}}, {If: "stream", Name: "own", Route: Failover, Only: []string{"tag:own"}}, {If: "true", Only: []string{"a/*"}},
		},
	})
	if choice, order := s.chosen(exchange(10)); choice.Rule != "own" || !slices.Equal(order, []string{"b/m", "c/m"}) {
		t.Errorf("%+v, %v", choice, order)
	}
	s.cast.roles["b/m"] = fails(statusIn(503, time.Hour))
	s.cast.roles["c/m"] = fails(statusIn(503, time.Hour))
	if err := s.call(t.Context(), exchange(10), -1); err == nil || slices.Contains(s.cast.targets(), "a/m") {
		t.Errorf("%v after %v", err, s.cast.targets())
	}
}

func TestRulesAreCheckedAndCosted(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		`tokens >`:                    "character 9: Syntax error",
		`tokns > 5`:                   "character 1: undeclared reference to 'tokns'",
		`tokens > "5"`:                "character 8: found no matching overload",
		`tokens + 1`:                  "is int, not true or false",
		`model`:                       "is string, not true or false",
		strings.Repeat("!", 100):      "character",
		strings.Repeat("(", 1000):     "character",
		strings.Repeat("true||", 999): "character",
		`tags.all(a, tags.all(b, tags.all(c, a + b != c)))`: "could cost",
	} {
		problems := (Config{"m": {Targets: Targets("a/m"), Rules: []RuleConfig{{If: expression, Route: Weighted}}}}).Validate()
		if len(problems) != 1 || problems[0].Path != "models.m.rules[0].if" || !strings.HasPrefix(problems[0].Text, want) ||
			strings.ContainsAny(problems[0].Text, "\n\r") || len(problems[0].Text) > 1000 {
			t.Errorf("%.40s: %q", expression, problems)
		}
	}
}

// FuzzRule: an expression is refused in one line, or costs no more than it may for any request.
func FuzzRule(f *testing.F) {
	for _, seed := range []string{
		`tokens > 20000`, `"batch" in tags && hour >= 20`, `labels["tier"] == "free"`, `has_tools ? stream : max_output > 5`,
		`tags.exists(t, t.startsWith("a"))`, `metadata.all(k, metadata[k] != "")`, `now.getHours("Europe/Berlin") > 3`, `user.matches("a.*b")`,
		`[1,2,3].exists(x, x == tokens)`, `{"a": 1}["b"] == 2`, `duration("1h") > duration("1s")`, `model`, `1/0 == 1`, `((((`, `"\u0000" == user`,
	} {
		f.Add(seed)
	}
	x := factsOf()
	table := &Table{around: Surroundings{Region: "eu"}}
	f.Fuzz(func(t *testing.T, text string) {
		holds, err := compileRule(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%q", err)
			}
			return
		}
		c := &choosing{r: New(Options{Table: table}), x: x, all: []candidate{{upstream: &upstream{}}}, policy: failover{}}
		c.facts.of(x)
		begin := time.Now()
		c.apply([]rule{{name: "r", holds: holds, policy: weighted{}}})
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%q took %v", text, took)
		}
		for _, note := range x.Decisions {
			if strings.Contains(note.Decision, "\n") {
				t.Errorf("%q", note.Decision)
			}
		}
		x.Decisions = nil
	})
}
