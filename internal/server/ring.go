package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/seal"
)

// ErrNoRing is that a store is there whose key ring is not: a new ring could check none of its keys.
var ErrNoRing = errors.New("the key ring is missing")

// ringSeen is what the start has seen of the key ring.
type ringSeen struct {
	made    bool // there was none
	atStart seal.Status
}

// A RingError is a key ring with which nothing can be started.
type RingError struct{ Err error }

// Error implements error.
func (e *RingError) Error() string { return e.Err.Error() }

// Unwrap gives what is wrong.
func (e *RingError) Unwrap() error { return e.Err }

// openRing reads the key ring, or makes the first one together with a new store. A store that has a ring already is never
// given another one; where it does not answer yet, that is found out when it does ([Server.checkRing]).
func (s *Server) openRing(ctx context.Context, cfg *config.File) (err error) {
	if _, ring := os.Stat(cfg.KeyringPath()); errors.Is(ring, fs.ErrNotExist) {
		if err := s.ownsNoRing(ctx, cfg); err != nil {
			return err
		}
	}
	s.ring, s.ringSeen.made, err = seal.Load(ctx, cfg.KeyringPath(), seal.Options{Wrapper: cfg.KeyringWrapper(), Log: s.o.Log, Metrics: s.metrics})
	if err != nil {
		return &RingError{err}
	}
	if st := s.ring.Status(); st.Wrapper != "" && len(st.Wraps) == 0 {
		s.o.Log.Warn("the key ring's file has its secrets in clear, though keyring_wrap is set: wrap it with: penstock keyring rewrap", "file", st.File)
	}
	return nil
}

// ownsNoRing makes sure that the store belongs to no ring, as far as it can be asked.
func (s *Server) ownsNoRing(ctx context.Context, cfg *config.File) error {
	if path := cfg.StorePath(); path != "" {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil // and it is not made before the ring is
		}
	}
	err := s.store.Connect(ctx)
	var kept string
	if err == nil {
		kept, err = s.store.RingID(ctx, "")
	}
	switch {
	case err != nil && s.away(err):
		return nil
	case err != nil:
		return err
	case kept != "":
		return s.noRing(cfg, kept)
	}
	return nil
}

func (s *Server) noRing(cfg *config.File, kept string) error {
	return &RingError{fmt.Errorf("%w: the store belongs to key ring %s, and %s is not there", ErrNoRing, kept, cfg.KeyringPath())}
}

// checkRing makes sure that the store belongs to this ring. If it belongs to another one, and ours was made a moment ago for
// want of it, ours goes again.
func (s *Server) checkRing(ctx context.Context, cfg *config.File) error {
	err := auth.CheckRing(ctx, s.store, s.ring, cfg.KeyringPath())
	if _, wrong := errors.AsType[*auth.WrongRingError](err); !wrong {
		return err
	}
	kept, again := s.store.RingID(ctx, "")
	if !s.ringSeen.made || again != nil {
		return &RingError{err}
	}
	if st, err := seal.ReadStatus(cfg.KeyringPath()); err == nil && st.ID == s.ring.ID() {
		err = os.Remove(cfg.KeyringPath())
		s.o.Log.Info("the key ring that was made a moment ago is removed: the store has one", "ring", st.ID, "error", err)
	}
	return s.noRing(cfg, kept)
}

// ensureDataKey gives a ring of an earlier version its first data key. Where its file cannot be written, as where it is
// mounted read-only, all goes on but what has to seal; that says so itself, and a key that is added elsewhere is taken over.
func (s *Server) ensureDataKey(ctx context.Context) {
	if err := s.ring.EnsureKey(ctx); err != nil {
		s.o.Log.Warn("the key ring has no data key, so nothing can be sealed and no bodies are kept: "+
			"add one where the file can be written, with: penstock keyring rotate --offline", "error", err)
	}
}

// watchRing makes acts of the process of what it finds in the key ring's file and nobody asked a process for, until ctx
// ends: the file may be changed by hand, or by a command where it can be written.
func (s *Server) watchRing(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	seen, told := s.ringSeen.atStart, false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now := s.ring.Status()
		err := s.recordRing(ctx, seen, now)
		switch {
		case err == nil:
			seen, told = now, false
		case !told:
			told = true
			s.o.Log.Warn("a change of the key ring's file is not in the audit chain yet", "error", err)
		}
	}
}

func (s *Server) recordRing(ctx context.Context, before, now seal.Status) error {
	ctx, cancel := context.WithTimeout(ctx, recordWithin)
	defer cancel()
	for _, k := range now.Keys {
		if slices.ContainsFunc(before.Keys, func(old seal.Key) bool { return old.ID == k.ID }) {
			continue
		}
		if err := s.recordOnce(ctx, audit.Act{Action: audit.DataKeyAdded, Object: k.ID, After: admin.DataKeyState(k)}); err != nil {
			return err
		}
	}
	if slices.Equal(before.Wraps, now.Wraps) {
		return nil
	}
	return s.recordOnce(ctx, audit.Act{
		Action: audit.RingWrapped, Object: now.ID, Before: map[string]any{"wraps": before.Wraps}, After: map[string]any{"wraps": now.Wraps},
	})
}

// recordOnce appends an act, unless the last one on the object has come to the same: then whoever was asked for it, or
// another replica, has recorded it.
func (s *Server) recordOnce(ctx context.Context, act audit.Act) error {
	last, err := s.store.AuditEntries(ctx, audit.Filter{Action: act.Action, Object: act.Object}, 1)
	if err != nil {
		return err
	}
	if len(last) == 1 {
		if after, err := json.Marshal(act.After, json.Deterministic(true)); err == nil && string(after) == string(last[0].After) {
			return nil
		}
	}
	return s.store.AppendAudit(ctx, act)
}

func (l *lookout) lookAtRing() {
	st := l.ring.Status()
	l.alerts.Set(alert.RingUnreadable, "", st.Unread != "" && !st.Other, "The key ring's file cannot be read any more; calls go on with what is in memory.")
	l.alerts.Set(alert.RingOther, "", st.Other, "Another key ring lies where that of this store was; calls go on with what is in memory.")
	l.alerts.Set(alert.RingSealed, "", st.Failing != "", "What wraps the key ring would not unwrap it now, so no Penstock could start; calls go on.")
}
