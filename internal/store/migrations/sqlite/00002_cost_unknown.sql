-- Upgrade: reads every record of an exchange, a minute per 10 million; disk 10% of exchanges
-- +goose Up

-- Whether the exchange has a try of which it is not known what it cost. Those before this column are found in their records,
-- which are compact: inside of a text, the quotes would have backslashes before them.
ALTER TABLE exchanges ADD COLUMN cost_unknown INTEGER NOT NULL DEFAULT 0;
UPDATE exchanges SET cost_unknown = 1 WHERE seq IN (
    SELECT seq FROM exchange_records WHERE instr(record, CAST('"outcome":"unknown"' AS BLOB)) > 0
);
