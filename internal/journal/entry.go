package journal

import (
	"encoding/binary"
	"hash/crc32"
)

// A Kind says what an entry is. The journal carries it and gives it no meaning.
type Kind uint8

// An Entry is what was appended, as a reader sees it.
type Entry struct {
	Kind    Kind
	Payload []byte // valid until the reader is used again
	Start   int64  // where the entry begins
	// Position is behind the entry: where to read on.
	Position int64
}

// MaxPayload is the largest payload in bytes.
const MaxPayload = 16 << 20

// On the disk an entry is: a checksum of all that follows (CRC-32C, 4 bytes), the payload's length (4 bytes), the kind
// (1 byte), the payload. Numbers are little-endian.
const (
	sumSize    = 4
	headerSize = sumSize + 4 + 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendEntry(dst []byte, kind Kind, payload []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, byte(kind))
	dst = append(dst, payload...)
	binary.LittleEndian.PutUint32(dst[at:], crc32.Checksum(dst[at+sumSize:], castagnoli))
	return dst
}

// entrySize is the size of the whole entry by its header; ok is false if no entry can have it.
func entrySize(header []byte) (size int64, ok bool) {
	n := binary.LittleEndian.Uint32(header[sumSize:])
	return headerSize + int64(n), n <= MaxPayload
}

// whole reports whether the bytes of an entry are what was appended.
func whole(entry []byte) bool {
	return binary.LittleEndian.Uint32(entry) == crc32.Checksum(entry[sumSize:], castagnoli)
}
