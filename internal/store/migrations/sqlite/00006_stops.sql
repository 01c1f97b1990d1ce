-- Upgrade: online
-- +goose Up

-- What an operator has stopped. With neither model nor project that is everything.
CREATE TABLE stops (
    id      TEXT NOT NULL PRIMARY KEY,
    model   TEXT NOT NULL, -- glob; '' is every model
    project TEXT NOT NULL, -- '' is every project
    reason  TEXT NOT NULL,
    by_key  TEXT NOT NULL,
    by_name TEXT NOT NULL,
    since   INTEGER NOT NULL,
    until   INTEGER NOT NULL, -- 0 is until it is lifted
    cut     INTEGER NOT NULL, -- whether exchanges that run are ended
    UNIQUE (model, project)
) STRICT;
INSERT INTO versions (name, version) VALUES ('stops', 1) ON CONFLICT (name) DO NOTHING;
