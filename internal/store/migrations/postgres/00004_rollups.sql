-- Upgrade: online
-- +goose Up

-- Sums of exchanges, so that a month is read from some thousand rows and not from a million. A level is what is summed
-- over, and by what: see rollup.go; start counts spans of the level's length since 1970; columns by which the level does
-- not tell apart are 0. It is in no order but that of its key.
CREATE TABLE usage_sums (
    level        BIGINT NOT NULL,
    start        BIGINT NOT NULL,
    org          BIGINT NOT NULL,
    project      BIGINT NOT NULL,
    key_id       BIGINT NOT NULL,
    model        BIGINT NOT NULL,
    target       BIGINT NOT NULL,
    end_user     BIGINT NOT NULL,
    tag          BIGINT NOT NULL,
    requests     BIGINT NOT NULL,
    failed       BIGINT NOT NULL,
    input        BIGINT NOT NULL,
    output       BIGINT NOT NULL,
    cached_input BIGINT NOT NULL,
    cache_write  BIGINT NOT NULL,
    reasoning    BIGINT NOT NULL,
    estimated    BIGINT NOT NULL,
    cost_nano    BIGINT NOT NULL,
    unpriced     BIGINT NOT NULL,
    cost_unknown BIGINT NOT NULL,
    PRIMARY KEY (level, start, org, project, key_id, model, target, end_user, tag)
);

-- Histograms of how long exchanges took.
CREATE TABLE usage_latencies (
    level      BIGINT NOT NULL,
    start      BIGINT NOT NULL,
    project    BIGINT NOT NULL,
    model      BIGINT NOT NULL,
    target     BIGINT NOT NULL,
    histograms BYTEA NOT NULL, -- usage.Latencies
    PRIMARY KEY (level, start, project, model, target)
);

-- Up to which exchange, itself included, the two tables above hold all. It changes in the transaction that changes them;
-- whoever sums reads the exchanges behind it one by one.
CREATE TABLE usage_summed (
    id  BIGINT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL
);
INSERT INTO usage_summed (id, seq) VALUES (1, 0);

-- Penstock's own part of total_ns; -1 where it is not known: in records from before this column.
ALTER TABLE exchanges ADD COLUMN overhead_ns BIGINT NOT NULL DEFAULT -1;
