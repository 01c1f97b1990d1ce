-- Upgrade: online
-- +goose Up

-- What was asked and answered in an exchange, compressed and sealed: apart from the exchanges, so that a search never reads
-- it. Ids of exchanges are in the order of time, so the key is also how a project's oldest are found. The value is
-- compressed already, so the server does not try.
CREATE TABLE exchange_bodies (
    project  TEXT COLLATE "C" NOT NULL, -- id
    exchange TEXT COLLATE "C" NOT NULL, -- id
    data_key TEXT COLLATE "C" NOT NULL, -- id of the key that sealed it
    sealed   BYTEA NOT NULL,
    PRIMARY KEY (project, exchange)
);
ALTER TABLE exchange_bodies ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE INDEX exchange_bodies_key ON exchange_bodies (data_key);
