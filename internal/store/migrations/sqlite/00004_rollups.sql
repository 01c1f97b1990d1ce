-- Upgrade: reads every exchange, some seconds per million; disk 10% of exchanges
-- +goose Up

-- Sums of exchanges, so that a month is read from some thousand rows and not from a million. A level is what is summed
-- over, and by what: see rollup.go; start counts spans of the level's length since 1970; columns by which the level does
-- not tell apart are 0. It is in no order but that of its key.
CREATE TABLE usage_sums (
    level        INTEGER NOT NULL,
    start        INTEGER NOT NULL,
    org          INTEGER NOT NULL,
    project      INTEGER NOT NULL,
    key_id       INTEGER NOT NULL,
    model        INTEGER NOT NULL,
    target       INTEGER NOT NULL,
    end_user     INTEGER NOT NULL,
    tag          INTEGER NOT NULL,
    requests     INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    input        INTEGER NOT NULL,
    output       INTEGER NOT NULL,
    cached_input INTEGER NOT NULL,
    cache_write  INTEGER NOT NULL,
    reasoning    INTEGER NOT NULL,
    estimated    INTEGER NOT NULL,
    cost_nano    INTEGER NOT NULL,
    unpriced     INTEGER NOT NULL,
    cost_unknown INTEGER NOT NULL,
    PRIMARY KEY (level, start, org, project, key_id, model, target, end_user, tag)
) STRICT, WITHOUT ROWID;

-- Histograms of how long exchanges took.
CREATE TABLE usage_latencies (
    level      INTEGER NOT NULL,
    start      INTEGER NOT NULL,
    project    INTEGER NOT NULL,
    model      INTEGER NOT NULL,
    target     INTEGER NOT NULL,
    histograms BLOB NOT NULL, -- usage.Latencies
    PRIMARY KEY (level, start, project, model, target)
) STRICT, WITHOUT ROWID;

-- Up to which exchange, itself included, the two tables above hold all. It changes in the transaction that changes them;
-- whoever sums reads the exchanges behind it one by one.
CREATE TABLE usage_summed (
    id  INTEGER NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO usage_summed (id, seq) VALUES (1, 0);

-- Penstock's own part of total_ns; -1 where it is not known: in records from before this column.
ALTER TABLE exchanges ADD COLUMN overhead_ns INTEGER NOT NULL DEFAULT -1;

-- Sums rely on it that nothing is below zero, which a confused provider may have reported.
UPDATE exchanges SET time = MAX(time, 0), input = MAX(input, 0), output = MAX(output, 0), cached_input = MAX(cached_input, 0),
    cache_write = MAX(cache_write, 0), reasoning = MAX(reasoning, 0), cost_nano = MAX(cost_nano, 0), total_ns = MAX(total_ns, 0),
    first_ns = MAX(first_ns, 0)
WHERE MIN(time, input, output, cached_input, cache_write, reasoning, cost_nano, total_ns, first_ns) < 0;
