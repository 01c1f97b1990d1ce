package llm

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// A Span is a half-open range of bytes. The zero Span is empty and means "absent".
type Span struct{ Start, End int }

// Of cuts the span out of b.
func (s Span) Of(b []byte) []byte { return b[s.Start:s.End] }

// IsZero reports whether the span is absent.
func (s Span) IsZero() bool { return s == Span{} }

// A Field is one top-level member of a request's JSON object: its name, and where its value lies in the raw body.
type Field struct {
	Name  string
	Value Span
}

// An Edit replaces the value of a top-level member, or adds the member. Value is JSON text; a nil Value removes it.
type Edit struct {
	Name  string
	Value []byte
}

// A Request is what a client asked for. It keeps the client's own bytes and is decoded only as far as somebody asks: the
// fields below come from one pass over the body (wire/*), [Request.Chat] decodes the rest.
//
// A Request belongs to one exchange and is not safe for concurrent use. Raw and everything that points into it are valid
// until the exchange ends.
type Request struct {
	Dialect Dialect
	Op      Operation
	Model   string // the name the client asked for
	Stream  bool

	// IncludeUsage says that the client asked for the usage event of a stream.
	IncludeUsage bool
	// MaxOutput is the client's cap on generated tokens, 0 if it sent none.
	MaxOutput int64
	// Choices is how many answers were asked for (n), at least 1.
	Choices int
	// User is the caller's end user as given in the body, not verified.
	User string
	// ServiceTier is the class that the body asks for, "" if none.
	ServiceTier string
	// Version is that of the dialect's API which the client speaks, and Betas are the features that it turns on, as it sent
	// them; both are "" in dialects that have none.
	Version, Betas string
	// Beta says that the client asks for a beta of the whole call.
	Beta bool
	// Base64 says that embeddings were asked for as base64 text instead of numbers.
	Base64 bool

	// Raw is the body as the client sent it, checked to be strict JSON. Read it; change it only through Set.
	Raw []byte
	// Fields are Raw's top-level members in their order.
	Fields []Field

	// DecodeChat makes the canonical form of a body of this dialect. Set by the wire package that parsed the request.
	DecodeChat func(body []byte) (*Chat, error)

	// Completed, if it is set, is given the canonical form when that was made, and may add to it what the client lost.
	Completed func(*Chat)

	// Adapted names what the last try's request left out or bent, because its target does not take it.
	Adapted []string

	edits []Edit
	chat  *Chat
	hour  answer // whether it may ask for an hour in the cache
	hear  answer // whether there may be sound in it
}

// An answer is one that is looked for once.
type answer uint8

const (
	notAsked answer = iota
	no
	yes
)

// hourMarks are in each body that asks for its prompt to be cached for an hour, however it writes that: escapes of the two characters
// are in no body that has no reason to hide them.
var hourMarks = [...]string{`"1h"`, `\u0031`, `\u0068`}

// MayCacheAnHour reports whether the request may ask for its prompt to be cached for an hour instead of minutes, in whatever dialect. A
// text that only says so counts, too. It is looked for once.
func (r *Request) MayCacheAnHour() bool {
	if r.hour == notAsked {
		r.hour = no
		if r.says(hourMarks[:]) {
			r.hour = yes
		}
	}
	return r.hour == yes
}

// says reports whether the body as it came, or a value that was written into it, has one of some marks.
func (r *Request) says(marks []string) bool {
	return r.AnyText(func(text []byte) bool {
		return slices.ContainsFunc(marks, func(mark string) bool { return bytes.Contains(text, []byte(mark)) })
	})
}

// soundMarks are in each body that may have a model hear something: sound itself, films, files of any kind and addresses, and escapes
// that may hide the name of one.
var soundMarks = [...]string{"audio", "video", "file", `"url"`, "http", "item_reference", `\u00`}

// MayHear reports whether there may be sound in the prompt, in whatever dialect. A text that only says so counts, too. It is looked for
// once.
func (r *Request) MayHear() bool {
	if r.hear == notAsked {
		r.hear = no
		if r.says(soundMarks[:]) || len(r.Field("prompt")) > 0 {
			r.hear = yes
		}
	}
	return r.hear == yes
}

// MaySpeak reports whether the answer may be spoken: no model does that unasked.
func (r *Request) MaySpeak() bool {
	asks := func(name string) bool {
		v := r.Field(name)
		return len(v) > 0 && string(v) != "null" && string(v) != `["text"]`
	}
	return asks("modalities") || asks("audio")
}

// Set records that the top-level member name shall have this JSON value, in every try from now on; a nil value removes
// it. A later Set of the same member wins. It drops the canonical form, which is decoded anew when next asked for.
func (r *Request) Set(name string, value []byte) {
	r.chat = nil
	for i := range r.edits {
		if r.edits[i].Name == name {
			r.edits = slices.Clone(r.edits) // a try that is under way may have a copy of the request
			r.edits[i].Value = value
			return
		}
	}
	r.edits = append(slices.Clip(r.edits), Edit{name, value})
}

// Size is about how many bytes the body has with all recorded edits, never less.
func (r *Request) Size() int64 {
	n := int64(len(r.Raw))
	for i := range r.edits {
		n += int64(len(r.edits[i].Name)+len(r.edits[i].Value)) + 4
	}
	return n
}

// Field returns the raw JSON value of a top-level member, edits included, or nil.
func (r *Request) Field(name string) []byte {
	if value, ok := latest(r.edits, name); ok {
		return value
	}
	for _, f := range r.Fields {
		if f.Name == name {
			return f.Value.Of(r.Raw)
		}
	}
	return nil
}

// Edited reports whether the body is another one than Raw.
func (r *Request) Edited() bool { return len(r.edits) > 0 }

// AnyText reports whether something is so of the body as it came, or of a value that was written into it since, such as the turns that it
// goes on from.
func (r *Request) AnyText(is func(text []byte) bool) bool {
	return is(r.Raw) || slices.ContainsFunc(r.edits, func(e Edit) bool { return is(e.Value) })
}

// Chat is the canonical form with all recorded edits, decoded at the first call. The caller must not change it.
func (r *Request) Chat() (*Chat, error) {
	if r.chat != nil {
		return r.chat, nil
	}
	body := r.Raw
	if r.Edited() {
		body = r.AppendBody(nil)
	}
	c, err := r.DecodeChat(body)
	if err != nil {
		return nil, err
	}
	if r.Completed != nil {
		r.Completed(c)
	}
	r.chat = c
	return c, nil
}

// AppendBody appends the body to dst with the recorded edits applied, and then those of this one try, which win. Bytes
// that no edit touches are copied as they are, white space included.
func (r *Request) AppendBody(dst []byte, try ...Edit) []byte {
	edits := append(slices.Clip(r.edits), try...)
	start, pos := len(dst), 0
	sep := len(r.Fields) > 0
	for _, f := range r.Fields {
		value, edited := latest(edits, f.Name)
		if edited && value == nil {
			return r.appendJoined(dst[:start], edits)
		}
		if edited {
			dst = append(dst, r.Raw[pos:f.Value.Start]...)
			dst = append(dst, value...)
			pos = f.Value.End
		}
	}
	end := bytes.LastIndexByte(r.Raw, '}')
	if end < pos {
		return append(dst, r.Raw[pos:]...)
	}
	dst = append(dst, r.Raw[pos:end]...)
	dst = r.appendNew(dst, edits, sep)
	return append(dst, r.Raw[end:]...)
}

// appendJoined builds the object anew from its members, for the rare case that one is left out.
func (r *Request) appendJoined(dst []byte, edits []Edit) []byte {
	dst = append(dst, '{')
	sep := false
	for _, f := range r.Fields {
		value, edited := latest(edits, f.Name)
		if edited && value == nil {
			continue
		}
		if !edited {
			value = f.Value.Of(r.Raw)
		}
		dst = appendMember(dst, f.Name, value, sep)
		sep = true
	}
	dst = r.appendNew(dst, edits, sep)
	return append(dst, '}')
}

// appendNew appends the members that edits add, each once with its latest value.
func (r *Request) appendNew(dst []byte, edits []Edit, sep bool) []byte {
	for i, e := range edits {
		known := slices.ContainsFunc(r.Fields, func(f Field) bool { return f.Name == e.Name })
		again := slices.ContainsFunc(edits[:i], func(x Edit) bool { return x.Name == e.Name })
		value, _ := latest(edits, e.Name)
		if known || again || value == nil {
			continue
		}
		dst = appendMember(dst, e.Name, value, sep)
		sep = true
	}
	return dst
}

func appendMember(dst []byte, name string, value []byte, sep bool) []byte {
	if sep {
		dst = append(dst, ',')
	}
	dst, _ = jsontext.AppendQuote(dst, name) // names come from a body that was checked, so they quote
	dst = append(dst, ':')
	return append(dst, value...)
}

// latest finds the edit that counts for a member: the last one.
func latest(edits []Edit, name string) (value []byte, ok bool) {
	for i := len(edits) - 1; i >= 0; i-- {
		if edits[i].Name == name {
			return edits[i].Value, true
		}
	}
	return nil, false
}
