// Package otlp writes spans and metrics as the OpenTelemetry protocol has them in protobuf, and reads what collectors
// answer.
//
// It knows the wire format and nothing else: no sending, no batching, no names of attributes. Everything is appended to a
// slice of bytes without intermediate messages, which is why there are no generated types here; tests read what it writes
// with the generated ones. It writes the fields that Penstock needs, not all that there are.
package otlp

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// An Attr is an attribute. The zero value is none, and is not written.
type Attr struct {
	key  string
	kind kind
	text string
	list []string
	bits uint64
}

type kind uint8

const (
	none kind = iota
	text
	boolean
	integer
	double
	texts
)

// String makes an attribute that is a text. Texts must be valid UTF-8.
func String(key, value string) Attr { return Attr{key: key, kind: text, text: value} }

// Strings makes an attribute that is a list of texts. The list is not copied.
func Strings(key string, values []string) Attr { return Attr{key: key, kind: texts, list: values} }

// Int makes an attribute that is a whole number.
func Int(key string, value int64) Attr { return Attr{key: key, kind: integer, bits: uint64(value)} }

// Double makes an attribute that is a floating point number.
func Double(key string, value float64) Attr {
	return Attr{key: key, kind: double, bits: math.Float64bits(value)}
}

// Bool makes an attribute that is true or false.
func Bool(key string, value bool) Attr {
	a := Attr{key: key, kind: boolean}
	if value {
		a.bits = 1
	}
	return a
}

// begin opens a message within a message: its tag, and room for its length. end closes it.
func begin(b []byte, field protowire.Number) (_ []byte, body int) {
	b = append(appendTag(b, field, protowire.BytesType), 0)
	return b, len(b)
}

// end writes the length of the message whose body begins at body. Most are shorter than 128 bytes, for which there is
// room; others are moved.
func end(b []byte, body int) []byte {
	n := len(b) - body
	if n < 1<<7 {
		b[body-1] = byte(n)
		return b
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	for range more {
		b = append(b, 0)
	}
	copy(b[body+more:], b[body:body+n])
	protowire.AppendVarint(b[:body-1], uint64(n))
	return b
}

// appendTag is protowire.AppendTag, which looks at each number as if it could be long.
func appendTag(b []byte, field protowire.Number, typ protowire.Type) []byte {
	if field < 1<<4 {
		return append(b, byte(field)<<3|byte(typ))
	}
	return protowire.AppendTag(b, field, typ)
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(b, field, s)
}

// appendString is appendText for texts that are written even if they are empty.
func appendString(b []byte, field protowire.Number, s string) []byte {
	b = appendTag(b, field, protowire.BytesType)
	if len(s) < 1<<7 {
		return append(append(b, byte(len(s))), s...)
	}
	return protowire.AppendString(b, s)
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(appendTag(b, field, protowire.BytesType), v)
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(appendTag(b, field, protowire.VarintType), v)
}

func appendFixed64(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(appendTag(b, field, protowire.Fixed64Type), v)
}

func appendDouble(b []byte, field protowire.Number, v float64) []byte {
	return appendFixed64(b, field, math.Float64bits(v))
}

// appendAttrs appends KeyValues as a repeated field.
func appendAttrs(b []byte, field protowire.Number, attrs []Attr) []byte {
	for i := range attrs {
		a := &attrs[i]
		if a.kind == none {
			continue
		}
		var pair, value int
		b, pair = begin(b, field)
		b = appendText(b, 1, a.key)
		b, value = begin(b, 2)
		b = a.appendValue(b)
		b = end(end(b, value), pair)
	}
	return b
}

// appendValue appends the body of an AnyValue.
func (a *Attr) appendValue(b []byte) []byte {
	switch a.kind {
	case text:
		return appendString(b, 1, a.text)
	case boolean:
		return appendVarint(b, 2, a.bits)
	case integer:
		return appendVarint(b, 3, a.bits)
	case double:
		return appendFixed64(b, 4, a.bits)
	case texts:
		b, list := begin(b, 5)
		for _, s := range a.list {
			var one int
			b, one = begin(b, 1)
			b = end(appendString(b, 1, s), one)
		}
		return end(b, list)
	}
	return b
}

// A Source is what all spans or metrics of a request have in common: whose they are, and what made them.
type Source struct {
	Resource []Attr
	// Scope and Version name the instrumentation.
	Scope, Version string
	// Schema is the URL of the conventions that names of attributes follow.
	Schema string
}

// AppendRequest appends the body of an ExportTraceServiceRequest or ExportMetricsServiceRequest, which have the same
// shape. items is what [Span.Append] or [Metric.Append] wrote, any number of them one after the other.
func (s *Source) AppendRequest(b, items []byte) []byte {
	b, resource := begin(b, 1)
	b, attrs := begin(b, 1)
	b = end(appendAttrs(b, 1, s.Resource), attrs)
	b, scope := begin(b, 2)
	b, about := begin(b, 1)
	b = end(appendText(appendText(b, 1, s.Scope), 2, s.Version), about)
	b = append(b, items...)
	b = end(appendText(b, 3, s.Schema), scope)
	return end(appendText(b, 3, s.Schema), resource)
}

// An Answer is what a collector says of a request that it took.
type Answer struct {
	Rejected int64  // spans or data points that it did not take after all
	Message  string // why, in its own words
}

// ParseAnswer reads an ExportTraceServiceResponse or ExportMetricsServiceResponse. ok is false if it is none.
func ParseAnswer(b []byte) (a Answer, ok bool) {
	ok = eachField(b, func(field protowire.Number, typ protowire.Type, v []byte, _ uint64) bool {
		if field != 1 || typ != protowire.BytesType {
			return true
		}
		return eachField(v, func(field protowire.Number, typ protowire.Type, v []byte, n uint64) bool {
			switch {
			case field == 1 && typ == protowire.VarintType:
				a.Rejected = int64(n)
			case field == 2 && typ == protowire.BytesType:
				a.Message = string(v)
			}
			return true
		})
	})
	if !ok {
		return Answer{}, false
	}
	return a, true
}

// eachField walks the fields of a message: v is the value of those that have a length, n that of varints.
func eachField(b []byte, visit func(field protowire.Number, typ protowire.Type, v []byte, n uint64) bool) bool {
	for len(b) > 0 {
		field, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return false
		}
		b = b[size:]
		var v []byte
		var n uint64
		switch typ {
		case protowire.BytesType:
			v, size = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(b)
		default:
			size = protowire.ConsumeFieldValue(field, typ, b)
		}
		if size < 0 || !visit(field, typ, v, n) {
			return false
		}
		b = b[size:]
	}
	return true
}
