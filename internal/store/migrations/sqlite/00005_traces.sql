-- Upgrade: reads every exchange for an index, a second per million; disk 10% of exchanges
-- +goose Up

-- The trace that a caller said the exchange is part of, 16 bytes; NULL if it said nothing: such an exchange is its own trace,
-- whose id its own id gives. So only those that have a trace of others pay for the index.
ALTER TABLE exchanges ADD COLUMN trace BLOB;
CREATE INDEX exchanges_trace ON exchanges (trace) WHERE trace IS NOT NULL;
