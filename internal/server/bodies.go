package server

import (
	"context"
	"path/filepath"

	"github.com/penstock/penstock/internal/bodies"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/conversation"
	"github.com/penstock/penstock/internal/journal"
)

// bodyParts are what keeps bodies; all are nil with records off.
type bodyParts struct {
	journal *journal.Journal
	keeper  *bodies.Keeper
	writer  *bodies.Writer
	reader  *bodies.Reader
	purger  *bodies.Purger
	talks   *conversation.Keeper // what callers go on from
}

// openBodies makes what keeps bodies. Their journal is apart from that of records, whose room they must not take.
func (s *Server) openBodies(cfg *config.File) (err error) {
	b := &s.bodies
	if b.journal, err = journal.Open(filepath.Join(cfg.Data, "bodies"), journal.Options{Log: s.o.Log, MaxBytes: cfg.Bodies.Journal}); err != nil {
		return err
	}
	b.keeper, err = bodies.NewKeeper(bodies.Options{Config: cfg.Bodies, Ring: s.ring, Journal: b.journal, Log: s.o.Log, Metrics: s.metrics})
	if err != nil {
		return err
	}
	if b.writer, err = bodies.NewWriter(b.keeper, s.store); err != nil {
		return err
	}
	b.purger = bodies.NewPurger(b.keeper, s.store, s.clock.Now)
	b.talks, err = conversation.NewKeeper(conversation.Options{Store: s.store, Ring: s.ring, Log: s.o.Log, Metrics: s.metrics, Now: s.clock.Now})
	if err != nil {
		return err
	}
	b.reader = &bodies.Reader{Store: s.store, Ring: s.ring, Sync: b.writer.Sync}
	return nil
}

func (b *bodyParts) workers() []func(context.Context) error {
	return []func(context.Context) error{b.writer.Run, b.purger.Run, b.talks.Run}
}
