package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
)

const (
	projectColumns = "id, org, name, labels, bodies, retention, strict, created, stateless, regions, private_only"
	keyColumns     = "id, project, name, prefix, hash, role, models, created, expires, revoked, replaces, last_used"
)

// CreateProject implements [auth.Store].
func (s *Store) CreateProject(ctx context.Context, p auth.Project) error {
	return s.act(ctx, "create a project", func(t tx) (acts, error) {
		act, err := s.insertProject(ctx, t, p)
		if err != nil {
			return nil, err
		}
		return acts{act}, t.bump(ctx, "keys")
	})
}

func (s *Store) insertProject(ctx context.Context, t tx, p auth.Project) (act audit.Act, err error) {
	labels, regions, err := projectTexts(p)
	if err != nil {
		return act, err
	}
	_, err = t.exec(ctx, "INSERT INTO orgs (name, created) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", p.Org, micros(p.Created))
	if err != nil {
		return act, err
	}
	_, err = t.exec(ctx, "INSERT INTO projects ("+projectColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", p.ID, p.Org, p.Name, labels,
		p.Bodies, p.Retention.Microseconds(), flag(p.Strict), micros(p.Created), flag(p.Stateless), regions, flag(p.PrivateOnly))
	if err != nil {
		return act, s.takenProject(err, p)
	}
	return audit.Act{Action: audit.ProjectMade, Object: p.ID, Project: p.ID, After: projectStateOf(p)}, nil
}

// UpdateProject implements [auth.Store]. The transaction holds the lock for writing from its beginning, so that what
// change sees is what it changes.
func (s *Store) UpdateProject(ctx context.Context, id string, change func(*auth.Project) error) (p auth.Project, err error) {
	err = s.act(ctx, "update a project", func(t tx) (done acts, err error) {
		var act audit.Act
		if p, act, err = s.changeProject(ctx, t, id, change); err != nil {
			return nil, err
		}
		return acts{act}, t.bump(ctx, "keys")
	})
	if err != nil {
		return auth.Project{}, err
	}
	return p, nil
}

func (s *Store) changeProject(ctx context.Context, t tx, id string, change func(*auth.Project) error) (p auth.Project, act audit.Act, err error) {
	was, err := scanProject(t.row(ctx, "SELECT "+projectColumns+" FROM projects WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return p, act, noProject(id)
	}
	if err != nil {
		return p, act, err
	}
	p = was
	p.Labels, p.Regions = maps.Clone(was.Labels), slices.Clone(was.Regions) // change may write into them
	if err := change(&p); err != nil {
		return p, act, err
	}
	p.ID, p.Org, p.Created = was.ID, was.Org, was.Created
	labels, regions, err := projectTexts(p)
	if err != nil {
		return p, act, err
	}
	_, err = t.exec(ctx, "UPDATE projects SET name = ?, labels = ?, bodies = ?, retention = ?, strict = ?, stateless = ?, regions = ?, private_only = ? WHERE id = ?",
		p.Name, labels, p.Bodies, p.Retention.Microseconds(), flag(p.Strict), flag(p.Stateless), regions, flag(p.PrivateOnly), p.ID)
	if err != nil {
		return p, act, s.takenProject(err, p)
	}
	act = audit.Act{Action: audit.ProjectSet, Object: p.ID, Project: p.ID, Before: projectStateOf(was), After: projectStateOf(p)}
	return p, act, nil
}

func (s *Store) takenProject(err error, p auth.Project) error {
	if !s.d.isConflict(err) {
		return err
	}
	return fault.Wrap(fault.AlreadyThere, err, "There is a project %s in the organisation %s already.", quote(p.Name), quote(p.Org))
}

func noProject(nameOrID string) error {
	f := fault.New(fault.NotThere, "There is no project %s here.", quote(nameOrID))
	f.Hint = "List them with: penstock project list"
	return f
}

// Projects implements [auth.Store].
func (s *Store) Projects(ctx context.Context, after string, limit int) ([]auth.Project, error) {
	var name string
	if after != "" {
		err := s.row(ctx, "SELECT name FROM projects WHERE id = ?", after).Scan(&name)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, noProject(after)
		}
		if err != nil {
			return nil, s.unread(ctx, "list projects", err)
		}
	}
	rows, err := s.query(ctx, "SELECT "+projectColumns+" FROM projects WHERE (name, id) > (?, ?) ORDER BY name, id LIMIT ?", name, after, limit)
	all, err := collect(rows, err, scanProject)
	if err != nil {
		return nil, s.unread(ctx, "list projects", err)
	}
	return all, nil
}

// FindProject implements [auth.Store].
func (s *Store) FindProject(ctx context.Context, org, nameOrID string) (auth.Project, error) {
	rows, err := s.query(ctx, "SELECT "+projectColumns+" FROM projects WHERE (id = ? OR name = ?) AND (? = '' OR org = ?) ORDER BY org LIMIT 3",
		nameOrID, nameOrID, org, org)
	found, err := collect(rows, err, scanProject)
	if err != nil {
		return auth.Project{}, s.unread(ctx, "find a project", err)
	}
	for _, p := range found {
		if p.ID == nameOrID {
			return p, nil
		}
	}
	switch len(found) {
	case 0:
		return auth.Project{}, noProject(nameOrID)
	case 1:
		return found[0], nil
	}
	f := fault.New(fault.InvalidRequest, "A project %s is in the organisation %s and in %s.", quote(nameOrID), quote(found[0].Org), quote(found[1].Org))
	f.Hint = "Name it by its id; list them with: penstock project list"
	return auth.Project{}, f
}

func scanProject(r scanner) (p auth.Project, err error) {
	var labels, regions string
	var retention, created int64
	if err := r.Scan(&p.ID, &p.Org, &p.Name, &labels, &p.Bodies, &retention, &p.Strict, &created, &p.Stateless, &regions, &p.PrivateOnly); err != nil {
		return p, err
	}
	p.Retention, p.Created = time.Duration(retention)*time.Microsecond, fromMicros(created)
	if labels != "" {
		if err := json.Unmarshal([]byte(labels), &p.Labels); err != nil {
			return p, err
		}
	}
	if regions != "" {
		err = json.Unmarshal([]byte(regions), &p.Regions)
	}
	return p, err
}

// projectTexts are the columns of a project that hold JSON; "" where there is nothing.
func projectTexts(p auth.Project) (labels, regions string, err error) {
	if labels, err = labelsText(p.Labels); err != nil || len(p.Regions) == 0 {
		return labels, "", err
	}
	text, err := json.Marshal(p.Regions)
	return labels, string(text), err
}

func labelsText(labels map[string]string) (string, error) {
	if len(labels) == 0 {
		return "", nil
	}
	text, err := json.Marshal(labels, json.Deterministic(true))
	return string(text), err
}

// CreateKey implements [auth.Store].
func (s *Store) CreateKey(ctx context.Context, k auth.Key) error {
	return s.act(ctx, "create a key", func(t tx) (acts, error) {
		if err := s.insertKey(ctx, t, k); err != nil {
			return nil, err
		}
		return acts{{Action: audit.KeyMade, Object: k.ID, Project: k.Project, After: keyStateOf(k)}}, t.bump(ctx, "keys")
	})
}

func (s *Store) insertKey(ctx context.Context, t tx, k auth.Key) error {
	var project string
	err := t.row(ctx, "SELECT id FROM projects WHERE id = ?", k.Project).Scan(&project)
	if errors.Is(err, sql.ErrNoRows) {
		return noProject(k.Project)
	}
	if err != nil {
		return err
	}
	models, err := json.Marshal(k.Models)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, "INSERT INTO api_keys ("+keyColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		k.ID, k.Project, k.Name, k.Prefix, k.Hash[:], string(k.Role), string(models), micros(k.Created), micros(k.Expires),
		micros(k.Revoked), k.Replaces, micros(k.LastUsed))
	return s.takenKey(err, k)
}

// takenKey makes a fault of there being such a key already.
func (s *Store) takenKey(err error, k auth.Key) error {
	if err == nil || !s.d.isConflict(err) {
		return err
	}
	f := fault.Wrap(fault.AlreadyThere, err, "The project has a key named %s already, or this very key.", quote(k.Name))
	f.Hint = "Take another name, or rotate or revoke the key that has it: penstock key list"
	return f
}

// UpdateKey implements [auth.Store].
func (s *Store) UpdateKey(ctx context.Context, id string, change func(*auth.Key) error) (k auth.Key, err error) {
	err = s.act(ctx, "update a key", func(t tx) (done acts, err error) {
		var act audit.Act
		if k, act, err = s.changeKey(ctx, t, id, change); err != nil {
			return nil, err
		}
		return acts{act}, t.bump(ctx, "keys")
	})
	if err != nil {
		return auth.Key{}, err
	}
	return k, nil
}

func (s *Store) changeKey(ctx context.Context, t tx, id string, change func(*auth.Key) error) (k auth.Key, act audit.Act, err error) {
	was, err := t.key(ctx, id)
	if err != nil {
		return k, act, err
	}
	next := was
	if err := change(&next); err != nil {
		return k, act, err
	}
	k = was
	k.Name, k.Role, k.Models, k.Expires = next.Name, next.Role, next.Models, next.Expires
	models, err := json.Marshal(k.Models)
	if err != nil {
		return k, act, err
	}
	_, err = t.exec(ctx, "UPDATE api_keys SET name = ?, role = ?, models = ?, expires = ? WHERE id = ?",
		k.Name, string(k.Role), string(models), micros(k.Expires), id)
	if err != nil {
		return k, act, s.takenKey(err, k)
	}
	return k, audit.Act{Action: audit.KeySet, Object: id, Project: k.Project, Before: keyStateOf(was), After: keyStateOf(k)}, nil
}

// RevokeKey implements [auth.Store].
func (s *Store) RevokeKey(ctx context.Context, id string, at time.Time) (k auth.Key, err error) {
	err = s.act(ctx, "revoke a key", func(t tx) (done acts, err error) {
		var act audit.Act
		var changed bool
		if k, act, changed, err = t.revoke(ctx, id, at); err != nil || !changed {
			return acts{act}, err
		}
		return acts{act}, t.bump(ctx, "keys")
	})
	return k, err
}

// revoke says when a key ends, unless it ends earlier already; changed is false then.
func (t tx) revoke(ctx context.Context, id string, at time.Time) (k auth.Key, act audit.Act, changed bool, err error) {
	was, err := t.key(ctx, id)
	if err != nil {
		return k, act, false, err
	}
	n, err := t.exec(ctx, "UPDATE api_keys SET revoked = ? WHERE id = ? AND (revoked = 0 OR revoked > ?)", micros(at), id, micros(at))
	if err != nil {
		return k, act, false, err
	}
	if k, err = t.key(ctx, id); err != nil {
		return k, act, false, err
	}
	return k, audit.Act{Action: audit.KeyRevoked, Object: id, Project: k.Project, Before: keyStateOf(was), After: keyStateOf(k)}, n > 0, nil
}

// RotateKey implements [auth.Store].
func (s *Store) RotateKey(ctx context.Context, oldID string, at time.Time, next auth.Key) error {
	return s.act(ctx, "rotate a key", func(t tx) (acts, error) {
		n, err := t.exec(ctx, "UPDATE api_keys SET revoked = ? WHERE id = ? AND revoked = 0", micros(at), oldID)
		if err != nil {
			return nil, err
		}
		old, err := t.key(ctx, oldID)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			f := fault.New(fault.AlreadyThere, "Key %s was rotated or revoked already.", quote(oldID))
			f.Hint = "Rotate the key that replaces it, or make a new one: penstock key list"
			return nil, f
		}
		if err := s.insertKey(ctx, t, next); err != nil {
			return nil, err
		}
		was := old
		was.Revoked = time.Time{}
		act := audit.Act{
			Action: audit.KeyRotated, Object: oldID, Project: old.Project, Before: keyStateOf(was),
			After: rotation{keyStateOf(old), next.ID, keyStateOf(next)},
		}
		return acts{act}, t.bump(ctx, "keys")
	})
}

// key reads a key inside of a transaction.
func (t tx) key(ctx context.Context, id string) (auth.Key, error) {
	k, err := scanKey(t.row(ctx, "SELECT "+keyColumns+" FROM api_keys WHERE id = ?", id))
	return k, missing(err, id)
}

// Keys implements [auth.Store].
func (s *Store) Keys(ctx context.Context, project, after string, limit int) ([]auth.Key, error) {
	rows, err := s.query(ctx, "SELECT "+keyColumns+" FROM api_keys WHERE (? = '' OR project = ?) AND id > ? ORDER BY id LIMIT ?",
		project, project, after, limit)
	all, err := collect(rows, err, scanKey)
	if err != nil {
		return nil, s.unread(ctx, "list keys", err)
	}
	return all, nil
}

// FindKey implements [auth.Store].
func (s *Store) FindKey(ctx context.Context, id string) (auth.Key, error) {
	k, err := scanKey(s.row(ctx, "SELECT "+keyColumns+" FROM api_keys WHERE id = ?", id))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return auth.Key{}, missing(err, id)
	case err != nil:
		return auth.Key{}, s.unread(ctx, "find a key", err)
	}
	return k, nil
}

// missing makes a fault of there being no such key.
func missing(err error, id string) error {
	if errors.Is(err, sql.ErrNoRows) {
		f := fault.New(fault.NotThere, "There is no key with the id %s here.", quote(id))
		f.Hint = "List them with: penstock key list"
		return f
	}
	return err
}

func scanKey(r scanner) (k auth.Key, err error) {
	var hash []byte
	var models string
	var created, expires, revoked, lastUsed int64
	err = r.Scan(&k.ID, &k.Project, &k.Name, &k.Prefix, &hash, &k.Role, &models, &created, &expires, &revoked, &k.Replaces, &lastUsed)
	if err != nil {
		return k, err
	}
	if copy(k.Hash[:], hash) != len(k.Hash) || len(hash) != len(k.Hash) {
		return k, fmt.Errorf("key %s has a hash of %d bytes", k.ID, len(hash))
	}
	k.Created, k.Expires, k.Revoked, k.LastUsed = fromMicros(created), fromMicros(expires), fromMicros(revoked), fromMicros(lastUsed)
	return k, json.Unmarshal([]byte(models), &k.Models)
}

// TouchKeys implements [auth.Store].
func (s *Store) TouchKeys(ctx context.Context, lastUsed map[string]time.Time) error {
	return s.change(ctx, "write times of last use", func(t tx) error {
		for id, at := range lastUsed {
			if _, err := t.exec(ctx, "UPDATE api_keys SET last_used = ? WHERE id = ? AND last_used < ?", micros(at), id, micros(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

// KeyVersion implements [auth.Store].
func (s *Store) KeyVersion(ctx context.Context) (int64, error) { return s.version(ctx, "keys") }

// AllKeys implements [auth.Store].
func (s *Store) AllKeys(ctx context.Context) (version int64, projects []auth.Project, keys []auth.Key, err error) {
	err = s.lookWith(ctx, s.watch, func(v view) error {
		if err := v.row(ctx, "SELECT version FROM versions WHERE name = 'keys'").Scan(&version); err != nil {
			return err
		}
		rows, err := v.query(ctx, "SELECT "+projectColumns+" FROM projects ORDER BY id")
		if projects, err = collect(rows, err, scanProject); err != nil {
			return err
		}
		rows, err = v.query(ctx, "SELECT "+keyColumns+" FROM api_keys ORDER BY id")
		keys, err = collect(rows, err, scanKey)
		return err
	})
	if err != nil {
		return 0, nil, nil, fmt.Errorf("read all keys: %w", err)
	}
	return version, projects, keys, nil
}

// AdminKeyHash implements [auth.Store].
func (s *Store) AdminKeyHash(ctx context.Context, fresh auth.Hash) (kept auth.Hash, created bool, err error) {
	text := ""
	if fresh != (auth.Hash{}) {
		text = hex.EncodeToString(fresh[:])
	}
	text, created, err = s.setting(ctx, adminKeyName, text, audit.Act{
		Action: audit.AdminKeyMade, Object: "admin", After: keyState{Name: "admin key", Role: string(auth.RoleAdmin)},
	})
	if err != nil || text == "" {
		return auth.Hash{}, false, err
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(kept) {
		return auth.Hash{}, false, errors.New("the admin key's hash in the store is damaged")
	}
	return auth.Hash(b), created, nil
}

// ResetAdminKey puts another admin key in the place of the one that there is. The old one is dead everywhere as soon as keys
// are read again, and so is what was signed in with it.
func (s *Store) ResetAdminKey(ctx context.Context, hash auth.Hash) error {
	return s.act(ctx, "reset the admin key", func(t tx) (acts, error) {
		_, err := t.exec(ctx, "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
			adminKeyName, hex.EncodeToString(hash[:]))
		if err != nil {
			return nil, err
		}
		return acts{{Action: audit.AdminKeyReset, Object: "admin", After: keyState{Name: "admin key", Role: string(auth.RoleAdmin)}}}, t.bump(ctx, "keys")
	})
}

// adminKeyName is the setting with the admin key's hash.
const adminKeyName = "admin_key_hash"

// ringName is the setting that names the key ring.
const ringName = "ring_id"

// RingID implements [auth.Store].
func (s *Store) RingID(ctx context.Context, fresh string) (string, error) {
	kept, _, err := s.setting(ctx, ringName, fresh)
	return kept, err
}

// setting reads a setting, set to fresh if there is none and fresh is not ""; that it was set are the acts, if any.
func (s *Store) setting(ctx context.Context, name, fresh string, setting ...audit.Act) (kept string, created bool, err error) {
	err = s.watched(ctx, "SELECT value FROM settings WHERE name = ?", name).Scan(&kept)
	switch {
	case err == nil:
		return kept, false, nil
	case !errors.Is(err, sql.ErrNoRows):
		return "", false, fmt.Errorf("read %s: %w", name, err)
	case fresh == "":
		return "", false, nil
	}
	err = s.act(ctx, "set "+name, func(t tx) (acts, error) {
		n, err := t.exec(ctx, "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", name, fresh)
		if err != nil {
			return nil, err
		}
		err = t.row(ctx, "SELECT value FROM settings WHERE name = ?", name).Scan(&kept)
		if created = n > 0; !created || err != nil {
			return nil, err
		}
		return setting, nil
	})
	return kept, created, err
}

// quote writes what a caller sent so that it is seen whole and harmless, and not at any length.
func quote(s string) string {
	const most = 128
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.Quote(s)
}
