package rawjson

import (
	"bytes"
	"errors"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how many levels of nesting a body may have.
const MaxDepth = 128

// errTooDeep is nesting beyond that.
var errTooDeep = errors.New("nested too deeply")

// A Reader walks a client's body token by token, strictly: names are unique within their object, all is UTF-8 without
// half surrogate pairs, nesting ends at MaxDepth. It never recurses, so depth costs no stack, and it copies nothing.
type Reader struct {
	dec  jsontext.Decoder
	src  bytes.Buffer // over text; the decoder reads it in place
	text []byte
	// at and end are where the value lies that Next returned: of an object or array only its first byte is read then.
	at, end int
}

var readers = sync.Pool{New: func() any { return new(Reader) }}

func newReader(text []byte) *Reader {
	r := readers.Get().(*Reader)
	r.reset(text)
	return r
}

func (r *Reader) reset(text []byte) {
	r.text = text
	r.src = *bytes.NewBuffer(text)
	r.at, r.end = 0, 0
	r.dec.Reset(&r.src)
}

// free gives the reader back; it keeps no hold on the text.
func (r *Reader) free() {
	r.reset(nil)
	readers.Put(r)
}

// Peek is the kind of what Next would return, 0 if that would be an error.
func (r *Reader) Peek() jsontext.Kind { return r.dec.PeekKind() }

// Next reads a scalar or a name whole and returns it as it stands in the text, or reads one bracket and returns nil.
func (r *Reader) Next() (jsontext.Kind, []byte, error) {
	kind := r.dec.PeekKind()
	switch kind {
	case '{', '[', '}', ']':
		if _, err := r.dec.ReadToken(); err != nil {
			return 0, nil, err
		}
		r.end = int(r.dec.InputOffset())
		r.at = r.end - 1
		if r.dec.StackDepth() > MaxDepth {
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

// Skip reads one value whole.
func (r *Reader) Skip() error {
	kind, _, err := r.Next()
	if err == nil && (kind == '{' || kind == '[') {
		return r.Rest()
	}
	return err
}

// Rest reads on to the end of the object or array that Next has just opened.
func (r *Reader) Rest() error {
	for depth := r.dec.StackDepth(); r.dec.StackDepth() >= depth; {
		if _, err := r.dec.ReadToken(); err != nil {
			return err
		}
		if r.dec.StackDepth() > MaxDepth {
			return errTooDeep
		}
	}
	r.end = int(r.dec.InputOffset())
	return nil
}

// Members calls f with the name of each member of the object that Next has just opened, Unquoted; f reads the value.
func (r *Reader) Members(f func(name []byte) error) error {
	for {
		kind, raw, err := r.Next()
		if err != nil || kind == '}' {
			return err
		}
		if err := f(Unquoted(raw)); err != nil {
			return err
		}
	}
}
