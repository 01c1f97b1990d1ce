package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// anthropic is the dialect of Anthropic's messages.
type anthropic struct{}

func (anthropic) operation(method, path string) (operation, bool) {
	switch {
	case method == http.MethodPost && path == "/v1/messages":
		return opChat, true
	case method == http.MethodPost && path == countPath:
		return opCount, true
	case method == http.MethodGet && path == "/v1/models":
		return opModels, true
	}
	return 0, false
}

const countPath = "/v1/messages/count_tokens"

func (anthropic) countOf(tokens int) []byte { return fmt.Appendf(nil, `{"input_tokens":%d}`, tokens) }

// messagesBody is what the simulator reads of a request.
type messagesBody struct {
	Model     *string         `json:"model"`
	MaxTokens *int            `json:"max_tokens"`
	System    json.RawMessage `json:"system"`
	Messages  []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Stream bool `json:"stream"`
	Tools  []struct {
		Type   string          `json:"type"`
		Name   string          `json:"name"`
		Schema json.RawMessage `json:"input_schema"`
	} `json:"tools"`
	ToolChoice *struct {
		Type string `json:"type"`
		Name string `json:"name"`
	} `json:"tool_choice"`
	Temperature  *float64 `json:"temperature"`
	OutputConfig struct {
		Format *struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"format"`
	} `json:"output_config"`
}

func (anthropic) chat(path string, body []byte) (*ask, error) {
	var in messagesBody
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, badRequest("", fmt.Sprintf("The request body is not valid JSON: %v", err))
	}
	switch {
	case in.Model == nil || *in.Model == "":
		return nil, badRequest("", "model: Field required")
	case in.MaxTokens == nil && path == countPath:
		in.MaxTokens = new(1)
	case in.MaxTokens == nil:
		return nil, badRequest("", "max_tokens: Field required")
	case *in.MaxTokens < 1:
		return nil, badRequest("", "max_tokens: Input should be greater than or equal to 1")
	case len(in.Messages) == 0:
		return nil, badRequest("", "messages: at least one message is required")
	case in.Temperature != nil && (*in.Temperature < 0 || *in.Temperature > 1):
		return nil, badRequest("", "temperature: range: 0..1")
	}
	a := &ask{model: *in.Model, stream: in.Stream, usage: true, n: 1, max: *in.MaxTokens}
	for i, t := range in.Tools {
		if t.Type != "" && t.Type != "custom" { // the vendor's own, which it does not call
			continue
		}
		if len(t.Schema) == 0 || !strings.Contains(string(t.Schema), `"object"`) {
			return nil, badRequest("", fmt.Sprintf("tools.%d.input_schema: its type must be object", i))
		}
		a.tools = append(a.tools, tool{name: t.Name, schema: t.Schema})
	}
	if c := in.ToolChoice; c != nil {
		a.toolChoice = map[string]string{"any": "required", "none": "none", "tool": c.Name}[c.Type]
	}
	if f := in.OutputConfig.Format; f != nil {
		a.schema = f.Schema
	}
	return a, a.readTurns(&in)
}

// readTurns counts the prompt, finds the last thing that the user said, and holds the turns against the dialect's rules.
func (a *ask) readTurns(in *messagesBody) error {
	said, others := contentText(in.System)
	size := len(said)
	open := map[string]bool{} // calls that wait for their results
	for i, m := range in.Messages {
		if m.Role != "user" && m.Role != "assistant" && m.Role != "system" {
			return badRequest("", fmt.Sprintf("messages.%d.role: Input should be 'user' or 'assistant'", i))
		}
		var blocks []struct {
			Type, Text, ID      string
			ToolUseID           string `json:"tool_use_id"`
			Input, Content      json.RawMessage
			Thinking, Signature string
		}
		_ = json.Unmarshal(m.Content, &blocks) // a string has none
		results := true
		for k, b := range blocks {
			switch {
			case b.Type == "text" && b.Text == "":
				return badRequest("", fmt.Sprintf("messages.%d.content.%d: text content blocks must be non-empty", i, k))
			case b.Type == "tool_result" && !open[b.ToolUseID]:
				return badRequest("", fmt.Sprintf("messages.%d.content.%d: unexpected tool_use_id found in tool_result blocks: %s", i, k, b.ToolUseID))
			case b.Type == "tool_result" && !results:
				return badRequest("", fmt.Sprintf("messages.%d: tool_result blocks must come first", i))
			case b.Type == "tool_result":
				delete(open, b.ToolUseID)
				text, more := contentText(b.Content)
				size, others = size+len(text), others+more
				continue
			case b.Type == "tool_use" && (len(b.Input) == 0 || b.Input[0] != '{'):
				return badRequest("", fmt.Sprintf("messages.%d.content.%d.input: Input should be an object", i, k))
			}
			results = false
		}
		if len(open) > 0 && m.Role == "user" {
			return badRequest("", fmt.Sprintf("messages.%d: tool_use ids were found without tool_result blocks immediately after", i))
		}
		for _, b := range blocks {
			if b.Type == "tool_use" {
				open[b.ID] = true
			}
		}
		text, more := contentText(m.Content)
		size, others = size+len(text), others+more
		if m.Role == "user" {
			a.last = text
		}
	}
	a.prompt = promptTokens(size, others)
	return nil
}

func (anthropic) embed(string, []byte) (*ask, error) {
	return nil, badRequest("", "There are no embeddings here.")
}

func (anthropic) garbage() []byte { return []byte(`{"type":"message","content":[{"type":"te`) }

func (anthropic) end() []byte { return nil }

func (anthropic) strange() frame {
	return frame{name: "simulator_notice", data: []byte(`{"type":"simulator_notice","notice":"an event of a kind that no client knows"}`)}
}

// anthropicKinds are the values of error.type by status.
var anthropicKinds = map[int]string{
	401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error",
	503: "overloaded_error", 529: "overloaded_error",
}

func (anthropic) failure(r *refusal) []byte {
	kind := anthropicKinds[r.status]
	if kind == "" {
		kind = "invalid_request_error"
		if r.status >= 500 {
			kind = "api_error"
		}
	}
	b := append([]byte(nil), `{"type":"error","error":{"type":`...)
	b = appendString(b, kind)
	b = append(b, `,"message":`...)
	b = appendString(b, r.message)
	b = append(b, '}')
	b = appendPadding(b, r.pad)
	return append(b, '}')
}

func (d anthropic) failed(r *refusal) frame { return frame{name: "error", data: d.failure(r)} }

// head begins the object of a message, up to and with the bracket that opens its content.
func (anthropic) head(a *answer) []byte {
	b := append([]byte(nil), `{"id":"msg_`...)
	b = append(b, a.id...)
	b = append(b, `","type":"message","role":"assistant","model":`...)
	b = appendString(b, a.model)
	return append(b, `,"content":[`...)
}

// anthropicReasons are the dialect's words for why a choice ended.
var anthropicReasons = map[string]string{"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}

func (anthropic) reason(a *answer) []byte {
	if a.do.noFinish {
		return []byte("null")
	}
	reason, ok := anthropicReasons[a.choices[0].finish]
	if !ok {
		reason = a.choices[0].finish
	}
	return appendString(nil, reason)
}

// counted is the usage object. Cached tokens are beside the others here.
func (anthropic) counted(u usage, untold bool) []byte {
	b := strconv.AppendInt([]byte(`{"input_tokens":`), int64(u.prompt-u.cached-u.written), 10)
	b = strconv.AppendInt(append(b, `,"cache_creation_input_tokens":`...), int64(u.written), 10)
	b = strconv.AppendInt(append(b, `,"cache_read_input_tokens":`...), int64(u.cached), 10)
	if u.written > 0 && !untold {
		b = fmt.Appendf(b, `,"cache_creation":{"ephemeral_5m_input_tokens":%d,"ephemeral_1h_input_tokens":%d}`, u.written-u.hour, u.hour)
	}
	if u.searches > 0 {
		b = fmt.Appendf(b, `,"server_tool_use":{"web_search_requests":%d,"web_fetch_requests":0}`, u.searches)
	}
	b = strconv.AppendInt(append(b, `,"output_tokens":`...), int64(u.completion), 10)
	b = strconv.AppendInt(append(b, `,"output_tokens_details":{"thinking_tokens":`...), int64(u.reasoning), 10)
	return append(b, `},"service_tier":"standard"}`...)
}

// usage is what is reported at the end, nil if nothing is.
func (d anthropic) usage(a *answer) []byte {
	switch a.do.usage {
	case "none":
		return nil
	case "null":
		return []byte("null")
	}
	return d.counted(a.claimed(a.usageAfter(a.generated())), a.do.untold)
}

func (d anthropic) plain(a *answer) []byte {
	b := d.head(a)
	for i, p := range a.pieces {
		if !p.opens {
			continue
		}
		if i > 0 {
			b = append(b, ',')
		}
		said := ""
		for _, q := range a.pieces[i:] {
			if q.block == p.block {
				said += q.text
			}
		}
		switch p.kind {
		case pieceReasoning:
			b = append(b, `{"type":"thinking","thinking":`...)
			b = appendString(b, said)
			b = append(b, `,"signature":"`+signature+`"}`...)
		case pieceCall:
			call := a.choices[p.choice].calls[p.call]
			b = append(b, `{"type":"tool_use","id":`...)
			b = appendString(b, call.id)
			b = append(b, `,"name":`...)
			b = appendString(b, call.name)
			b = append(b, `,"input":`...)
			if !json.Valid([]byte(said)) {
				said = "{}"
			}
			b = append(append(b, said...), '}')
		default:
			b = append(b, `{"type":"text","text":`...)
			b = append(appendString(b, said), '}')
		}
	}
	b = append(b, `],"stop_reason":`...)
	b = append(b, d.reason(a)...)
	b = append(b, `,"stop_sequence":null`...)
	if u := d.usage(a); u != nil {
		b = append(append(b, `,"usage":`...), u...)
	}
	b = appendPadding(b, a.do.pad)
	return append(b, '}')
}

// signature stands for what proves reasoning.
const signature = "c2ltdWxhdGVk"

// typed is a frame that is named as its type.
func typed(kind, rest string) frame {
	return frame{name: kind, data: []byte(`{"type":"` + kind + `"` + rest + `}`)}
}

func (d anthropic) opening(a *answer) []frame {
	first := a.claimed(a.usageAfter(0))
	b := d.head(a)
	b = append(b, `],"stop_reason":null,"stop_sequence":null`...)
	switch a.do.usage {
	case "none":
	case "null":
		b = append(b, `,"usage":null`...)
	default:
		first.completion, first.reasoning = 1, 0
		b = append(append(b, `,"usage":`...), d.counted(first, a.do.untold)...)
	}
	return []frame{typed("message_start", `,"message":`+string(b)+`}`), typed("ping", "")}
}

func (anthropic) content(a *answer, p piece) []frame {
	index := strconv.Itoa(p.block)
	var frames []frame
	if p.opens {
		if p.proof {
			frames = append(frames, signed(p.block-1))
		}
		if p.block > 0 {
			frames = append(frames, typed("content_block_stop", `,"index":`+strconv.Itoa(p.block-1)))
		}
		block := `{"type":"text","text":""}`
		switch p.kind {
		case pieceReasoning:
			block = `{"type":"thinking","thinking":"","signature":""}`
		case pieceCall:
			call := a.choices[p.choice].calls[p.call]
			block = string(appendString(append(appendString([]byte(`{"type":"tool_use","id":`), call.id), `,"name":`...), call.name)) + `,"input":{}}`
		}
		frames = append(frames, typed("content_block_start", `,"index":`+index+`,"content_block":`+block))
	}
	kind, field := "text_delta", "text"
	switch p.kind {
	case pieceReasoning:
		kind, field = "thinking_delta", "thinking"
	case pieceCall:
		kind, field = "input_json_delta", "partial_json"
	}
	delta := string(appendString([]byte(`{"type":"`+kind+`","`+field+`":`), p.text)) + "}"
	return append(frames, typed("content_block_delta", `,"index":`+index+`,"delta":`+delta))
}

func (d anthropic) closing(a *answer) []frame {
	var frames []frame
	if a.blocks > 0 {
		if last := a.pieces[len(a.pieces)-1]; last.kind == pieceReasoning {
			frames = append(frames, signed(last.block))
		}
		frames = append(frames, typed("content_block_stop", `,"index":`+strconv.Itoa(a.blocks-1)))
	}
	delta := `,"delta":{"stop_reason":` + string(d.reason(a)) + `,"stop_sequence":null}`
	if u := d.usage(a); u != nil {
		delta += `,"usage":` + string(u)
	}
	frames = append(frames, typed("message_delta", delta))
	if a.do.noDone {
		return frames
	}
	return append(frames, typed("message_stop", ""))
}

// signed is the event that proves a block of reasoning.
func signed(block int) frame {
	return typed("content_block_delta", `,"index":`+strconv.Itoa(block)+`,"delta":{"type":"signature_delta","signature":"`+signature+`"}`)
}

func (anthropic) vectors(*answer, *ask) []byte { return []byte("{}") }

func (anthropic) models(names []string) []byte {
	b := append([]byte(nil), `{"data":[`...)
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"type":"model","id":`...), n)
		b = appendString(append(b, `,"display_name":`...), n)
		b = append(b, `,"created_at":"2025-01-01T00:00:00Z"}`...)
	}
	return append(b, `],"has_more":false,"first_id":null,"last_id":null}`...)
}
