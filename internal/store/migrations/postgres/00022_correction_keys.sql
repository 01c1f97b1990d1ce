-- Upgrade: online
-- +goose Up

-- The keys under which people sent corrections, so that one which is sent again, after an answer that was lost, is booked once.
CREATE TABLE ledger_corrections (
    id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    entry BIGINT NOT NULL -- seq of the entry that it made
);
