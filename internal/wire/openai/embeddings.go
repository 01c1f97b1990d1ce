package openai

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// CountInputs says how many vectors an embeddings call asks for: 1 for a text or the tokens of one, else as many as the
// array has elements.
func CountInputs(r *llm.Request) int {
	c := rawjson.Cursor{Text: r.Field("input")}
	n := 1
	for i := range c.Elements() {
		if kind := c.Kind(); kind == '"' || kind == '[' {
			n = i + 1
		}
	}
	return n
}

// FixEmbeddings makes of an embeddings answer one whose vectors are in the form that the client asked for, base64 of
// little-endian 32-bit floats or arrays of numbers: clients' libraries ask for base64 by themselves and decode what comes
// unseen, and many servers ignore what they ask. If all vectors have that form already, it returns body itself.
//
// It is an [ErrGarbage] if a vector cannot be read, holds a number that is no finite 32-bit float, or is not as long as
// the first, and if there are fewer vectors than inputs (0: not known).
func FixEmbeddings(body []byte, wantBase64 bool, inputs int) ([]byte, error) {
	if !rawjson.Valid(body) {
		return nil, garbage("not JSON")
	}
	f := vectors{Cursor: rawjson.Cursor{Text: body}, base64: wantBase64}
	for name := range f.Members() {
		if string(name) != "data" {
			continue
		}
		for range f.Elements() {
			for name := range f.Members() {
				if string(name) == "embedding" {
					f.embedding()
				}
			}
		}
	}
	switch {
	case f.wrong != "":
		return nil, garbage(f.wrong)
	case f.count < max(inputs, 1):
		return nil, garbage(fmt.Sprintf("%d vectors for %d inputs", f.count, inputs))
	case f.copied == 0:
		return body, nil
	}
	return append(f.out, body[f.copied:]...), nil
}

// A vectors is a walk over an embeddings answer that writes its vectors in the form that is wanted.
type vectors struct {
	rawjson.Cursor
	base64 bool
	out    []byte // the answer up to text[copied], with changed vectors
	copied int
	count  int
	length int // of the vectors, in numbers
	vector []float32
	wrong  string // what is wrong, the last thing
}

func (f *vectors) embedding() {
	kind := f.Kind()
	start := f.At
	f.vector = f.vector[:0]
	switch kind {
	case '"':
		f.decode(f.Value())
	case '[':
		for range f.Elements() {
			f.read(f.Value())
		}
	default:
		f.wrong = "a vector is neither an array nor base64"
		return
	}
	if f.count == 0 {
		f.length = len(f.vector)
	}
	f.count++
	if len(f.vector) == 0 || len(f.vector) != f.length {
		f.wrong = fmt.Sprintf("a vector of %d numbers beside one of %d", len(f.vector), f.length)
	}
	if f.wrong != "" || (kind == '"') == f.base64 {
		return
	}
	f.out = append(f.out, f.Text[f.copied:start]...)
	f.out = f.appendVector(f.out)
	f.copied = f.At
}

// decode reads a vector in base64.
func (f *vectors) decode(raw []byte) {
	data, err := base64.StdEncoding.AppendDecode(nil, rawjson.Unquoted(raw))
	if err != nil || len(data)%4 != 0 {
		f.wrong = "a vector is not base64 of 32-bit floats"
		return
	}
	for ; len(data) > 0; data = data[4:] {
		f.add(math.Float32frombits(binary.LittleEndian.Uint32(data)))
	}
}

// read reads a number of a vector.
func (f *vectors) read(raw []byte) {
	n, err := strconv.ParseFloat(string(raw), 32)
	if err != nil {
		f.wrong = "a vector holds something that is no 32-bit float"
		return
	}
	f.add(float32(n))
}

func (f *vectors) add(n float32) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		f.wrong = "a vector holds a number that is not finite"
	}
	f.vector = append(f.vector, n)
}

// appendVector writes the vector in the form that is wanted.
func (f *vectors) appendVector(dst []byte) []byte {
	if f.base64 {
		data := make([]byte, 0, 4*len(f.vector))
		for _, n := range f.vector {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(n))
		}
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, data)
		return append(dst, '"')
	}
	dst = append(dst, '[')
	for i, n := range f.vector {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendFloat(dst, float64(n), 'g', -1, 32)
	}
	return append(dst, ']')
}
