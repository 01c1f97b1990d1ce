-- Upgrade: online
-- +goose Up

-- What is known later of exchanges that had a try whose end was unknown: 1 in settled once all of those are settled, and what they
-- came to together, in nano-dollars, which is not in cost_nano. The same in sums; null is nothing.
ALTER TABLE exchange_extras ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE exchange_extras ADD COLUMN settled_nano INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_sums ADD COLUMN settled INTEGER;
ALTER TABLE usage_sums ADD COLUMN settled_nano INTEGER;
ALTER TABLE usage_details ADD COLUMN settled INTEGER;
ALTER TABLE usage_details ADD COLUMN settled_nano INTEGER;

-- Whether that is in these tables. Versions that do not know of it settle without.
ALTER TABLE ledger_unknowns ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;
CREATE INDEX ledger_unknowns_uncounted ON ledger_unknowns (entry) WHERE settled <> 0 AND counted = 0;
