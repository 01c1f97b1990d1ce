package seal

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are what a ring works with besides its file. All may be left out.
type Options struct {
	Wrapper Wrapper      // encrypts the ring's own key in the file; nil: the file is in clear
	Log     *slog.Logger // told of changes of the file; nil: silence
	Metrics prometheus.Registerer
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// every is how often the file is looked at: so long may a process seal with the key before the current one.
const every = time.Second

// How often a wrapper is asked whether it would still unwrap the ring at a start, and how often after it did not. Asking a
// file costs nothing; a key service counts calls.
const (
	probeFile    = 2 * time.Second
	probeExec    = time.Minute
	probeFailing = 15 * time.Second
)

// Run takes over what other processes write into the file, until ctx ends. A file that cannot be read, or is another ring,
// changes nothing: it is told once, and the keys that are known stay in use. So does a wrapper that fails.
func (r *Ring) Run(ctx context.Context) error {
	var probing sync.WaitGroup
	defer probing.Wait()
	if r.o.Wrapper != nil {
		probing.Go(func() { r.probeOn(ctx) })
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.reread(ctx, true)
		case <-ctx.Done():
			return nil
		}
	}
}

// enter waits until nobody else reads or changes the file.
func (r *Ring) enter(ctx context.Context) error {
	select {
	case r.changing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the key ring is being changed: %w", context.Cause(ctx))
	}
}

func (r *Ring) leave() { <-r.changing }

// reread takes over the file if it has changed. Only with ask is a wrapper asked, which can take a while.
func (r *Ring) reread(ctx context.Context, ask bool) {
	if r.path == "" || r.enter(ctx) != nil {
		return
	}
	defer r.leave()
	err := r.take(ctx, ask)
	if ctx.Err() != nil || errors.Is(err, errAskLater) {
		return
	}
	switch was := r.unread.Swap(&err); {
	case err == nil && was != nil && *was != nil:
		r.o.Log.Info("the key ring can be read again")
	case err != nil && (was == nil || *was == nil || (*was).Error() != err.Error()):
		r.o.Log.Error("the key ring cannot be read again: the keys that are known stay in use", "error", err)
	}
}

// errAskLater says that a wrapper has to be asked, and this is not the time for it.
var errAskLater = errors.New("the wrapper is asked later")

// take reads the file, and takes it over if it is not the text that was seen last.
func (r *Ring) take(ctx context.Context, ask bool) error {
	info, err := os.Stat(r.path)
	if err == nil {
		r.file = info
	}
	text, err := ReadPrivate(r.path)
	if err != nil {
		return gone(r.path, err)
	}
	sum := sha256.Sum256(text)
	if sum == r.seen {
		return nil
	}
	f, err := parse(r.path, text)
	if err != nil {
		return err
	}
	if f.ID == r.id && len(f.Wraps) > 0 && !r.keys.Load().lock.opens(f) {
		if !ask || sum == r.sealedSum && time.Since(r.sealedAt) < probeFailing {
			return errAskLater
		}
	}
	c, err := r.open(ctx, f)
	if err != nil {
		if _, sealed := errors.AsType[*SealedError](err); sealed {
			r.sealedSum, r.sealedAt = sum, time.Now()
		}
		return err
	}
	r.adopt(c.keySet, text)
	return nil
}

// adopt makes the keys of a file those of the ring. Nobody else changes it meanwhile.
func (r *Ring) adopt(set *keySet, text []byte) {
	old := r.keys.Swap(set)
	r.seen = sha256.Sum256(text)
	if n := len(set.keys); len(old.keys) > 0 && n != len(old.keys) {
		r.o.Log.Info("the key ring has other data keys", "keys", n, "current", r.current())
	}
	if was, is := old.wrappers(), set.wrappers(); len(old.keys) > 0 && !slices.Equal(was, is) {
		r.o.Log.Info("the key ring is wrapped otherwise", "by", is, "before", was)
	}
}

func (s *keySet) wrappers() []string {
	names := []string{}
	if s.lock != nil {
		for _, w := range s.lock.wraps {
			names = append(names, w.By)
		}
	}
	return names
}

func (r *Ring) current() string {
	if k := r.keys.Load().current(); k != nil {
		return k.id.String()
	}
	return ""
}

// lookAgain reads the file if it is another one than that which was read last, and waits a moment for whoever reads it now.
// It may be called for each value that does not open.
func (r *Ring) lookAgain() {
	if r.path == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), every)
	defer cancel()
	if r.enter(ctx) != nil {
		return
	}
	seen := r.file
	r.leave()
	now, err := os.Stat(r.path)
	if err != nil || seen != nil && os.SameFile(seen, now) && seen.ModTime().Equal(now.ModTime()) && seen.Size() == now.Size() {
		return
	}
	r.reread(ctx, false)
}

// probeOn asks the wrapper now and then whether it would still unwrap the ring: else nobody knew before the next start.
func (r *Ring) probeOn(ctx context.Context) {
	regular := probeExec
	if _, ok := r.o.Wrapper.(fileWrapper); ok {
		regular = probeFile
	}
	timer := time.NewTimer(regular)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		err := r.probe(ctx)
		if ctx.Err() != nil {
			return
		}
		was := r.unwraps.Swap(&err)
		next := regular
		switch {
		case err != nil:
			next = min(probeFailing, regular)
			if was == nil || *was == nil {
				r.o.Log.Error("what wraps the key ring fails: the keys that are known stay in use, and no Penstock can start with this ring",
					"wrapper", r.o.Wrapper.String(), "error", err)
			}
		case was != nil && *was != nil:
			r.o.Log.Info("what wraps the key ring works again", "wrapper", r.o.Wrapper.String())
		}
		timer.Reset(next)
	}
}

// probe has the wrapper unwrap the ring as it is in memory.
func (r *Ring) probe(ctx context.Context) error {
	known := r.keys.Load().lock
	if known == nil {
		return nil
	}
	got, err := unlock(ctx, &ringFile{ID: r.id, Wraps: known.wraps}, nil, r.o.Wrapper)
	if sealed, ok := errors.AsType[*SealedError](err); ok {
		return errors.New(sealed.Text)
	}
	if err == nil && subtle.ConstantTimeCompare(got.secret[:], known.secret[:]) != 1 {
		err = errors.New("it gives another key than before")
	}
	return err
}
