package gateway

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// A caller whose response could not be kept (the store is full, or away) is told so with it, and not when it goes on from it.
func TestResponsesThatAreNotKeptSaySo(t *testing.T) {
	t.Parallel()
	said := llm.Event{Dialect: llm.Anthropic, Has: llm.Content | llm.Finish | llm.End, Deltas: []llm.Delta{
		{Open: &llm.Part{Kind: llm.PartText}, Text: "Hi", Close: true}, {Finish: llm.FinishStop},
	}}
	for _, stream := range []bool{false, true} {
		for _, could := range []bool{false, true} {
			var whole string
			c := &call{id: "ex_1", voice: responsesVoice{}, runtime: &Runtime{Limits: Limits{Write: time.Second}}, keep: func(response []byte) bool {
				whole = string(response)
				return could
			}}
			x := &pipeline.Exchange{ID: "ex_1", Dialect: llm.Responses, Op: llm.OpChat, Caller: &pipeline.Caller{}, Request: &llm.Request{Dialect: llm.Responses, Model: "m"}}
			out := httptest.NewRecorder()
			resp := events(stream, said)
			if stream {
				c.writeStream(out, x, resp, nil)
			} else {
				c.writePlain(out, x, resp)
			}
			body := out.Body.String()
			last := body[strings.LastIndex(body, `"id":"resp_ex_1"`):]
			if strings.Contains(last, `"store":true`) != could || strings.Contains(last, `"store":false`) == could || !strings.Contains(whole, `"store":true`) {
				t.Errorf("stream %t, could %t: %s", stream, could, body)
			}
		}
	}
}
