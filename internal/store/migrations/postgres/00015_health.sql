-- Upgrade: online
-- +goose Up

-- Targets that fail and are not used for a while, and which replica may find out whether they are well, until when.
CREATE TABLE ejections (
    target      TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- PROVIDER/MODEL, or PROVIDER/MODEL@ADDRESS
    since       BIGINT NOT NULL,
    until       BIGINT NOT NULL,
    failing     BIGINT NOT NULL, -- since when
    reason      TEXT NOT NULL,
    instance    TEXT NOT NULL, -- which replica saw it
    probe_by    TEXT NOT NULL,
    probe_until BIGINT NOT NULL
);

-- What operators have disabled.
CREATE TABLE disabled_targets (
    name    TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- PROVIDER/MODEL, or PROVIDER
    reason  TEXT NOT NULL,
    by_key  TEXT NOT NULL,
    by_name TEXT NOT NULL,
    since   BIGINT NOT NULL,
    until   BIGINT NOT NULL -- 0 is until it is enabled
);
INSERT INTO versions (name, version) VALUES ('health', 1) ON CONFLICT (name) DO NOTHING;
