// Package sse reads and writes server-sent events, the framing of every dialect's stream.
//
// It is one scanner for all dialects: it cuts a byte stream into events and hands out their data as slices of its own
// buffer. It knows nothing of what the data means ([DONE], JSON: that is wire/openai and its siblings), nothing of HTTP,
// and does not reconnect, so the fields id and retry are read over.
//
//	s := sse.NewScanner(resp.Body, 1<<20)
//	defer s.Close()
//	for {
//		e, err := s.Next()
//		...
//	}
package sse

import "bytes"

// An Event is one event of a stream that holds data. Comments and events without data are never seen.
type Event struct {
	// Name is the event's name, "" if it has none.
	Name string
	// Data is the event's data without framing, several lines joined by a line feed. It is a slice of the scanner's
	// buffer and valid until the next call of Next or Close.
	Data []byte
}

// AppendEvent appends the framing of one event to dst: the name, if there is one, and a data line for each line of data.
// A carriage return in data ends a line too, since every reader takes it so. The name must hold no line break.
func AppendEvent(dst []byte, name string, data []byte) []byte {
	if name != "" {
		dst = append(dst, "event: "...)
		dst = append(dst, name...)
		dst = append(dst, '\n')
	}
	for {
		dst = append(dst, "data: "...)
		end := bytes.IndexAny(data, "\r\n")
		if end < 0 {
			dst = append(dst, data...)
			return append(dst, "\n\n"...)
		}
		dst = append(dst, data[:end]...)
		dst = append(dst, '\n')
		if bytes.HasPrefix(data[end:], crlf) {
			end++
		}
		data = data[end+1:]
	}
}

var crlf = []byte("\r\n")
