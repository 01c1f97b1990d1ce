-- Upgrade: online
-- +goose Up

-- Whether the exchange has a try of which it is not known what it cost. No PostgreSQL database is older than this column.
ALTER TABLE exchanges ADD COLUMN cost_unknown BIGINT NOT NULL DEFAULT 0;
