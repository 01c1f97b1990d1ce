package responses

import (
	"net/http"
	"strconv"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/wire/openai"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// errorCode is the dialect's word for why a response failed.
func errorCode(e *fault.Error) string {
	if e.HTTPStatus() == http.StatusTooManyRequests {
		return "rate_limit_exceeded"
	}
	return "server_error"
}

// AppendError appends an error as the event of a stream of the given number, which is the last one.
func AppendError(dst []byte, e *fault.Error, sequence int64) []byte {
	dst = append(dst, "event: error\ndata: "...)
	body := openai.AppendError(nil, e) // {"error":{...}}
	object := rawjson.ObjectOf(rawjson.ObjectOf(body).Value("error"))
	w := rawjson.Writer{Dst: append(dst, `{"type":"error"`...)}
	w.Dst = strconv.AppendInt(append(w.Dst, `,"sequence_number":`...), sequence, 10)
	for _, name := range []string{"code", "message", "param"} {
		if v := object.Value(name); v != nil {
			w.Raw(name, v)
		}
	}
	w.Dst = append(append(w.Dst, ','), body[1:]...)
	return append(w.Dst, "\n\n"...)
}
