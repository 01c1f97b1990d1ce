package store

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
)

// TestAuditIsAppendOnly: not even somebody with a shell changes the chain without first saying that this is what they want.
func TestAuditIsAppendOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "penstock.db")
	seed(t, path)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{
		"UPDATE audit_entries SET object = 'x'",
		"DELETE FROM audit_entries",
		"INSERT OR REPLACE INTO audit_entries SELECT * FROM audit_entries",
		"INSERT INTO audit_entries SELECT 0, " + strings.TrimPrefix(auditColumns, "seq, ") + " FROM audit_entries",
		"UPDATE audit_head SET seq = 0",
		"UPDATE audit_head SET chain = 'x'",
		"DELETE FROM audit_head",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// TestControl45 (security.md), administrative part: where the entry cannot be written, the act is not done.
func TestControl45NoActWithoutEntry(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "penstock.db")
	seed(t, path)
	execute(t, path, "CREATE TRIGGER full BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
	s, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	before, err := s.AuditHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CreateProject(t.Context(), auth.Project{ID: "prj_2", Org: "default", Name: "search"}); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Error(err)
	}
	if _, err := s.FindProject(t.Context(), "", "prj_2"); err == nil {
		t.Error("the project is there, and no entry says who made it")
	}
	if after, err := s.AuditHead(t.Context()); err != nil || after != before {
		t.Error(after, err)
	}
	if _, err := s.AuditEntries(t.Context(), audit.Filter{}, 10); err != nil {
		t.Error(err)
	}
}
