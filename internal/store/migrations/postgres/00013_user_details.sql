-- Upgrade: online
-- +goose Up

-- Sums as in usage_sums, in the order of users and tags, so that what one of them has used, by whatever else, is read from as
-- few rows as there are.
CREATE TABLE usage_details (
    level        BIGINT NOT NULL,
    end_user     BIGINT NOT NULL,
    tag          BIGINT NOT NULL,
    start        BIGINT NOT NULL,
    org          BIGINT NOT NULL,
    project      BIGINT NOT NULL,
    key_id       BIGINT NOT NULL,
    model        BIGINT NOT NULL,
    target       BIGINT NOT NULL,
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
    PRIMARY KEY (level, end_user, tag, start, org, project, key_id, model, target)
);

-- Up to which exchange these hold all, and the sums of projects by the hour and the day, as for those of schema 11.
INSERT INTO usage_summed (id, seq) VALUES (3, 0) ON CONFLICT DO NOTHING;
