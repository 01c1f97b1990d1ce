package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// A Replica is a Penstock that uses the store, as it says itself.
type Replica struct {
	ID       string // of the process
	Name     string // of the machine
	Version  string // of Penstock
	Knows    int64  // the last migration that the version knows
	Config   string // version of the configuration in force
	Started  time.Time
	Ago      time.Duration // since it last said so, by the database's clock; not read by Appear
	ClockOff time.Duration // by how much its clock is ahead of the database's; not read by Appear
}

const (
	// AppearEvery is how often a replica should say that it is there.
	AppearEvery = 5 * time.Second
	// Gone is how long after it last did a replica no longer counts as running.
	Gone = 6 * AppearEvery
	// forgotten is when the row of one that was killed goes. In a file, which has one at a time, it goes when the next comes.
	forgotten = 24 * time.Hour
)

// Appear says that a replica is there. An *OpenError of kind ErrUnusable is a database that a newer version has taken from
// this one meanwhile: whoever gets it must stop writing.
func (s *Store) Appear(ctx context.Context, r Replica) error {
	var from string
	knows, err := Schema()
	if err != nil {
		return err
	}
	err = s.changeIn(ctx, laneReplicas, "say that this replica is there", func(t tx) error {
		from = ""
		if err := t.row(ctx, "SELECT value FROM settings WHERE name = ?", compatibleName).Scan(&from); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		var now int64
		if err := t.row(ctx, "SELECT "+s.d.now).Scan(&now); err != nil {
			return err
		}
		off := micros(s.o.Local()) - now
		if _, err := t.exec(ctx, "DELETE FROM replicas WHERE seen < ? OR ? AND id <> ?", now-forgotten.Microseconds(), s.d.alone, r.ID); err != nil {
			return err
		}
		_, err := t.exec(ctx, `INSERT INTO replicas (id, name, version, knows, config, started, seen, clock_off) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, knows = excluded.knows, config = excluded.config,
			started = excluded.started, seen = excluded.seen, clock_off = excluded.clock_off`,
			r.ID, r.Name, r.Version, r.Knows, r.Config, micros(r.Started), now, off)
		return err
	})
	if err != nil {
		return err
	}
	if n, err := strconv.ParseInt(from, 10, 64); err == nil && n > knows {
		return tooNew(s.path, n, knows)
	}
	return nil
}

// Leave takes the row of a replica away that stops.
func (s *Store) Leave(ctx context.Context, id string) error {
	return s.changeIn(ctx, laneReplicas, "say that this replica is gone", func(t tx) error {
		_, err := t.exec(ctx, "DELETE FROM replicas WHERE id = ?", id)
		return err
	})
}

// Replicas are those that use the store, and those that were killed within a day, by name; Ago tells one from the other. Of
// a file it is one, as soon as that has appeared.
func (s *Store) Replicas(ctx context.Context) ([]Replica, error) {
	rows, err := s.query(ctx, "SELECT id, name, version, knows, config, started, "+s.d.now+" - seen, clock_off FROM replicas ORDER BY name, started, id")
	all, err := collect(rows, err, func(row scanner) (r Replica, err error) {
		var started, ago, off int64
		err = row.Scan(&r.ID, &r.Name, &r.Version, &r.Knows, &r.Config, &started, &ago, &off)
		r.Started, r.Ago, r.ClockOff = fromMicros(started), time.Duration(ago)*time.Microsecond, time.Duration(off)*time.Microsecond
		return r, err
	})
	if err != nil {
		return nil, s.unread(ctx, "list replicas", err)
	}
	return all, nil
}

// tooNew is the error of a database that a newer Penstock has migrated further than this one can follow.
func tooNew(path string, has, knows int64) error {
	return &OpenError{
		Kind: ErrUnusable, Text: fmt.Sprintf("%s was written by a newer Penstock: its schema is %d, this version knows %d", path, has, knows),
		Hint: "start the newer version, or put back the backup from before the upgrade",
	}
}
