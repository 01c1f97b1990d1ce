//go:build !race

package store

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/penstock/penstock/internal/audit"
)

// longChain is how many entries TestFault82 writes; soaks set PENSTOCK_AUDIT_ENTRIES=10000000.
func longChain(t *testing.T) int {
	text := os.Getenv("PENSTOCK_AUDIT_ENTRIES")
	if text == "" {
		return 20_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 {
		t.Fatalf("PENSTOCK_AUDIT_ENTRIES=%s is not a number from 1000 on", text)
	}
	return n
}

// Fault 82 of reliability.md: a chain of many entries, written over several starts, holds; neither a start nor verifying it takes
// memory that grows with it.
func TestFault82LongAuditChain(t *testing.T) {
	n := longChain(t)
	address := "sqlite:" + filepath.Join(t.TempDir(), "penstock.db")
	const starts = 4
	for i := range starts {
		s, err := Open(t.Context(), address, Options{})
		if err != nil {
			t.Fatal(err)
		}
		appendMany(t, s, n/starts)
		head, err := s.AuditHead(t.Context())
		if err != nil || head.Seq != int64((i+1)*(n/starts)) {
			t.Fatalf("%v after start %d: %v", head, i, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	before := heap()
	s, err := Open(t.Context(), address, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const most = 8 << 20
	if grown := heap() - before; grown > most {
		t.Errorf("the start of a store with %d entries takes %d bytes", n, grown)
	}
	head, err := s.AuditHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, err := audit.NewVerifier(audit.Head{Chain: head.Chain, Hash: audit.Genesis(head.Chain)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var top int64
	for after := int64(0); ; {
		page, err := s.AuditEntries(t.Context(), audit.Filter{After: after, Ascending: true}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page {
			if err := v.Next(&page[i]); err != nil {
				t.Fatal(err)
			}
		}
		if after%100_000 == 0 || after+2000 > head.Seq {
			top = max(top, heap()-before)
		}
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1].Seq
	}
	if v.At() != head {
		t.Errorf("verified up to %v, and the end is %v", v.At(), head)
	}
	if top > 2*most {
		t.Errorf("verifying %d entries takes %d bytes", n, top)
	}
}

// heap is what lives, in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// appendMany appends entries, a thousand in one transaction.
func appendMany(t *testing.T, s *Store, n int) {
	t.Helper()
	ctx := audit.As(context.WithoutCancel(t.Context()), audit.Process())
	for done := 0; done < n; {
		some := min(1000, n-done)
		err := s.act(ctx, "fill the chain", func(tx) (acts, error) {
			all := make(acts, some)
			for i := range all {
				all[i] = audit.Act{Action: audit.Actions()[0], Object: "obj_" + strconv.Itoa(done+i), After: map[string]any{"number": i}}
			}
			return all, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		done += some
	}
}
