package usage

import (
	"errors"
	"time"
)

// reserve is the part of the journal, one in so many bytes, that is kept for the ends of exchanges: new tries are refused
// before the records of those in flight would be.
const reserve = 8

// Once an append has failed, no exchange begins until so many bytes could be written: where one entry fits, the ends of
// the exchanges that would begin with it may not. Nobody asks more often than that.
const (
	probeBytes = 256 << 10
	probeEvery = 100 * time.Millisecond
)

var (
	// errReserve is why a try is refused although it would still fit.
	errReserve = errors.New("the journal is nearly full: records wait for the store")
	errFailing = errors.New("the journal cannot be written")
)

// Ready says why no record could be kept at the moment, nil if it could; then calls are refused.
func (r *Recorder) Ready() error {
	switch {
	case r.o.Off:
		return nil
	case r.failing.Load():
		return errFailing
	}
	return r.hasRoom()
}

// hasRoom reports whether the journal may take more than the ends of exchanges.
func (r *Recorder) hasRoom() error {
	if r.j.Room() < r.j.MaxBytes()/reserve {
		return errReserve
	}
	return nil
}

// mayBegin says why an exchange must not begin, nil if it may.
func (r *Recorder) mayBegin() error {
	err := r.hasRoom()
	if err == nil {
		err = r.probe()
	}
	if err != nil {
		r.failed(err)
	}
	return err
}

// probe finds out whether a journal that failed works again. The writer asks too, for the case that no exchange does:
// while the journal fails, the process is not ready and may be sent none.
func (r *Recorder) probe() error {
	if !r.failing.Load() {
		return nil
	}
	if !r.probing.TryLock() {
		return errFailing // somebody is finding out
	}
	defer r.probing.Unlock()
	now := time.Now()
	if now.Sub(r.probed) < probeEvery {
		return errFailing
	}
	r.probed = now
	if err := r.hasRoom(); err != nil {
		return err
	}
	if err := r.j.Probe(int(min(probeBytes, r.j.MaxBytes()/reserve))); err != nil {
		return err
	}
	if r.failing.CompareAndSwap(true, false) {
		r.o.Log.Info("records can be written again")
	}
	return nil
}

// failed counts what the journal did not take, and tells of the first.
func (r *Recorder) failed(err error) {
	r.m.refused.Inc()
	if r.failing.CompareAndSwap(false, true) {
		r.o.Log.Error("records cannot be written: exchanges are refused until they can", "error", err)
	}
}
