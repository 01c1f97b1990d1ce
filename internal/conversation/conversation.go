// Package conversation keeps what callers of OpenAI's Responses go on from: what was asked in an exchange and what was answered,
// compressed and sealed, per project and for a limited time.
//
// It is asked on the way: a response is kept before its caller is told its end, so that whoever goes on from it, at whatever replica,
// finds it. One that cannot be kept is none that can be gone on from; the answer itself never fails for that. It knows neither the
// dialect of what it keeps (wire/responses) nor who may have it (gateway). It is not the record of an exchange (usage), and not the
// bodies that a project keeps for people to read (bodies).
package conversation

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
)

// A Row is a turn as the store keeps it.
type Row struct {
	Project, ID, Exchange string
	Key                   string // id of the data key that sealed it
	Sealed                []byte
	Items                 []string // ids of the items of the answer
}

// Store is what conversation needs to have kept.
type Store interface {
	// AddResponse keeps a row, unless there is one of that id already.
	AddResponse(ctx context.Context, r Row) error
	// Response gives a sealed turn; it is [NotKept] if there is none of the project.
	Response(ctx context.Context, project, id string) ([]byte, error)
	// ItemResponses says of which responses of the project items are; those that are of none are left out.
	ItemResponses(ctx context.Context, project string, items []string) (map[string]string, error)
	// DeleteResponse deletes one; it is [NotKept] if there is none of the project, and a fault OnHold if the project is.
	DeleteResponse(ctx context.Context, project, id string) error
	// ResponseProjects lists the projects that have responses.
	ResponseProjects(ctx context.Context) ([]string, error)
	// PurgeResponses deletes at most limit of a project's that began more than keep before now, or before now at all if the
	// project keeps none, or is gone; nothing of one that is on hold. It does so for the holder of a lease only; mine is false
	// if another has it.
	PurgeResponses(ctx context.Context, holder, project string, now time.Time, keep time.Duration, limit int) (deleted int, mine bool, err error)
	// GiveBack gives some of the space of what was deleted back to the file system; more says that there is more.
	GiveBack(ctx context.Context) (more bool, err error)
}

// NotKept is that there is no response of an id that the caller may have: another project's are not told from none.
func NotKept(id string) *fault.Error {
	if len(id) > 80 {
		id = id[:80] + "..."
	}
	f := fault.New(fault.ResponseNotFound, "There is no response %q here.", id)
	f.Param = "previous_response_id"
	return f
}

// A Turn is what was asked and what was answered.
type Turn struct {
	ID       string
	Previous string // id of the one that it goes on from, "" for none
	Input    []byte // what was asked, without what came before
	Response []byte
	Items    []string // ids of the answer's items; not given back
}

const (
	// KeepFor is how long a turn is kept.
	KeepFor = 30 * 24 * time.Hour
	// mostTurns is how many turns a conversation may have that is put together.
	mostTurns = 1000
	// largest is the most that is kept of one turn, in bytes before compression.
	largest = 32 << 20
	// patience is how long a caller is kept waiting for its response to be kept.
	patience = 2 * time.Second
)

// Options are what a Keeper works with.
type Options struct {
	Store   Store
	Ring    *seal.Ring
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time // civil time; nil is time.Now
}

// A Keeper keeps turns and gives them back.
type Keeper struct {
	o                    Options
	encoder              *zstd.Encoder
	kept, failed, purged prometheus.Counter
}

// NewKeeper makes a keeper.
func NewKeeper(o Options) (*Keeper, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_responses_" + name, Help: help})
	}
	k := &Keeper{
		o: o, encoder: encoder,
		kept:   counter("kept_total", "Responses that callers can go on from."),
		failed: counter("unkept_total", "Responses that could not be kept: their callers cannot go on from them."),
		purged: counter("purged_total", "Kept responses that were deleted when their time was over."),
	}
	return k, errors.Join(o.Metrics.Register(k.kept), o.Metrics.Register(k.failed), o.Metrics.Register(k.purged))
}

// Keep keeps the turn of an exchange, and reports whether it could.
func (k *Keeper) Keep(ctx context.Context, project, exchange string, t Turn) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience) // a caller that left may come back
	defer cancel()
	err := k.keep(ctx, project, exchange, t)
	if err != nil {
		k.failed.Inc()
		k.o.Log.Error("a response could not be kept: its caller cannot go on from it", "exchange", exchange, "error", err)
		return false
	}
	k.kept.Inc()
	return true
}

func (k *Keeper) keep(ctx context.Context, project, exchange string, t Turn) error {
	packed := t.pack()
	if len(packed) > largest {
		return errLarge
	}
	sealed, err := k.o.Ring.Seal(nil, k.encoder.EncodeAll(packed, []byte{format}), bound(project, t.ID))
	if err != nil {
		return err
	}
	return k.o.Store.AddResponse(ctx, Row{Project: project, ID: t.ID, Exchange: exchange, Key: seal.KeyID(sealed), Sealed: sealed, Items: t.Items})
}

// bound is what a sealed turn belongs to: as that of another it does not open.
func bound(project, id string) []byte { return seal.Bind(nil, "response", project, id) }

// Turn gives a turn of a project. Errors are faults: [NotKept], KeyRingBehind, SealedAway.
func (k *Keeper) Turn(ctx context.Context, project, id string) (Turn, error) {
	sealed, err := k.o.Store.Response(ctx, project, id)
	if err != nil {
		return Turn{}, err
	}
	plain, err := k.o.Ring.Unseal(nil, sealed, bound(project, id))
	if err == nil {
		var t Turn
		if t, err = unpack(plain); err == nil {
			t.ID = id
			return t, nil
		}
	}
	if f := seal.Fault(err); f != nil {
		return Turn{}, f
	}
	return Turn{}, fault.Wrap(fault.SealedAway, err, "The response %s is there and cannot be opened.", id)
}

// Conversation gives the turns that lead to a response, it included, the oldest first. What they hold must not be more than most
// bytes. Errors are faults, as of Turn.
func (k *Keeper) Conversation(ctx context.Context, project, id string, most int64) ([]Turn, error) {
	var all []Turn
	size := int64(0)
	for next := id; next != ""; {
		if len(all) == mostTurns {
			return nil, tooLong("has more than 1,000 turns")
		}
		t, err := k.Turn(ctx, project, next)
		if err != nil {
			if len(all) > 0 && fault.From(err).Code == fault.ResponseNotFound {
				f := fault.New(fault.ResponseNotFound, "The response %s goes on from %s, which is not kept any more.", all[len(all)-1].ID, next)
				f.Param, f.Hint = "previous_response_id", "Send what was said before in the input."
				return nil, f
			}
			return nil, err
		}
		if size += int64(len(t.Input) + len(t.Response)); size > most {
			return nil, tooLong("is larger than a body may be (limits.body)")
		}
		all = append(all, t)
		next = t.Previous
	}
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all, nil
}

func tooLong(what string) *fault.Error {
	f := fault.New(fault.BodyTooLarge, "previous_response_id: the conversation %s.", what)
	f.Param, f.Hint = "previous_response_id", "Begin a new one with a summary of it."
	return f
}

// mostItems is how many items a request may name.
const mostItems = 1000

// Holders gives the turns that items are of, without what was asked in them, by the ids of the items; those that are of none are left
// out. What they hold must not be more than most bytes. Errors are faults.
func (k *Keeper) Holders(ctx context.Context, project string, items []string, most int64) (map[string]Turn, error) {
	if len(items) > mostItems {
		f := fault.New(fault.InvalidRequest, "input: it names more than 1,000 items.")
		f.Param, f.Hint = "input", "Send the items themselves."
		return nil, f
	}
	of, err := k.o.Store.ItemResponses(ctx, project, items)
	if err != nil {
		return nil, err
	}
	all, turns, size := map[string]Turn{}, map[string]Turn{}, int64(0)
	for item, id := range of {
		t, known := turns[id]
		if !known {
			if t, err = k.Turn(ctx, project, id); err != nil {
				if fault.From(err).Code == fault.ResponseNotFound {
					continue // it was deleted meanwhile
				}
				return nil, err
			}
			if size += int64(len(t.Response)); size > most {
				f := fault.New(fault.BodyTooLarge, "input: the responses that its items are of are larger than a body may be (limits.body).")
				f.Param, f.Hint = "input", "Send the items themselves."
				return nil, f
			}
			t.Input, t.Response = nil, bytes.Clone(t.Response) // both were in one piece of memory, which nobody counts
			turns[id] = t
		}
		all[item] = t
	}
	return all, nil
}

// Delete deletes a response. Errors are faults: [NotKept], OnHold.
func (k *Keeper) Delete(ctx context.Context, project, id string) error {
	return k.o.Store.DeleteResponse(ctx, project, id)
}

// A packed turn is a byte for the format and a zstd frame of: the lengths of its three parts, and these.
const format = 1

var (
	errGarbled = errors.New("the response cannot be decoded")
	errNewer   = errors.New("the response was kept by a newer Penstock")
	errLarge   = errors.New("it is larger than 32 MB")
)

func (t *Turn) pack() []byte {
	b := make([]byte, 0, len(t.Previous)+len(t.Input)+len(t.Response)+3*binary.MaxVarintLen64)
	for _, part := range [][]byte{[]byte(t.Previous), t.Input, t.Response} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

func unpack(plain []byte) (t Turn, err error) {
	if len(plain) == 0 {
		return t, errGarbled
	}
	if plain[0] != format {
		return t, errNewer
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(largest+1<<20))
	if err != nil {
		return t, err
	}
	defer d.Close()
	rest, err := d.DecodeAll(plain[1:], nil)
	if err != nil {
		return t, errors.Join(errGarbled, err)
	}
	var parts [3][]byte
	for i := range parts {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return t, errGarbled
		}
		parts[i], rest = rest[size:size+int(n)], rest[size+int(n):]
	}
	return Turn{Previous: string(parts[0]), Input: parts[1], Response: parts[2]}, nil
}
