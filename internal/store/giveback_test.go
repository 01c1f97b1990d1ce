package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/bodies"
	"github.com/penstock/penstock/internal/pipeline"
)

// What is purged makes the file smaller, of a new store and of one that an earlier version made.
func TestPurgedSpaceIsGivenBack(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*testing.T, string){"new": func(*testing.T, string) {}, "of an earlier version": makeUnshrinkable} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "penstock.db")
			prepare(t, path)
			s, err := Open(t.Context(), "sqlite:"+path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			size := func() int64 {
				s.fold()
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				return info.Size()
			}
			before := size()
			noise := make([]byte, 10_000)
			_, _ = rand.Read(noise)
			var rows []bodies.Row
			for range 3000 {
				id, _ := pipeline.NewID(time.Unix(1000, 0))
				rows = append(rows, bodies.Row{Project: "prj_1", Exchange: id, Key: "k", Sealed: bytes.Clone(noise)})
			}
			if err := s.AddBodies(t.Context(), "j", 1, rows); err != nil {
				t.Fatal(err)
			}
			full := size()
			for {
				n, mine, err := s.PurgeBodies(t.Context(), "me", "prj_1", time.Unix(2000, 0), 100)
				if err != nil || !mine {
					t.Fatal(mine, err)
				}
				if n == 0 {
					break
				}
			}
			for more := true; more; {
				if more, err = s.GiveBack(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if after := size(); after > before+(spare+givenBack)*4096+200_000 || full < 30_000_000 {
				t.Errorf("the file has %d bytes after the purge, had %d before and %d in between", after, before, full)
			}
		})
	}
}

// makeUnshrinkable makes a store whose file keeps its free pages, as those before 00008 do.
func makeUnshrinkable(t *testing.T, path string) {
	t.Helper()
	s, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	for _, step := range []string{"PRAGMA journal_mode = delete", "PRAGMA auto_vacuum = 0", "VACUUM"} {
		if _, err := db.ExecContext(context.Background(), step); err != nil {
			t.Fatal(err)
		}
	}
	var how int
	if err := errors.Join(db.QueryRowContext(context.Background(), "PRAGMA auto_vacuum").Scan(&how), db.Close()); err != nil || how != 0 {
		t.Fatal(how, err)
	}
}
