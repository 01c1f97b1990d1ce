package sdk_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

// runResponses is the part of the suite of OpenAI's SDK for Go that goes by responses.
func (s *openaiSuite) runResponses(t *testing.T) {
	for _, tt := range []struct {
		name, situation string
		run             func(t *testing.T, dialect, model string)
	}{
		{"plain", "chat", s.response},
		{"stream", "chat", s.responseStreamed},
		{"tools", "chat", s.responseWithTools},
		{"what is kept", "chat", s.responseKept},
		{"limits", "limited", s.responseLimited},
	} {
		everywhere(t, "responses, "+tt.name, tt.situation, tt.run)
	}
}

func asked(model, text string) responses.ResponseNewParams {
	return responses.ResponseNewParams{Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(text)}}
}

func (s *openaiSuite) response(t *testing.T, _, model string) {
	r, err := s.client.Responses.New(patient(t), asked(model, "echo:Hello"))
	if err != nil {
		t.Fatal(err)
	}
	if r.OutputText() != "Hello" || r.Status != "completed" || r.Model != model || r.Usage.InputTokens == 0 || r.Usage.OutputTokens == 0 {
		t.Errorf("got %s", r.RawJSON())
	}
}

func (s *openaiSuite) responseStreamed(t *testing.T, _, model string) {
	stream := s.client.Responses.NewStreaming(patient(t), asked(model, "echo:one two three"))
	defer stream.Close()
	var text string
	var last responses.ResponseStreamEventUnion
	for n := int64(0); stream.Next(); n++ {
		if last = stream.Current(); last.SequenceNumber != n {
			t.Errorf("event %d has number %d", n, last.SequenceNumber)
		}
		if last.Type == "response.output_text.delta" {
			text += last.Delta
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if text != "one two three" || last.Type != "response.completed" || last.Response.OutputText() != text || last.Response.Usage.OutputTokens != 3 {
		t.Errorf("got %q, at last %s", text, last.RawJSON())
	}
}

func (s *openaiSuite) responseWithTools(t *testing.T, _, model string) {
	p := asked(model, "call:weather")
	p.Tools = []responses.ToolUnionParam{responses.ToolParamOfFunction("weather", weatherTool()[0].OfFunction.Function.Parameters, false)}
	first, err := s.client.Responses.New(patient(t), p)
	if err != nil {
		t.Fatal(err)
	}
	call := first.Output[len(first.Output)-1]
	if call.Type != "function_call" || call.Name != "weather" {
		t.Fatalf("got %s", first.RawJSON())
	}
	checkWeather(t, call.AsFunctionCall().Arguments)
	p.PreviousResponseID = openai.String(first.ID)
	p.Input = responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{
		{OfFunctionCallOutput: &responses.ResponseInputItemFunctionCallOutputParam{
			CallID: openai.String(call.CallID), Output: responses.ResponseInputItemFunctionCallOutputOutputUnionParam{OfString: openai.String("sunny")},
		}},
		responses.ResponseInputItemParamOfMessage("echo:sunny", responses.EasyInputMessageRoleUser),
	}}
	second, err := s.client.Responses.New(patient(t), p)
	if err != nil || second.OutputText() != "sunny" {
		t.Errorf("with the result: got %v, %v", second, err)
	}
}

func (s *openaiSuite) responseKept(t *testing.T, _, model string) {
	ctx := patient(t)
	first, err := s.client.Responses.New(ctx, asked(model, "echo:the gate is open"))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := s.client.Responses.Get(ctx, first.ID, responses.ResponseGetParams{})
	if err != nil || kept.OutputText() != "the gate is open" {
		t.Errorf("got %v, %v", kept, err)
	}
	p := asked(model, "echo:so it is")
	p.PreviousResponseID = openai.String(first.ID)
	next, err := s.client.Responses.New(ctx, p)
	if err != nil || next.OutputText() != "so it is" || !strings.Contains(s.world.sent(t).Body, "the gate is open") {
		t.Errorf("got %v, %v", next, err)
	}
	if err := s.client.Responses.Delete(ctx, first.ID); err != nil {
		t.Error(err)
	}
	var apiErr *openai.Error
	if _, err := s.client.Responses.Get(ctx, first.ID, responses.ResponseGetParams{}); !errors.As(err, &apiErr) || apiErr.StatusCode != 404 {
		t.Errorf("got %v", err)
	}
}

func (s *openaiSuite) responseLimited(t *testing.T, dialect, model string) {
	before := s.world.calls(t, "limited", dialect)
	_, err := s.client.Responses.New(patient(t), asked(model, "say:3"))
	var apiErr *openai.Error
	if !errors.As(err, &apiErr) || apiErr.StatusCode != 429 || apiErr.Response.Header.Get("Retry-After") == "" {
		t.Errorf("got %v", err)
	}
	if got := s.world.calls(t, "limited", dialect) - before; got != 1 {
		t.Errorf("the provider got %d calls, want 1", got)
	}
}
