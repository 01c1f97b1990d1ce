-- Upgrade: online
-- +goose Up

-- Idempotency keys: which exchange has each, and the answer that it ended with, compressed and sealed. Key and request are hashes.
-- Times are microseconds by this database's clock. The value is compressed already, so the server does not try.
CREATE TABLE idempotency_keys (
    project  TEXT COLLATE "C" NOT NULL, -- id
    key      TEXT COLLATE "C" NOT NULL,
    request  TEXT COLLATE "C" NOT NULL,
    exchange TEXT COLLATE "C" NOT NULL, -- id
    made     BIGINT NOT NULL,
    lease    BIGINT NOT NULL, -- until when a claim that runs is not lost
    state    BIGINT NOT NULL DEFAULT 0, -- 0 runs, 1 is answered, 2 is not kept, 3 is lost
    data_key TEXT COLLATE "C" NOT NULL DEFAULT '', -- id of the key that sealed it, empty without an answer
    sealed   BYTEA,
    PRIMARY KEY (project, key)
);
ALTER TABLE idempotency_keys ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE INDEX idempotency_keys_time ON idempotency_keys (project, made);
CREATE INDEX idempotency_keys_exchange ON idempotency_keys (exchange) WHERE state = 0;
CREATE INDEX idempotency_keys_key ON idempotency_keys (data_key) WHERE data_key <> '';
