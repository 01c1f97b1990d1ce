-- Upgrade: online
-- +goose Up

-- The Penstocks that use this store, one row for each process: it writes it anew every few seconds and takes it away when it
-- stops. Times are the database's own, so that clocks that differ make nobody dead; clock_off is by how much a replica's
-- clock is ahead of it.
CREATE TABLE replicas (
    id        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name      TEXT NOT NULL, -- of the machine
    version   TEXT NOT NULL, -- of Penstock
    knows     BIGINT NOT NULL, -- the last migration that the version knows
    config    TEXT NOT NULL, -- version of the configuration in force
    started   BIGINT NOT NULL,
    seen      BIGINT NOT NULL,
    clock_off BIGINT NOT NULL
);
