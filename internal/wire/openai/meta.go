package openai

import "github.com/penstock/penstock/internal/wire/rawjson"

// Limits on the texts of an answer's [llm.Meta], in bytes.
const (
	maxAnswerID = 128
	maxName     = 256
)

// tell tells the meta of the answer who it is and who gave it, once: every chunk of a stream says it again. The texts
// share one allocation.
func (s *scan) tell() {
	m := s.meta
	if m == nil || (m.ID != "" || s.id == nil) && (m.Model != "" || s.model == nil) {
		return
	}
	var room [128]byte
	text := appendPlain(room[:0], s.id, maxAnswerID)
	id := len(text)
	text = appendPlain(text, s.model, maxName)
	if len(text) == 0 {
		return
	}
	both := string(text)
	if m.ID == "" {
		m.ID = both[:id]
	}
	if m.Model == "" {
		m.Model = both[id:]
	}
}

// appendPlain appends what a JSON string says if that is short and printable ASCII, else nothing: it is written to records
// and logs.
func appendPlain(dst, raw []byte, most int) []byte {
	if raw == nil {
		return dst
	}
	s := rawjson.Unquoted(raw)
	if len(s) > most {
		return dst
	}
	for _, c := range s {
		if c < ' ' || c > '~' {
			return dst
		}
	}
	return append(dst, s...)
}
