package store

import (
	"context"
	"fmt"
	"os"
)

// Pages that were freed in a SQLite file go back to the file system if the file was made to give them back; PostgreSQL
// sees to it itself.
const (
	incremental = 2 // of auto_vacuum
	// givenBack is how many pages are given back at once, some milliseconds of work.
	givenBack = 512
	// spare is how many free pages a file keeps: they are used again sooner than others could be made.
	spare = 1024
	// rewritten is the size of a file that is made anew, in bytes, at its next opening, so that it can give pages back: about
	// a second.
	rewritten = 256 << 20
)

// makeShrinkable makes a file of an earlier version one that can give pages back. That means to write it anew, which takes
// its time: a large one is left as it is, and its operator told what to do.
func (s *Store) makeShrinkable(ctx context.Context) error {
	var how, pages int64
	if err := s.write.QueryRowContext(ctx, "PRAGMA auto_vacuum").Scan(&how); err != nil {
		return err
	}
	if err := s.write.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil || how == incremental {
		return err
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if info.Size() > rewritten {
		s.log.Warn("the store's file keeps the space of what is deleted, and uses it again: to have it given back, stop Penstock once and run: "+
			"sqlite3 FILE 'PRAGMA auto_vacuum = 2; VACUUM'", "file", s.path)
		return nil
	}
	// Its copy of the data is on the disk, not in memory as other things that pass. A disk without room for that is no reason
	// not to start.
	for _, step := range []string{"PRAGMA temp_store = file", "PRAGMA auto_vacuum = 2", "VACUUM"} {
		if _, err = s.write.ExecContext(ctx, step); err != nil {
			s.log.Warn("the store's file could not be made to give space back; it is tried again at the next start", "file", s.path, "step", step, "error", err)
			break
		}
	}
	if _, err := s.write.ExecContext(ctx, "PRAGMA temp_store = memory"); err != nil {
		return fmt.Errorf("temp_store: %w", err)
	}
	return ctx.Err()
}

// GiveBack implements [bodies.Store]. Some free pages stay, for what is written next.
func (s *Store) GiveBack(ctx context.Context) (more bool, err error) {
	if s.d != &sqliteDialect {
		return false, nil
	}
	var free int64
	if err := s.row(ctx, "PRAGMA freelist_count").Scan(&free); err != nil {
		return false, s.unread(ctx, "read how much of the file is free", err)
	}
	if free <= spare+givenBack {
		return false, nil
	}
	if _, err := s.write.ExecContext(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", givenBack)); err != nil {
		return false, fmt.Errorf("make the file smaller: %w", err)
	}
	var left int64
	if err := s.row(ctx, "PRAGMA freelist_count").Scan(&left); err != nil {
		return false, s.unread(ctx, "read how much of the file is free", err)
	}
	return left < free && left > spare+givenBack, nil // a file that does not give pages back is left alone
}
