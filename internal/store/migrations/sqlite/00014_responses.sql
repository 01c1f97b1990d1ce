-- Upgrade: online
-- +goose Up

-- Responses that callers can go on from, with what was asked for each, compressed and sealed. The exchange says when: ids of
-- exchanges are in the order of time.
CREATE TABLE kept_responses (
    project  TEXT NOT NULL, -- id
    id       TEXT NOT NULL,
    exchange TEXT NOT NULL, -- id
    data_key TEXT NOT NULL, -- id of the key that sealed it
    sealed   BLOB NOT NULL,
    PRIMARY KEY (project, id)
) STRICT;
CREATE INDEX kept_responses_time ON kept_responses (project, exchange);
CREATE INDEX kept_responses_key ON kept_responses (data_key);

-- Which response an item is of, for callers that name items instead of sending them again.
CREATE TABLE kept_items (
    project  TEXT NOT NULL, -- id
    id       TEXT NOT NULL,
    response TEXT NOT NULL, -- id
    PRIMARY KEY (project, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_items_response ON kept_items (project, response);

-- 1 if nothing is kept that the project's callers could go on from.
ALTER TABLE projects ADD COLUMN stateless INTEGER NOT NULL DEFAULT 0;
