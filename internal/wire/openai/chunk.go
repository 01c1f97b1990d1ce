package openai

import (
	"bytes"

	"github.com/penstock/penstock/internal/llm"
)

// doneMark is the data of the event that proves that a stream is whole.
const doneMark = "[DONE]"

// ScanChunk reads the data of one event of a chat's stream in one pass and fills in ev: what it carries, where the
// model's name lies, usage, and the text it adds, which is appended to the buffer text (ev.Text is what was added; it
// lies in a new buffer if that one was too small). ev.Raw is data.
//
// An event that carries usage and no choice is marked [llm.Hidden]: whoever knows that the client asked for it takes the
// mark off. A usage of which the provider left one of the two counts out has Estimated set and 0 in that place; counts
// that cannot be true are taken as left out.
//
// meta is told what the provider says of the answer; nil is told nothing.
//
// Errors are [ErrGarbage] for what is not one JSON object in UTF-8, or no chunk, and *[InBandError] for an error object.
func ScanChunk(data []byte, ev *llm.Event, text []byte, meta *llm.Meta) error {
	_, err := scanChunk(data, ev, text, meta)
	return err
}

func scanChunk(data []byte, ev *llm.Event, text []byte, meta *llm.Meta) (s scan, err error) {
	*ev = llm.Event{Dialect: llm.OpenAI, Raw: data, Text: text[len(text):]}
	if isDone(data) {
		ev.Has = llm.End
		return s, nil
	}
	s = scan{ev: ev, text: text, op: llm.OpChat, meta: meta}
	if err = s.object(data); err != nil {
		return s, err
	}
	ev.Text = s.text[len(text):]
	if s.bill && s.choices == 0 {
		ev.Has |= llm.Hidden
	}
	return s, nil
}

func isDone(data []byte) bool {
	return len(data) > 0 && data[0] != '{' && string(bytes.TrimSpace(data)) == doneMark
}
