package audit

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	lookEvery     = 2 * time.Second // at what was appended, here or by another replica
	pageSize      = 500             // entries read at once
	maxUnsigned   = 1000            // entries after which a checkpoint is due before its time
	keptPoints    = 1024            // checkpoints that a verification is held against
	storeWithin   = 10 * time.Second
	askedWithin   = 10 * time.Second // for a checkpoint that was asked for to be taken
	offerEvery    = 2 * time.Second  // what was not taken
	wholeRunBreak = time.Millisecond // between two pages, so that verifying all leaves the store to others
)

// Options are what a Keeper works with.
type Options struct {
	Key   ed25519.PrivateKey
	Local string // file of this process's own checkpoints, which say at the next start how far the chain had gone
	// Config says where else checkpoints go, and when.
	Config  Config
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time // civil time; nil is time.Now
	// Broken is told once when the chain is found broken, and once with nil when it is whole again. May be nil.
	Broken func(*Break)
}

// A State is how the chain is, as far as this process has verified it.
type State struct {
	Head
	Verified   int64       `json:"verified"`             // the last entry that was found good; all before it are too
	VerifiedAt *time.Time  `json:"verified_at,omitzero"` // when; left out before the first verification is through
	Checkpoint *Checkpoint `json:"checkpoint,omitzero"`  // the last that was signed; left out if none was
	Problem    string      `json:"problem,omitzero"`     // why checkpoints do not get where they should go
	Break      *Break      `json:"break,omitzero"`       // the first bad entry; left out if the chain is whole
	PublicKey  string      `json:"public_key"`           // that checkpoints are verified with, in PEM
}

// A Keeper verifies the chain, at the start whole and then what is new, and signs checkpoints. One a process.
type Keeper struct {
	store Store
	o     Options
	local Sink      // of this process's own checkpoints
	out   *delivery // to where the operator wants them too, nil if nowhere
	m     *metrics
	born  time.Time

	working sync.Mutex // one verification or checkpoint at a time; guards the fields below
	at      Head       // the last good entry; Seq 0 before the first verification
	points  []Checkpoint
	signed  time.Duration // since born, when the last checkpoint was signed here
	whole   time.Duration // since born, when the last whole verification ended
	begun   bool          // there was a whole verification

	mu    sync.Mutex // guards the fields below
	state State
	// unwritten and undelivered say why checkpoints are not written here, or not handed on; "" if they are.
	unwritten, undelivered string
}

// NewKeeper makes a keeper. It reads what it signed before, and nothing of the store yet.
func NewKeeper(store Store, o Options) (*Keeper, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	k := &Keeper{store: store, o: o, born: time.Now(), local: fileSink(o.Local)}
	public, _ := o.Key.Public().(ed25519.PublicKey) // that of an Ed25519 key is one
	k.state.PublicKey = PublicPEM(public)
	points, err := ReadCheckpointFile(o.Local, keptPoints)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, p := range points {
		if p.Key != KeyID(public) {
			continue // of a key that was replaced: who holds its public part can verify it
		}
		if err := p.Verify(public); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Local, err)
		}
		k.points = append(k.points, p)
	}
	if n := len(k.points); n > 0 {
		k.state.Checkpoint = &k.points[n-1]
	}
	if o.Config.Checkpoints != "" {
		s, err := newSink(o.Config.Checkpoints)
		if err == nil {
			k.out, err = newDelivery(s, o.Local, k.points)
		}
		if err != nil {
			return nil, err
		}
	}
	k.m, err = newMetrics(o.Metrics)
	return k, err
}

// State is what was found last.
func (k *Keeper) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// Run verifies and signs until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var delivering sync.WaitGroup
	defer delivering.Wait()
	if k.out != nil {
		delivering.Go(func() { k.deliver(ctx) })
	}
	failing := false
	for {
		err := k.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			k.o.Log.Warn("the audit chain cannot be read", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// once verifies what is new, or all if that is due, and signs a checkpoint if that is due. Its error is the store's.
func (k *Keeper) once(ctx context.Context) error {
	k.working.Lock()
	defer k.working.Unlock()
	since := time.Since(k.born)
	all := !k.begun || since-k.whole >= k.o.Config.Verify
	if err := k.verify(ctx, all); err != nil {
		return err
	}
	if all {
		k.begun, k.whole = true, time.Since(k.born)
	}
	last := int64(0)
	if n := len(k.points); n > 0 {
		last = k.points[n-1].Seq
	}
	behind := k.at.Seq - last
	if k.State().Break == nil && behind > 0 && (behind >= maxUnsigned || k.signed == 0 || since-k.signed >= k.o.Config.Every) {
		_, _ = k.sign(ctx) // what goes wrong is the state's problem, and tried again
	}
	return nil
}

// Checkpoint verifies what is new and signs the end of the chain now. It refuses to sign a chain that is broken.
func (k *Keeper) Checkpoint(ctx context.Context) (Checkpoint, error) {
	made, err := k.signNow(ctx)
	if err != nil {
		return Checkpoint{}, err
	}
	if k.out != nil {
		within, cancel := context.WithTimeout(ctx, askedWithin)
		defer cancel()
		if err := k.handOn(within); err != nil {
			return Checkpoint{}, err
		}
	}
	return made, nil
}

func (k *Keeper) signNow(ctx context.Context) (Checkpoint, error) {
	k.working.Lock()
	defer k.working.Unlock()
	if err := k.verify(ctx, !k.begun); err != nil {
		return Checkpoint{}, err
	}
	if broken := k.State().Break; broken != nil {
		return Checkpoint{}, broken
	}
	if k.at.Seq == 0 {
		return Checkpoint{}, errors.New("the audit chain has no entry yet, so there is nothing to sign")
	}
	return k.sign(ctx)
}

// verify walks the chain from its beginning, or from the last good entry. What it finds is the state; its error is the
// store's, and says nothing of the chain.
func (k *Keeper) verify(ctx context.Context, all bool) error {
	within, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	head, err := k.store.AuditHead(within)
	if err != nil {
		return err
	}
	if k.State().Break != nil && !all {
		return nil // nothing can be said of what comes behind
	}
	from := k.at
	if all || from.Chain != head.Chain || from.Seq > head.Seq {
		from = Head{Chain: head.Chain}
	}
	v, err := NewVerifier(from, k.known())
	if err == nil {
		err = k.walk(ctx, v, head)
	}
	var b *Break
	if err != nil && !errors.As(err, &b) {
		return err
	}
	if b == nil {
		k.at = v.At()
	}
	k.found(head, v, b)
	return nil
}

// known are the checkpoints that a chain is held against, and besides what this process has seen itself.
func (k *Keeper) known() []Checkpoint {
	if k.at.Seq == 0 {
		return k.points
	}
	seen := Checkpoint{Chain: k.at.Chain, Seq: k.at.Seq, Hash: k.at.Hash}
	if at := k.State().VerifiedAt; at != nil {
		seen.Time = *at
	}
	return append(slices.Clip(k.points), seen)
}

// walk verifies up to head.
func (k *Keeper) walk(ctx context.Context, v *Verifier, head Head) error {
	for v.At().Seq < head.Seq {
		within, cancel := context.WithTimeout(ctx, storeWithin)
		page, err := k.store.AuditEntries(within, Filter{Ascending: true, After: v.At().Seq}, pageSize)
		cancel()
		if err != nil {
			return err
		}
		for i := range page {
			if page[i].Seq > head.Seq && v.At().Seq == head.Seq {
				break // appended since
			}
			if err := v.Next(&page[i]); err != nil {
				return err
			}
			k.m.verified.Set(float64(page[i].Seq))
		}
		if len(page) < pageSize {
			break
		}
		pause(ctx, wholeRunBreak)
	}
	return v.End(head)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// found makes what was found the state, and says it where it is news.
func (k *Keeper) found(head Head, v *Verifier, b *Break) {
	at := k.o.Now().UTC()
	k.mu.Lock()
	was := k.state.Break
	k.state.Head, k.state.Break = head, b
	if b == nil {
		k.state.Verified, k.state.VerifiedAt = v.At().Seq, &at
	}
	k.mu.Unlock()
	k.m.entries.Set(float64(head.Seq))
	k.m.setIntact(b == nil)
	switch {
	case b != nil && was == nil:
		k.o.Log.Error("THE AUDIT CHAIN IS BROKEN", "entry", b.Seq, "problem", b.Text,
			"hint", "see docs/audit.md; if the store was put back from a backup on purpose, move "+k.o.Local+" away and keep it")
	case b == nil && was != nil:
		k.o.Log.Info("the audit chain is whole again", "entries", head.Seq)
	default:
		return
	}
	if k.o.Broken != nil {
		k.o.Broken(b)
	}
}

// sign makes a checkpoint of the last good entry, of which there is one, and hands it on. What a sink does not take is
// offered again.
func (k *Keeper) sign(ctx context.Context) (Checkpoint, error) {
	c := Sign(k.at, k.o.Now(), k.o.Key)
	line, err := json.Marshal(c)
	if err != nil {
		panic(err) // a type of ours that JSON does not have
	}
	line = append(line, '\n')
	err = k.local.Put(ctx, line)
	if err != nil {
		err = fmt.Errorf("checkpoint: %w", err)
	}
	k.problem(&k.unwritten, err)
	if err != nil {
		return Checkpoint{}, err
	}
	if k.points = append(k.points, c); len(k.points) > 2*keptPoints {
		k.points = append([]Checkpoint(nil), k.points[keptPoints:]...)
	}
	k.signed = max(time.Since(k.born), 1)
	k.mu.Lock()
	k.state.Checkpoint = &c
	k.mu.Unlock()
	k.m.signed.Set(float64(c.Seq))
	if k.out != nil {
		k.out.add(c)
	}
	return c, nil
}

// deliver hands checkpoints on until ctx ends. It is apart from verifying and signing, which go on while a receiver hangs.
func (k *Keeper) deliver(ctx context.Context) {
	tick := time.NewTicker(offerEvery)
	defer tick.Stop()
	for {
		if _, n := k.out.left(); n > 0 {
			_ = k.handOn(ctx) // it is the state's problem, and tried again
		}
		_, n := k.out.left()
		k.m.unsent.Set(float64(n))
		select {
		case <-ctx.Done():
			return
		case <-k.out.wake:
			_, n := k.out.left()
			k.m.unsent.Set(float64(n))
		case <-tick.C:
		}
	}
}

func (k *Keeper) handOn(ctx context.Context) error {
	err := k.out.hand(ctx)
	if err != nil {
		err = fmt.Errorf("checkpoint for %s: %w", k.o.Config.Checkpoints, err)
	}
	k.problem(&k.undelivered, err)
	return err
}

// problem notes in its place why checkpoints are not written, or not delivered, and says it where it is news. One may be well
// while the other is not.
func (k *Keeper) problem(place *string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
		k.m.failures.Inc()
	}
	k.mu.Lock()
	was := k.state.Problem
	*place = text
	text = cmp.Or(k.unwritten, k.undelivered)
	k.state.Problem = text
	k.mu.Unlock()
	switch {
	case text != "" && was == "":
		k.o.Log.Error("a checkpoint of the audit chain did not get where it should go; it is tried again", "error", err)
	case text == "" && was != "":
		k.o.Log.Info("checkpoints of the audit chain get through again")
	}
}
