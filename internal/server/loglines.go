package server

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
)

// What is kept of the log, for a support bundle.
const (
	keptLines = 1000
	keptLine  = 2 << 10 // bytes of one line
)

// lastLines keeps the last lines of the log in memory, as text. Lines hold no secrets and no names of tenants; that is
// for who writes them to see to.
type lastLines struct {
	mu    sync.Mutex // guards the fields below
	lines []string
	next  int // where the next line goes, once all places are taken
}

// Write takes one line.
func (l *lastLines) Write(line []byte) (int, error) {
	n := len(line)
	if n > keptLine {
		line = append(line[:keptLine:keptLine], "...\n"...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) < keptLines {
		l.lines = append(l.lines, string(line))
		return n, nil
	}
	l.lines[l.next] = string(line)
	l.next = (l.next + 1) % keptLines
	return n, nil
}

// all are the lines, the oldest first.
func (l *lastLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Concat(l.lines[l.next:], l.lines[:l.next])
}

// also gives a logger that writes to these lines as well. Lines of exchanges are left out: there are as many as there are
// calls, and each has its record.
func (l *lastLines) also(log *slog.Logger) *slog.Logger {
	return slog.New(&both{log.Handler(), slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo})})
}

// both is a handler that has another one beside it.
type both struct{ first, second slog.Handler }

// Enabled implements [slog.Handler].
func (b *both) Enabled(ctx context.Context, level slog.Level) bool {
	return b.first.Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (b *both) Handle(ctx context.Context, r slog.Record) error { //nolint:gocritic // the interface has it so
	err := b.first.Handle(ctx, r)
	if r.Message == "exchange" || !b.second.Enabled(ctx, r.Level) {
		return err
	}
	return errors.Join(err, b.second.Handle(ctx, r))
}

// WithAttrs implements [slog.Handler].
func (b *both) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &both{b.first.WithAttrs(attrs), b.second.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (b *both) WithGroup(name string) slog.Handler {
	return &both{b.first.WithGroup(name), b.second.WithGroup(name)}
}
