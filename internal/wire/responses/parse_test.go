package responses

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

func TestParse(t *testing.T) {
	t.Parallel()
	r, err := Parse([]byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	if r.Dialect != llm.Responses || r.Op != llm.OpChat || r.Model != "gpt-5-mini" || !r.Stream || r.MaxOutput != 100 || r.User != "u" || r.ServiceTier != "flex" || r.Choices != 1 {
		t.Errorf("%+v", r)
	}
}

// What is refused is refused with its place, before anything is asked.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{ // what is sent instead of nothing: the member to blame
		`"background":true`:                                                "background",
		`"conversation":"conv_1"`:                                          "conversation",
		`"conversation":{"id":"conv_1"}`:                                   "conversation",
		`"input":[]`:                                                       "input",
		`"input":{}`:                                                       "input",
		`"input":["a"]`:                                                    "input[0]",
		`"input":[{"role":"tool","content":"a"}]`:                          "input[0].role",
		`"input":[{"role":"user","content":{}}]`:                           "input[0].content",
		`"input":[{"role":"user","content":["a"]}]`:                        "input[0].content[0]",
		`"input":[{"type":1}]`:                                             "input[0].type",
		`"input":[{"type":"reasoning","summary":1}]`:                       "input[0].summary",
		`"input":[{"type":"function_call","call_id":1}]`:                   "input[0].call_id",
		`"tools":[{"type":"function","name":""}]`:                          "tools[0].name",
		`"tools":[{"name":"f","type":"function"},{"name":"f","type":"x"}]`: "tools[1].name",
		`"instructions":[]`:                                                "instructions",
		`"max_output_tokens":0`:                                            "max_output_tokens",
		`"max_output_tokens":1.0`:                                          "max_output_tokens",
		`"text":"json"`:                                                    "text",
		`"reasoning":"low"`:                                                "reasoning",
		`"Temperature":1`:                                                  "Temperature",
		`"stream":"yes"`:                                                   "stream",
		`"include":"x"`:                                                    "include",
	}
	for member, param := range tests {
		body := `{"model":"m",` + member
		if !strings.Contains(member, `"input"`) {
			body += `,"input":"hi"`
		}
		_, err := Parse([]byte(body + `}`))
		f := fault.From(err)
		if err == nil || f.Param != param || f.HTTPStatus() != 400 {
			t.Errorf("%s: %v, of %q", member, err, f.Param)
		}
	}
	for _, body := range []string{``, `[]`, `{"model":"m"}`, `{"input":"hi"}`, `{"model":"","input":"hi"}`, `{"model":"m","input":"hi"} x`} {
		if _, err := Parse([]byte(body)); err == nil {
			t.Errorf("%s: taken", body)
		}
	}
	for _, member := range []string{`"background":false`, `"conversation":null`, `"instructions":null`, `"unknown":1`} {
		if _, err := Parse([]byte(`{"model":"m","input":"hi",` + member + `}`)); err != nil {
			t.Errorf("%s: %v", member, err)
		}
	}
}
