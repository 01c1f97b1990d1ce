package bodies

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/seal"
)

// kindBodies is the one kind of entry in the journal of bodies.
const kindBodies journal.Kind = 1

// An entry's payload is a version, project and exchange behind their lengths, and the sealed value.
const entryVersion = 1

var (
	errNewer = errors.New("the journal of bodies was written by a newer Penstock (start that one, or let it write its bodies first)")
	errEntry = errors.New("the entry cannot be decoded")
)

func appendHead(b []byte, project, exchange string) []byte {
	b = append(b, entryVersion)
	for _, text := range [...]string{project, exchange} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return b
}

// decodeEntry reads a payload. The row has its own memory.
func decodeEntry(payload []byte) (Row, error) {
	if len(payload) == 0 {
		return Row{}, errEntry
	}
	if payload[0] != entryVersion {
		return Row{}, fmt.Errorf("%w: version %d, this one reads %d", errNewer, payload[0], entryVersion)
	}
	rest := payload[1:]
	var texts [2]string
	for i := range texts {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return Row{}, errEntry
		}
		texts[i] = string(rest[size : size+int(n)])
		rest = rest[size+int(n):]
	}
	row := Row{Project: texts[0], Exchange: texts[1], Key: seal.KeyID(rest), Sealed: append([]byte(nil), rest...)}
	if row.Key == "" {
		return Row{}, errEntry
	}
	return row, nil
}
