-- Upgrade: online
-- +goose Up

-- The chain of administrative acts. Entries are only ever added: by the store in the transaction of the act, and by nobody
-- else. The triggers are against mistakes; against intent stand the hashes, and checkpoints outside of this database.
CREATE TABLE audit_entries (
    seq           INTEGER PRIMARY KEY, -- from 1, without gaps
    time          INTEGER NOT NULL,
    actor_key     TEXT NOT NULL,
    actor_name    TEXT NOT NULL,
    actor_prefix  TEXT NOT NULL,
    actor_role    TEXT NOT NULL,
    actor_org     TEXT NOT NULL,
    actor_project TEXT NOT NULL,
    address       TEXT NOT NULL,
    user_agent    TEXT NOT NULL,
    request       TEXT NOT NULL,
    action        TEXT NOT NULL,
    object        TEXT NOT NULL,
    project       TEXT NOT NULL,
    reason        TEXT NOT NULL,
    before_state  TEXT NOT NULL, -- canonical JSON, '' if there is none
    after_state   TEXT NOT NULL,
    version       INTEGER NOT NULL, -- of the way in which the entry is hashed
    prev          BLOB NOT NULL,
    hash          BLOB NOT NULL
) STRICT;
CREATE INDEX audit_entries_actor ON audit_entries (actor_key);
CREATE INDEX audit_entries_object ON audit_entries (object);
CREATE INDEX audit_entries_time ON audit_entries (time);

-- The end of the chain. Whoever appends locks this row first, so that several replicas never continue the same entry.
CREATE TABLE audit_head (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    chain TEXT NOT NULL, -- id, given with the first entry
    seq   INTEGER NOT NULL,
    hash  BLOB NOT NULL
) STRICT;
INSERT INTO audit_head (id, chain, seq, hash) VALUES (1, '', 0, x'');

-- +goose StatementBegin
CREATE TRIGGER audit_entries_stay BEFORE UPDATE ON audit_entries
BEGIN
    SELECT RAISE(ABORT, 'the audit chain is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_entries_last BEFORE DELETE ON audit_entries
BEGIN
    SELECT RAISE(ABORT, 'the audit chain is append-only');
END;
-- +goose StatementEnd
-- A row that replaces another would be deleted without the trigger above.
-- +goose StatementBegin
CREATE TRIGGER audit_entries_append BEFORE INSERT ON audit_entries
WHEN EXISTS (SELECT 1 FROM audit_entries WHERE seq >= NEW.seq)
BEGIN
    SELECT RAISE(ABORT, 'the audit chain is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head
WHEN NEW.seq < OLD.seq OR (OLD.chain <> '' AND NEW.chain <> OLD.chain)
BEGIN
    SELECT RAISE(ABORT, 'the audit chain is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_head_stays BEFORE DELETE ON audit_head
BEGIN
    SELECT RAISE(ABORT, 'the audit chain is append-only');
END;
-- +goose StatementEnd
