package server

import (
	"bytes"
	goruntime "runtime"
	"runtime/pprof"

	"github.com/penstock/penstock/internal/admin"
)

// support tells of the inside of the process: no bodies, no secrets, no names of tenants.
func (s *Server) support() admin.Support {
	kept := s.store.Status()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	out := admin.Support{
		Version: s.o.Version, Go: goruntime.Version(), OS: goruntime.GOOS, Arch: goruntime.GOARCH, CPUs: goruntime.GOMAXPROCS(0),
		Open: s.gateway.Open(), Goroutines: goruntime.NumGoroutine(), Heap: int64(m.HeapAlloc), System: int64(m.Sys), Collections: int64(m.NumGC), //nolint:gosec // far from the bound
		Store: admin.SupportStore{Engine: kept.Engine, Schema: kept.Schema, Bytes: kept.Bytes, LastWrite: kept.LastWrite.UTC(), Healthy: kept.Err == nil},
		Log:   s.lines.all(),
	}
	var stacks bytes.Buffer
	if p := pprof.Lookup("goroutine"); p != nil && p.WriteTo(&stacks, 1) == nil { // counted by stack: functions and lines, no values
		out.Stacks = stacks.String()
	}
	return out
}
