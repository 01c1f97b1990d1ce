// Package bodies keeps what was asked and what was answered, for projects that want it: compressed, sealed, apart from the
// records of exchanges, and for a time that the project sets.
//
// Its stage is the innermost: it sees what a provider was sent and what the provider answered, after all that other stages
// change. When an exchange ends, both become one value, which is compressed, sealed under the key ring and appended to a
// journal before the answer's last event is passed on. So a body outlives kill -9 as its record does, and never touches a
// disk in clear. A worker brings the journal to the store ([Writer]); another deletes what is older than its project's
// retention ([Purger]).
//
// A body that cannot be kept is dropped, and the record says why: other than a record, it never makes a call fail. The
// journal is another one than that of records, so that bodies do not take their room. Reading needs a reason and leaves an
// entry in the audit chain ([Reader]). The package does not decide who may read (auth, admin), holds no keys (seal), and
// does not search in what it keeps.
package bodies

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
)

// A Row is the bodies of one exchange as the store keeps them.
type Row struct {
	Project, Exchange string
	Key               string // id of the data key that sealed it
	Sealed            []byte
}

// Store is what bodies needs to have kept.
type Store interface {
	// AddBodies writes rows in one transaction together with how far the journal has been read. A row whose exchange is
	// there already is left as it is. The rows are the store's; the slice is not.
	AddBodies(ctx context.Context, journal string, upTo int64, rows []Row) error
	// ReadUpTo says how far a journal has been read, 0 if it was never.
	ReadUpTo(ctx context.Context, journal string) (int64, error)
	// OpenBodies gives the sealed bodies of an exchange once the audit chain has an entry of it, with the reason. A fault
	// NotThere, and no entry, if there are none.
	OpenBodies(ctx context.Context, project, exchange, reason string) ([]byte, error)
	// KeptBodies lists the projects that have bodies.
	KeptBodies(ctx context.Context) ([]Kept, error)
	// PurgeBodies deletes at most limit bodies of a project, those of its oldest exchanges, as far as its retention is over
	// at now: the one that holds when it is called, which may be another than KeptBodies gave. Of a project that keeps none,
	// or is gone, those that began before now. It does so for the holder of a lease only, which lasts for [purge.LeaseFor] then;
	// mine is false if another has it.
	PurgeBodies(ctx context.Context, holder, project string, now time.Time, limit int) (deleted int, mine bool, err error)
	// GiveBack gives some of the space of what was deleted back to the file system; more says that there is more.
	GiveBack(ctx context.Context) (more bool, err error)
}

// Whether and why bodies were not kept: the label of penstock_bodies_dropped_total.
const (
	droppedMemory  = "memory"  // bodies.in_flight was used up
	droppedJournal = "journal" // the journal of bodies is full, or cannot be written
	droppedSeal    = "seal"    // the key ring cannot seal
	droppedBusy    = "busy"    // the exchange was over, and nothing came free to seal it with
)

// What a record says of bodies that were dropped.
var droppedWords = map[string]string{
	droppedMemory:  "dropped: bodies would have held more than bodies.in_flight at once",
	droppedJournal: "dropped: the journal of bodies is full or cannot be written",
	droppedSeal:    "dropped: the key ring cannot seal",
	droppedBusy:    "dropped: the exchange was over, and all processors were still sealing others",
}

type metrics struct {
	kept, keptBytes, sealedBytes, cut     prometheus.Counter
	dropped                               *prometheus.CounterVec
	unconfirmed, written, purged, damaged prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_bodies_" + name, Help: help})
	}
	m := &metrics{
		kept:        counter("kept_total", "Exchanges whose bodies were journalled."),
		keptBytes:   counter("kept_bytes_total", "Bytes of bodies that were journalled, before compression."),
		sealedBytes: counter("sealed_bytes_total", "Bytes of bodies that were journalled, compressed and sealed."),
		cut:         counter("cut_total", "Requests and answers of which only the first bodies.max bytes were kept."),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_bodies_dropped_total", Help: "Exchanges whose bodies could not be kept, by reason."}, []string{"reason"}),
		unconfirmed: counter("unconfirmed_total", "Exchanges of strict projects whose bodies were journalled, and the disk did not confirm it."),
		written:     counter("written_total", "Exchanges whose bodies the store has taken."),
		purged:      counter("purged_total", "Exchanges whose bodies were deleted when their retention was over."),
		damaged:     counter("journal_damage_total", "Places where the journal of bodies could not be read and was skipped."),
	}
	for reason := range droppedWords {
		m.dropped.WithLabelValues(reason)
	}
	return m
}

func (m *metrics) register(reg prometheus.Registerer, more ...prometheus.Collector) error {
	var errs []error
	for _, c := range append(more, m.kept, m.keptBytes, m.sealedBytes, m.cut, m.dropped, m.unconfirmed, m.written, m.purged, m.damaged) {
		errs = append(errs, reg.Register(c))
	}
	return errors.Join(errs...)
}

// StageName is what the record of an exchange calls the stage. It has a line of it whenever the project wants bodies kept.
const StageName = "bodies"

// bound is what the sealed bodies of an exchange belong to: as those of another they do not open.
func bound(dst []byte, project, exchange string) []byte {
	return seal.Bind(dst, "bodies", project, exchange)
}

// MaxReason bounds a reason, in bytes.
const MaxReason = 200

// CleanReason is a reason as the audit chain keeps it. The error is a fault InvalidRequest: there is none, or it is longer
// than MaxReason.
func CleanReason(s string) (string, error) {
	reason := strings.Join(strings.Fields(s), " ")
	if reason != "" && len(reason) <= MaxReason {
		return reason, nil
	}
	f := fault.New(fault.InvalidRequest, "reason: is missing; bodies are read for a reason.")
	if reason != "" {
		f = fault.New(fault.InvalidRequest, "reason: has %d bytes, limit %d.", len(reason), MaxReason)
	}
	f.Param, f.Hint = "reason", "Say why, such as: ticket 4711. It stays in the audit chain."
	return "", f
}
