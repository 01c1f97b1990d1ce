-- Upgrade: online
-- +goose Up

-- Grows with every change of a limit, as those of budgets and tiers do, so that nobody overwrites what somebody else has just set.
ALTER TABLE limits ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
