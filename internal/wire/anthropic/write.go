package anthropic

import (
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// AppendEvent appends an event that the provider sent in this dialect, with its framing, model in the place of the name that it
// gave. Clients know events by their names only.
func AppendEvent(dst []byte, ev *llm.Event, model string) []byte {
	dst = append(append(append(dst, "event: "...), ev.Name...), "\ndata: "...)
	start := len(dst)
	dst = AppendAnswer(dst, ev, model)
	rawjson.OneLine(dst[start:])
	return append(dst, "\n\n"...)
}

// AppendAnswer appends a plain answer that the provider gave in this dialect, model in the place of the name that it gave.
func AppendAnswer(dst []byte, ev *llm.Event, model string) []byte {
	if ev.ModelAt.IsZero() {
		return append(dst, ev.Raw...)
	}
	dst = append(dst, ev.Raw[:ev.ModelAt.Start]...)
	dst = rawjson.AppendQuoted(dst, model)
	return append(dst, ev.Raw[ev.ModelAt.End:]...)
}

// AppendCount appends the answer to who asked how many tokens a chat has.
func AppendCount(dst []byte, tokens int64) []byte {
	dst = append(dst, `{"input_tokens":`...)
	return append(strconv.AppendInt(dst, tokens, 10), '}')
}

// StatusOverloaded is the dialect's own status for a vendor that is overloaded. Its clients have a class of errors for it.
const StatusOverloaded = 529

// Status is the status of an error for clients of this dialect.
func Status(e *fault.Error) int {
	if e.Code == fault.ProviderOverload {
		return StatusOverloaded
	}
	return e.HTTPStatus()
}

// errorTypes are the dialect's words for statuses.
var errorTypes = map[int]string{
	400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
	409: "conflict_error", 413: "request_too_large", 429: "rate_limit_error", 408: "timeout_error", 504: "timeout_error",
	StatusOverloaded: "overloaded_error",
}

// errorType is the dialect's word for the kind of an error.
func errorType(status int) string {
	if t, ok := errorTypes[status]; ok {
		return t
	}
	if status >= 400 && status < 500 {
		return errorTypes[400]
	}
	return "api_error"
}

// A conversation that the provider holds, which is the only thing that a request means by this member, and the words in which
// the vendor refuses to: its SDKs ask for it by themselves in loops over tools, and go on without once they are told so.
const (
	threadField   = "thread"
	threadRefused = `"error_code":"thread_unsupported_request","unsupported":["thread"]`
)

// AppendError appends the body of an error: {"type":"error","error":{"type","message","details"},"request_id"}. Of a provider's own
// error (e.Body, an object of the OpenAI dialect) the words are passed on, and the details if it has some. id is the request's.
func AppendError(dst []byte, e *fault.Error, id string) []byte {
	w := rawjson.Writer{Dst: append(dst, '{')}
	w.Member(typeField, eventError)
	w.Dst = append(w.Dst, `,"error":{`...)
	w.Member(typeField, errorType(Status(e)))
	if theirs := rawjson.ObjectOf(e.Body); theirs.Str("message") != "" {
		w.Member("message", theirs.Str("message"))
		details(&w, theirs)
	} else {
		w.Member("message", e.Text())
		w.Dst = append(w.Dst, `,"details":{`...)
		if e.Param == threadField {
			w.Dst = append(w.Dst, threadRefused...)
		} else {
			w.Member("error_code", string(e.Code))
		}
		w.Text(nil, "param", e.Param)
		w.Object(nil, "penstock", e.Detail)
		w.Dst = append(w.Dst, '}')
	}
	w.Dst = append(w.Dst, '}')
	w.Member("request_id", id)
	return append(w.Dst, '}')
}

// details writes what a provider says beside its message: its details if it is of this dialect, else its code.
func details(w *rawjson.Writer, theirs *rawjson.Object) {
	if theirs.Kind(detailsField) == '{' {
		w.Raw(detailsField, theirs.Value(detailsField))
		return
	}
	code, param := theirs.Str("code"), theirs.Str("param")
	if code == "" && param == "" {
		return
	}
	w.Dst = append(w.Dst, `,"details":{`...)
	w.Text(nil, "error_code", code)
	w.Text(nil, "param", param)
	w.Dst = append(w.Dst, '}')
}

// AppendErrorEvent appends an error as the last event of a stream.
func AppendErrorEvent(dst []byte, e *fault.Error, id string) []byte {
	dst = append(dst, "event: error\ndata: "...)
	return append(AppendError(dst, e, id), "\n\n"...)
}

// AppendModel appends the object of one model. When it was made is not known.
func AppendModel(dst []byte, name string) []byte {
	w := rawjson.Writer{Dst: append(dst, '{')}
	w.Member(typeField, "model")
	w.Member("id", name)
	w.Member("display_name", name)
	w.Member("created_at", time.Unix(0, 0).UTC().Format(time.RFC3339))
	return append(w.Dst, '}')
}

// AppendModelList appends the list of models, which has one page.
func AppendModelList(dst []byte, names []string) []byte {
	w := rawjson.Writer{Dst: append(dst, `{"data":[`...)}
	for _, name := range names {
		w.Comma()
		w.Dst = AppendModel(w.Dst, name)
	}
	w.Dst = append(w.Dst, `],"has_more":false`...)
	ends := []string{"first_id", "last_id"}
	for i, end := range ends {
		if len(names) == 0 {
			w.Raw(end, []byte("null"))
		} else {
			w.Member(end, names[i*(len(names)-1)])
		}
	}
	return append(w.Dst, '}')
}
