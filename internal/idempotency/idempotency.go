// Package idempotency makes calls with the same Idempotency-Key one call: it is dispatched once, charged once, and its answer,
// errors and whole streams too, is given again byte for byte, for a day, by every replica.
//
// An exchange claims its key in the store before anything is sent to a provider ([Call.Begin]), and settles the claim with what its
// caller is told ([Call.Settle]). While it works, its replica renews the claim; a claim that nobody renews is of a replica that died,
// and then nobody knows what was billed: such a key is never run again. Keys live inside a project.
//
// It does not look into answers, and knows neither HTTP nor dialects (gateway). What it keeps is for repeats of the same call only:
// what equal calls share is a cache, and what people read later are records (usage) and bodies (bodies).
package idempotency

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/seal"
)

// A State is what is known of the call that a key is of.
type State int64

// The states.
const (
	Running  State = iota // it goes on, and somebody renews its claim
	Answered              // its answer is kept
	Unkept                // it has ended, and its answer is not kept
	Lost                  // how it ended is not known: nobody renews its claim any more
)

// A Row is a key as the store keeps it.
type Row struct {
	Project, Key string // the key is a hash
	Request      string // a hash of what was asked
	Exchange     string // id of the one that has the claim
	State        State
	DataKey      string // id of the data key that sealed the answer, "" without one
	Sealed       []byte
}

// Store is what idempotency needs to have kept. It tells the time by its own clock, which all replicas share.
type Store interface {
	// ClaimKey claims the key of r.Project for r.Exchange, for as long as lease, if nobody has claimed it within keep; mine
	// says that it did. Else it gives the key as it is. A claim that runs and whose lease is over is Lost.
	ClaimKey(ctx context.Context, r Row, lease, keep time.Duration) (is Row, mine bool, err error)
	// KeyBusy reports whether a key is Running.
	KeyBusy(ctx context.Context, project, key string) (bool, error)
	// SettleKey sets State, DataKey and Sealed of the key if r.Exchange has the claim, and it is not settled.
	SettleKey(ctx context.Context, r Row) error
	// ReturnKey gives a claim back, as if it had never been made, if exchange has it and it is not settled.
	ReturnKey(ctx context.Context, project, key, exchange string) error
	// RenewKeys gives the claims of exchanges another lease.
	RenewKeys(ctx context.Context, exchanges []string, lease time.Duration) error
	// KeyProjects lists the projects that have keys.
	KeyProjects(ctx context.Context) ([]string, error)
	// PurgeKeys deletes at most limit keys of a project that were claimed more than keep ago, or all if the project is gone;
	// none of one that is on hold. It does so for the holder of a lease only; mine is false if another has it.
	PurgeKeys(ctx context.Context, holder, project string, keep time.Duration, limit int) (deleted int, mine bool, err error)
	// GiveBack gives some of the space of what was deleted back to the file system; more says that there is more.
	GiveBack(ctx context.Context) (more bool, err error)
}

// Bounds.
const (
	// KeepFor is how long a key is known.
	KeepFor = 24 * time.Hour
	// Largest is the most that is kept of an answer, in bytes.
	Largest = 4 << 20
	// LongestKey is the most characters that a key has.
	LongestKey = 255

	lease       = 30 * time.Second        // of a claim
	renewEvery  = 10 * time.Second        // a third of it, so that two may fail
	patience    = 45 * time.Second        // of a call for its twin; below the 60 s after which hops close idle connections
	firstLook   = 50 * time.Millisecond   // at the store for a twin at another replica, and then
	lastLook    = 1500 * time.Millisecond // less and less often
	mostWaiting = 256                     // calls that wait for their twins at once
	mostStaying = 64                      // exchanges that go on after their callers left, at once
	stayFor     = 60 * time.Second        // at most
	storing     = 3 * time.Second         // for a claim to be settled, while its caller waits for the end
)

// Options are what a Keeper works with.
type Options struct {
	Store   Store
	Ring    *seal.Ring
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// A Keeper knows the keys.
type Keeper struct {
	o       Options
	encoder *zstd.Encoder
	calls   *prometheus.CounterVec
	purged  prometheus.Counter
	staying atomic.Int64

	mu      sync.Mutex      // guards the fields below
	here    map[name]*Call  // by key: who asks the store for it, or has it
	claims  map[string]bool // exchanges whose claims are to be renewed
	waiting int
}

// A name is a key of a project.
type name struct{ project, key string }

// NewKeeper makes a keeper.
func NewKeeper(o Options) (*Keeper, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	k := &Keeper{
		o: o, encoder: encoder, here: map[name]*Call{}, claims: map[string]bool{},
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_idempotent_calls_total",
			Help: "Calls with an Idempotency-Key, by what became of them: first, replayed, returned (nothing was billed, the key is free again), mismatch, busy, unknown, unkept, unavailable, garbled (its answer was kept, and does not open), unsettled (its answer could not be kept).",
		}, []string{"outcome"}),
		purged: prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_idempotency_keys_purged_total", Help: "Idempotency keys that were deleted when their day was over."}),
	}
	for _, outcome := range []string{"first", "replayed", "returned", "mismatch", "busy", "unknown", "unkept", "unavailable", "garbled", "unsettled"} {
		k.calls.WithLabelValues(outcome) // so that a scrape has it before there is one
	}
	return k, errors.Join(o.Metrics.Register(k.calls), o.Metrics.Register(k.purged))
}

func (k *Keeper) count(outcome string) { k.calls.WithLabelValues(outcome).Inc() }

// Call makes the call of an exchange with a key. Request is all that says what is asked for: another request with the same key is
// refused. Only hashes of both are kept.
func (k *Keeper) Call(x *pipeline.Exchange, key string, request ...[]byte) *Call {
	h := sha256.New()
	size := make([]byte, 0, binary.MaxVarintLen64)
	for _, part := range request {
		_, _ = h.Write(binary.AppendUvarint(size, uint64(len(part)))) // a hash takes everything
		_, _ = h.Write(part)
	}
	project := x.Caller.Project
	return &Call{
		k: k, x: x, done: make(chan struct{}),
		name:    name{project, k.hash("idempotency key", project, key)},
		request: k.hash("idempotency request", project, string(h.Sum(nil))),
	}
}

// hash is one that nobody can repeat who has not the key ring.
func (k *Keeper) hash(parts ...string) string {
	sum := k.o.Ring.HashSHA256(sha256.Sum256(seal.Bind(nil, parts...)))
	return hex.EncodeToString(sum[:])
}

// The errors of keys. Those that no repeat can change say so to clients' libraries.

func mismatch() *fault.Error {
	return spent(fault.New(fault.KeyReused, "The Idempotency-Key was used for another request: its body, its route or its dialect differ."))
}

func busy() *fault.Error {
	f := fault.New(fault.KeyBusy, "The first call with this Idempotency-Key has not ended yet.")
	f.RetryAfter = 5 * time.Second
	return f
}

func unknown(exchange string) *fault.Error {
	return spent(fault.New(fault.KeyOutcomeUnknown, "How the first call with this Idempotency-Key ended is not known (request %s): it may have run, and been billed.", exchange))
}

func unkept(exchange string) *fault.Error {
	return spent(fault.New(fault.KeyUnkept, "The first call with this Idempotency-Key has ended (request %s), and its answer was not kept to be given again: it was too large, or the project keeps no answers.", exchange))
}

func garbled(exchange string, err error) *fault.Error {
	return spent(fault.Wrap(fault.KeyUnkept, err, "The first call with this Idempotency-Key has ended (request %s), and its answer is kept and cannot be opened: it was changed.", exchange))
}

func newer(err error) *fault.Error {
	f := fault.Wrap(fault.KeyUnavailable, err, "The answer of the first call with this Idempotency-Key was kept by a newer Penstock: another replica can give it.")
	f.RetryAfter = 2 * time.Second
	return f
}

func unavailable(err error) *fault.Error {
	f := fault.Wrap(fault.KeyUnavailable, err, "Whether the Idempotency-Key was used before cannot be known at the moment.")
	f.RetryAfter = 2 * time.Second
	return f
}

func spent(f *fault.Error) *fault.Error {
	f.Spent = true
	return f
}
