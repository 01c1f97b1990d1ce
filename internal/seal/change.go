package seal

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/fault"
)

// Options are what a ring works with besides its file. All may be left out.
type Options struct {
	Wrapper Wrapper      // encrypts data keys in the file; nil: they lie there in clear
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

// Run takes over what other processes write into the file, until ctx ends. A file that cannot be read, or is another ring,
// changes nothing: it is told once, and the keys that are known stay in use.
func (r *Ring) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.reread()
		case <-ctx.Done():
			return nil
		}
	}
}

// reread takes over the file if it has changed.
func (r *Ring) reread() {
	if r.path == "" {
		return
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	err := r.take(context.Background())
	switch {
	case err == nil && r.unread != "":
		r.unread = ""
		r.o.Log.Info("the key ring can be read again")
	case err != nil && r.unread != err.Error():
		r.unread = err.Error()
		r.o.Log.Error("the key ring cannot be read again: the keys that are known stay in use", "error", err)
	}
}

// take reads the file, and takes it over if it is not the text that was seen last. The caller holds changing.
func (r *Ring) take(ctx context.Context) error {
	text, err := ReadPrivate(r.path)
	if err != nil || sha256.Sum256(text) == r.seen {
		return err
	}
	f, pepper, err := parse(r.path, text)
	if err != nil {
		return err
	}
	if err := r.same(f, pepper); err != nil {
		return err
	}
	return r.adopt(ctx, f, text)
}

// same makes sure that a file is still this ring.
func (r *Ring) same(f *ringFile, pepper []byte) error {
	if f.ID == r.id && sha256.Sum256(pepper) == r.pepper {
		return nil
	}
	return fault.Problem{
		Path: r.path, Text: fmt.Sprintf("has become another key ring than %s, which this process began with", r.id), Hint: restore,
	}
}

// adopt makes the keys of a file those of the ring. The caller holds changing, or nobody else has the ring yet.
func (r *Ring) adopt(ctx context.Context, f *ringFile, text []byte) error {
	set, err := r.read(ctx, f)
	if err != nil {
		return err
	}
	old := r.keys.Swap(set)
	r.seen = sha256.Sum256(text)
	if k, was := set.current(), old.current(); was != nil && (k == nil || k.id != was.id) {
		r.o.Log.Info("the key ring has another current key", "keys", len(set.keys), "current", fmt.Sprint(r.current()))
	}
	return nil
}

func (r *Ring) current() string {
	if k := r.keys.Load().current(); k != nil {
		return k.id.String()
	}
	return ""
}

// EnsureKey adds a data key to a ring that has none. Replicas may do it at the same time: one of them adds it, and all have
// the same. Errors are [fault.Problem], as where the file cannot be written; then the ring hashes and seals nothing.
func (r *Ring) EnsureKey(ctx context.Context) error {
	if r.keys.Load().current() != nil {
		return nil
	}
	return r.change(ctx, func(f *ringFile) (bool, error) {
		if len(f.Keys) > 0 {
			return false, nil
		}
		return true, f.add(ctx, r.o.Wrapper)
	})
}

// Rotate adds a data key to the file, which seals from now on; all others stay, for unsealing. Other processes take it over
// within a second ([Ring.Run]). Errors are [fault.Problem].
func (r *Ring) Rotate(ctx context.Context) error {
	return r.change(ctx, func(f *ringFile) (bool, error) { return true, f.add(ctx, r.o.Wrapper) })
}

func (f *ringFile) add(ctx context.Context, w Wrapper) error {
	k, err := newKeyFile(ctx, w)
	if err == nil {
		f.Keys = append(f.Keys, k)
	}
	return err
}

// change changes the file under its lock, and takes over what it has become. change says whether there is something to
// write.
func (r *Ring) change(ctx context.Context, change func(*ringFile) (bool, error)) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	path, free, err := lock(r.path)
	if err != nil {
		return err
	}
	defer free()
	text, err := ReadPrivate(path)
	if err != nil {
		return err
	}
	f, pepper, err := parse(r.path, text)
	if err != nil {
		return err
	}
	if err := r.same(f, pepper); err != nil {
		return err
	}
	write, err := change(f)
	if err != nil {
		return fault.Problem{Path: r.path, Text: err.Error()}
	}
	if write {
		if text, err = encode(f); err != nil {
			return err
		}
		if err := ReplacePrivate(path, text); err != nil {
			return err
		}
	}
	return r.adopt(ctx, f, text)
}

// measure registers the ring's metrics.
func (r *Ring) measure() error {
	if r.o.Metrics == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "penstock_keyring_keys", Help: "Data keys in the key ring; 0: nothing can be sealed.",
		}, func() float64 { return float64(len(r.keys.Load().keys)) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "penstock_keyring_current_age_seconds", Help: "Age of the data key that seals; 0 if there is none.",
		}, func() float64 {
			if k := r.keys.Load().current(); k != nil {
				return max(time.Since(k.created).Seconds(), 0)
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "penstock_keyring_unreadable", Help: "1 while the key ring's file cannot be read again, else 0.",
		}, func() float64 {
			r.changing.Lock()
			defer r.changing.Unlock()
			if r.unread != "" {
				return 1
			}
			return 0
		}),
	} {
		if err := r.o.Metrics.Register(c); err != nil {
			return fmt.Errorf("key ring: %w", err)
		}
	}
	return nil
}
