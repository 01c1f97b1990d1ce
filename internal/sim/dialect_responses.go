package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// responses is OpenAI's second dialect. Its servers are those of OpenAI's and Azure's first; what is no answer is as there.
type responses struct{ openAI }

// A host is a dialect some of whose paths are calls in another one.
type host interface{ guest(path string) dialect }

func (openAI) guest(path string) dialect {
	if path == "/v1/responses" {
		return responses{}
	}
	return nil
}

func (azure) guest(path string) dialect {
	if path == "/openai/v1/responses" {
		return responses{}
	}
	return nil
}

// dialectOf is the dialect in which a path of the provider is called.
func (p *provider) dialectOf(path string) dialect {
	if h, ok := p.dialect.(host); ok {
		if d := h.guest(path); d != nil {
			return d
		}
	}
	return p.dialect
}

func (responses) operation(method, _ string) (operation, bool) {
	return opChat, method == http.MethodPost
}

// responseBody is what the simulator reads of a request.
type responseBody struct {
	Model        *string         `json:"model"`
	Input        json.RawMessage `json:"input"`
	Instructions string          `json:"instructions"`
	Stream       bool            `json:"stream"`
	Background   bool            `json:"background"`
	Max          *int            `json:"max_output_tokens"`
	Tools        []struct {
		Type       string          `json:"type"`
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"tools"`
	ToolChoice json.RawMessage `json:"tool_choice"`
	Text       struct {
		Format struct {
			Type   string          `json:"type"`
			Schema json.RawMessage `json:"schema"`
		} `json:"format"`
	} `json:"text"`
}

func (responses) chat(_ string, body []byte) (*ask, error) {
	var in responseBody
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, badRequest("", fmt.Sprintf("We could not parse the JSON body of your request. (%v)", err))
	}
	switch {
	case in.Model == nil || *in.Model == "":
		return nil, badRequest("model", "Missing required parameter: 'model'.")
	case len(in.Input) == 0:
		return nil, badRequest("input", "Missing required parameter: 'input'.")
	case in.Max != nil && *in.Max < 1:
		return nil, badRequest("max_output_tokens", "max_output_tokens: must be at least 1")
	}
	a := &ask{model: *in.Model, stream: in.Stream, usage: true, n: 1, toolChoice: responseChoice(in.ToolChoice)}
	if in.Max != nil {
		a.max = *in.Max
	}
	for _, t := range in.Tools {
		if t.Type == "function" {
			a.tools = append(a.tools, tool{name: t.Name, schema: t.Parameters})
		}
	}
	switch f := in.Text.Format; f.Type {
	case "json_schema":
		a.schema = f.Schema
	case "json_object":
		a.schema = emptyObject
	}
	return a, a.readItems(&in)
}

func responseChoice(raw json.RawMessage) string {
	var named struct {
		Name string `json:"name"`
	}
	if len(raw) > 0 && raw[0] == '{' && json.Unmarshal(raw, &named) == nil {
		return named.Name
	}
	return toolChoice(raw)
}

// readItems counts the prompt, finds the last thing that the user said, and wants a result of a call behind the call.
func (a *ask) readItems(in *responseBody) error {
	size, others := len(in.Instructions), 0
	if in.Input[0] == '"' {
		a.last, _ = contentText(in.Input)
		a.prompt = promptTokens(size+len(a.last), 0)
		return nil
	}
	var items []struct {
		Type, Role string
		Content    json.RawMessage
		Output     json.RawMessage
		CallID     string `json:"call_id"`
	}
	if err := json.Unmarshal(in.Input, &items); err != nil {
		return badRequest("input", "Invalid type for 'input'.")
	}
	calls := map[string]bool{}
	for i, item := range items {
		switch item.Type {
		case "function_call":
			calls[item.CallID] = true
			continue
		case "function_call_output":
			if !calls[item.CallID] {
				return badRequest("input", fmt.Sprintf("No tool call found for function call output with call_id %s.", item.CallID))
			}
			said, more := itemText(item.Output)
			size, others = size+len(said), others+more
			continue
		case "", "message":
		default:
			continue
		}
		if item.Role == "" {
			return badRequest(fmt.Sprintf("input[%d].role", i), "Missing required parameter.")
		}
		said, more := itemText(item.Content)
		size, others = size+len(said), others+more
		if item.Role == "user" {
			a.last = said
		}
	}
	a.prompt = promptTokens(size, others)
	return nil
}

// itemText is the text of a content, whose parts are called by who said them, and the number of its parts that are not text.
func itemText(content json.RawMessage) (said string, others int) {
	return contentText(json.RawMessage(strings.NewReplacer(`"input_text"`, `"text"`, `"output_text"`, `"text"`).Replace(string(content))))
}

// items are the answer's output: an item for each block.
func (d responses) items(a *answer) []byte {
	b := []byte{'['}
	for i := range a.do.searches {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"id":"ws_%d_%s","type":"web_search_call","status":"completed","action":{"type":"search","query":"news"}}`, i, a.id)
	}
	if a.do.searches > 0 {
		b = fmt.Appendf(b, `,{"id":"ws_open_%s","type":"web_search_call","status":"completed","action":{"type":"open_page","url":"https://example.com"}}`, a.id)
	}
	for i, p := range a.pieces {
		if !p.opens {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		said := ""
		for _, q := range a.pieces[i:] {
			if q.block == p.block {
				said += q.text
			}
		}
		b = append(b, d.item(a, p, said, d.ended(a, p.block))...)
	}
	return append(b, ']')
}

// ended is the status of an item that has ended: the last of an answer that was cut short is not whole.
func (responses) ended(a *answer, block int) string {
	if block == a.blocks-1 && a.choices[0].finish == "length" {
		return "incomplete"
	}
	return "completed"
}

// item is one of the output.
func (responses) item(a *answer, p piece, said, status string) string {
	text := string(appendString(nil, said))
	id := strconv.Itoa(p.block) + "_" + a.id
	switch p.kind {
	case pieceReasoning:
		summary := ""
		if said != "" {
			summary = `{"type":"summary_text","text":` + text + `}`
		}
		return `{"id":"rs_` + id + `","type":"reasoning","summary":[` + summary + `]}`
	case pieceCall:
		call := a.choices[p.choice].calls[p.call]
		return `{"id":"fc_` + id + `","type":"function_call","status":"` + status + `","call_id":"` + call.id + `","name":` + string(appendString(nil, call.name)) + `,"arguments":` + text + `}`
	}
	content := ""
	if status != "in_progress" {
		content = `{"type":"output_text","text":` + text + `,"annotations":[],"logprobs":[]}`
	}
	return `{"id":"msg_` + id + `","type":"message","status":"` + status + `","role":"assistant","content":[` + content + `]}`
}

// response is the whole object; done says that it has ended.
func (d responses) response(a *answer, done bool) []byte {
	status, details, output := "in_progress", "null", "[]"
	if done {
		status, output = "completed", string(d.items(a))
		switch a.choices[0].finish {
		case "length":
			status, details = "incomplete", `{"reason":"max_output_tokens"}`
		case "content_filter":
			status, details = "incomplete", `{"reason":"content_filter"}`
		}
	}
	b := []byte(`{"id":"resp_` + a.id + `","object":"response","created_at":` + strconv.FormatInt(a.created, 10) + `,"status":"` + status + `","error":null,"incomplete_details":` + details + `,"instructions":null,"model":`)
	b = appendString(b, a.model)
	b = append(b, `,"output":`+output+`,"parallel_tool_calls":true,"previous_response_id":null,"store":false,"temperature":1,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1,"metadata":{}`...)
	switch {
	case !done || a.do.usage == "null":
		b = append(b, `,"usage":null`...)
	case a.do.usage != "none":
		u := a.claimed(a.usageAfter(a.generated()))
		b = fmt.Appendf(b, `,"usage":{"input_tokens":%d,"input_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d},"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":%d},"total_tokens":%d}`,
			u.prompt, u.cached, u.written, u.completion, u.reasoning, u.prompt+u.completion)
	}
	if done {
		b = appendPadding(b, a.do.pad)
	}
	return append(b, '}')
}

func (d responses) plain(a *answer) []byte { return d.response(a, true) }

func (d responses) opening(a *answer) []frame {
	begun := `,"response":` + string(d.response(a, false))
	return []frame{d.numbered(a, "response.created", begun), d.numbered(a, "response.in_progress", begun)}
}

// numbered is an event with its number in the stream.
func (responses) numbered(a *answer, kind, rest string) frame {
	n := a.events
	a.events++
	return typed(kind, `,"sequence_number":`+strconv.Itoa(n)+rest)
}

func (d responses) content(a *answer, p piece) []frame {
	var frames []frame
	if p.opens {
		frames = d.shut(a, p.block-1)
		frames = append(frames, d.numbered(a, "response.output_item.added", d.at(p.block)+`,"item":`+d.item(a, p, "", "in_progress")))
		switch p.kind {
		case pieceText:
			frames = append(frames, d.numbered(a, "response.content_part.added", d.of(a, p)+`,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}`))
		case pieceReasoning:
			frames = append(frames, d.numbered(a, "response.reasoning_summary_part.added", d.of(a, p)+`,"summary_index":0,"part":{"type":"summary_text","text":""}`))
		case pieceCall:
		}
	}
	kind, more := "response.output_text.delta", `,"content_index":0,"logprobs":[]`
	switch p.kind {
	case pieceReasoning:
		kind, more = "response.reasoning_summary_text.delta", `,"summary_index":0`
	case pieceCall:
		kind, more = "response.function_call_arguments.delta", ""
	case pieceText:
	}
	return append(frames, d.numbered(a, kind, d.of(a, p)+more+`,"delta":`+string(appendString(nil, p.text))))
}

func (responses) at(block int) string { return `,"output_index":` + strconv.Itoa(block) }

// of says which item an event is about.
func (d responses) of(a *answer, p piece) string {
	prefix := map[pieceKind]string{pieceText: "msg_", pieceReasoning: "rs_", pieceCall: "fc_"}[p.kind]
	return `,"item_id":"` + prefix + strconv.Itoa(p.block) + "_" + a.id + `"` + d.at(p.block)
}

// shut ends the item of a block, if there is one.
func (d responses) shut(a *answer, block int) []frame {
	said := ""
	var first *piece
	for i := range a.pieces {
		if p := &a.pieces[i]; p.block == block && block >= 0 {
			said += p.text
			if first == nil {
				first = p
			}
		}
	}
	if first == nil {
		return nil
	}
	text := string(appendString(nil, said))
	var frames []frame
	switch first.kind {
	case pieceText:
		frames = append(frames, d.numbered(a, "response.output_text.done", d.of(a, *first)+`,"content_index":0,"logprobs":[],"text":`+text),
			d.numbered(a, "response.content_part.done", d.of(a, *first)+`,"content_index":0,"part":{"type":"output_text","text":`+text+`,"annotations":[],"logprobs":[]}`))
	case pieceReasoning:
		frames = append(frames, d.numbered(a, "response.reasoning_summary_text.done", d.of(a, *first)+`,"summary_index":0,"text":`+text),
			d.numbered(a, "response.reasoning_summary_part.done", d.of(a, *first)+`,"summary_index":0,"part":{"type":"summary_text","text":`+text+`}`))
	case pieceCall:
		call := a.choices[first.choice].calls[first.call]
		frames = append(frames, d.numbered(a, "response.function_call_arguments.done", d.of(a, *first)+`,"name":`+string(appendString(nil, call.name))+`,"arguments":`+text))
	}
	return append(frames, d.numbered(a, "response.output_item.done", d.at(block)+`,"item":`+d.item(a, *first, said, d.ended(a, block))))
}

func (d responses) closing(a *answer) []frame {
	frames := d.shut(a, a.blocks-1)
	if a.do.noDone {
		return frames
	}
	kind := "response.completed"
	if f := a.choices[0].finish; f == "length" || f == "content_filter" {
		kind = "response.incomplete"
	}
	return append(frames, d.numbered(a, kind, `,"response":`+string(d.response(a, true))))
}

// end is nothing: the last event is the mark.
func (responses) end() []byte { return nil }

func (responses) strange() frame {
	return typed("response.something_new", `,"sequence_number":0,"x":1`)
}

// failed is the event of an error. Its members are not within an object.
func (d responses) failed(r *refusal) frame {
	var whole struct {
		Error struct{ Message, Code string } `json:"error"`
	}
	_ = json.Unmarshal(d.failure(r), &whole) // it is our own
	f := typed("error", `,"sequence_number":0,"code":`+string(appendString(nil, whole.Error.Code))+`,"message":`+string(appendString(nil, whole.Error.Message))+`,"param":null`)
	f.failed = true
	return f
}
