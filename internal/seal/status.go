package seal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Status is what may be known of a ring. It holds nothing secret.
type Status struct {
	ID      string    `json:"id"`
	File    string    `json:"file"`
	Created time.Time `json:"created"`
	Keys    []Key     `json:"keys"`                   // the oldest first
	Wraps   []string  `json:"wraps"`                  // by what the file is wrapped; empty: it is in clear
	Wrapper string    `json:"wrapper,omitzero"`       // what this process would unwrap it with
	Unread  string    `json:"unreadable,omitzero"`    // why the file cannot be read any more
	Other   bool      `json:"another_ring,omitzero"`  // the file cannot be read because it is another ring
	Failing string    `json:"wrapper_error,omitzero"` // why the wrapper would not unwrap it now
}

// Status says how the ring is, as this process sees it. It waits for nobody.
func (r *Ring) Status() Status {
	set := r.keys.Load()
	s := Status{ID: r.id, File: r.path, Created: r.created, Keys: r.Keys(), Wraps: set.wrappers()}
	if r.o.Wrapper != nil {
		s.Wrapper = r.o.Wrapper.String()
	}
	if err := r.unread.Load(); err != nil && *err != nil {
		s.Unread = (*err).Error()
		_, s.Other = errors.AsType[*OtherRingError](*err)
	}
	if err := r.unwraps.Load(); err != nil && *err != nil {
		s.Failing = (*err).Error()
	}
	return s
}

// ReadStatus says what a file shows of its ring without being opened: nothing is unwrapped. Errors are [fault.Problem], or
// match [fs.ErrNotExist].
func ReadStatus(path string) (Status, error) {
	text, err := ReadPrivate(path)
	if err != nil {
		return Status{}, err
	}
	f, err := parse(path, text)
	if err != nil {
		return Status{}, err
	}
	return statusOf(path, f), nil
}

func statusOf(path string, f *ringFile) Status {
	set := &keySet{lock: &lock{wraps: f.Wraps}}
	for i := range f.Keys {
		set.keys = append(set.keys, &dataKey{id: f.Keys[i].keyID(), created: f.Keys[i].Created, from: f.Keys[i].From})
	}
	s := Status{ID: f.ID, File: path, Created: f.Created, Keys: []Key{}, Wraps: set.wrappers()}
	current := set.current()
	for _, k := range set.keys {
		s.Keys = append(s.Keys, k.public(k == current))
	}
	return s
}

// measure registers the ring's metrics.
func (r *Ring) measure() error {
	if r.o.Metrics == nil {
		return nil
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	one := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}
	for _, c := range []prometheus.Collector{
		gauge("penstock_keyring_keys", "Data keys in the key ring; 0: nothing can be sealed.",
			func() float64 { return float64(len(r.keys.Load().keys)) }),
		gauge("penstock_keyring_current_age_seconds", "Age of the data key that seals; 0 if there is none.", func() float64 {
			if k := r.keys.Load().current(); k != nil {
				return max(time.Since(k.created).Seconds(), 0)
			}
			return 0
		}),
		gauge("penstock_keyring_unreadable", "1 while the key ring's file cannot be read again, else 0.",
			func() float64 { return one(r.Status().Unread != "") }),
		gauge("penstock_keyring_wrapper_failing", "1 while what wraps the key ring would not unwrap it, so that no Penstock could start; else 0.",
			func() float64 { return one(r.Status().Failing != "") }),
	} {
		if err := r.o.Metrics.Register(c); err != nil {
			return fmt.Errorf("key ring: %w", err)
		}
	}
	return nil
}

// Rotate adds a data key to the ring at path, of which no process needs to run; see [Ring.Rotate].
func Rotate(ctx context.Context, path string, w Wrapper, from time.Time) (Key, Status, error) {
	if _, err := ReadStatus(path); err != nil { // Load would make a ring that is missing
		return Key{}, Status{}, err
	}
	r, _, err := Load(ctx, path, Options{Wrapper: w})
	if err != nil {
		return Key{}, Status{}, err
	}
	key, err := r.Rotate(ctx, from, func(context.Context, Key) error { return nil })
	return key, r.Status(), err
}
