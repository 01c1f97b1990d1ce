-- Upgrade: online
-- +goose Up
-- Where a project's calls may go: globs on regions as a JSON list, '' for anywhere; 1 if only to one's own servers.
ALTER TABLE projects ADD COLUMN regions TEXT NOT NULL DEFAULT '';
ALTER TABLE projects ADD COLUMN private_only BIGINT NOT NULL DEFAULT 0;
