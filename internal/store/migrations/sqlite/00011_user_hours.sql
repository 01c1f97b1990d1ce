-- Upgrade: online
-- +goose Up

-- Up to which exchange the levels of usage_sums hold all that came with this schema: hours of users and tags, and days of
-- users over all projects. What lies there is summed up while Penstock serves, and until it is, these levels are not asked.
INSERT INTO usage_summed (id, seq) VALUES (2, 0) ON CONFLICT DO NOTHING;
