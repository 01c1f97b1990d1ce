package anthropic

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
)

// whole draws a body over all that the dialect can say, and some that it cannot (yet).
func whole(rt *rapid.T) string {
	object := func(members ...string) string {
		kept := members[:0:0]
		for _, m := range members {
			if m != "" {
				kept = append(kept, m)
			}
		}
		return "{" + strings.Join(kept, ",") + "}"
	}
	maybe := func(member string) string {
		if rapid.Bool().Draw(rt, "with") {
			return member
		}
		return ""
	}
	text := func() string {
		b, _ := json.Marshal(rapid.SampledFrom([]string{"a", "b c", "\n", "漢字 \u2028", `"{}`, "𝄞", "end "}).Draw(rt, "text"))
		return string(b)
	}
	oneOf := func(all ...func() string) string { return rapid.SampledFrom(all).Draw(rt, "one")() }
	mark := func() string {
		return maybe(rapid.SampledFrom([]string{`"cache_control":{"type":"ephemeral"}`, `"cache_control":{"type":"ephemeral","ttl":"1h"}`, `"cache_control":null`, `"cache_control":{"type":"new"}`}).Draw(rt, "mark"))
	}
	list := func(most int, one func() string) string {
		all := make([]string, rapid.IntRange(0, most).Draw(rt, "n"))
		for i := range all {
			all[i] = one()
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	say := func() string {
		return object(`"type":"text"`, `"text":`+text(), mark(), maybe(`"citations":[{"type":"char_location","cited_text":"x"}]`), maybe(`"new":1`))
	}
	source := func() string {
		return rapid.SampledFrom([]string{
			`{"type":"base64","media_type":"image/png","data":"iVBORw=="}`, `{"type":"base64","media_type":"application/pdf","data":"JVBERg=="}`,
			`{"type":"url","url":"https://a.test/x"}`, `{"type":"file","file_id":"file_1"}`, `{"type":"text","media_type":"text/plain","data":"so"}`,
			`{"type":"content","content":[{"type":"text","text":"x"}]}`, `{"type":"base64","media_type":"image/png","data":"not base64"}`, `{"type":"base64","media_type":"text/plain","data":"eHg="}`, `null`,
		}).Draw(rt, "source")
	}
	image := func() string { return object(`"type":"image"`, `"source":`+source(), mark()) }
	document := func() string {
		return object(`"type":"document"`, `"source":`+source(), maybe(`"title":`+text()), maybe(`"context":"c"`), maybe(`"citations":{"enabled":true}`), mark())
	}
	content := func(one func() string) string {
		return oneOf(text, func() string { return list(3, one) }, func() string { return `""` })
	}
	result := func() string {
		return object(`"type":"tool_result"`, `"tool_use_id":"toolu_1"`, maybe(`"content":`+content(func() string { return oneOf(say, image, document) })),
			maybe(`"is_error":`+rapid.SampledFrom([]string{"true", "false"}).Draw(rt, "is_error")), mark())
	}
	other := func() string {
		return `{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"q":"x"}}`
	}
	call := func() string {
		return object(`"type":"tool_use"`, `"id":"toolu_1"`, `"name":"f"`, `"input":`+rapid.SampledFrom([]string{`{}`, `{"a":[1,{"b":null}]}`, `"no object"`}).Draw(rt, "input"), mark(), maybe(`"caller":{"type":"direct"}`))
	}
	thought := func() string {
		return rapid.SampledFrom([]string{
			`{"type":"thinking","thinking":"hm","signature":"c2ln"}`, `{"type":"thinking","thinking":"","signature":"c2ln"}`,
			`{"type":"thinking","thinking":"hm","signature":"gemini:c2ln"}`, `{"type":"thinking","thinking":"hm"}`,
			`{"type":"redacted_thinking","data":"b3BhcXVl"}`, `{"type":"redacted_thinking"}`,
		}).Draw(rt, "thought")
	}
	message := func() string {
		switch role := rapid.SampledFrom([]string{"user", "assistant", "system"}).Draw(rt, "role"); role {
		case "user":
			return object(`"role":"user"`, `"content":`+content(func() string { return oneOf(say, image, document, result, other) }), maybe(`"name":"n"`))
		case "assistant":
			return object(`"role":"assistant"`, `"content":`+content(func() string { return oneOf(say, thought, call, other) }))
		default:
			return object(`"role":"system"`, `"content":`+content(say))
		}
	}
	tool := func() string {
		return object(rapid.SampledFrom([]string{``, `"type":"custom"`, `"type":"bash_20250124"`}).Draw(rt, "type"), `"name":"f"`, maybe(`"description":"d"`),
			`"input_schema":{"type":"object","properties":{"a":{"$ref":"#/x"}}}`, maybe(`"strict":true`), mark(), maybe(`"eager_input_streaming":true`))
	}
	pick := func(all ...string) string { return rapid.SampledFrom(all).Draw(rt, "pick") }
	return object(`"model":"m"`, maybe(`"max_tokens":7`), maybe(`"system":`+content(say)), `"messages":[`+message()+","+message()+","+message()+","+message()+`]`,
		maybe(`"tools":`+list(3, tool)), maybe(`"tool_choice":`+pick(`{"type":"auto"}`, `{"type":"any","disable_parallel_tool_use":true}`, `{"type":"tool","name":"f"}`, `{"type":"none"}`, `{"type":"auto","disable_parallel_tool_use":false}`, `{"type":"new"}`, `null`)),
		maybe(`"thinking":`+pick(`{"type":"enabled","budget_tokens":2048}`, `{"type":"adaptive","display":"omitted"}`, `{"type":"disabled"}`, `{"type":"between_tools"}`)),
		maybe(`"output_config":`+pick(`{"effort":"low"}`, `{"format":{"type":"json_schema","schema":{"type":"object"}}}`, `{}`)),
		maybe(`"temperature":0.5`), maybe(`"top_p":1`), maybe(`"top_k":4`), maybe(`"stop_sequences":`+pick(`["x","y"]`, `[]`)),
		maybe(`"metadata":`+pick(`{"user_id":"u"}`, `{"user_id":"u","new":1}`, `{}`)), maybe(`"service_tier":"standard_only"`), maybe(`"stream":`+pick("true", "false")),
		maybe(`"container":{"id":"c"}`), maybe(`"context_management":{"edits":[]}`), maybe(`"new_thing":[1]`), maybe(`"cache_control":{"type":"ephemeral"}`))
}

// What is decoded, encoded and decoded again is the same.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		body := []byte(whole(rt))
		r, err := ParseCount(body)
		if err != nil {
			rt.Fatalf("%v: %s", err, body)
		}
		c, err := r.Chat()
		if err != nil {
			rt.Fatalf("%v: %s", err, body)
		}
		again, err := EncodeSame(c)
		if err != nil {
			rt.Fatalf("%v: %s", err, body)
		}
		c2, err := DecodeChat(again)
		if err != nil {
			rt.Fatalf("%v: %s", err, again)
		}
		if diff := cmp.Diff(c, c2); diff != "" {
			rt.Fatalf("%s\nsent  %s\nagain %s", diff, body, again)
		}
	})
}

func TestRefusedBodies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string][2]string{
		"no cap":       {`{"model":"m","messages":[{"role":"user","content":"x"}]}`, "max_tokens"},
		"no messages":  {`{"model":"m","max_tokens":1,"messages":[]}`, "messages"},
		"no model":     {`{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}`, "model"},
		"a role":       {`{"model":"m","max_tokens":1,"messages":[{"role":"tool","content":"x"}]}`, "messages[0].role"},
		"a block":      {`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[1]}]}`, "messages[0].content[0]"},
		"no content":   {`{"model":"m","max_tokens":1,"messages":[{"role":"user"}]}`, "messages[0].content"},
		"a number":     {`{"model":"m","max_tokens":1,"temperature":"hot","messages":[{"role":"user","content":"x"}]}`, "temperature"},
		"upper case":   {`{"model":"m","Max_Tokens":1,"messages":[{"role":"user","content":"x"}]}`, "Max_Tokens"},
		"not JSON":     {`{"model":"m",`, ""},
		"a twin":       {`{"model":"m","model":"n","max_tokens":1,"messages":[{"role":"user","content":"x"}]}`, ""},
		"negative cap": {`{"model":"m","max_tokens":-1,"messages":[{"role":"user","content":"x"}]}`, "max_tokens"},
	} {
		_, err := ParseMessages([]byte(c[0]))
		if err == nil || !strings.Contains(fmt.Sprint(err), c[1]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	r, err := ParseMessages([]byte(`{"model":"claude","max_tokens":64,"stream":true,"metadata":{"user_id":"u"},"service_tier":"auto","messages":[{"role":"user","content":"x"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if r.Model != "claude" || !r.Stream || r.User != "u" || r.MaxOutput != 64 || r.ServiceTier != "auto" || r.Dialect != llm.Anthropic || !r.IncludeUsage || r.Choices != 1 {
		t.Errorf("%+v", r)
	}
}

// Results of tools are messages of their own, before what else the user says.
func TestTrap10ResultsInOneTurn(t *testing.T) {
	t.Parallel()
	c, err := DecodeChat([]byte(`{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"1"},{"type":"tool_result","tool_use_id":"b","is_error":true},{"type":"text","text":"go on"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var roles []string
	for _, m := range c.Messages {
		roles = append(roles, string(m.Role))
	}
	if got := strings.Join(roles, " "); got != "tool tool user" || !c.Messages[1].Parts[0].IsError {
		t.Errorf("%s, %+v", got, c.Messages)
	}
}

func TestProven(t *testing.T) {
	t.Parallel()
	const sig, foreign = `{"type":"thinking","thinking":"t","signature":"c2ln"}`, `{"type":"thinking","thinking":"t","signature":"gemini:x"}`
	const call, result = `{"type":"tool_use","id":"a","name":"f","input":{}}`, `{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]}`
	turn := func(blocks ...string) string {
		return `{"role":"assistant","content":[` + strings.Join(blocks, ",") + `]}`
	}
	for name, c := range map[string]struct {
		in, out string
		open    bool
	}{
		"nothing to do":  {`[` + turn(sig, call) + `,` + result + `]`, "", false},
		"no thoughts":    {`[{"role":"user","content":"x"}]`, "", false},
		"foreign":        {`[` + turn(foreign, call) + `,` + result + `]`, `[` + turn(call) + `,` + result + `]`, true},
		"foreign before": {`[` + turn(foreign, call) + `,` + result + `,` + turn(sig) + `]`, `[` + turn(call) + `,` + result + `,` + turn(sig) + `]`, false},
		"loop is over":   {`[` + turn(foreign) + `,{"role":"user","content":"go on"}]`, `[{"role":"user","content":"go on"}]`, false},
		"empty proof":    {`[` + turn(`{"type":"thinking","thinking":"t","signature":""}`, call) + `]`, `[` + turn(call) + `]`, true},
	} {
		kept, open := Proven([]byte(c.in))
		if string(kept) != c.out || open != c.open {
			t.Errorf("%s: %s, %t", name, kept, open)
		}
	}
}
