package openai

import (
	"bytes"
	"errors"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth is how many levels of nesting a body may have.
const maxDepth = 128

// errTooDeep is nesting beyond that.
var errTooDeep = errors.New("nested too deeply")

// A reader walks a client's body token by token, strictly: names are unique within their object, all is UTF-8 without
// half surrogate pairs, nesting ends at maxDepth. It never recurses, so depth costs no stack, and it copies nothing.
type reader struct {
	dec  jsontext.Decoder
	src  bytes.Buffer // over text; the decoder reads it in place
	text []byte
	// at and end are where the value lies that next returned: of an object or array only its first byte is read then.
	at, end int
}

var readers = sync.Pool{New: func() any { return new(reader) }}

func newReader(text []byte) *reader {
	r := readers.Get().(*reader)
	r.reset(text)
	return r
}

func (r *reader) reset(text []byte) {
	r.text = text
	r.src = *bytes.NewBuffer(text)
	r.at, r.end = 0, 0
	r.dec.Reset(&r.src)
}

// free gives the reader back; it keeps no hold on the text.
func (r *reader) free() {
	r.reset(nil)
	readers.Put(r)
}

// peek is the kind of what next would return, 0 if that would be an error.
func (r *reader) peek() jsontext.Kind { return r.dec.PeekKind() }

// next reads a scalar or a name whole and returns it as it stands in the text, or reads one bracket and returns nil.
func (r *reader) next() (jsontext.Kind, []byte, error) {
	kind := r.dec.PeekKind()
	switch kind {
	case '{', '[', '}', ']':
		if _, err := r.dec.ReadToken(); err != nil {
			return 0, nil, err
		}
		r.end = int(r.dec.InputOffset())
		r.at = r.end - 1
		if r.dec.StackDepth() > maxDepth {
			return 0, nil, errTooDeep
		}
		return kind, nil, nil
	}
	raw, err := r.dec.ReadValue()
	if err != nil {
		return 0, nil, err
	}
	r.end = int(r.dec.InputOffset())
	r.at = r.end - len(raw)
	return kind, raw, nil
}

// skip reads one value whole.
func (r *reader) skip() error {
	kind, _, err := r.next()
	if err == nil && (kind == '{' || kind == '[') {
		return r.rest()
	}
	return err
}

// rest reads on to the end of the object or array that next has just opened.
func (r *reader) rest() error {
	for depth := r.dec.StackDepth(); r.dec.StackDepth() >= depth; {
		if _, err := r.dec.ReadToken(); err != nil {
			return err
		}
		if r.dec.StackDepth() > maxDepth {
			return errTooDeep
		}
	}
	r.end = int(r.dec.InputOffset())
	return nil
}

// members calls f with the name of each member of the object that next has just opened, unquoted; f reads the value.
func (r *reader) members(f func(name []byte) error) error {
	for {
		kind, raw, err := r.next()
		if err != nil || kind == '}' {
			return err
		}
		if err := f(unquoted(raw)); err != nil {
			return err
		}
	}
}
