package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

func (gemini) garbage() []byte { return []byte(`{"candidates":[{"content":{"parts":[{"te`) }

func (gemini) end() []byte { return nil }

func (gemini) strange() frame {
	return frame{data: []byte(`{"usageMetadata":null,"simulatorNotice":"a frame of a kind that no client knows"}`)}
}

// geminiKinds are what errors are called, by status.
var geminiKinds = map[int]string{
	401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED", 429: "RESOURCE_EXHAUSTED", 499: "CANCELLED",
	503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}

func (gemini) failure(r *refusal) []byte {
	kind := geminiKinds[r.status]
	if kind == "" {
		kind = "INVALID_ARGUMENT"
		if r.status >= http.StatusInternalServerError {
			kind = "INTERNAL"
		}
	}
	b := strconv.AppendInt([]byte(`{"error":{"code":`), int64(r.status), 10)
	b = appendString(append(b, `,"message":`...), r.message)
	b = appendString(append(b, `,"status":`...), kind)
	b = append(b, `,"details":[`...)
	opened := len(b)
	if r.retryAfter != "" {
		b = appendString(append(b, `{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":`...), r.retryAfter+"s")
		b = append(b, '}')
	}
	if r.param != "" {
		if len(b) > opened {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":`...), r.param)
		b = append(b, `}]}`...)
	}
	b = append(b, `]}`...)
	return append(appendPadding(b, r.pad), '}')
}

// label leaves the wait to the body, where the vendor has it.
func (gemini) label(h http.Header, r *refusal) {
	if _, err := strconv.ParseFloat(r.retryAfter, 64); err == nil {
		h.Del("Retry-After")
	}
}

func (d gemini) failed(r *refusal) frame { return frame{data: d.failure(r)} }

// geminiReasons are the dialect's words for why a choice ended. That of a call is no other than that of text.
var geminiReasons = map[string]string{"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}

// candidate is one of an answer's choices, with parts that are JSON already; last says that it ends here.
func (gemini) candidate(a *answer, choice int, parts []byte, last bool) []byte {
	b := append([]byte(`{"content":{"parts":[`), parts...)
	b = append(b, `],"role":"model"}`...)
	if last && !a.do.noFinish {
		reason, ok := geminiReasons[a.choices[choice].finish]
		if !ok {
			reason = a.choices[choice].finish
		}
		b = appendString(append(b, `,"finishReason":`...), reason)
	}
	return append(strconv.AppendInt(append(b, `,"index":`...), int64(choice), 10), '}')
}

// whole is a frame, or a plain answer, of these candidates when so many tokens have been sent.
func (gemini) whole(a *answer, candidates []byte, sent int) []byte {
	b := append([]byte(`{"candidates":[`), candidates...)
	b = append(b, ']')
	switch a.do.usage {
	case "none":
	case "null":
		b = append(b, `,"usageMetadata":null`...)
	default:
		u := a.claimed(a.usageAfter(sent))
		b = strconv.AppendInt(append(b, `,"usageMetadata":{"promptTokenCount":`...), int64(u.prompt), 10)
		b = strconv.AppendInt(append(b, `,"cachedContentTokenCount":`...), int64(u.cached), 10)
		b = strconv.AppendInt(append(b, `,"candidatesTokenCount":`...), int64(u.completion-u.reasoning), 10)
		b = strconv.AppendInt(append(b, `,"thoughtsTokenCount":`...), int64(u.reasoning), 10)
		b = strconv.AppendInt(append(b, `,"totalTokenCount":`...), int64(u.prompt+u.completion), 10)
		if u.heard > 0 {
			b = fmt.Appendf(b, `,"promptTokensDetails":[{"modality":"TEXT","tokenCount":%d},{"modality":"AUDIO","tokenCount":%d}]`, u.prompt-u.heard, u.heard)
		}
		if u.spoken+u.pictures > 0 {
			b = fmt.Appendf(b, `,"candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":%d},{"modality":"IMAGE","tokenCount":%d}]`, u.spoken, u.pictures)
		}
		b = append(b, '}')
	}
	b = appendString(append(b, `,"modelVersion":`...), a.model)
	return appendString(append(b, `,"responseId":`...), a.id)
}

// text is a part with text.
func (gemini) text(kind pieceKind, text string) []byte {
	b := append(appendString([]byte(`{"text":`), text), '}')
	if kind == pieceReasoning {
		b = append(b[:len(b)-1], `,"thought":true}`...)
	}
	return b
}

// call is a part with a call, which comes whole. The first of a choice has the proof of what was thought before it; models that want
// it back have always thought.
func (gemini) call(a *answer, choice, call int) []byte {
	arguments := a.say(choice, pieceCall, call)
	if !json.Valid([]byte(arguments)) {
		arguments = "{}"
	}
	b := appendString([]byte(`{"functionCall":{"name":`), a.choices[choice].calls[call].name)
	b = append(append(append(b, `,"args":`...), arguments...), '}')
	if call == 0 && (a.do.reasoning > 0 || strings.HasPrefix(a.model, wantsProof)) {
		b = append(b, `,"thoughtSignature":"`+signature+`"`...)
	}
	return append(b, '}')
}

func (d gemini) plain(a *answer) []byte {
	var candidates []byte
	for i := range a.choices {
		var parts []byte
		add := func(part []byte) {
			if len(parts) > 0 {
				parts = append(parts, ',')
			}
			parts = append(parts, part...)
		}
		for _, kind := range []pieceKind{pieceReasoning, pieceText} {
			if said := a.say(i, kind, 0); said != "" {
				add(d.text(kind, said))
			}
		}
		for _, p := range a.pieces {
			if p.choice == i && p.kind == pieceCall && d.ends(a, p) {
				add(d.call(a, i, p.call))
			}
		}
		if i > 0 {
			candidates = append(candidates, ',')
		}
		candidates = append(candidates, d.candidate(a, i, parts, true)...)
	}
	return append(appendPadding(d.whole(a, candidates, a.generated()), a.do.pad), '}')
}

// ends reports whether a piece is the last of its call.
func (gemini) ends(a *answer, p piece) bool {
	for _, q := range a.pieces {
		if q.kind == p.kind && q.choice == p.choice && q.call == p.call && q.last > p.last {
			return false
		}
	}
	return true
}

func (gemini) opening(*answer) []frame { return nil }

func (d gemini) content(a *answer, p piece) []frame {
	part := d.text(p.kind, p.text)
	if p.kind == pieceCall {
		if part = []byte(`{"text":""}`); d.ends(a, p) {
			part = d.call(a, p.choice, p.call)
		}
	}
	return []frame{{data: append(d.whole(a, d.candidate(a, p.choice, part, false), a.sent+p.tokens), '}')}}
}

// closing has the reasons to end, which come behind all content, as they do behind calls.
func (d gemini) closing(a *answer) []frame {
	if a.do.noDone {
		return nil
	}
	var frames []frame
	for i := range a.choices {
		frames = append(frames, frame{data: append(d.whole(a, d.candidate(a, i, []byte(`{"text":""}`), true), a.generated()), '}')})
	}
	return frames
}

// vectors is the answer with vectors. Gemini's own API does not count what was read.
func (gemini) vectors(a *answer, in *ask) []byte {
	b := []byte(`{"embeddings":[`)
	if in.vertex {
		b = []byte(`{"predictions":[`)
	}
	for i, text := range in.inputs {
		if i > 0 {
			b = append(b, ',')
		}
		if in.vertex {
			b = append(b, `{"embeddings":`...)
		}
		b = appendVector(append(b, `{"values":`...), vector(text, in.dimensions), false)
		if in.vertex {
			b = append(b, `,"statistics":{"truncated":false,"token_count":`...)
			b = strconv.AppendInt(b, int64(promptTokens(len(text), 0)), 10)
			b = append(b, `}}`...)
		}
		b = append(b, '}')
	}
	b = append(b, ']')
	return append(appendPadding(b, a.do.pad), '}')
}

func (gemini) models(names []string) []byte {
	b := []byte(`{"models":[`)
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"name":`...), "models/"+n)
		b = append(b, `,"supportedGenerationMethods":["generateContent"]}`...)
	}
	return append(b, `]}`...)
}
