package gemini

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// These tests are named after mistakes that other gateways made.

// told is what frames tell, and what their end means.
func told(t *testing.T, frames ...string) (all []llm.Delta, err error) {
	t.Helper()
	var s Stream
	for _, f := range frames {
		var ev llm.Event
		if err := s.Frame([]byte(f), &ev, nil); err != nil {
			return all, err
		}
		for _, d := range ev.Deltas {
			if d.Finish != "" {
				t.Errorf("a reason to end before the end: %s", f)
			}
			all = append(all, d)
		}
	}
	var ev llm.Event
	err = s.End(&ev)
	return append(all, ev.Deltas...), err
}

// frame is one with a candidate.
func aFrame(parts, reason string) string {
	if reason != "" {
		reason = `,"finishReason":"` + reason + `"`
	}
	return `{"candidates":[{"content":{"parts":[` + parts + `],"role":"model"}` + reason + `}],"responseId":"r"}`
}

const aCall = `{"functionCall":{"name":"now","args":{}}}`

// finish is the last reason to end.
func finish(all []llm.Delta) llm.FinishReason {
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1].Finish
}

// The call and the reason to end come in two frames, and the reason is that of text. The answer ends in a call all the same; but an
// answer that was cut short is one that was cut short.
func TestTrap01CallAndReasonInTwoFrames(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]llm.FinishReason{"STOP": llm.FinishTools, "MAX_TOKENS": llm.FinishLength, "SAFETY": llm.FinishFilter} {
		all, err := told(t, aFrame(aCall, ""), aFrame(`{"text":""}`, reason))
		if err != nil || finish(all) != want {
			t.Errorf("%s: %v %v", reason, finish(all), err)
		}
	}
	if all, err := told(t, aFrame(aCall, "STOP"), aFrame(aCall, "")); err != nil || finish(all) != llm.FinishTools {
		t.Errorf("%v %v", finish(all), err)
	}
}

// Parallel calls are told apart: by their place, and by ids that no other call has, in one frame or several, with several choices.
func TestTrap02ParallelCallsAreToldApart(t *testing.T) {
	t.Parallel()
	all, err := told(t, aFrame(aCall+","+aCall, ""), aFrame(aCall, "STOP"),
		`{"candidates":[{"index":1,"content":{"parts":[`+aCall+`]},"finishReason":"STOP"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	ids, places := map[string]bool{}, map[string]bool{}
	for _, d := range all {
		if d.Open != nil {
			ids[d.Open.CallID], places[fmt.Sprint(d.Choice, d.Part)] = true, true
		}
	}
	if len(ids) != 4 || len(places) != 4 {
		t.Errorf("%v %v", ids, places)
	}
}

// Frames in the middle that have a reason to end do not end the answer; told sees to that.
func TestTrap03ReasonsInEveryFrame(t *testing.T) {
	t.Parallel()
	all, err := told(t, aFrame(`{"text":"a"}`, "STOP"), aFrame(`{"text":"b"}`, "STOP"), aFrame(`{"text":"c"}`, "MAX_TOKENS"))
	if err != nil || finish(all) != llm.FinishLength {
		t.Errorf("%v %v", finish(all), err)
	}
	if _, err := told(t, aFrame(`{"text":"a"}`, "")); !errors.Is(err, ErrCut) {
		t.Errorf("without any: %v", err)
	}
}

// The proof of reasoning is beside the call, and goes back there: from the call, or from the reasoning that some callers keep it
// with. Without any, models that want one are told so.
func TestTrap04ProofsOfReasoningGoBack(t *testing.T) {
	t.Parallel()
	all, err := told(t, aFrame(`{"text":"Hm.","thought":true}`, ""), aFrame(`{"functionCall":{"name":"now"},"thoughtSignature":"p"}`, "STOP"))
	if err != nil {
		t.Fatal(err)
	}
	var proofs []string
	for _, d := range all {
		if d.Signature != "" {
			proofs = append(proofs, fmt.Sprint(d.Part, d.Signature))
		}
	}
	if d := cmp.Diff([]string{"0p", "1p"}, proofs); d != "" {
		t.Error(d)
	}
	all, err = told(t, aFrame(`{"text":"So."},{"functionCall":{"name":"now"},"thoughtSignature":"p"}`, "STOP"))
	if err != nil || len(all) != 5 || all[2].Open.Kind != llm.PartReasoning || all[2].Signature != "p" || all[3].Signature != "p" {
		t.Errorf("a proof of what is not shown: %v %+v", err, all)
	}
	signed := func(p llm.Part, by llm.Dialect) llm.Part { p.Signature, p.Signer = "p", by; return p }
	thought := llm.Part{Kind: llm.PartReasoning, Text: "Hm."}
	for name, c := range map[string]struct {
		parts []llm.Part
		want  []string
	}{
		"with the call":      {[]llm.Part{signed(calls("a", "now", ""), llm.Gemini), calls("b", "now", "")}, []string{"p", ""}},
		"with the reasoning": {[]llm.Part{signed(thought, llm.Gemini), calls("a", "now", ""), calls("b", "now", "")}, []string{"p", ""}},
		"of another vendor":  {[]llm.Part{signed(thought, llm.Anthropic), signed(calls("a", "now", ""), "")}, []string{noProof}},
		"lost":               {[]llm.Part{calls("a", "now", ""), calls("b", "now", "")}, []string{noProof, ""}},
		"of the second":      {[]llm.Part{calls("a", "now", ""), signed(calls("b", "now", ""), llm.Gemini)}, []string{noProof, "p"}},
	} {
		r, adapted := encoded(t, &llm.Chat{Messages: []llm.Message{says(llm.RoleUser, text("Hi")), says(llm.RoleAssistant, c.parts...)}}, llm.Traits{Signatures: true})
		var got []string
		for _, p := range r.Contents[1].Parts {
			got = append(got, p.ThoughtSignature)
		}
		if d := cmp.Diff(c.want, got); d != "" || strings.Contains(fmt.Sprint(adapted), "reasoning") != (got[0] == noProof) {
			t.Errorf("%s: adapted %v %s", name, adapted, d)
		}
	}
}

// Reasoning is counted among what was generated, once, whichever way the endpoint counts.
func TestTrap05ReasoningIsCounted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]llm.Usage{
		`{"promptTokenCount":3,"candidatesTokenCount":5,"thoughtsTokenCount":7,"totalTokenCount":15}`:                             {Input: 3, Output: 12, Reasoning: 7},
		`{"promptTokenCount":3,"candidatesTokenCount":12,"thoughtsTokenCount":7,"totalTokenCount":15}`:                            {Input: 3, Output: 12, Reasoning: 7},
		`{"promptTokenCount":3,"candidatesTokenCount":5,"thoughtsTokenCount":7}`:                                                  {Input: 3, Output: 12, Reasoning: 7},
		`{"promptTokenCount":3,"thoughtsTokenCount":7,"totalTokenCount":10}`:                                                      {Input: 3, Output: 7, Reasoning: 7},
		`{"promptTokenCount":30,"cachedContentTokenCount":20,"candidatesTokenCount":5,"totalTokenCount":35}`:                      {Input: 30, CachedInput: 20, Output: 5},
		`{"promptTokenCount":3,"toolUsePromptTokenCount":4,"candidatesTokenCount":5,"thoughtsTokenCount":7,"totalTokenCount":19}`: {Input: 7, Output: 12, Reasoning: 7},
		`{"candidatesTokenCount":5}`:                         {Output: 5, Estimated: true},
		`{"promptTokenCount":3}`:                             {Input: 3, Estimated: true},
		`{"promptTokenCount":3,"totalTokenCount":9}`:         {Input: 3, Output: 6},
		`{"promptTokenCount":"9","candidatesTokenCount":-1}`: {}, `{}`: {}, `null`: {}, `[]`: {},
	} {
		got, ok := usageOf([]byte(text), true)
		if d := cmp.Diff(want, got); d != "" || ok != (want != llm.Usage{}) {
			t.Errorf("%s: %s", text, d)
		}
	}
}

// A plain answer says why it ended, in the canonical words.
func TestTrap06ReasonsOfPlainAnswers(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]llm.FinishReason{
		"STOP": llm.FinishStop, "MAX_TOKENS": llm.FinishLength, "SAFETY": llm.FinishFilter, "RECITATION": llm.FinishFilter, "SPII": llm.FinishFilter,
		"OTHER": llm.FinishStop, "NEW": llm.FinishStop,
	} {
		var ev llm.Event
		var meta llm.Meta
		err := ScanAnswer([]byte(aFrame(`{"text":"a"}`, reason)), &ev, &meta)
		if err != nil || finish(ev.Deltas) != want || !ev.Is(llm.Finish|llm.End) || meta.Finish[0] != want {
			t.Errorf("%s: %v %v %v", reason, finish(ev.Deltas), meta.Finish, err)
		}
	}
}

// Schemas go where the vendor takes JSON Schema as it is; strict goes nowhere.
func TestTrap07SchemasAreSentAsTheyAre(t *testing.T) {
	t.Parallel()
	yes := true
	schema := []byte(`{"$defs":{"a":{"const":1}},"type":["object","null"],"properties":{"x":{"$ref":"#/$defs/a"}},"additionalProperties":false}`)
	c := &llm.Chat{
		Messages: []llm.Message{says(llm.RoleUser, text("Hi"))}, Tools: []llm.Tool{{Name: "f", Schema: schema, Strict: &yes}, {Name: "g"}, {Name: "h", Schema: []byte("null")}},
		Format: llm.Format{Kind: llm.FormatJSONSchema, Schema: schema, Strict: &yes},
	}
	body, _, err := EncodeChat(c, llm.Traits{}, Options{})
	if err != nil || strings.Count(string(body), `JsonSchema":`+string(schema)) != 2 || strings.Contains(string(body), "strict") || strings.Contains(string(body), `"parameters":`) {
		t.Errorf("%v %s", err, body)
	}
}

// A call's arguments come whole, in one step, and are {} where there are none.
func TestTrap09ArgumentsComeWhole(t *testing.T) {
	t.Parallel()
	for call, want := range map[string]string{
		`{"name":"now","args":{ "a" : [1, "x y"] }}`: `{"a":[1,"x y"]}`, `{"name":"now"}`: "{}", `{"name":"now","args":null}`: "{}", `{"name":"now","args":{}}`: "{}",
	} {
		all, err := told(t, aFrame(`{"functionCall":`+call+`}`, "STOP"))
		if err != nil || len(all) != 2 || all[0].Text != want || !all[0].Close {
			t.Errorf("%s: %v %+v", call, err, all)
		}
	}
}

// Parallel results are one turn, as many as calls, before what the user says; each has the name of its tool.
func TestTrap10ParallelResultsAreOneTurn(t *testing.T) {
	t.Parallel()
	r, _ := encoded(t, &llm.Chat{Messages: []llm.Message{
		says(llm.RoleUser, text("Hi")), says(llm.RoleAssistant, calls("a", "now", ""), calls("b", "weather", "")),
		results("a", text("noon")), says(llm.RoleUser, text("And?")), results("b", text("rain")),
	}}, llm.Traits{})
	if len(r.Contents) != 4 || len(r.Contents[2].Parts) != 2 || r.Contents[2].Parts[0].FunctionResponse.Name != "now" || r.Contents[2].Parts[1].FunctionResponse.Name != "weather" ||
		*r.Contents[3].Parts[0].Text != "And?" {
		t.Errorf("%+v", r.Contents)
	}
	failed := results("a", text("no"))
	failed.Parts[0].IsError = true
	r, _ = encoded(t, &llm.Chat{Messages: []llm.Message{says(llm.RoleAssistant, calls("a", "now", "")), failed}}, llm.Traits{})
	if r.Contents[1].Parts[0].FunctionResponse.Response["error"] != "no" {
		t.Errorf("%+v", r.Contents)
	}
}

// One call at a time, and a choice among some tools, are asked for.
func TestTrap12ChoicesAmongTools(t *testing.T) {
	t.Parallel()
	no := false
	tools := []llm.Tool{{Name: "a"}, {Name: "b"}}
	for _, c := range []struct {
		choice   llm.ToolChoice
		declared int
		mode     string
		allowed  []string
	}{
		{llm.ToolChoice{}, 2, "", nil},
		{llm.ToolChoice{Mode: llm.ToolAuto}, 2, "AUTO", nil},
		{llm.ToolChoice{Mode: llm.ToolNone}, 2, "NONE", nil},
		{llm.ToolChoice{Mode: llm.ToolRequired}, 2, "ANY", nil},
		{llm.ToolChoice{Mode: llm.ToolNamed, Names: []string{"b"}}, 2, "ANY", []string{"b"}},
		{llm.ToolChoice{Mode: llm.ToolRequired, Names: []string{"b"}}, 2, "ANY", []string{"b"}},
		{llm.ToolChoice{Mode: llm.ToolAuto, Names: []string{"b"}}, 1, "AUTO", nil},
	} {
		r, _ := encoded(t, &llm.Chat{Messages: []llm.Message{says(llm.RoleUser, text("Hi"))}, Tools: tools, Choice: c.choice, Parallel: &no}, llm.Traits{})
		got := r.ToolConfig.FunctionCallingConfig
		if len(r.Tools[0].FunctionDeclarations) != c.declared || got.Mode != c.mode || !cmp.Equal(got.AllowedFunctionNames, c.allowed) ||
			(r.SystemInstruction == nil) != (c.choice.Mode == llm.ToolNone) {
			t.Errorf("%+v: %+v", c.choice, r)
		}
	}
}

// An error inside an answer, and a call that cannot be read, are errors and no empty answers.
func TestTrap21ErrorsInsideAnswers(t *testing.T) {
	t.Parallel()
	for name, frames := range map[string][]string{
		"first":     {`{"error":{"code":503,"message":"Overloaded.","status":"UNAVAILABLE"}}`},
		"an array":  {`[{"error":{"code":503,"message":"Overloaded.","status":"UNAVAILABLE"}}]`},
		"midst":     {aFrame(`{"text":"a"}`, ""), `{"error":{"message":"Overloaded."}}`},
		"malformed": {aFrame(`{"text":"a"}`, ""), aFrame("", "MALFORMED_FUNCTION_CALL")},
		"other":     {aFrame("", "OTHER")},
	} {
		_, err := told(t, frames...)
		if e, ok := errors.AsType[*InBandError](err); !ok || e.Message == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, frames := range map[string][]string{"nothing": {`{"usageMetadata":{}}`}, "stopped": {aFrame("", "STOP")}} {
		if _, err := told(t, frames...); !errors.Is(err, ErrEmpty) {
			t.Errorf("%s: %v", name, err)
		}
	}
	all, err := told(t, `{"promptFeedback":{"blockReason":"SAFETY"}}`)
	if err != nil || finish(all) != llm.FinishFilter {
		t.Errorf("a blocked prompt: %v %v", finish(all), err)
	}
}

// What cannot be said is refused, never dropped.
func TestTrap26NothingIsDroppedSilently(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]llm.Part{
		"a link that does not say what it is": {Kind: llm.PartImage, URL: "https://a.test/b"},
		"a link that is not encrypted":        {Kind: llm.PartImage, URL: "http://a.test/b.png"},
		"an image by its id":                  {Kind: llm.PartImage, FileID: "file-1", MediaType: "image/png"},
		"a file by its id":                    {Kind: llm.PartFile, FileID: "file-1", Filename: "a.pdf"},
		"a file of no type":                   {Kind: llm.PartFile, Data: []byte{1}, Filename: "a"},
		"a part of another kind":              {Kind: llm.PartOther},
	} {
		for place, m := range map[string]llm.Message{"messages[1]": says(llm.RoleUser, text("Look:"), p), "messages[2]": results("a", p)} {
			messages := []llm.Message{says(llm.RoleUser, text("Hi")), says(llm.RoleAssistant, calls("a", "now", "")), m}
			if place == "messages[1]" {
				messages = []llm.Message{messages[0], m}
			}
			_, _, err := EncodeChat(&llm.Chat{Messages: messages}, llm.Traits{}, Options{})
			if f, ok := errors.AsType[*fault.Error](err); !ok || f.Param != place {
				t.Errorf("%s in %s: %v", name, place, err)
			}
		}
	}
}

// Marks for caching have no place here, which is told: the provider caches by itself.
func TestTrap27MarksForCaching(t *testing.T) {
	t.Parallel()
	mark := &llm.CacheMark{}
	marked := text("x")
	marked.Cache = mark
	call := calls("a", "now", "")
	call.Cache = mark
	for name, c := range map[string]llm.Chat{
		"system": {Messages: []llm.Message{says(llm.RoleSystem, marked), says(llm.RoleUser, text("Hi"))}}, "user": {Messages: []llm.Message{says(llm.RoleUser, marked)}},
		"a tool": {Messages: []llm.Message{says(llm.RoleUser, text("Hi"))}, Tools: []llm.Tool{{Name: "f", Cache: mark}}},
		"a call": {Messages: []llm.Message{says(llm.RoleUser, text("Hi")), says(llm.RoleAssistant, call), results("a")}},
		"result": {Messages: []llm.Message{says(llm.RoleAssistant, calls("a", "now", "")), results("a", marked)}},
	} {
		if _, adapted := encoded(t, &c, llm.Traits{}); !cmp.Equal(adapted, []string{"cache_control"}) {
			t.Errorf("%s: %v", name, adapted)
		}
	}
}

// The cap on tokens arrives.
func TestTrap28CapsOnTokens(t *testing.T) {
	t.Parallel()
	most := int64(7)
	r, _ := encoded(t, &llm.Chat{Messages: []llm.Message{says(llm.RoleUser, text("Hi"))}, MaxOutput: &most}, llm.Traits{})
	if r.GenerationConfig["maxOutputTokens"] != 7.0 {
		t.Errorf("%v", r.GenerationConfig)
	}
}
