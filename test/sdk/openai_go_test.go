package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"
)

// runGo is the suite of the Go SDK.
func (w *world) runGo(t *testing.T) {
	client := openai.NewClient(option.WithBaseURL(w.base), option.WithAPIKey(w.key))
	s := &suite{world: w, client: &client}
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"plain", s.plain},
		{"stream", s.stream},
		{"stream with usage", s.streamWithUsage},
		{"tools", s.tools},
		{"parallel calls streamed", s.parallelCallsStreamed},
		{"structured output", s.structuredOutput},
		{"embeddings", s.embeddings},
		{"models", s.models},
		{"errors", s.errors},
		{"cut stream raises", s.cutStream},
		{"abort in mid stream", s.abortInMidStream},
		{"abort before the first token", s.abortBeforeTheFirstToken},
	} {
		t.Run(tt.name, tt.run)
	}
}

// A suite is the tests of the Go SDK.
type suite struct {
	world  *world
	client *openai.Client
}

// patient is a context for one test.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func params(model, text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    model,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.SystemMessage("Be brief."), openai.UserMessage(text)},
	}
}

func (s *suite) plain(t *testing.T) {
	const said = "Hello, \"wörld\"\n✓"
	var resp *http.Response
	answer, err := s.client.Chat.Completions.New(patient(t), params("chat", "echo:"+said), option.WithResponseInto(&resp))
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Choices[0].Message.Content; got != said || answer.Choices[0].FinishReason != "stop" || answer.Model != "chat" {
		t.Errorf("got %q, %s of %s", got, answer.Choices[0].FinishReason, answer.Model)
	}
	if u := answer.Usage; u.PromptTokens == 0 || u.TotalTokens != u.PromptTokens+u.CompletionTokens {
		t.Errorf("usage %+v", u)
	}
	for name, want := range map[string]string{"X-Penstock-Target": "sim/chat-large", "X-Penstock-Tries": "1"} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if resp.Header.Get("X-Request-Id") == "" || resp.Header.Get("X-Penstock-Cost") == "" {
		t.Errorf("no request id or no cost in %v", resp.Header)
	}
}

func (s *suite) stream(t *testing.T) {
	stream := s.client.Chat.Completions.NewStreaming(patient(t), params("chat", "echo:one two three"))
	defer stream.Close()
	var acc openai.ChatCompletionAccumulator
	var finished string
	for stream.Next() {
		event := stream.Current()
		if !acc.AddChunk(event) {
			t.Fatalf("the accumulator refuses %s", event.RawJSON())
		}
		if event.JSON.Usage.Valid() {
			t.Errorf("usage, though it was not asked for: %s", event.RawJSON())
		}
		if text, ok := acc.JustFinishedContent(); ok {
			finished = text
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if finished != "one two three" || acc.Choices[0].FinishReason != "stop" {
		t.Errorf("got %q, %s", finished, acc.Choices[0].FinishReason)
	}
}

func (s *suite) streamWithUsage(t *testing.T) {
	p := params("chat", "say:7")
	p.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	stream := s.client.Chat.Completions.NewStreaming(patient(t), p)
	defer stream.Close()
	var last openai.ChatCompletionChunk
	for stream.Next() {
		last = stream.Current()
	}
	if err := stream.Err(); err != nil || last.Usage.CompletionTokens != 7 || len(last.Choices) != 0 {
		t.Errorf("%v; the last event is %s", err, last.RawJSON())
	}
}

// weatherTool is a tool with arguments of two types.
func weatherTool() []openai.ChatCompletionToolUnionParam {
	return []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
		Name: "weather",
		Parameters: shared.FunctionParameters{
			"type":       "object",
			"properties": map[string]any{"city": map[string]any{"type": "string"}, "days": map[string]any{"type": "integer"}},
			"required":   []string{"city", "days"},
		},
	})}
}

// checkWeather fails unless the arguments are those of weatherTool.
func checkWeather(t *testing.T, arguments string) {
	t.Helper()
	var in struct {
		City *string `json:"city"`
		Days *int    `json:"days"`
	}
	if err := json.Unmarshal([]byte(arguments), &in); err != nil || in.City == nil || in.Days == nil {
		t.Errorf("arguments %q: %v", arguments, err)
	}
}

func (s *suite) tools(t *testing.T) {
	p := params("chat", "call:weather")
	p.Tools = weatherTool()
	first, err := s.client.Chat.Completions.New(patient(t), p)
	if err != nil {
		t.Fatal(err)
	}
	message := first.Choices[0].Message
	if len(message.ToolCalls) != 1 || first.Choices[0].FinishReason != "tool_calls" {
		t.Fatalf("got %s", first.RawJSON())
	}
	checkWeather(t, message.ToolCalls[0].Function.Arguments)

	p = params("chat", "echo:sunny")
	p.Messages = append(p.Messages, message.ToParam(), openai.ToolMessage("sunny", message.ToolCalls[0].ID))
	second, err := s.client.Chat.Completions.New(patient(t), p)
	if err != nil || second.Choices[0].Message.Content != "sunny" {
		t.Errorf("with the result: got %v, %v", second, err)
	}
}

func (s *suite) parallelCallsStreamed(t *testing.T) {
	p := params("two-calls", "weather")
	p.Tools = weatherTool()
	stream := s.client.Chat.Completions.NewStreaming(patient(t), p)
	defer stream.Close()
	var acc openai.ChatCompletionAccumulator
	finished := 0
	for stream.Next() {
		if !acc.AddChunk(stream.Current()) {
			t.Fatalf("the accumulator refuses %s", stream.Current().RawJSON())
		}
		if call, ok := acc.JustFinishedToolCall(); ok {
			finished++
			checkWeather(t, call.Arguments)
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if finished != 2 || len(acc.Choices[0].Message.ToolCalls) != 2 {
		t.Errorf("%d calls were finished on the way, %d are there at the end; want 2", finished, len(acc.Choices[0].Message.ToolCalls))
	}
}

func (s *suite) structuredOutput(t *testing.T) {
	p := params("chat", "solve")
	p.ResponseFormat = openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
			Name: "solution", Strict: openai.Bool(true),
			Schema: map[string]any{
				"type": "object", "additionalProperties": false, "required": []string{"answer", "sure"},
				"properties": map[string]any{"answer": map[string]any{"type": "string"}, "sure": map[string]any{"type": "boolean"}},
			},
		},
	}}
	answer, err := s.client.Chat.Completions.New(patient(t), p)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		Answer *string `json:"answer"`
		Sure   *bool   `json:"sure"`
	}
	if err := json.Unmarshal([]byte(answer.Choices[0].Message.Content), &out); err != nil || out.Answer == nil || out.Sure == nil {
		t.Errorf("got %q, %v", answer.Choices[0].Message.Content, err)
	}
}

func (s *suite) embeddings(t *testing.T) {
	ctx := patient(t)
	input := openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"water", "a gate above"}}
	floats, err := s.client.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "embed", Input: input})
	if err != nil {
		t.Fatal(err)
	}
	packed, err := s.client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: "embed", Input: input, EncodingFormat: openai.EmbeddingNewParamsEncodingFormatBase64,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range floats.Data {
		if len(d.Embedding) != 16 || len(packed.Data[i].Embedding) != 16 || d.Index != int64(i) {
			t.Fatalf("vector %d: %d and %d numbers, want 16", d.Index, len(d.Embedding), len(packed.Data[i].Embedding))
		}
		for k, x := range d.Embedding {
			if math.Abs(x-packed.Data[i].Embedding[k]) > 1e-6 {
				t.Fatalf("number %d of vector %d is %v, and packed %v", k, i, x, packed.Data[i].Embedding[k])
			}
		}
	}
	tokens, err := s.client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: "embed", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfTokenArrays: [][]int64{{1, 2}, {3}}},
	})
	if err != nil || len(tokens.Data) != 2 {
		t.Errorf("tokens: got %v, %v", tokens, err)
	}
}

func (s *suite) models(t *testing.T) {
	ctx := patient(t)
	var ids []string
	pages := s.client.Models.ListAutoPaging(ctx)
	for pages.Next() {
		ids = append(ids, pages.Current().ID)
	}
	if err := pages.Err(); err != nil || !strings.Contains(strings.Join(ids, " "), "chat") {
		t.Errorf("got %v, %v", ids, err)
	}
	if m, err := s.client.Models.Get(ctx, "chat"); err != nil || m.ID != "chat" {
		t.Errorf("got %v, %v", m, err)
	}
}

// errors has the SDK's own retries on, as a user has them: after Penstock has used up its tries, it must not add any.
func (s *suite) errors(t *testing.T) {
	for _, tt := range []struct {
		name, model string
		options     []option.RequestOption
		status      int
		code, words string
		upstream    []string // the models that the tries reach
		calls       int64
	}{
		{name: "unknown key", model: "chat", options: []option.RequestOption{option.WithAPIKey("psk_wrong")}, status: 401, code: "invalid_api_key"},
		{name: "unknown model", model: "chatt", status: 404, code: "model_not_found", words: "chat"},
		{name: "bad request", model: "chat", options: []option.RequestOption{option.WithJSONSet("messages", "hello")}, status: 400, words: "messages"},
		{name: "refused by the provider", model: "refusing", status: 400, code: "no_poems", words: "no poems today", upstream: []string{"refusing"}, calls: 1},
		{name: "all targets fail", model: "failing", status: 502, upstream: []string{"failing-a", "failing-b"}, calls: 2},
		{name: "all targets limited", model: "limited", status: 429, upstream: []string{"limited-a", "limited-b"}, calls: 2},
		{name: "no first token in time", model: "silent", status: 504, words: "first_token", upstream: []string{"silent"}, calls: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := s.world.calls(t, tt.upstream...)
			_, err := s.client.Chat.Completions.New(patient(t), params(tt.model, "say:3"), tt.options...)
			var apiErr *openai.Error
			if !errors.As(err, &apiErr) {
				t.Fatalf("got %v, want an *openai.Error", err)
			}
			if apiErr.StatusCode != tt.status || (tt.code != "" && apiErr.Code != tt.code) || !strings.Contains(apiErr.Message, tt.words) {
				t.Errorf("got %d, %q, %q; want %d, %q, %q", apiErr.StatusCode, apiErr.Code, apiErr.Message, tt.status, tt.code, tt.words)
			}
			if got := s.world.calls(t, tt.upstream...) - before; got != tt.calls {
				t.Errorf("the provider got %d calls, want %d", got, tt.calls)
			}
		})
	}
}

func (s *suite) cutStream(t *testing.T) {
	stream := s.client.Chat.Completions.NewStreaming(patient(t), params("cut", "say:9"))
	defer stream.Close()
	text := ""
	for stream.Next() {
		if choices := stream.Current().Choices; len(choices) > 0 {
			text += choices[0].Delta.Content
		}
	}
	if stream.Err() == nil || text == "" {
		t.Errorf("got %q and error %v; want what came before the cut, and an error", text, stream.Err())
	}
}

func (s *suite) abortInMidStream(t *testing.T) {
	seq := s.world.lastCall(t)
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	stream := s.client.Chat.Completions.NewStreaming(ctx, params("slow", "go"))
	defer stream.Close()
	for range 3 {
		if !stream.Next() {
			t.Fatal(stream.Err())
		}
	}
	left := time.Now()
	cancel()
	if took := s.world.canceledSince(t, "slow", seq).Sub(left); took > time.Second {
		t.Errorf("the provider went on for %s after the client had left", took)
	}
}

func (s *suite) abortBeforeTheFirstToken(t *testing.T) {
	seq := s.world.lastCall(t)
	ctx, cancel := context.WithTimeout(patient(t), 300*time.Millisecond)
	defer cancel()
	_, err := s.client.Chat.Completions.New(ctx, params("silent", "go"))
	left := time.Now()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := s.world.canceledSince(t, "silent", seq).Sub(left); took > time.Second {
		t.Errorf("the provider was left waiting for %s after the client had left", took)
	}
}
