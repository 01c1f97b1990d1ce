// Package eventstream reads and writes application/vnd.amazon.eventstream, the binary framing of Amazon's streams.
//
// It is for the cutting of bytes into events, as wire/sse is for the other framing: it knows which event is an error and nothing of
// what their data mean (wire/bedrock). It is not for HTTP. The format of a frame is the vendor's library's business; what is here
// are limits, the difference between a stream that ends and one that breaks off, and names.
//
//	s := eventstream.NewScanner(resp.Body, 1<<20)
//	for {
//		e, err := s.Next()
//		...
//	}
package eventstream

import (
	"bytes"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

// MediaType is what an answer in this framing says that it is.
const MediaType = "application/vnd.amazon.eventstream"

// An Event is one frame of a stream.
type Event struct {
	// Name is the event's type, the exception's, or the error's code.
	Name string
	// Failed says that it is an exception or an error: the last event of its stream.
	Failed bool
	// Data is the payload; of an error without one, its message. It is valid until the next call of Next.
	Data []byte
}

// The names of headers.
const (
	messageType   = ":message-type"
	eventType     = ":event-type"
	exceptionType = ":exception-type"
	errorCode     = ":error-code"
	errorMessage  = ":error-message"
)

// eventOf reads what a frame is.
func eventOf(m *eventstream.Message) (e Event, ok bool) {
	e.Data = m.Payload
	switch text(m, messageType) {
	case "event":
		e.Name = text(m, eventType)
	case "exception":
		e.Name, e.Failed = text(m, exceptionType), true
	case "error":
		e.Name, e.Failed = text(m, errorCode), true
		if len(e.Data) == 0 {
			e.Data = []byte(text(m, errorMessage))
		}
	default:
		return e, false
	}
	return e, true
}

// text is a header that is a string, "" if it is none.
func text(m *eventstream.Message, name string) string {
	if v, ok := m.Headers.Get(name).(eventstream.StringValue); ok {
		return string(v)
	}
	return ""
}

// Append appends the frame of an event whose data are JSON, as a provider sends it. It is for simulators and tests. Names and data
// beyond what a frame holds (16 MB) make it append nothing.
func Append(dst []byte, e Event) []byte {
	var m eventstream.Message
	kind, named := "event", eventType
	if e.Failed {
		kind, named = "exception", exceptionType
	}
	m.Headers.Set(named, eventstream.StringValue(e.Name))
	m.Headers.Set(":content-type", eventstream.StringValue("application/json"))
	m.Headers.Set(messageType, eventstream.StringValue(kind))
	m.Payload = e.Data
	var b bytes.Buffer
	if eventstream.NewEncoder().Encode(&b, m) != nil {
		return dst
	}
	return append(dst, b.Bytes()...)
}
