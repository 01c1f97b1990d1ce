package responses

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// The members of a provider's response that are the caller's to know as it sent them, not as the provider was asked: there, nothing is
// kept, and what came before stands in the input.
const (
	modelField    = "model"
	storeField    = "store"
	previousField = "previous_response_id"
	responseField = "response"
)

// A Same writes what a provider answered in this dialect, with its own words for what the caller asked.
type Same struct {
	Model string
	// Store and Previous are the JSON of these members of the response, nil to leave them as they came.
	Store, Previous []byte
}

// AppendEvent appends an event with its framing.
func (s *Same) AppendEvent(dst []byte, ev *llm.Event) []byte {
	dst = append(append(append(dst, "event: "...), ev.Name...), "\ndata: "...)
	start := len(dst)
	switch ev.Name {
	case "response.created", "response.in_progress", "response.queued", "response.completed", "response.incomplete", "response.failed":
		r := llm.Request{Raw: ev.Raw, Fields: rawjson.Fields(ev.Raw)}
		dst = r.AppendBody(dst, llm.Edit{Name: responseField, Value: s.appendResponse(nil, r.Field(responseField))})
	default:
		dst = append(dst, ev.Raw...)
	}
	rawjson.OneLine(dst[start:])
	return append(dst, "\n\n"...)
}

// AppendCount appends the answer to who asked how many tokens an input has.
func AppendCount(dst []byte, tokens int64) []byte {
	dst = append(dst, `{"object":"response.input_tokens","input_tokens":`...)
	return append(strconv.AppendInt(dst, tokens, 10), '}')
}

// AppendAnswer appends a plain answer.
func (s *Same) AppendAnswer(dst []byte, ev *llm.Event) []byte { return s.appendResponse(dst, ev.Raw) }

func (s *Same) appendResponse(dst, response []byte) []byte {
	r := llm.Request{Raw: response, Fields: rawjson.Fields(response)}
	edits := make([]llm.Edit, 0, 3)
	for _, e := range []llm.Edit{{Name: modelField, Value: rawjson.AppendQuoted(nil, s.Model)}, {Name: storeField, Value: s.Store}, {Name: previousField, Value: s.Previous}} {
		if e.Value != nil && r.Field(e.Name) != nil {
			edits = append(edits, e)
		}
	}
	return r.AppendBody(dst, edits...)
}

// Whole is the response that a terminal event, or a plain answer, holds, as the caller is told it.
func (s *Same) Whole(ev *llm.Event) []byte {
	if v := rawjson.ObjectOf(ev.Raw).Value(responseField); v != nil && v[0] == '{' {
		return s.appendResponse(nil, v)
	}
	return s.appendResponse(nil, ev.Raw)
}

// AppendUnkept has what was written of an answer, plain or streamed up to its end, say in its last object that it is not kept.
func AppendUnkept(written []byte) []byte {
	at := bytes.LastIndex(written, []byte("\ndata: ")) // not in JSON, where line ends are escaped
	if at < 0 {
		return unkept(written[:0:0], written)
	}
	at += len("\ndata: ")
	data := bytes.TrimRight(written[at:], "\n")
	r := llm.Request{Raw: data, Fields: rawjson.Fields(data)}
	response := r.Field(responseField)
	if response == nil {
		return written
	}
	out := r.AppendBody(slices.Clone(written[:at]), llm.Edit{Name: responseField, Value: unkept(nil, response)})
	return append(out, "\n\n"...)
}

func unkept(dst, response []byte) []byte {
	r := llm.Request{Raw: response, Fields: rawjson.Fields(response)}
	return r.AppendBody(dst, llm.Edit{Name: storeField, Value: []byte("false")})
}
