-- Upgrade: online; disk 10% of exchanges
-- +goose NO TRANSACTION
-- +goose Up

-- The trace that a caller said the exchange is part of, 16 bytes; NULL if it said nothing: such an exchange is its own trace,
-- whose id its own id gives. So only those that have a trace of others pay for the index.
ALTER TABLE exchanges ADD COLUMN IF NOT EXISTS trace BYTEA;

-- Nobody waits for the index while it is made. What an earlier attempt left half made goes first.
SET lock_timeout = '10min';
DROP INDEX CONCURRENTLY IF EXISTS exchanges_trace;
CREATE INDEX CONCURRENTLY exchanges_trace ON exchanges (trace) WHERE trace IS NOT NULL;
RESET lock_timeout;
