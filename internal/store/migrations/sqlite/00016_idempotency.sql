-- Upgrade: online
-- +goose Up

-- Idempotency keys: which exchange has each, and the answer that it ended with, compressed and sealed. Key and request are hashes.
-- Times are microseconds by this database's clock.
CREATE TABLE idempotency_keys (
    project  TEXT NOT NULL, -- id
    key      TEXT NOT NULL,
    request  TEXT NOT NULL,
    exchange TEXT NOT NULL, -- id
    made     INTEGER NOT NULL,
    lease    INTEGER NOT NULL, -- until when a claim that runs is not lost
    state    INTEGER NOT NULL DEFAULT 0, -- 0 runs, 1 is answered, 2 is not kept, 3 is lost
    data_key TEXT NOT NULL DEFAULT '', -- id of the key that sealed it, empty without an answer
    sealed   BLOB,
    PRIMARY KEY (project, key)
) STRICT;
CREATE INDEX idempotency_keys_time ON idempotency_keys (project, made);
CREATE INDEX idempotency_keys_exchange ON idempotency_keys (exchange) WHERE state = 0;
CREATE INDEX idempotency_keys_key ON idempotency_keys (data_key) WHERE data_key <> '';
