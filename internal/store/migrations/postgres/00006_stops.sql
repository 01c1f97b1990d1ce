-- Upgrade: online
-- +goose Up

-- What an operator has stopped. With neither model nor project that is everything.
CREATE TABLE stops (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    model   TEXT COLLATE "C" NOT NULL, -- glob; '' is every model
    project TEXT COLLATE "C" NOT NULL, -- '' is every project
    reason  TEXT NOT NULL,
    by_key  TEXT NOT NULL,
    by_name TEXT NOT NULL,
    since   BIGINT NOT NULL,
    until   BIGINT NOT NULL, -- 0 is until it is lifted
    cut     BIGINT NOT NULL, -- whether exchanges that run are ended
    UNIQUE (model, project)
);
INSERT INTO versions (name, version) VALUES ('stops', 1) ON CONFLICT (name) DO NOTHING;
