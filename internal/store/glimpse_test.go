package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/store/pgtest"
)

// A look at a store changes nothing in it, and works whoever has it open.
func TestGlance(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]string{
		"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "penstock.db"), "postgres": pgtest.Database(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			empty, err := Glance(t.Context(), at, Options{})
			if err != nil || empty.There || empty.Knows == 0 {
				t.Errorf("of an empty one: %+v, %v", empty, err)
			}
			if name == "sqlite" {
				if _, err := os.Stat(empty.Path); err == nil {
					t.Error("it has made the file")
				}
			}
			s, err := Open(t.Context(), at, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			g, err := Glance(t.Context(), at, Options{})
			if err != nil || !g.There || g.Schema != g.Knows || g.Bytes == 0 || name == "sqlite" && g.Waiting != 0 || g.Offset.Abs() > time.Second {
				t.Errorf("%+v, %v", g, err)
			}
			if offset, within, err := s.ClockOffset(t.Context()); err != nil || offset.Abs() > time.Second || (within > 0) != (name == "postgres") {
				t.Errorf("clocks: %v, %v, %v", offset, within, err)
			}
		})
	}
	for _, at := range []string{"postgres://nobody@127.0.0.1:1/none", "sqlite:" + t.TempDir()} {
		if _, err := Glance(t.Context(), at, Options{}); err == nil {
			t.Errorf("%s can be read", at)
		}
	}
}
