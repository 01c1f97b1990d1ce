package sim

import (
	"net/http"
	"strconv"
	"strings"
)

// JSON is written by hand here: it must hold what encoding/json would mend (bytes that are not UTF-8, odd tool calls),
// and a stream of many events should cost little.

func (openAI) garbage() []byte { return []byte(`{"id":"garbage","choices":[{"delta":{"content":"wat`) }

func (openAI) end() []byte { return []byte("[DONE]") }

func (openAI) strange() frame {
	return frame{name: "simulator.notice", data: []byte(`{"object":"simulator.notice","notice":"an event of a kind that no client knows"}`)}
}

// errorKinds are the values of error.type by status.
var errorKinds = map[int]string{
	http.StatusTooManyRequests: "rate_limit_error", http.StatusForbidden: "permission_error", http.StatusConflict: "conflict_error",
}

func (openAI) failure(r *refusal) []byte {
	kind := r.kind
	if kind == "" {
		kind = errorKinds[r.status]
	}
	if kind == "" {
		kind = "invalid_request_error"
		if r.status >= 500 {
			kind = "server_error"
		}
	}
	b := append([]byte(nil), `{"error":{"message":`...)
	b = appendString(b, r.message)
	b = append(b, `,"type":`...)
	b = appendString(b, kind)
	b = append(b, `,"param":`...)
	b = appendOptional(b, r.param)
	b = append(b, `,"code":`...)
	b = appendOptional(b, r.code)
	b = append(b, '}')
	b = appendPadding(b, r.pad)
	return append(b, '}')
}

func (d openAI) failed(r *refusal) frame { return frame{data: d.failure(r)} }

func (openAI) plain(a *answer) []byte {
	b := a.head(nil, "chat.completion")
	for i := range a.choices {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"index":`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `,"message":`...)
		b = a.message(b, i)
		b = append(b, `,"logprobs":`...)
		b = a.logprobs(b, i)
		b = append(b, `,"finish_reason":`...)
		b = a.finishReason(b, i)
		b = append(b, '}')
	}
	b = append(b, ']')
	if last := a.reports(); len(last) > 0 {
		b = append(b, `,"usage":`...)
		b = append(b, last[len(last)-1]...)
	}
	b = appendPadding(b, a.do.pad)
	return append(b, '}')
}

// head begins an answer or event, up to and with the bracket that opens the choices.
func (a *answer) head(b []byte, object string) []byte {
	b = append(b, `{"id":"chatcmpl-`...)
	b = append(b, a.id...)
	b = append(b, `","object":"`...)
	b = append(b, object...)
	b = append(b, `","created":`...)
	b = strconv.AppendInt(b, a.created, 10)
	b = append(b, `,"model":`...)
	b = appendString(b, a.model)
	return append(b, `,"service_tier":"default","system_fingerprint":"fp_sim","choices":[`...)
}

// message is a choice's message of a plain answer.
func (a *answer) message(b []byte, i int) []byte {
	b = append(b, `{"role":"assistant","content":`...)
	said := a.say(i, pieceText, 0)
	calls := a.choices[i].calls
	switch {
	case len(calls) > 0, a.do.nullContent, a.do.refusal:
		b = append(b, "null"...)
	default:
		b = appendString(b, said)
	}
	b = append(b, `,"refusal":`...)
	if a.do.refusal {
		b = appendString(b, said)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"annotations":[]`...)
	if a.do.reasoning > 0 {
		b = append(b, `,"`...)
		b = append(b, a.do.reasoningField...)
		b = append(b, `":`...)
		b = appendString(b, a.say(i, pieceReasoning, 0))
	}
	if len(calls) > 0 {
		b = append(b, `,"tool_calls":[`...)
		for k, c := range calls {
			if k > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"id":`...)
			b = appendString(b, c.id)
			b = append(b, `,"type":"function","function":{"name":`...)
			b = appendString(b, c.name)
			b = append(b, `,"arguments":`...)
			b = appendString(b, a.say(i, pieceCall, k))
			b = append(b, `}}`...)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func (openAI) opening(a *answer) []frame {
	var frames []frame
	if a.do.azure {
		frames = append(frames, frame{data: []byte(`{"id":"","object":"","created":0,"model":"","choices":[],"prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}`)})
	}
	var first []byte
	if reports := a.reports(); (a.do.usage == "early" || a.do.usage == "split") && len(reports) > 0 && a.ask.usage {
		first = reports[0]
	}
	if a.do.noRole {
		if first != nil {
			frames = append(frames, a.chunk(nil, first))
		}
		return frames
	}
	for i := range a.choices {
		delta := `{"role":"assistant","content":"","refusal":null}`
		if len(a.choices[i].calls) > 0 {
			delta = `{"role":"assistant","content":null}`
		}
		frames = append(frames, a.chunk(a.delta(i, delta, "null", "null"), first))
		first = nil
	}
	return frames
}

func (openAI) content(a *answer, p piece) []frame {
	b := []byte(`{`)
	switch p.kind {
	case pieceCall:
		b = append(b, `"tool_calls":[`...)
		b = a.callDelta(b, p)
		b = append(b, ']')
	case pieceReasoning:
		b = append(b, '"')
		b = append(b, a.do.reasoningField...)
		b = append(b, `":`...)
		b = appendString(b, p.text)
	default:
		name := `"content":`
		if a.do.refusal {
			name = `"refusal":`
		}
		b = append(b, name...)
		b = appendString(b, p.text)
	}
	b = append(b, '}')
	logprobs := "null"
	if a.ask.logprobs && p.kind == pieceText {
		logprobs = string(a.logprob([]byte(`{"content":[`), p)) + `],"refusal":null}`
	}
	var report []byte
	if a.do.usage == "cumulative" && a.ask.usage {
		report = usageJSON(a.usageAfter(a.sent + p.tokens))
	}
	return []frame{a.chunk(a.delta(p.choice, string(b), logprobs, "null"), report)}
}

// callDelta is one piece of a tool call, in the shape that was asked for.
func (a *answer) callDelta(b []byte, p piece) []byte {
	call, shape := a.choices[p.choice].calls[p.call], a.do.shape
	b = append(b, '{')
	switch shape {
	case "no_index":
	case "same_index":
		b = append(b, `"index":0,`...)
	default:
		b = append(b, `"index":`...)
		b = strconv.AppendInt(b, int64(p.call), 10)
		b = append(b, ',')
	}
	switch {
	case p.first || shape == "repeat_id":
		b = append(b, `"id":`...)
		b = appendString(b, call.id)
		b = append(b, ',')
	case shape == "empty_id":
		b = append(b, `"id":"",`...)
	}
	if p.first && shape != "no_type" {
		b = append(b, `"type":"function",`...)
	}
	b = append(b, `"function":{`...)
	if p.first {
		b = append(b, `"name":`...)
		b = appendString(b, call.name)
		b = append(b, ',')
	}
	b = append(b, `"arguments":`...)
	b = appendString(b, p.text)
	return append(b, `}}`...)
}

func (openAI) closing(a *answer) []frame {
	var frames []frame
	for i := range a.choices {
		frames = append(frames, a.chunk(a.delta(i, "{}", "null", string(a.finishReason(nil, i))), nil))
	}
	if !a.ask.usage {
		return frames
	}
	reports := a.reports()
	switch a.do.usage {
	case "early":
		reports = nil
	case "split":
		reports = reports[1:]
	}
	for _, r := range reports {
		frames = append(frames, a.chunk(nil, r))
	}
	return frames
}

// finishReason is that of a choice, as JSON.
func (a *answer) finishReason(b []byte, i int) []byte {
	if a.do.noFinish {
		return append(b, "null"...)
	}
	return appendString(b, a.choices[i].finish)
}

// delta is one choice of an event; its arguments are JSON.
func (a *answer) delta(i int, delta, logprobs, finish string) []byte {
	b := append([]byte(nil), `{"index":`...)
	b = strconv.AppendInt(b, int64(i), 10)
	b = append(b, `,"delta":`...)
	b = append(b, delta...)
	b = append(b, `,"logprobs":`...)
	b = append(b, logprobs...)
	b = append(b, `,"finish_reason":`...)
	b = append(b, finish...)
	return append(b, '}')
}

// chunk is one event. As with OpenAI, every event has "usage":null but the one that has the usage, if it was asked for.
func (a *answer) chunk(choice, report []byte) frame {
	b := a.head(make([]byte, 0, 256+len(choice)+len(report)), "chat.completion.chunk")
	b = append(b, choice...)
	b = append(b, ']')
	switch {
	case report != nil:
		b = append(b, `,"usage":`...)
		b = append(b, report...)
	case a.ask.usage && a.do.usage != "none":
		b = append(b, `,"usage":null`...)
	}
	return frame{data: append(b, '}')}
}

// reports are the usage objects to be sent, in their order.
func (a *answer) reports() [][]byte {
	u := a.claimed(a.usageAfter(a.generated()))
	switch a.do.usage {
	case "none":
		return nil
	case "null":
		return [][]byte{[]byte("null")}
	case "twice":
		half := u
		half.completion /= 2
		return [][]byte{usageJSON(half), usageJSON(u)}
	case "split":
		first := u
		first.completion = 0
		return [][]byte{usageJSON(first), usageJSON(u)}
	}
	return [][]byte{usageJSON(u)}
}

func usageJSON(u usage) []byte {
	var b []byte
	for _, part := range []struct {
		name string
		n    int
	}{
		{`{"prompt_tokens":`, u.prompt},
		{`,"completion_tokens":`, u.completion},
		{`,"total_tokens":`, u.prompt + u.completion},
		{`,"prompt_tokens_details":{"cached_tokens":`, u.cached},
		{`,"cache_write_tokens":`, u.written},
		{`,"audio_tokens":`, u.heard},
		{`},"completion_tokens_details":{"reasoning_tokens":`, u.reasoning},
		{`,"audio_tokens":`, u.spoken},
	} {
		b = append(b, part.name...)
		b = strconv.AppendInt(b, int64(part.n), 10)
	}
	if u.pictures > 0 { // as OpenRouter tells them
		b = strconv.AppendInt(append(b, `,"image_tokens":`...), int64(u.pictures), 10)
	}
	if u.searches > 0 { // as Perplexity does
		b = strconv.AppendInt(append(b, `,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0},"num_search_queries":`...), int64(u.searches), 10)
		return append(b, '}')
	}
	return append(b, `,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`...)
}

// logprobs is a plain choice's member of that name.
func (a *answer) logprobs(b []byte, i int) []byte {
	if !a.ask.logprobs {
		return append(b, "null"...)
	}
	b = append(b, `{"content":[`...)
	some := false
	for _, p := range a.pieces {
		if p.choice != i || p.kind != pieceText {
			continue
		}
		if some {
			b = append(b, ',')
		}
		b, some = a.logprob(b, p), true
	}
	return append(b, `],"refusal":null}`...)
}

// logprob is one token with its probability and alternatives. The figures mean nothing, but they fall.
func (a *answer) logprob(b []byte, p piece) []byte {
	entry := func(b []byte, text string, rank int) []byte {
		b = append(b, `{"token":`...)
		b = appendString(b, text)
		b = append(b, `,"logprob":-`...)
		b = strconv.AppendFloat(b, 0.25*float64(1+rank), 'f', -1, 64)
		b = append(b, `,"bytes":[`...)
		for i := range len(text) {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(text[i]), 10)
		}
		return append(b, ']')
	}
	b = entry(b, p.text, 0)
	b = append(b, `,"top_logprobs":[`...)
	for rank := range a.ask.alternatives {
		if rank > 0 {
			b = append(b, ',')
		}
		text := p.text
		if rank > 0 {
			text = " " + words[rank%len(words)]
		}
		b = append(entry(b, text, rank), '}')
	}
	return append(b, `]}`...)
}

func (openAI) models(names []string) []byte {
	b := append([]byte(nil), `{"object":"list","data":[`...)
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":`...)
		b = appendString(b, n)
		b = append(b, `,"object":"model","created":1735689600,"owned_by":"simulator"}`...)
	}
	return append(b, `]}`...)
}

func (openAI) vectors(a *answer, in *ask) []byte {
	b := append([]byte(nil), `{"object":"list","data":[`...)
	for i, input := range in.inputs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"object":"embedding","index":`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `,"embedding":`...)
		b = appendVector(b, vector(input, in.dimensions), in.base64)
		b = append(b, '}')
	}
	b = append(b, `],"model":`...)
	b = appendString(b, a.model)
	switch a.do.usage {
	case "none":
	case "null":
		b = append(b, `,"usage":null`...)
	default:
		prompt := int64(a.claimed(a.usageAfter(0)).prompt)
		b = strconv.AppendInt(append(b, `,"usage":{"prompt_tokens":`...), prompt, 10)
		b = strconv.AppendInt(append(b, `,"total_tokens":`...), prompt, 10)
		b = append(b, '}')
	}
	b = appendPadding(b, a.do.pad)
	return append(b, '}')
}

// appendString writes a JSON string. Unlike encoding/json it leaves bytes that are not UTF-8 as they are.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

const hexDigits = "0123456789abcdef"

func appendOptional(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// appendPadding adds an unknown member of about n bytes to an object that has members.
func appendPadding(b []byte, n int) []byte {
	if n == 0 {
		return b
	}
	b = append(b, `,"padding":"`...)
	b = append(b, strings.Repeat("p", n)...)
	return append(b, '"')
}
