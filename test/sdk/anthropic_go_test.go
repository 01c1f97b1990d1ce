package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
	"github.com/anthropics/anthropic-sdk-go/v2/toolrunner"
)

// runAnthropic is the suite of Anthropic's SDK for Go.
func runAnthropic(t *testing.T, w *world) {
	client := anthropic.NewClient(option.WithBaseURL(w.url), option.WithAPIKey(w.key))
	s := &anthropicSuite{world: w, client: &client}
	for _, tt := range []struct {
		name, situation string
		run             func(t *testing.T, dialect, model string)
	}{
		{"plain", "chat", s.plain},
		{"stream", "chat", s.stream},
		{"reasoning", "thinking", s.reasoning},
		{"tools", "chat", s.tools},
		{"loop over tools", "chat", s.loop},
		{"parallel calls streamed", "two-calls", s.parallelCallsStreamed},
		{"structured output", "chat", s.structuredOutput},
		{"image and document", "chat", s.image},
		{"count tokens", "chat", s.countTokens},
		{"betas", "chat", s.betas},
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
		if situation.Anthropic.Status != 0 {
			everywhere(t, name, name, func(t *testing.T, dialect, model string) { s.trouble(t, name, situation, dialect, model) })
		}
	}
	t.Run("models", s.models)
	t.Run("errors", s.errors)
}

// anthropicSuite is the tests of Anthropic's SDK.
type anthropicSuite struct {
	world  *world
	client *anthropic.Client
}

// message is a question to a model.
func message(model string, blocks ...anthropic.ContentBlockParamUnion) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: model, MaxTokens: 200, System: []anthropic.TextBlockParam{{Text: "Be brief."}},
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(blocks...)},
	}
}

func says(model, text string) anthropic.MessageNewParams {
	return message(model, anthropic.NewTextBlock(text))
}

// streamed is the message that the SDK puts together from a stream.
func (s *anthropicSuite) streamed(t *testing.T, p anthropic.MessageNewParams) (m anthropic.Message) {
	t.Helper()
	stream := s.client.Messages.NewStreaming(patient(t), p)
	defer stream.Close()
	for stream.Next() {
		if err := m.Accumulate(stream.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	return m
}

// kinds are the types of a message's blocks.
func kinds(m *anthropic.Message) string {
	all := make([]string, len(m.Content))
	for i, b := range m.Content {
		all[i] = b.Type
	}
	return strings.Join(all, " ")
}

func (s *anthropicSuite) plain(t *testing.T, _, model string) {
	const said = "Hello, \"wörld\"\n✓"
	m, err := s.client.Messages.New(patient(t), says(model, "echo:"+said))
	if err != nil {
		t.Fatal(err)
	}
	if kinds(m) != "text" || m.Content[0].Text != said || m.StopReason != "end_turn" || m.Model != model || m.Usage.InputTokens == 0 || m.Usage.OutputTokens == 0 {
		t.Errorf("got %s", m.RawJSON())
	}
}

func (s *anthropicSuite) stream(t *testing.T, _, model string) {
	m := s.streamed(t, says(model, "echo:one two three"))
	if kinds(&m) != "text" || m.Content[0].Text != "one two three" || m.StopReason != "end_turn" || m.Usage.InputTokens == 0 || m.Usage.OutputTokens != 3 {
		t.Errorf("got %+v", m)
	}
}

func (s *anthropicSuite) reasoning(t *testing.T, _, model string) {
	m := s.streamed(t, says(model, "echo:so"))
	if kinds(&m) != "thinking text" || m.Content[0].Thinking == "" {
		t.Fatalf("got %+v", m)
	}
	p := says(model, "echo:so")
	p.Messages = append(p.Messages, m.ToParam(), anthropic.NewUserMessage(anthropic.NewTextBlock("echo:and so on")))
	again, err := s.client.Messages.New(patient(t), p)
	if err != nil || again.Content[len(again.Content)-1].Text != "and so on" {
		t.Errorf("got %v, %v", again, err)
	}
}

// anthropicWeather is the tool of weatherTool.
func anthropicWeather() []anthropic.ToolUnionParam {
	return []anthropic.ToolUnionParam{anthropic.ToolUnionParamOfTool(anthropic.ToolInputSchemaParam{
		Properties: map[string]any{"city": map[string]any{"type": "string"}, "days": map[string]any{"type": "integer"}},
		Required:   []string{"city", "days"},
	}, "weather")}
}

func (s *anthropicSuite) tools(t *testing.T, _, model string) {
	p := says(model, "call:weather")
	p.Tools = anthropicWeather()
	first, err := s.client.Messages.New(patient(t), p)
	if err != nil {
		t.Fatal(err)
	}
	call := first.Content[len(first.Content)-1]
	if call.Type != "tool_use" || call.Name != "weather" || first.StopReason != "tool_use" {
		t.Fatalf("got %s", first.RawJSON())
	}
	checkWeather(t, string(call.Input))
	p.Messages = append(p.Messages, first.ToParam(), anthropic.NewUserMessage(anthropic.NewToolResultBlock(call.ID, "sunny", false), anthropic.NewTextBlock("echo:sunny")))
	second, err := s.client.Messages.New(patient(t), p)
	if err != nil || second.Content[0].Text != "sunny" {
		t.Errorf("with the result: got %v, %v", second, err)
	}
}

func (s *anthropicSuite) parallelCallsStreamed(t *testing.T, dialect, model string) {
	p := says(model, "weather")
	p.Tools = anthropicWeather()
	m := s.streamed(t, p)
	var results []anthropic.ContentBlockParamUnion
	for _, b := range m.Content {
		if b.Type == "tool_use" {
			checkWeather(t, string(b.Input))
			results = append(results, anthropic.NewToolResultBlock(b.ID, "no such city", true))
		}
	}
	if len(results) != 2 || m.StopReason != "tool_use" {
		t.Fatalf("got %+v", m)
	}
	p.Model = "chat-" + dialect
	p.Messages = append(p.Messages, m.ToParam(), anthropic.NewUserMessage(append(results, anthropic.NewTextBlock("echo:done"))...))
	answer, err := s.client.Messages.New(patient(t), p)
	if err != nil || answer.Content[0].Text != "done" {
		t.Errorf("with the results: got %v, %v", answer, err)
	}
}

// loop lets the SDK call the tool. It asks for a conversation that the provider holds, and goes on without where it is refused. The
// simulated provider of this dialect does not know what it is asked.
func (s *anthropicSuite) loop(t *testing.T, dialect, model string) {
	type city struct {
		City string `json:"city" jsonschema:"required"`
		Days int    `json:"days" jsonschema:"required"`
	}
	asked := 0
	tool, err := toolrunner.NewBetaToolFromJSONSchema("weather", "Get the weather of a city.",
		func(context.Context, city) (anthropic.BetaToolResultBlockParamContentUnion, error) {
			asked++
			return anthropic.BetaToolResultBlockParamContentUnion{OfText: &anthropic.BetaTextBlockParam{Text: "sunny"}}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	runner := s.client.Beta.Messages.NewToolRunner([]anthropic.BetaTool{tool}, anthropic.BetaToolRunnerParams{
		BetaMessageNewParams: anthropic.BetaMessageNewParams{
			Model: model, MaxTokens: 200,
			Messages: []anthropic.BetaMessageParam{anthropic.NewBetaUserMessage(anthropic.NewBetaTextBlock("call:weather"))},
		},
		MaxIterations: 2, DisableThread: dialect == "anthropic",
	})
	turns := 0
	for m, err := range runner.All(patient(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if turns++; turns == 1 && m.StopReason != "tool_use" {
			t.Errorf("got %s", m.RawJSON())
		}
	}
	if turns != 2 || asked == 0 {
		t.Errorf("%d turns, the tool was called %d times", turns, asked)
	}
}

func (s *anthropicSuite) structuredOutput(t *testing.T, _, model string) {
	p := says(model, "solve")
	p.OutputConfig = anthropic.OutputConfigParam{Format: anthropic.JSONOutputFormatParam{Schema: map[string]any{
		"type": "object", "additionalProperties": false, "required": []string{"answer", "sure"},
		"properties": map[string]any{"answer": map[string]any{"type": "string"}, "sure": map[string]any{"type": "boolean"}},
	}}}
	m, err := s.client.Messages.New(patient(t), p)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		Answer *string `json:"answer"`
		Sure   *bool   `json:"sure"`
	}
	if err := json.Unmarshal([]byte(m.Content[0].Text), &out); err != nil || out.Answer == nil || out.Sure == nil {
		t.Errorf("got %s, %v", m.RawJSON(), err)
	}
}

func (s *anthropicSuite) image(t *testing.T, _, model string) {
	const pdf = "JVBERi0xLjQK"
	m, err := s.client.Messages.New(patient(t), message(model, anthropic.NewImageBlockBase64("image/png", pixel),
		anthropic.NewDocumentBlock(anthropic.Base64PDFSourceParam{Data: pdf}), anthropic.NewTextBlock("echo:seen")))
	if err != nil || m.Content[0].Text != "seen" {
		t.Fatalf("got %v, %v", m, err)
	}
	if body := s.world.sent(t).Body; !strings.Contains(body, pixel) || !strings.Contains(body, pdf) {
		t.Errorf("the image or the document has not arrived: %s", body)
	}
}

func (s *anthropicSuite) countTokens(t *testing.T, _, model string) {
	var counts []int64
	for _, text := range []string{"Hi", strings.Repeat("How many are these? ", 20)} {
		n, err := s.client.Messages.CountTokens(patient(t), anthropic.MessageCountTokensParams{
			Model: model, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(text))},
		})
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, n.InputTokens)
	}
	if counts[0] == 0 || counts[1] < counts[0]+80 {
		t.Errorf("got %v", counts)
	}
}

func (s *anthropicSuite) betas(t *testing.T, dialect, model string) {
	m, err := s.client.Beta.Messages.New(patient(t), anthropic.BetaMessageNewParams{
		Model: model, MaxTokens: 20, Betas: []anthropic.AnthropicBeta{"a-2026-01-01", "b-2026-02-02"},
		Messages: []anthropic.BetaMessageParam{anthropic.NewBetaUserMessage(anthropic.NewBetaTextBlock("echo:hi"))},
	})
	if err != nil || m.Content[0].Text != "hi" {
		t.Fatalf("got %v, %v", m, err)
	}
	if got := s.world.sent(t).Header.Values("Anthropic-Beta"); dialect == "anthropic" && strings.Join(got, ",") != "a-2026-01-01,b-2026-02-02" {
		t.Errorf("betas: %q", got)
	}
}

func (s *anthropicSuite) models(t *testing.T) {
	ctx := patient(t)
	var ids []string
	pages := s.client.Models.ListAutoPaging(ctx, anthropic.ModelListParams{})
	for pages.Next() {
		m := pages.Current()
		if m.DisplayName == "" || m.CreatedAt.IsZero() {
			t.Errorf("got %s", m.RawJSON())
		}
		ids = append(ids, m.ID)
	}
	if err := pages.Err(); err != nil || !slices.Contains(ids, "chat-gemini") {
		t.Errorf("got %v, %v", ids, err)
	}
	if m, err := s.client.Models.Get(ctx, "chat-gemini", anthropic.ModelGetParams{}); err != nil || m.ID != "chat-gemini" {
		t.Errorf("got %v, %v", m, err)
	}
}

// trouble has the SDK's own retries on, as a user has them: after Penstock has used up its tries, it must not add any.
func (s *anthropicSuite) trouble(t *testing.T, name string, situation situation, dialect, model string) {
	before := s.world.calls(t, name, dialect)
	_, err := s.client.Messages.New(patient(t), says(model, "say:3"))
	var apiErr *anthropic.Error
	if !errors.As(err, &apiErr) {
		t.Fatalf("got %v, want an *anthropic.Error", err)
	}
	if want := situation.Anthropic; apiErr.StatusCode != want.Status || string(apiErr.Type()) != want.Type || !strings.Contains(apiErr.Message, situation.Says) {
		t.Errorf("got %d, %q, %q; want %+v, %q", apiErr.StatusCode, apiErr.Type(), apiErr.Message, want, situation.Says)
	}
	if again := apiErr.Response.Header.Get("Retry-After"); (again != "") != situation.RetryAfter {
		t.Errorf("Retry-After: %q", again)
	}
	if apiErr.RequestID == "" || apiErr.RequestID != apiErr.Response.Header.Get("X-Request-Id") {
		t.Errorf("request id %q", apiErr.RequestID)
	}
	if got := s.world.calls(t, name, dialect) - before; got != situation.Calls {
		t.Errorf("the provider got %d calls, want %d", got, situation.Calls)
	}
}

// spentBudget: its SDK does not try again.
func (s *anthropicSuite) spentBudget(t *testing.T, _, model string) {
	asked := 0
	count := option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		asked++
		return next(r)
	})
	_, err := s.client.Messages.New(patient(t), says(model, "say:3"), count)
	var apiErr *anthropic.Error
	if !errors.As(err, &apiErr) {
		t.Fatalf("got %v, want an *anthropic.Error", err)
	}
	var said struct {
		Error struct {
			Details struct {
				Code     string `json:"error_code"`
				Penstock struct {
					Budget string `json:"budget"`
					Free   *int64 `json:"free_nano"`
				} `json:"penstock"`
			} `json:"details"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(apiErr.RawJSON()), &said); err != nil {
		t.Fatalf("%v in %s", err, apiErr.RawJSON())
	}
	if d := said.Error.Details; apiErr.StatusCode != http.StatusTooManyRequests || d.Code != "insufficient_quota" || d.Penstock.Budget == "" || d.Penstock.Free == nil || asked != 1 {
		t.Errorf("got %d, %s after %d calls", apiErr.StatusCode, apiErr.RawJSON(), asked)
	}
}

// rateLimits: where a caller stands is in the headers that its vendor has for that.
func (s *anthropicSuite) rateLimits(t *testing.T, _, model string) {
	var resp *http.Response
	if _, err := s.client.Messages.New(patient(t), says(model, "say:3"), option.WithResponseInto(&resp)); err != nil {
		t.Fatal(err)
	}
	for name, limit := range map[string]int{"Requests": 100_000, "Tokens": 100_000_000} {
		left, err := strconv.Atoi(resp.Header.Get("Anthropic-Ratelimit-" + name + "-Remaining"))
		reset, wrong := time.Parse(time.RFC3339, resp.Header.Get("Anthropic-Ratelimit-"+name+"-Reset"))
		if resp.Header.Get("Anthropic-Ratelimit-"+name+"-Limit") != strconv.Itoa(limit) || err != nil || left >= limit || left < limit/2 || wrong != nil || time.Until(reset) > 62*time.Second {
			t.Errorf("%s: %v", name, resp.Header)
		}
	}
}

func (s *anthropicSuite) errors(t *testing.T) {
	for _, tt := range []struct {
		name, model string
		options     []option.RequestOption
		status      int
		kind, words string
	}{
		{"unknown key", "chat-anthropic", []option.RequestOption{option.WithAPIKey("psk_wrong")}, 401, "authentication_error", ""},
		{"unknown model", "chat-openia", nil, 404, "not_found_error", "chat-openai"},
		{"bad request", "chat-gemini", []option.RequestOption{option.WithJSONSet("messages", "hello")}, 400, "invalid_request_error", "messages"},
		{"too large", "chat-gemini", []option.RequestOption{option.WithJSONSet("system", strings.Repeat("x", 1_100_000))}, 413, "request_too_large", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.client.Messages.New(patient(t), says(tt.model, "say:3"), tt.options...)
			var apiErr *anthropic.Error
			if !errors.As(err, &apiErr) {
				t.Fatalf("got %v, want an *anthropic.Error", err)
			}
			if apiErr.StatusCode != tt.status || string(apiErr.Type()) != tt.kind || !strings.Contains(apiErr.Message, tt.words) {
				t.Errorf("got %d, %q, %q; want %d, %q, %q", apiErr.StatusCode, apiErr.Type(), apiErr.Message, tt.status, tt.kind, tt.words)
			}
		})
	}
}

func (s *anthropicSuite) brokenStream(t *testing.T, _, model string) {
	stream := s.client.Messages.NewStreaming(patient(t), says(model, "say:9"))
	defer stream.Close()
	text := ""
	for stream.Next() {
		text += stream.Current().Delta.Text
	}
	if stream.Err() == nil || text == "" {
		t.Errorf("got %q and error %v; want what came before, and an error", text, stream.Err())
	}
}

func (s *anthropicSuite) abortInMidStream(t *testing.T, dialect, model string) {
	seq := s.world.lastCall(t)
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	p := says(model, "go")
	p.MaxTokens = 4000
	stream := s.client.Messages.NewStreaming(ctx, p)
	defer stream.Close()
	for range 5 {
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

func (s *anthropicSuite) abortBeforeTheFirstToken(t *testing.T, dialect, model string) {
	seq := s.world.lastCall(t)
	ctx, cancel := context.WithTimeout(patient(t), 300*time.Millisecond)
	defer cancel()
	_, err := s.client.Messages.New(ctx, says(model, "go"))
	left := time.Now()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := s.world.canceledSince(t, "silent", dialect, seq).Sub(left); took > time.Second {
		t.Errorf("the provider was left waiting for %s after the client had left", took)
	}
}
