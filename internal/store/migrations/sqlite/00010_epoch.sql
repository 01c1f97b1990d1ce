-- Upgrade: online
-- +goose Up

-- How often the store was put back from a backup, and one. Whoever has seen another number works with a store that is not
-- this one any more.
INSERT INTO versions (name, version) VALUES ('epoch', 1) ON CONFLICT DO NOTHING;
