-- Upgrade: online
-- +goose Up

-- The keys under which people sent corrections, so that one which is sent again, after an answer that was lost, is booked once.
CREATE TABLE ledger_corrections (
    id    TEXT NOT NULL PRIMARY KEY,
    entry INTEGER NOT NULL -- seq of the entry that it made
) STRICT;
