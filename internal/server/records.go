package server

import (
	"context"
	"path/filepath"
	"time"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/tokens"
	"github.com/penstock/penstock/internal/usage"
)

// openRecords makes what keeps the record of every exchange. With records off, which is for benchmarks, there is neither
// journal nor writer.
func (s *Server) openRecords(cfg *config.File) error {
	o := usage.Options{
		Log: s.o.Log, Metrics: s.metrics, Off: cfg.Usage.Off(),
		Count:         func(model string, text []byte) int64 { n, _ := tokens.Counter{}.Count(model, text); return n },
		EstimateInput: estimateInput,
		AnswerText:    answerText,
		Seen:          s.tally.see,
		Observe:       s.telemetry.Observe,
	}
	var err error
	if !o.Off {
		if s.journal, err = journal.Open(filepath.Join(cfg.Data, "journal"), journal.Options{Log: s.o.Log}); err != nil {
			return err
		}
	}
	if s.recorder, err = usage.NewRecorder(s.journal, o); err != nil || o.Off {
		return err
	}
	if s.writer, err = usage.NewWriter(s.recorder, s.store); err != nil {
		return err
	}
	if s.rollup, err = usage.NewRollup(s.store, o); err != nil {
		return err
	}
	return s.openBodies(cfg)
}

// settled waits until the store has the records of all that was answered so far.
func (s *Server) settled(ctx context.Context) error {
	if s.writer == nil {
		return nil
	}
	return s.writer.Sync(ctx)
}

func (s *Server) backlog() int64 {
	if s.writer == nil {
		return 0
	}
	return s.writer.LagBytes()
}

// used sums up what targets were used for, for prices by the hour.
func (s *Server) used(ctx context.Context, from, to time.Time) (map[llm.Target]llm.Usage, error) {
	sums, err := s.store.Sums(ctx, usage.Query{From: from, To: to, By: []string{"target"}})
	if err != nil {
		return nil, err
	}
	used := map[llm.Target]llm.Usage{}
	for i := range sums {
		if t, ok := llm.ParseTarget(sums[i].Group["target"]); ok {
			used[t] = sums[i].Usage
		}
	}
	return used, nil
}
