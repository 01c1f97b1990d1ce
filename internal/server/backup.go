package server

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/upkeep"
)

const (
	// keepFree is what a backup leaves of the disk of the data directory, in bytes: the journal lies there.
	keepFree = 256 << 20
	// settleWithin bounds the wait for records that were answered before the backup.
	settleWithin = 10 * time.Second
)

// backup begins a backup of the store: as it is when all has been written that was answered here before the call. One at a
// time: each needs room on the disk. ctx is of whoever gets it.
func (s *Server) backup(ctx context.Context) (*admin.Backup, error) {
	if !s.backingUp.TryLock() {
		f := fault.New(fault.Overloaded, "A backup is being taken already.")
		f.Hint, f.RetryAfter = "Wait until that one is through.", 10*time.Second
		return nil, f
	}
	b, err := s.beginBackup(ctx)
	if err != nil {
		s.backingUp.Unlock()
		return nil, err
	}
	return b, nil
}

func (s *Server) beginBackup(ctx context.Context) (*admin.Backup, error) {
	if !s.keys.Ready() {
		return nil, fault.New(fault.NotReady, "The store does not answer.")
	}
	spool, err := upkeep.NewSpool(s.present, s.roomToSpool)
	if err != nil {
		return nil, noBackup(err)
	}
	if err := s.store.AppendAudit(ctx, audit.Act{Action: audit.BackupTaken}); err != nil {
		_ = spool.Close() // err is what there is to say
		return nil, err
	}
	settling, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	if err := s.settled(settling); err != nil {
		_ = spool.Close()
		return nil, noBackup(fmt.Errorf("records wait in the journal: %w", err))
	}
	if s.bodies.writer != nil {
		if err := s.bodies.writer.Sync(settling); err != nil {
			_ = spool.Close()
			return nil, noBackup(fmt.Errorf("bodies wait in their journal: %w", err))
		}
	}
	taking, err := upkeep.Take(ctx, s.store, s.ring, s.o.Version)
	if err != nil {
		_ = spool.Close()
		return nil, noBackup(err)
	}
	begun, done := time.Now(), make(chan struct{})
	ctx, end := context.WithCancel(ctx)
	stop := context.AfterFunc(s.winding, end)
	go func() {
		defer close(done)
		sum, err := taking.Write(ctx, spool)
		spool.End(err)
		if err != nil {
			s.o.Log.Warn("a backup broke off", "backup", taking.Manifest.ID, "error", err)
			return
		}
		s.o.Log.Info("backup taken", "backup", taking.Manifest.ID, "rows", sum.Rows(), "took", time.Since(begun).Round(time.Millisecond))
	}()
	return &admin.Backup{
		ID: taking.Manifest.ID, Keyring: taking.Manifest.Keyring, Taken: taking.Manifest.Taken, Body: spool,
		Close: func() {
			end()
			stop()
			<-done
			_ = spool.Close()
			s.backingUp.Unlock()
		},
	}, nil
}

// roomToSpool says when a backup would take the room of the journal.
func (s *Server) roomToSpool() error {
	if free, known := DiskFree(s.present); known && free < keepFree {
		return fmt.Errorf("the disk of %s has %s free, and a backup leaves %s of it", s.present, figure.Bytes(free), figure.Bytes(keepFree))
	}
	return nil
}

// noBackup is the error of a backup that was not begun.
func noBackup(err error) error {
	f := fault.Wrap(fault.StoreFailed, err, "No backup was taken: %v.", err)
	f.Hint = "Look at store and disk, and take it again."
	return f
}
