package idempotency

import (
	"encoding/binary"
	"encoding/json"
	"errors"

	"github.com/klauspost/compress/zstd"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/seal"
)

// An Answer is what a client was sent.
type Answer struct {
	Status int         `json:"status"`
	Header [][2]string `json:"header"` // names and values
	Stream bool        `json:"stream,omitempty"`
	Target llm.Target  `json:"target,omitzero"` // that answered, zero if none did
	// Code and Message are of the error that it is, or that ended its stream; "" if it is none.
	Code    fault.Code `json:"code,omitempty"`
	Message string     `json:"message,omitempty"`
	Body    []byte     `json:"-"`
	// Over says that the body was too large to be gathered.
	Over bool `json:"-"`
}

// A packed answer is a byte for the format and a zstd frame of: the length of its head, its head as JSON, and the body.
const format = 1

var (
	errGarbled = errors.New("the answer cannot be decoded")
	errNewer   = errors.New("the answer was kept by a newer Penstock")
)

// mostHead is the most bytes that the head of an answer has.
const mostHead = 64 << 10

func (a *Answer) pack() ([]byte, error) {
	head, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	if len(head) > mostHead {
		return nil, errors.New("its head is larger than 64 KB")
	}
	b := make([]byte, 0, len(head)+len(a.Body)+binary.MaxVarintLen64)
	b = binary.AppendUvarint(b, uint64(len(head)))
	b = append(b, head...)
	return append(b, a.Body...), nil
}

func unpack(plain []byte) (*Answer, error) {
	if len(plain) == 0 {
		return nil, errGarbled
	}
	if plain[0] != format {
		return nil, errNewer
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(Largest+mostHead+1<<10))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	rest, err := d.DecodeAll(plain[1:], nil)
	if err != nil {
		return nil, errors.Join(errGarbled, err)
	}
	n, size := binary.Uvarint(rest)
	if size <= 0 || n > uint64(len(rest)-size) {
		return nil, errGarbled
	}
	rest = rest[size:]
	var a Answer
	if err := json.Unmarshal(rest[:n], &a); err != nil {
		return nil, errors.Join(errGarbled, err)
	}
	if a.Status < 200 || a.Status > 599 {
		return nil, errGarbled
	}
	a.Body = rest[n:]
	return &a, nil
}

// bound is what a sealed answer belongs to: as that of another key, or of another project, it does not open.
func bound(n name) []byte { return seal.Bind(nil, "idempotency answer", n.project, n.key) }

// seal makes the row of an answer. What cannot be sealed is not kept.
func (k *Keeper) seal(n name, a *Answer) Row {
	packed, err := a.pack()
	if err == nil {
		var sealed []byte
		if sealed, err = k.o.Ring.Seal(nil, k.encoder.EncodeAll(packed, []byte{format}), bound(n)); err == nil {
			return Row{State: Answered, DataKey: seal.KeyID(sealed), Sealed: sealed}
		}
	}
	k.o.Log.Error("the answer to a call with an idempotency key could not be sealed: it is not kept", "error", err)
	return Row{State: Unkept}
}

// open gives the answer of a row, or says why it cannot, and how that is counted. Errors are faults.
func (k *Keeper) open(r Row) (a *Answer, outcome string, err error) {
	plain, err := k.o.Ring.Unseal(nil, r.Sealed, bound(name{r.Project, r.Key}))
	if err == nil {
		a, err = unpack(plain)
	}
	switch {
	case err == nil:
		return a, "replayed", nil
	case errors.Is(err, errNewer) || errors.Is(err, seal.ErrNewer):
		return nil, "unavailable", newer(err)
	}
	if f := seal.Fault(err); f != nil {
		return nil, "unavailable", f
	}
	k.o.Log.Error("the answer to a call with an idempotency key does not open: repeats are told so", "exchange", r.Exchange, "error", err)
	return nil, "garbled", garbled(r.Exchange, err)
}
