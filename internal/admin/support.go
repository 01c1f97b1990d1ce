package admin

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/audit"
)

// A Support tells of the inside of the process, for whoever helps: no bodies, no secrets, no names of tenants.
type Support struct {
	Version     string       `json:"version"`
	Go          string       `json:"go"`
	OS          string       `json:"os"`
	Arch        string       `json:"arch"`
	CPUs        int          `json:"cpus"`
	Open        int64        `json:"open"` // exchanges that are being served
	Goroutines  int          `json:"goroutines"`
	Heap        int64        `json:"heap_bytes"`
	System      int64        `json:"system_bytes"` // that the runtime has from the system
	Collections int64        `json:"collections"`
	Store       SupportStore `json:"store"`
	Stacks      string       `json:"stacks"` // goroutines, counted by where they are
	Log         []string     `json:"log"`    // the last lines, without those of exchanges
}

// A SupportStore says how the store is.
type SupportStore struct {
	Engine    string    `json:"engine"`
	Schema    int64     `json:"schema"`
	Bytes     int64     `json:"bytes"`
	LastWrite time.Time `json:"last_write"`
	Healthy   bool      `json:"healthy"` // the last write succeeded
}

// support gives the inside of the process, once the audit chain has it that it was given.
func (a *API) support(ctx context.Context, _ *call) (Support, error) {
	if err := a.o.Audit.AppendAudit(ctx, audit.Act{Action: audit.SupportRead}); err != nil {
		return Support{}, err
	}
	return a.o.Support(), nil
}
