package anthropic

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/wire/rawjson"
)

// Whatever is sent: no panic, and what is understood is understood the same when it is written again.
func FuzzMessages(f *testing.F) {
	for _, s := range []string{
		`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}]}`,
		`{"model":"m","max_tokens":1,"system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"u"}},{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":""}]}]},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"gemini:s"},{"type":"tool_use","id":"a","name":"f","input":{}}]}],"tools":[{"type":"bash_1","name":"b"},{"name":"f","input_schema":{}}],"tool_choice":{"type":"tool","name":"f"},"thinking":{"type":"enabled","budget_tokens":1024}}`,
		`{"messages":[{"role":"user","content":[{}]}]}`, `[]`, `{"model":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseCount(body)
		if err != nil {
			return
		}
		if kept, _ := Proven(r.Field(messagesField)); kept != nil && !rawjson.Valid(kept) {
			t.Errorf("what is left is no JSON: %s", kept)
		}
		c, err := r.Chat()
		if err != nil {
			return
		}
		again, err := EncodeSame(c)
		if err != nil {
			return
		}
		c2, err := DecodeChat(again)
		if err != nil {
			t.Fatalf("%v: %s", err, again)
		}
		if diff := cmp.Diff(c, c2); diff != "" {
			t.Errorf("%s\n%s", diff, again)
		}
	})
}
