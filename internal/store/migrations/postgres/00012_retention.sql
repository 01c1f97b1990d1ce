-- Upgrade: online
-- +goose Up

-- Exchanges that began before it may have been deleted; the sums of them are whole. 0: none was.
ALTER TABLE usage_summed ADD COLUMN purged_before BIGINT NOT NULL DEFAULT 0;

-- What no retention deletes anything of, until it is lifted. It is of a project or of an organisation, and there may be
-- several of one.
CREATE TABLE holds (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org     TEXT COLLATE "C" NOT NULL, -- '' where it is of a project
    project TEXT COLLATE "C" NOT NULL, -- id; '' where it is of an organisation
    reason  TEXT NOT NULL,
    by_key  TEXT NOT NULL,
    by_name TEXT NOT NULL,
    since   BIGINT NOT NULL
);
INSERT INTO versions (name, version) VALUES ('holds', 1) ON CONFLICT (name) DO NOTHING;
