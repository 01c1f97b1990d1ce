package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// openAI is the dialect of OpenAI and of the many servers that follow it. This file reads requests; openai_answer.go
// writes answers.
type openAI struct{}

func (openAI) operation(method, path string) (operation, bool) {
	switch {
	case method == http.MethodPost && path == "/v1/chat/completions":
		return opChat, true
	case method == http.MethodPost && path == "/v1/embeddings":
		return opEmbed, true
	case method == http.MethodPost && path == "/v1/moderations":
		return opJudge, true
	case method == http.MethodGet && path == "/v1/models":
		return opModels, true
	}
	return 0, false
}

// maxChoices and maxDimensions are the bounds of n and dimensions.
const (
	maxChoices    = 128
	maxDimensions = 8192
)

// chatBody is what the simulator reads of a chat request.
type chatBody struct {
	Model    *string `json:"model"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Stream        bool `json:"stream"`
	StreamOptions *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	MaxTokens           *int `json:"max_tokens"`
	MaxCompletionTokens *int `json:"max_completion_tokens"`
	N                   *int `json:"n"`
	Logprobs            bool `json:"logprobs"`
	TopLogprobs         int  `json:"top_logprobs"`
	Tools               []struct {
		Type     string `json:"type"`
		Function struct {
			Name       string          `json:"name"`
			Parameters json.RawMessage `json:"parameters"`
		} `json:"function"`
	} `json:"tools"`
	ToolChoice     json.RawMessage `json:"tool_choice"`
	ResponseFormat *struct {
		Type       string `json:"type"`
		JSONSchema struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	} `json:"response_format"`
}

func (openAI) chat(_ string, body []byte) (*ask, error) { return chatOf(body, nil) }

// chatOf reads a chat request; a model that is named elsewhere counts more than the body's.
func chatOf(body []byte, model *string) (*ask, error) {
	var in chatBody
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, badRequest("", fmt.Sprintf("We could not parse the JSON body of your request. (%v)", err))
	}
	if model != nil {
		in.Model = model
	}
	switch {
	case in.Model == nil || *in.Model == "":
		return nil, badRequest("model", "you must provide a model parameter")
	case len(in.Messages) == 0:
		return nil, badRequest("messages", "messages: there must be at least one")
	case in.StreamOptions != nil && !in.Stream:
		return nil, badRequest("stream_options", "stream_options is only allowed when stream is on")
	}
	a := &ask{
		model: *in.Model, stream: in.Stream, usage: in.StreamOptions != nil && in.StreamOptions.IncludeUsage,
		n: 1, logprobs: in.Logprobs, alternatives: in.TopLogprobs,
	}
	for _, limit := range []*int{in.MaxTokens, in.MaxCompletionTokens} {
		if limit == nil {
			continue
		}
		if *limit < 1 {
			return nil, badRequest("max_tokens", fmt.Sprintf("max_tokens: %d is below 1", *limit))
		}
		a.max = *limit
	}
	if in.N != nil {
		if a.n = *in.N; a.n < 1 || a.n > maxChoices {
			return nil, badRequest("n", fmt.Sprintf("n: %d is not from 1 to %d", a.n, maxChoices))
		}
	}
	for _, t := range in.Tools {
		a.tools = append(a.tools, tool{name: t.Function.Name, schema: t.Function.Parameters})
	}
	a.toolChoice = toolChoice(in.ToolChoice)
	if f := in.ResponseFormat; f != nil && f.Type != "text" {
		a.schema = emptyObject
		if f.Type == "json_schema" {
			a.schema = f.JSONSchema.Schema
		}
	}
	a.readMessages(in)
	return a, nil
}

// readMessages counts the prompt and finds the last thing that the user said.
func (a *ask) readMessages(in chatBody) {
	size, others := 0, 0
	for _, m := range in.Messages {
		said, parts := contentText(m.Content)
		size += len(said)
		others += parts
		if m.Role == "user" {
			a.last = said
		}
	}
	a.prompt = promptTokens(size, others)
}

// contentText is the text of a message's content and the number of its parts that are not text.
func contentText(content json.RawMessage) (said string, others int) {
	if len(content) == 0 {
		return "", 0
	}
	if content[0] != '[' {
		if json.Unmarshal(content, &said) != nil {
			return "", 0
		}
		return said, 0
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(content, &parts) != nil {
		return "", 0
	}
	var b strings.Builder
	for _, p := range parts {
		if p.Type == "text" {
			b.WriteString(p.Text)
		} else {
			others++
		}
	}
	return b.String(), others
}

// toolChoice is "none", "required", a tool's name, or "" for auto.
func toolChoice(raw json.RawMessage) string {
	var mode string
	if json.Unmarshal(raw, &mode) == nil {
		if mode == "auto" {
			return ""
		}
		return mode
	}
	var named struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if json.Unmarshal(raw, &named) != nil {
		return ""
	}
	return named.Function.Name
}

// embedBody is what the simulator reads of an embeddings request.
type embedBody struct {
	Model      *string         `json:"model"`
	Input      json.RawMessage `json:"input"`
	Format     string          `json:"encoding_format"`
	Dimensions *int            `json:"dimensions"`
}

func (openAI) embed(_ string, body []byte) (*ask, error) { return embedOf(body, nil) }

func embedOf(body []byte, model *string) (*ask, error) {
	var in embedBody
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, badRequest("", fmt.Sprintf("We could not parse the JSON body of your request. (%v)", err))
	}
	if model != nil {
		in.Model = model
	}
	switch {
	case in.Model == nil || *in.Model == "":
		return nil, badRequest("model", "you must provide a model parameter")
	case in.Format != "" && in.Format != "float" && in.Format != "base64":
		return nil, badRequest("encoding_format", fmt.Sprintf("encoding_format: %q is neither float nor base64", in.Format))
	case in.Dimensions != nil && (*in.Dimensions < 1 || *in.Dimensions > maxDimensions):
		return nil, badRequest("dimensions", fmt.Sprintf("dimensions: %d is not from 1 to %d", *in.Dimensions, maxDimensions))
	}
	a := &ask{model: *in.Model, base64: in.Format == "base64"}
	if in.Dimensions != nil {
		a.dimensions = *in.Dimensions
	}
	if !a.readInputs(in.Input) {
		return nil, badRequest("input", "input: neither a string, nor tokens, nor a list of either")
	}
	return a, nil
}

// readInputs reads a string, a list of strings, tokens, or a list of tokens, and counts the prompt.
func (a *ask) readInputs(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	var list []json.RawMessage
	if len(raw) > 0 && raw[0] == '"' {
		return a.readInput(raw)
	}
	if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return false
	}
	if c := list[0][0]; c != '"' && c != '[' {
		return a.readInput(raw) // one list of tokens
	}
	for _, one := range list {
		if !a.readInput(one) {
			return false
		}
	}
	return true
}

// readInput adds one input: a string or a list of tokens.
func (a *ask) readInput(raw json.RawMessage) bool {
	var said string
	if json.Unmarshal(raw, &said) == nil && said != "" {
		a.inputs = append(a.inputs, []byte(said))
		a.prompt += promptTokens(len(said), 0)
		return true
	}
	var list []int
	if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return false
	}
	canonical, err := json.Marshal(list)
	if err != nil {
		return false
	}
	a.inputs = append(a.inputs, canonical)
	a.prompt += len(list)
	return true
}
