package store

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An Upgrade is what a start of this version would do to a store.
type Upgrade struct {
	Engine, Path string
	Schema       int64 // of the store; 0 if there is nothing in it yet
	Knows        int64 // the last migration of this version
	From         int64 // the oldest schema whose versions of Penstock still work with this one's
	Migrations   []Migration
	Replicas     []Replica // that run now, or did until they were killed within a day
	Bytes        int64     // of the store
	Need         int64     // bytes that the migrations will take at most
	Free         int64     // bytes on the disk of the store; -1 if that is not known here
}

// A Migration is one step from a schema to the next.
type Migration struct {
	Number int64
	Name   string
	Online bool   // nobody waits for it for as long as a second, however large the tables are
	Why    string // what makes it long, "" if nothing does
	// Percent of Table is what it will take on the disk at most; 0 if that does not grow with a table.
	Percent int64
	Table   string
}

// Obstacles says what stands against the upgrade, nothing if nothing does.
func (u *Upgrade) Obstacles() []string {
	var all []string
	for _, m := range u.Migrations {
		if !m.Online && u.Schema > 0 {
			all = append(all, fmt.Sprintf("migration %d (%s) is not done while Penstock serves: it %s", m.Number, m.Name, m.Why))
		}
	}
	for _, r := range u.Replicas {
		if r.Ago < Gone && r.Knows < u.From && len(u.Migrations) > 0 {
			all = append(all, fmt.Sprintf("%s runs version %s, which knows schema %d and cannot go on with %d: stop it first", r.Name, r.Version, r.Knows, u.Knows))
		}
	}
	if u.Free >= 0 && u.Need > u.Free {
		all = append(all, fmt.Sprintf("the migrations may take %d bytes, and the disk has %d", u.Need, u.Free))
	}
	return all
}

// CheckUpgrade finds out what a start of this version would do to the store at an address. It changes nothing, and may be
// called while Penstock serves from it. The error is an *OpenError if the store cannot be used by this version at all.
func CheckUpgrade(ctx context.Context, address string, o Options) (*Upgrade, error) {
	s, err := New(address, o)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.pools.close() }() // it was only read
	u := &Upgrade{Engine: s.d.name, Path: s.path, From: compatibleFrom, Free: -1}
	all, err := s.migrations()
	if err != nil {
		return nil, err
	}
	u.Knows = all[len(all)-1].Number
	empty := false
	if s.d == &sqliteDialect {
		u.Free = diskFree(filepath.Dir(s.path))
		if empty, err = s.openToLook(); err != nil {
			return nil, err
		}
	} else if err := s.greet(ctx); err != nil {
		return nil, err
	}
	if !empty {
		if err := s.survey(ctx, u); err != nil {
			return nil, err
		}
	}
	for _, m := range all {
		if m.Number <= u.Schema {
			continue
		}
		u.Migrations = append(u.Migrations, m)
		if m.Table != "" && u.Schema > 0 {
			size, err := s.sizeOf(ctx, m.Table, u.Bytes)
			if err != nil {
				return nil, s.failed(err)
			}
			u.Need += size * m.Percent / 100
		}
	}
	return u, nil
}

// openToLook opens a file that another Penstock may be serving from, and never makes one.
func (s *Store) openToLook() (empty bool, err error) {
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, unusable(s.path, err)
	case !info.Mode().IsRegular():
		return false, unusable(s.path, errors.New("it is not a file"))
	}
	path, err := filepath.Abs(s.path)
	if err != nil {
		return false, unusable(s.path, err)
	}
	s.read, err = sql.Open("sqlite", address(path, map[string][]string{
		"mode": {"rw"}, "_query_only": {"1"}, "_busy_timeout": {"5000"}, "_error_rc": {"1"}, "_dqs": {"0"},
	}))
	if err != nil {
		return false, unusable(s.path, err)
	}
	s.watch = s.read
	return false, nil
}

// survey reads how a store is.
func (s *Store) survey(ctx context.Context, u *Upgrade) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	tables, err := s.checkOwner(ctx)
	if err != nil || len(tables) == 0 {
		return err
	}
	err = s.watched(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM "+versionTable).Scan(&u.Schema)
	if err != nil {
		return s.failed(err)
	}
	if u.Schema > u.Knows {
		if err := s.checkNewer(ctx, u.Schema, u.Knows); err != nil {
			return err
		}
	}
	if slices.Contains(tables, "replicas") {
		if u.Replicas, err = s.Replicas(ctx); err != nil {
			return s.failed(err)
		}
	}
	s.schema.Store(u.Schema)
	u.Bytes = s.Status().Bytes
	return nil
}

// sizeOf is the size of a table with its indexes; of SQLite, where to find out would read the whole file, that of the file.
func (s *Store) sizeOf(ctx context.Context, table string, file int64) (size int64, err error) {
	if s.d == &sqliteDialect {
		return file, nil
	}
	err = s.watched(ctx, "SELECT COALESCE(pg_total_relation_size(to_regclass(?)), 0)", table).Scan(&size)
	return size, err
}

// migrations reads what each migration says of itself.
func (s *Store) migrations() ([]Migration, error) {
	files, err := fs.Glob(migrations, s.d.migrations+"/*.sql") // in the order of their numbers
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	all := make([]Migration, len(files))
	for i, file := range files {
		text, err := migrations.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("migrations: %w", err)
		}
		if all[i], err = describe(filepath.Base(file), text); err != nil {
			return nil, fmt.Errorf("migration %s: %w", file, err)
		}
	}
	return all, nil
}

// describe reads the line with which a migration says what it asks of whoever upgrades:
//
//	-- Upgrade: online
//	-- Upgrade: online; disk 10% of exchanges
//	-- Upgrade: reads every exchange, a second per million; disk 10% of exchanges
//
// "online" is a promise that the tests hold it to: nobody waits for it for as long as a second. Anything else says what
// makes it long.
func describe(file string, text []byte) (m Migration, err error) {
	number, name, ok := strings.Cut(strings.TrimSuffix(file, ".sql"), "_")
	if m.Number, err = strconv.ParseInt(number, 10, 64); err != nil || !ok {
		return m, errors.New("its name is not NNNNN_name.sql")
	}
	m.Name = strings.ReplaceAll(name, "_", " ")
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		said, found := strings.CutPrefix(lines.Text(), "-- Upgrade: ")
		if !found {
			continue
		}
		how, disk, _ := strings.Cut(said, "; disk ")
		if m.Online = how == "online"; !m.Online {
			m.Why = how
		}
		if disk == "" {
			return m, nil
		}
		percent, table, ok := strings.Cut(disk, "% of ")
		if m.Percent, err = strconv.ParseInt(percent, 10, 64); err != nil || !ok {
			return m, fmt.Errorf("%q is not: disk PERCENT%% of TABLE", disk)
		}
		m.Table = table
		return m, nil
	}
	m.Why = unsaid
	return m, nil
}

// unsaid is what a migration is taken for that says nothing of itself; the tests refuse it.
const unsaid = "does not say how long it takes"
