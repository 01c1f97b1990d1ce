-- Upgrade: online
-- +goose Up

-- What was asked and answered in an exchange, compressed and sealed: apart from the exchanges, so that a search never reads
-- it. Ids of exchanges are in the order of time, so the key is also how a project's oldest are found.
CREATE TABLE exchange_bodies (
    project  TEXT NOT NULL, -- id
    exchange TEXT NOT NULL, -- id
    data_key TEXT NOT NULL, -- id of the key that sealed it
    sealed   BLOB NOT NULL,
    PRIMARY KEY (project, exchange)
) STRICT;
CREATE INDEX exchange_bodies_key ON exchange_bodies (data_key);
