-- Upgrade: online
-- +goose Up

-- Which replica does what only one may do at a time, and until when it may without saying that it lives.
CREATE TABLE leases (
    task     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder   TEXT COLLATE "C" NOT NULL,
    runs_out BIGINT NOT NULL
);
