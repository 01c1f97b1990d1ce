package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/failpoint"
	"github.com/penstock/penstock/internal/usage"
)

// AddRecords implements [usage.Store].
func (s *Store) AddRecords(ctx context.Context, journal string, upTo int64, records []*usage.Record) error {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	texts, err := s.records.encode(records)
	if err != nil {
		return err
	}
	var before int64
	var added []row
	tries := 0
	err = s.changeIn(ctx, laneRecords, "write records", func(t tx) (err error) {
		if tries++; tries > 1 { // what the one before remembered was undone with it, at its commit perhaps
			s.records.forget()
		}
		r := &recording{&s.records, t, map[string]statement{}}
		if before, added, err = r.add(ctx, records, texts); err != nil {
			return err
		}
		if err := r.post(ctx, before, added); err != nil {
			return err
		}
		if _, err = r.run(ctx, readUpTo, journal, upTo); err != nil {
			return err
		}
		return failpoint.Pass(failpoint.RecordsInStore)
	})
	if err == nil {
		err = failpoint.Pass(failpoint.RecordsCommitted)
	}
	if err != nil {
		s.records.forget()
		return err
	}
	s.records.freshen(before, added, s.atOnce)
	return nil
}

// ReadUpTo implements [usage.Store].
func (s *Store) ReadUpTo(ctx context.Context, journal string) (upTo int64, err error) {
	err = s.watched(ctx, "SELECT read_up_to FROM journals WHERE id = ?", journal).Scan(&upTo)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("read how far journal %s is read: %w", journal, err)
	}
	return upTo, nil
}

// encode writes the JSON of all records. It is good until the next call. Bytes that are no UTF-8 are replaced: one record
// must not keep all others from being written.
func (c *recorder) encode(records []*usage.Record) ([][]byte, error) {
	if cap(c.buf) > maxBuffer {
		c.buf = nil
	}
	c.buf = c.buf[:0]
	ends := make([]int, len(records))
	for i, r := range records {
		var err error
		if c.buf, err = encode(c.buf, r); err != nil {
			return nil, fmt.Errorf("encode record %s: %w", r.ID, err)
		}
		ends[i] = len(c.buf)
	}
	texts, from := make([][]byte, len(records)), 0
	for i, end := range ends {
		texts[i] = c.buf[from:end:end]
		from = end
	}
	return texts, nil
}

func decode(text []byte) (*usage.Record, error) {
	r := new(usage.Record)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("decode a record: %w", err)
	}
	if err := readCharges(text, r); err != nil {
		return nil, fmt.Errorf("decode the record %s: %w", r.ID, err)
	}
	return r, nil
}
