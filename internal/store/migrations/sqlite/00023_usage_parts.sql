-- Upgrade: online
-- +goose Up

-- What only few exchanges have, a row for each of those: the parts of their usage. Who has none costs nothing here.
CREATE TABLE exchange_extras (
    seq            INTEGER PRIMARY KEY,
    cache_write_1h INTEGER NOT NULL DEFAULT 0,
    cache_write_5m INTEGER NOT NULL DEFAULT 0,
    input_audio    INTEGER NOT NULL DEFAULT 0,
    cached_audio   INTEGER NOT NULL DEFAULT 0,
    output_audio   INTEGER NOT NULL DEFAULT 0,
    output_image   INTEGER NOT NULL DEFAULT 0,
    searches       INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The same in sums; null is nothing.
ALTER TABLE usage_sums ADD COLUMN cache_write_1h INTEGER;
ALTER TABLE usage_sums ADD COLUMN cache_write_5m INTEGER;
ALTER TABLE usage_sums ADD COLUMN input_audio INTEGER;
ALTER TABLE usage_sums ADD COLUMN cached_audio INTEGER;
ALTER TABLE usage_sums ADD COLUMN output_audio INTEGER;
ALTER TABLE usage_sums ADD COLUMN output_image INTEGER;
ALTER TABLE usage_sums ADD COLUMN searches INTEGER;
ALTER TABLE usage_details ADD COLUMN cache_write_1h INTEGER;
ALTER TABLE usage_details ADD COLUMN cache_write_5m INTEGER;
ALTER TABLE usage_details ADD COLUMN input_audio INTEGER;
ALTER TABLE usage_details ADD COLUMN cached_audio INTEGER;
ALTER TABLE usage_details ADD COLUMN output_audio INTEGER;
ALTER TABLE usage_details ADD COLUMN output_image INTEGER;
ALTER TABLE usage_details ADD COLUMN searches INTEGER;

-- Up to which exchange these columns of all levels hold all that is in exchange_extras: nothing is, as yet.
INSERT INTO usage_summed (id, seq) SELECT 4, seq FROM usage_summed WHERE id = 1 ON CONFLICT DO NOTHING;

-- The last exchange whose extras were written with it, or that is in a gap: what other versions wrote, of which extras are to
-- be found in the records only.
ALTER TABLE ledger_state ADD COLUMN extras INTEGER NOT NULL DEFAULT 0;
CREATE TABLE exchange_gaps (
    first INTEGER PRIMARY KEY,
    last  INTEGER NOT NULL
) STRICT;
