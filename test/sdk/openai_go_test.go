package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"
)

// runOpenAI is the suite of OpenAI's SDK for Go.
func runOpenAI(t *testing.T, w *world) {
	client := openai.NewClient(option.WithBaseURL(w.url+"/v1"), option.WithAPIKey(w.key))
	s := &openaiSuite{world: w, client: &client}
	for _, tt := range []struct {
		name, situation string
		run             func(t *testing.T, dialect, model string)
	}{
		{"plain", "chat", s.plain},
		{"stream", "chat", s.stream},
		{"stream with usage", "chat", s.streamWithUsage},
		{"tools", "chat", s.tools},
		{"image", "chat", s.image},
		{"structured output", "chat", s.structuredOutput},
		{"parallel calls streamed", "two-calls", s.parallelCallsStreamed},
		{"embeddings", "embed", s.embeddings},
		{"cut stream raises", "cut", s.brokenStream},
		{"error in a stream raises", "erring", s.brokenStream},
		{"abort in mid stream", "slow", s.abortInMidStream},
		{"abort before the first token", "silent", s.abortBeforeTheFirstToken},
		{"a spent budget", "spent", s.spentBudget},
		{"rate limits", "chat", s.rateLimits},
	} {
		everywhere(t, tt.name, tt.situation, tt.run)
	}
	for name, situation := range situations(t) {
		if situation.OpenAI.Status != 0 {
			everywhere(t, name, name, func(t *testing.T, dialect, model string) { s.trouble(t, name, situation, dialect, model) })
		}
	}
	s.runResponses(t)
	t.Run("models", s.models)
	t.Run("errors", s.errors)
}

// openaiSuite is the tests of OpenAI's SDK.
type openaiSuite struct {
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

func (s *openaiSuite) plain(t *testing.T, dialect, model string) {
	const said = "Hello, \"wörld\"\n✓"
	var resp *http.Response
	answer, err := s.client.Chat.Completions.New(patient(t), params(model, "echo:"+said), option.WithResponseInto(&resp))
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Choices[0].Message.Content; got != said || answer.Choices[0].FinishReason != "stop" || answer.Model != model {
		t.Errorf("got %q, %s of %s", got, answer.Choices[0].FinishReason, answer.Model)
	}
	if u := answer.Usage; u.PromptTokens == 0 || u.TotalTokens != u.PromptTokens+u.CompletionTokens {
		t.Errorf("usage %+v", u)
	}
	for name, want := range map[string]string{"X-Penstock-Target": dialect + "/chat-1", "X-Penstock-Tries": "1"} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if resp.Header.Get("X-Request-Id") == "" || resp.Header.Get("X-Penstock-Cost") == "" {
		t.Errorf("no request id or no cost in %v", resp.Header)
	}
}

func (s *openaiSuite) stream(t *testing.T, _, model string) {
	stream := s.client.Chat.Completions.NewStreaming(patient(t), params(model, "echo:one two three"))
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

func (s *openaiSuite) streamWithUsage(t *testing.T, _, model string) {
	p := params(model, "say:7")
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

func (s *openaiSuite) tools(t *testing.T, _, model string) {
	p := params(model, "call:weather")
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

	p = params(model, "call:weather")
	p.Tools = weatherTool()
	p.Messages = append(p.Messages, message.ToParam(), openai.ToolMessage("sunny", message.ToolCalls[0].ID), openai.UserMessage("echo:sunny"))
	second, err := s.client.Chat.Completions.New(patient(t), p)
	if err != nil || second.Choices[0].Message.Content != "sunny" {
		t.Errorf("with the result: got %v, %v", second, err)
	}
}

func (s *openaiSuite) parallelCallsStreamed(t *testing.T, _, model string) {
	p := params(model, "weather")
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

func (s *openaiSuite) image(t *testing.T, _, model string) {
	p := params(model, "")
	p.Messages = []openai.ChatCompletionMessageParamUnion{openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
		openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "data:image/png;base64," + pixel}),
		openai.TextContentPart("echo:a pixel"),
	})}
	answer, err := s.client.Chat.Completions.New(patient(t), p)
	if err != nil || answer.Choices[0].Message.Content != "a pixel" {
		t.Errorf("got %v, %v", answer, err)
	}
	if body := s.world.sent(t).Body; !strings.Contains(body, pixel) {
		t.Errorf("the image has not arrived: %s", body)
	}
}

func (s *openaiSuite) structuredOutput(t *testing.T, _, model string) {
	p := params(model, "solve")
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

func (s *openaiSuite) embeddings(t *testing.T, dialect, model string) {
	ctx := patient(t)
	input := openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"water", "a gate above"}}
	floats, err := s.client.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: model, Input: input})
	if err != nil {
		t.Fatal(err)
	}
	packed, err := s.client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: model, Input: input, EncodingFormat: openai.EmbeddingNewParamsEncodingFormatBase64,
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
	if dialect == "gemini" { // which takes no tokens
		return
	}
	tokens, err := s.client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: model, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfTokenArrays: [][]int64{{1, 2}, {3}}},
	})
	if err != nil || len(tokens.Data) != 2 {
		t.Errorf("tokens: got %v, %v", tokens, err)
	}
}

func (s *openaiSuite) models(t *testing.T) {
	ctx := patient(t)
	var ids []string
	pages := s.client.Models.ListAutoPaging(ctx)
	for pages.Next() {
		ids = append(ids, pages.Current().ID)
	}
	if err := pages.Err(); err != nil || !strings.Contains(strings.Join(ids, " "), "chat-gemini") {
		t.Errorf("got %v, %v", ids, err)
	}
	if m, err := s.client.Models.Get(ctx, "chat-gemini"); err != nil || m.ID != "chat-gemini" {
		t.Errorf("got %v, %v", m, err)
	}
}

// trouble has the SDK's own retries on, as a user has them: after Penstock has used up its tries, it must not add any.
func (s *openaiSuite) trouble(t *testing.T, name string, situation situation, dialect, model string) {
	before := s.world.calls(t, name, dialect)
	_, err := s.client.Chat.Completions.New(patient(t), params(model, "say:3"))
	var apiErr *openai.Error
	if !errors.As(err, &apiErr) {
		t.Fatalf("got %v, want an *openai.Error", err)
	}
	if apiErr.StatusCode != situation.OpenAI.Status || !strings.Contains(apiErr.Message, situation.Says) {
		t.Errorf("got %d, %q; want %d, %q", apiErr.StatusCode, apiErr.Message, situation.OpenAI.Status, situation.Says)
	}
	if again := apiErr.Response.Header.Get("Retry-After"); (again != "") != situation.RetryAfter {
		t.Errorf("Retry-After: %q", again)
	}
	if got := s.world.calls(t, name, dialect) - before; got != situation.Calls {
		t.Errorf("the provider got %d calls, want %d", got, situation.Calls)
	}
}

// spentBudget: it is the vendor's own error for that, which its SDK does not try again.
func (s *openaiSuite) spentBudget(t *testing.T, _, model string) {
	asked := 0
	count := option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		asked++
		return next(r)
	})
	_, err := s.client.Chat.Completions.New(patient(t), params(model, "say:3"), count)
	var apiErr *openai.Error
	if !errors.As(err, &apiErr) {
		t.Fatalf("got %v, want an *openai.Error", err)
	}
	if apiErr.StatusCode != http.StatusTooManyRequests || apiErr.Code != "insufficient_quota" || apiErr.Type != "insufficient_quota" || asked != 1 {
		t.Errorf("got %d, %q, %q after %d calls", apiErr.StatusCode, apiErr.Code, apiErr.Type, asked)
	}
	var said struct {
		Penstock struct {
			Budget string `json:"budget"`
			Free   *int64 `json:"free_nano"`
			Needed int64  `json:"needed_nano"`
			Resets string `json:"resets_at"`
		} `json:"penstock"`
	}
	if err := json.Unmarshal([]byte(apiErr.RawJSON()), &said); err != nil || said.Penstock.Budget == "" || said.Penstock.Free == nil || said.Penstock.Needed == 0 || said.Penstock.Resets == "" {
		t.Errorf("%v in %s", err, apiErr.RawJSON())
	}
}

// rateLimits: where a caller stands is in the headers that its vendor has for that.
func (s *openaiSuite) rateLimits(t *testing.T, _, model string) {
	var resp *http.Response
	if _, err := s.client.Chat.Completions.New(patient(t), params(model, "say:3"), option.WithResponseInto(&resp)); err != nil {
		t.Fatal(err)
	}
	for name, limit := range map[string]int{"Requests": 100_000, "Tokens": 100_000_000} {
		left, err := strconv.Atoi(resp.Header.Get("X-Ratelimit-Remaining-" + name))
		reset, wrong := time.ParseDuration(resp.Header.Get("X-Ratelimit-Reset-" + name))
		if resp.Header.Get("X-Ratelimit-Limit-"+name) != strconv.Itoa(limit) || err != nil || left >= limit || left < limit/2 || wrong != nil || reset <= 0 || reset > 61*time.Second {
			t.Errorf("%s: %v", name, resp.Header)
		}
	}
}

func (s *openaiSuite) errors(t *testing.T) {
	for _, tt := range []struct {
		name, model string
		options     []option.RequestOption
		status      int
		code, words string
	}{
		{name: "unknown key", model: "chat-openai", options: []option.RequestOption{option.WithAPIKey("psk_wrong")}, status: 401, code: "invalid_api_key"},
		{name: "unknown model", model: "chatt", status: 404, code: "model_not_found", words: "chat"},
		{name: "bad request", model: "chat-openai", options: []option.RequestOption{option.WithJSONSet("messages", "hello")}, status: 400, words: "messages"},
		{name: "too large", model: "chat-openai", options: []option.RequestOption{option.WithJSONSet("user", strings.Repeat("x", 1_100_000))}, status: 413, code: "body_too_large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.client.Chat.Completions.New(patient(t), params(tt.model, "say:3"), tt.options...)
			var apiErr *openai.Error
			if !errors.As(err, &apiErr) {
				t.Fatalf("got %v, want an *openai.Error", err)
			}
			if apiErr.StatusCode != tt.status || (tt.code != "" && apiErr.Code != tt.code) || !strings.Contains(apiErr.Message, tt.words) {
				t.Errorf("got %d, %q, %q; want %d, %q, %q", apiErr.StatusCode, apiErr.Code, apiErr.Message, tt.status, tt.code, tt.words)
			}
		})
	}
}

func (s *openaiSuite) brokenStream(t *testing.T, _, model string) {
	stream := s.client.Chat.Completions.NewStreaming(patient(t), params(model, "say:9"))
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

func (s *openaiSuite) abortInMidStream(t *testing.T, dialect, model string) {
	seq := s.world.lastCall(t)
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	stream := s.client.Chat.Completions.NewStreaming(ctx, params(model, "go"))
	defer stream.Close()
	for range 3 {
		if !stream.Next() {
			t.Fatal(stream.Err())
		}
	}
	left := time.Now()
	cancel()
	if took := s.world.canceledSince(t, "slow", dialect, seq).Sub(left); took > time.Second {
		t.Errorf("the provider went on for %s after the client had left", took)
	}
}

func (s *openaiSuite) abortBeforeTheFirstToken(t *testing.T, dialect, model string) {
	seq := s.world.lastCall(t)
	ctx, cancel := context.WithTimeout(patient(t), 300*time.Millisecond)
	defer cancel()
	_, err := s.client.Chat.Completions.New(ctx, params(model, "go"))
	left := time.Now()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := s.world.canceledSince(t, "silent", dialect, seq).Sub(left); took > time.Second {
		t.Errorf("the provider was left waiting for %s after the client had left", took)
	}
}
