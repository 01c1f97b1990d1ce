package crossing

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// Places are those that the caller counts, whatever became messages of the canonical form.
func TestPlacesAreTheCallers(t *testing.T) {
	t.Parallel()
	messages := func(roles ...llm.Role) (all []llm.Message) {
		for _, r := range roles {
			all = append(all, llm.Message{Role: r})
		}
		return all
	}
	all := messages(llm.RoleSystem, llm.RoleUser, llm.RoleAssistant, llm.RoleTool, llm.RoleTool, llm.RoleUser, llm.RoleAssistant, llm.RoleTool)
	for dialect, want := range map[llm.Dialect]string{
		llm.OpenAI:    "messages[0] messages[1] messages[2] messages[3] messages[4] messages[5] messages[6] messages[7]",
		llm.Anthropic: "system messages[0] messages[1] messages[2] messages[2] messages[2] messages[3] messages[4]",
		llm.Responses: "input input input input input input input input",
	} {
		n := Notes{Chat: &llm.Chat{Dialect: dialect, Messages: all}}
		var got []string
		for i := range all {
			got = append(got, n.Place(i))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s", dialect, s)
		}
	}
}

func TestRefusalsAreInTheCallersWords(t *testing.T) {
	t.Parallel()
	for dialect, want := range map[llm.Dialect]string{llm.OpenAI: "response_format", llm.Anthropic: "output_config.format", llm.Responses: "text.format"} {
		n := Notes{Chat: &llm.Chat{Dialect: dialect}, Whom: "a stone"}
		n.Cannot("response_format", "a form", "Ask a tree.")
		n.Cannot("second", "this", "")
		f := fault.From(n.Refused)
		if f.Code != fault.InvalidRequest || f.Param != want || f.Message != want+": a form cannot be asked of a stone." || f.Hint != "Ask a tree." {
			t.Errorf("%s: %+v", dialect, f)
		}
	}
}

// What means something is refused, knobs are named once, and the rest is nothing.
func TestMembersAreWhatTheyMean(t *testing.T) {
	t.Parallel()
	n := Notes{Chat: &llm.Chat{}}
	knob := llm.Member{Name: "fast", Value: []byte("true"), Means: llm.MeansKnob}
	n.Beside("messages[0]", []llm.Member{{Name: "a", Value: []byte("null")}, {Name: "b", Value: []byte("1"), Means: llm.MeansNothing}, knob, knob})
	if n.Refused != nil || strings.Join(n.Adapted, " ") != "fast" {
		t.Errorf("%v %v", n.Refused, n.Adapted)
	}
	n.Beside("messages[0]", []llm.Member{{Name: "c", Value: []byte("{}")}})
	if f := fault.From(n.Refused); f == nil || f.Param != "messages[0].c" {
		t.Errorf("%v", n.Refused)
	}
}
