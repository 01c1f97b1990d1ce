-- Ids are text made by us, times are microseconds since 1970 in UTC (0: never), JSON is opaque to SQL, booleans are 0 and 1.

-- Upgrade: online
-- +goose Up

-- What there is one of: the key ring's id, the admin key's hash.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Counters that grow with every change of what they name, so that others need not read it to see that it is the same.
CREATE TABLE versions (
    name    TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT;
INSERT INTO versions (name, version) VALUES ('keys', 1), ('prices', 1);

CREATE TABLE orgs (
    name    TEXT NOT NULL PRIMARY KEY,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE projects (
    id        TEXT NOT NULL PRIMARY KEY,
    org       TEXT NOT NULL REFERENCES orgs (name),
    name      TEXT NOT NULL,
    labels    TEXT NOT NULL, -- JSON
    bodies    TEXT NOT NULL,
    retention INTEGER NOT NULL, -- microseconds
    strict    INTEGER NOT NULL,
    created   INTEGER NOT NULL,
    UNIQUE (org, name)
) STRICT;

-- "keys" would need quotes in some engines, and so would "key" and "user".
CREATE TABLE api_keys (
    id        TEXT NOT NULL PRIMARY KEY,
    project   TEXT NOT NULL REFERENCES projects (id),
    name      TEXT NOT NULL,
    prefix    TEXT NOT NULL,
    hash      BLOB NOT NULL UNIQUE,
    role      TEXT NOT NULL,
    models    TEXT NOT NULL, -- JSON
    created   INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    revoked   INTEGER NOT NULL,
    replaces  TEXT NOT NULL,
    last_used INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX api_keys_live_name ON api_keys (project, name) WHERE revoked = 0;

CREATE TABLE prices (
    provider TEXT NOT NULL,
    model    TEXT NOT NULL,
    price    TEXT NOT NULL, -- JSON
    set_at   INTEGER NOT NULL,
    source   TEXT NOT NULL,
    PRIMARY KEY (provider, model)
) STRICT;

-- How far each journal has been read into the tables below.
CREATE TABLE journals (
    id         TEXT NOT NULL PRIMARY KEY,
    read_up_to INTEGER NOT NULL
) STRICT;

-- The texts that exchanges have in common, each once: ids of tenants, names of models, targets, users, tags. Number 0 is "".
CREATE TABLE names (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO names (id, name) VALUES (0, '');

-- What is filtered and summed of an exchange. The columns from org to error are numbers of names. seq counts exchanges in
-- the order in which they were written. Rows are short, because sums read all of them.
CREATE TABLE exchanges (
    seq          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    time         INTEGER NOT NULL,
    org          INTEGER NOT NULL,
    project      INTEGER NOT NULL,
    key_id       INTEGER NOT NULL,
    end_user     INTEGER NOT NULL,
    model        INTEGER NOT NULL,
    target       INTEGER NOT NULL,
    op           INTEGER NOT NULL,
    error        INTEGER NOT NULL,
    status       INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    stream       INTEGER NOT NULL,
    input        INTEGER NOT NULL,
    output       INTEGER NOT NULL,
    cached_input INTEGER NOT NULL,
    cache_write  INTEGER NOT NULL,
    reasoning    INTEGER NOT NULL,
    estimated    INTEGER NOT NULL,
    cost_nano    INTEGER NOT NULL,
    unpriced     INTEGER NOT NULL,
    total_ns     INTEGER NOT NULL,
    first_ns     INTEGER NOT NULL
) STRICT;

-- The whole record, which is what is read back. It is apart from the columns that are summed.
CREATE TABLE exchange_records (
    seq    INTEGER PRIMARY KEY,
    record BLOB NOT NULL -- JSON
) STRICT;

CREATE TABLE exchange_tags (
    seq INTEGER NOT NULL,
    tag INTEGER NOT NULL,
    PRIMARY KEY (seq, tag)
) STRICT, WITHOUT ROWID;

-- Exchanges are looked for block by block of 1,024 numbers. These two say what may be in a block, so that most are
-- skipped. Indexes on the columns themselves would cost more at each write than the row.
CREATE TABLE exchange_blocks (
    block      INTEGER PRIMARY KEY,
    first_time INTEGER NOT NULL,
    last_time  INTEGER NOT NULL
) STRICT;
CREATE TABLE exchange_block_names (
    name  INTEGER NOT NULL,
    block INTEGER NOT NULL,
    PRIMARY KEY (name, block)
) STRICT, WITHOUT ROWID;
