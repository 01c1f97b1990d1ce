package openai

import (
	"strconv"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// The framing of a stream's event; JSON fits on one line.
const (
	namePrefix = "event: "
	dataPrefix = "data: "
	eventEnd   = "\n\n"
)

// AppendChunk appends an event of a stream with its framing, model in the place of the name that the provider gave. An
// event that is [llm.End] becomes the end mark, whatever its Raw. The dialect names no events of a chat, but what a
// provider names stays named.
func AppendChunk(dst []byte, ev *llm.Event, model string) []byte {
	if ev.Is(llm.End) {
		return append(dst, dataPrefix+doneMark+eventEnd...)
	}
	if ev.Name != "" {
		dst = append(append(append(dst, namePrefix...), ev.Name...), '\n')
	}
	dst = append(dst, dataPrefix...)
	start := len(dst)
	dst = spliced(dst, ev.Raw, ev.ModelAt, model)
	rawjson.OneLine(dst[start:])
	return append(dst, eventEnd...)
}

// AppendAnswer appends a plain answer's body, model in the place of the name that the provider gave.
func AppendAnswer(dst []byte, ev *llm.Event, model string) []byte {
	return spliced(dst, ev.Raw, ev.ModelAt, model)
}

// A Model is an entry of the list of models.
type Model struct {
	ID      string
	Created int64 // Unix seconds, 0 if not known
	OwnedBy string
}

// AppendModel appends the object of one model.
func AppendModel(dst []byte, m Model) []byte {
	dst = append(dst, `{"id":`...)
	dst = rawjson.AppendQuoted(dst, m.ID)
	dst = append(dst, `,"object":"model","created":`...)
	dst = strconv.AppendInt(dst, m.Created, 10)
	dst = append(dst, `,"owned_by":`...)
	dst = rawjson.AppendQuoted(dst, m.OwnedBy)
	return append(dst, '}')
}

// AppendModelList appends the object of a list of models.
func AppendModelList(dst []byte, models []Model) []byte {
	dst = append(dst, `{"object":"list","data":[`...)
	for i, m := range models {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendModel(dst, m)
	}
	return append(dst, "]}"...)
}
