package bodies

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// A Part is a request or an answer.
type Part struct {
	Size int64  // in bytes, as it was seen
	Text []byte // all of it, or its beginning
}

// Cut reports whether only the beginning was kept.
func (p *Part) Cut() bool { return int64(len(p.Text)) < p.Size }

// Readable is a text for people: bytes that are no UTF-8 are replaced, and of a text that was cut, a last rune of which only
// a piece is there is left out.
func Readable(text []byte, cut bool) string {
	for i := 1; cut && i < utf8.UTFMax && i <= len(text); i++ {
		if tail := text[len(text)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				text = text[:len(text)-i]
			}
			break
		}
	}
	return strings.ToValidUTF8(string(text), "\uFFFD")
}

// Content is what was kept of an exchange.
type Content struct {
	Request Part
	Answer  Part
	Stream  bool // the answer is the events of a stream, in the form of server-sent events
	Whole   bool // the answer came to its end
}

// A sealed value holds a byte for the format and then a zstd frame of: a head, the kept bytes of the answer, those of the
// request. The answer comes first, because it grows while it is passed on.
const (
	format   = 1
	headSize = 1 + 2*8 + 4 // flags, sizes, how much is kept of the answer
)

const (
	flagStream = 1 << iota
	flagWhole
)

// putHead writes the head of what was packed behind it.
func putHead(packed []byte, stream, whole bool, requestSize, answerSize int64, answerKept int) {
	packed[0] = 0
	if stream {
		packed[0] |= flagStream
	}
	if whole {
		packed[0] |= flagWhole
	}
	binary.LittleEndian.PutUint64(packed[1:], uint64(requestSize))
	binary.LittleEndian.PutUint64(packed[9:], uint64(answerSize))
	binary.LittleEndian.PutUint32(packed[17:], uint32(answerKept))
}

var errGarbled = errors.New("the bodies cannot be decoded")

func unpack(packed []byte) (*Content, error) {
	if len(packed) < headSize {
		return nil, errGarbled
	}
	c := &Content{Stream: packed[0]&flagStream != 0, Whole: packed[0]&flagWhole != 0}
	c.Request.Size = int64(binary.LittleEndian.Uint64(packed[1:]))
	c.Answer.Size = int64(binary.LittleEndian.Uint64(packed[9:]))
	kept, rest := int64(binary.LittleEndian.Uint32(packed[17:])), packed[headSize:]
	if kept > int64(len(rest)) {
		return nil, errGarbled
	}
	c.Answer.Text, c.Request.Text = rest[:kept], rest[kept:]
	return c, nil
}

// newEncoder makes an encoder for so many goroutines at once. Frames have no checksum: the seal is a better one.
func newEncoder(atOnce int) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(atOnce),
		zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(256<<10))
}

// open decompresses and unpacks what was sealed. It never makes more of it than can have been packed.
func open(plain []byte) (*Content, error) {
	if len(plain) == 0 {
		return nil, errGarbled
	}
	if plain[0] != format {
		return nil, fmt.Errorf("the bodies were kept by a newer Penstock: format %d, this one reads %d", plain[0], format)
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*mostMax+headSize))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	packed, err := d.DecodeAll(plain[1:], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGarbled, err)
	}
	return unpack(packed)
}
