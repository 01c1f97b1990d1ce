//go:build unix

package store

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/backup"
	"github.com/penstock/penstock/internal/seal"
	"github.com/penstock/penstock/internal/store/pgtest"
	"github.com/penstock/penstock/internal/usage"
)

// emptyAt makes the address of an empty store, by engine.
var emptyAt = map[string]func(*testing.T) string{
	"SQLite":     func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "penstock.db") },
	"PostgreSQL": func(t *testing.T) string { return pgtest.Database(t) },
}

// furnish puts something of each kind into a store, also some that is not summed up.
func furnish(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	s.atOnce = 64
	if err := s.CreateProject(ctx, auth.Project{ID: "prj_1", Org: "default", Name: "straße\u00a0☂", Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	for i, from := range []int{0, 100} {
		if err := s.AddRecords(ctx, "journal_1", int64(1000*(i+1)), workloads(from, 100)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.SumUp(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AppendAudit(ctx, audit.Act{Action: audit.BackupTaken, After: map[string]string{"a": "\u2028<&>"}}); err != nil {
		t.Fatal(err)
	}
}

// take backs a store up, and gives the hashes of its tables as well.
func take(t *testing.T, s *Store, ring *seal.Ring) ([]byte, backup.Summary) {
	t.Helper()
	n, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	m, err := n.Manifest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.ID = "bak_1"
	var file bytes.Buffer
	w, err := backup.NewWriter(&file, ring, m)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range n.Tables() {
		err := w.Table(table)
		if err == nil {
			err = n.Each(t.Context(), table, w.Row)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	sum, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), sum
}

func load(t *testing.T, address string, file []byte, ring *seal.Ring) error {
	t.Helper()
	r, err := backup.NewReader(bytes.NewReader(file), ring)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return Load(t.Context(), address, r, Options{})
}

// TestABackupIsTheStoreOnAnyEngine restores from each engine into each: the rows are the same, and the store goes on.
func TestABackupIsTheStoreOnAnyEngine(t *testing.T) {
	t.Parallel()
	ring, _, err := seal.Open(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	for from, origin := range emptyAt {
		s := openAt(t, origin(t))
		furnish(t, s)
		file, want := take(t, s, ring)
		if want.Of("exchanges") != 200 || want.Of("usage_sums") == 0 || want.Of("audit_entries") != 2 {
			t.Fatalf("%s: the backup has %+v", from, want.Tables)
		}
		for into, target := range emptyAt {
			t.Run(from+" into "+into, func(t *testing.T) {
				t.Parallel()
				address := target(t)
				if err := load(t, address, file, ring); err != nil {
					t.Fatal(err)
				}
				if _, err := Open(t.Context(), address, Options{}); !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), "bak_1") {
					t.Errorf("a store that is not through with its restore was opened: %v", err)
				}
				r, err := Open(t.Context(), address, Options{Restoring: true})
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				if c, err := r.Check(t.Context()); err != nil || c.Exchanges != 200 || c.Summed < 100 {
					t.Errorf("checked %+v, %v", c, err)
				}
				if _, err := audit.VerifyWhole(t.Context(), r, nil); err != nil {
					t.Error(err)
				}
				epoch, err := r.Restored(t.Context(), func(int64) audit.Act { return audit.Act{Action: audit.StoreRestored, Object: "bak_1"} })
				if err != nil || epoch != 2 {
					t.Errorf("epoch %d, %v", epoch, err)
				}
				_, got := take(t, r, ring)
				for i, w := range want.Tables {
					switch w.Name {
					case "versions", "audit_entries", "audit_head": // the restore itself
						continue
					}
					if d := cmp.Diff(w, got.Tables[i]); d != "" {
						t.Error(d)
					}
				}
				// It goes on: numbers that are drawn, triggers, sums.
				if err := r.AddRecords(t.Context(), "journal_1", 3000, workloads(200, 100)); err != nil {
					t.Fatal(err)
				}
				r.atOnce = 64
				for more := true; more; {
					if _, more, err = r.SumUp(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if c, err := r.Check(t.Context()); err != nil || c.Exchanges != 300 || c.Summed != 300 {
					t.Errorf("checked %+v, %v", c, err)
				}
				if _, err := r.write.ExecContext(t.Context(), "DELETE FROM audit_entries"); err == nil {
					t.Error("the audit chain is not append-only any more")
				}
				if err := load(t, address, file, ring); !errors.Is(err, ErrNotEmpty) {
					t.Errorf("over another store: %v", err)
				}
			})
		}
	}
}

// TestWhatDoesNotFitIsFound alters a store and checks it.
func TestWhatDoesNotFitIsFound(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"UPDATE usage_sums SET cost_nano = cost_nano + 1 WHERE level = 2":                       "the sums of level 2",
		"DELETE FROM usage_sums WHERE level = 5":                                                "the sums of level 5",
		"DELETE FROM exchange_records WHERE seq = 3":                                            "1 exchanges have no record",
		"DELETE FROM exchanges WHERE seq = 3":                                                   "the sums of level",
		"UPDATE usage_summed SET seq = 4711":                                                    "summed up to 4711",
		"UPDATE exchanges SET output = output + 7 WHERE seq = (SELECT MIN(seq) FROM exchanges)": "output is",
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			s := openAt(t, emptyAt["SQLite"](t))
			furnish(t, s)
			if _, err := s.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.write.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

// TestAWriterDoesNotWaitForASnapshot: what is written meanwhile is in the store, and not in the snapshot.
func TestAWriterDoesNotWaitForASnapshot(t *testing.T) {
	t.Parallel()
	for name, address := range emptyAt {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openAt(t, address(t))
			furnish(t, s)
			n, err := s.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			if err := s.AddRecords(t.Context(), "journal_1", 3000, []*usage.Record{workload(999)}); err != nil {
				t.Fatal(err)
			}
			rows := 0
			for _, table := range n.Tables() {
				if table.Name != "exchanges" {
					continue
				}
				if err := n.Each(t.Context(), table, func(backup.Row) error { rows++; return nil }); err != nil {
					t.Fatal(err)
				}
			}
			if rows != 200 {
				t.Errorf("the snapshot has %d exchanges", rows)
			}
		})
	}
}
