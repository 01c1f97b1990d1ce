package openai

import (
	"errors"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// Trap 26: what a model answers is told, or the answer fails: nothing of it is dropped, in streams as little as in plain answers.
func TestTrap26AnswersAreToldOrFail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		part  llm.Part
		text  string
		plain string
		piece string
	}{
		"a link to an image": {
			llm.Part{Kind: llm.PartImage, URL: "https://e.test/a.png"}, "",
			`"images":[{"index":0,"type":"image_url","image_url":{"url":"https://e.test/a.png"}}]`, "",
		},
		"an image": {llm.Part{Kind: llm.PartImage, MediaType: "image/png", Data: []byte("x")}, "", `"url":"data:image/png;base64,eA=="`, ""},
		"audio":    {llm.Part{Kind: llm.PartAudio, MediaType: "audio/wav", Data: []byte("x")}, "", `"url":"data:audio/wav;base64,eA=="`, ""},
		"a call with free text": {
			llm.Part{Kind: llm.PartToolCall, CallID: "c", ToolName: "sh", Custom: true}, "ls",
			`"tool_calls":[{"id":"c","type":"custom","custom":{"name":"sh","input":"ls"}}]`,
			`"tool_calls":[{"index":0,"custom":{"input":"ls"}}]`,
		},
		"what the form has no place for": {llm.Part{Kind: llm.PartOther}, "", "", ""},
		"an image by an id":              {llm.Part{Kind: llm.PartImage, FileID: "f"}, "", "", ""},
		"a result":                       {llm.Part{Kind: llm.PartToolResult}, "", "", ""},
	} {
		ev := llm.Event{Has: llm.End, Deltas: []llm.Delta{
			{Open: &c.part, Text: c.text}, {Close: true}, {Finish: llm.FinishStop},
		}}
		for _, stream := range []bool{false, true} {
			tr := Translator{ID: "i", Model: "m"}
			out, err := tr.AppendAnswer(nil, &ev)
			want := c.plain
			if stream {
				tr = Translator{ID: "i", Model: "m"}
				if out, err = tr.AppendEvent(nil, &ev); c.piece != "" {
					want = c.piece
				}
			}
			if e, unwritable := errors.AsType[*UnwritableError](err); want == "" && (!unwritable || e.Kind != c.part.Kind) {
				t.Errorf("%s (stream %t): %v: %s", name, stream, err, out)
			}
			if want != "" && (err != nil || !strings.Contains(string(out), want)) {
				t.Errorf("%s (stream %t): %v: %s", name, stream, err, out)
			}
		}
	}
}
