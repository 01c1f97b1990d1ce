-- Upgrade: online
-- +goose Up

-- Sums as in usage_sums, in the order of users and tags, so that what one of them has used, by whatever else, is read from as
-- few rows as there are.
CREATE TABLE usage_details (
    level        INTEGER NOT NULL,
    end_user     INTEGER NOT NULL,
    tag          INTEGER NOT NULL,
    start        INTEGER NOT NULL,
    org          INTEGER NOT NULL,
    project      INTEGER NOT NULL,
    key_id       INTEGER NOT NULL,
    model        INTEGER NOT NULL,
    target       INTEGER NOT NULL,
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
    PRIMARY KEY (level, end_user, tag, start, org, project, key_id, model, target)
) STRICT, WITHOUT ROWID;

-- Up to which exchange these hold all, and the sums of projects by the hour and the day, as for those of schema 11.
INSERT INTO usage_summed (id, seq) VALUES (3, 0) ON CONFLICT DO NOTHING;
