package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"

	"github.com/penstock/penstock/internal/usage"
)

// latencyNames are the dimensions by which histograms are kept.
var latencyNames = map[string]int{"project": byProject, "model": byModel, "target": byTarget}

// Latencies implements [usage.Store]. Groups are in the order of their values; those in which nothing was answered are
// not there.
func (s *Store) Latencies(ctx context.Context, q usage.LatencyQuery) ([]usage.Latency, error) {
	g, err := groupingOf(q.By, latencyNames, latencyTimes)
	if err != nil {
		return nil, err
	}
	totals := map[groupKey]*usage.Latencies{}
	asked := question{q.From, q.To, [dimensions]string{byProject: q.Project, byModel: q.Model, byTarget: q.Target}, nil}
	err = s.pieces(ctx, g, latencyLevels, asked, func(v view, p piece, look *search) error {
		if p.late { // is of no latency
			return nil
		}
		if p.level != nil {
			return g.mergeHistograms(ctx, v, p, look, totals)
		}
		return g.timeExchanges(ctx, v, look, totals)
	})
	if err != nil {
		return nil, s.unread(ctx, "read latencies", err)
	}
	groups, err := s.named(ctx, g, slices.Collect(maps.Keys(totals)))
	if err != nil {
		return nil, err
	}
	all := make([]usage.Latency, 0, len(groups))
	for _, k := range groups {
		all = append(all, usage.NewLatency(k.labels(g), totals[k.key]))
	}
	return all, nil
}

func (g *grouping) mergeHistograms(ctx context.Context, v view, p piece, look *search, totals map[groupKey]*usage.Latencies) error {
	keys, _ := g.keys(levelColumns, "start / "+decimal(max(g.width/p.level.width, 1)))
	rows, err := v.query(ctx, "SELECT "+keys+"histograms FROM usage_latencies"+look.where(), look.args...)
	return each(rows, err, func(r scanner) error {
		var k groupKey
		var text sql.RawBytes
		if err := r.Scan(append(g.into(&k), &text)...); err != nil {
			return err
		}
		return latenciesOf(totals, k).MergeBinary(text)
	})
}

func (g *grouping) timeExchanges(ctx context.Context, v view, look *search, totals map[groupKey]*usage.Latencies) error {
	keys, _ := g.keys(rowColumns, "e.time / "+decimal(g.width))
	look.and("e.failed = 0")
	rows, err := v.query(ctx, "SELECT "+keys+timedColumns+" FROM "+look.from()+look.where(), look.args...)
	return each(rows, err, func(r scanner) error {
		var k groupKey
		var t usage.Timed
		var outcome int64
		if err := r.Scan(append(g.into(&k), &outcome, &t.Total, &t.First, &t.Overhead, &t.Output)...); err != nil {
			return err
		}
		t.Failed, t.Stream = outcome&1 != 0, outcome&2 != 0
		latenciesOf(totals, k).Add(t)
		return nil
	})
}

func latenciesOf(totals map[groupKey]*usage.Latencies, k groupKey) *usage.Latencies {
	l := totals[k]
	if l == nil {
		l = &usage.Latencies{}
		totals[k] = l
	}
	return l
}
