-- Upgrade: online
-- +goose Up

-- What callers may use: amounts of money or tokens in windows of time. '' of a scope's column is whatever it is; '*' of project,
-- api_key or end_user is each for itself.
CREATE TABLE budgets (
    id       TEXT NOT NULL PRIMARY KEY,
    org      TEXT NOT NULL, -- name
    project  TEXT NOT NULL, -- id
    api_key  TEXT NOT NULL, -- id
    end_user TEXT NOT NULL,
    model    TEXT NOT NULL, -- glob
    unit     TEXT NOT NULL, -- usd, in nano-dollars, or tokens
    per      TEXT NOT NULL,
    starts   INTEGER NOT NULL, -- of a term; 0 else
    ends     INTEGER NOT NULL,
    amount   INTEGER NOT NULL,
    zone     TEXT NOT NULL,
    mode     TEXT NOT NULL,
    alerts   TEXT NOT NULL, -- JSON
    kept     TEXT NOT NULL, -- JSON
    version  INTEGER NOT NULL,
    set_at   INTEGER NOT NULL,
    UNIQUE (org, project, api_key, end_user, model, unit, per, starts)
) STRICT;

-- So much a minute, or at once.
CREATE TABLE limits (
    id       TEXT NOT NULL PRIMARY KEY,
    org      TEXT NOT NULL,
    project  TEXT NOT NULL,
    api_key  TEXT NOT NULL,
    end_user TEXT NOT NULL,
    model    TEXT NOT NULL,
    measure  TEXT NOT NULL,
    amount   INTEGER NOT NULL,
    mode     TEXT NOT NULL,
    set_at   INTEGER NOT NULL,
    UNIQUE (org, project, api_key, end_user, model, measure)
) STRICT;

-- Named bundles of them.
CREATE TABLE tiers (
    name    TEXT NOT NULL PRIMARY KEY,
    terms   TEXT NOT NULL, -- JSON
    version INTEGER NOT NULL,
    set_at  INTEGER NOT NULL
) STRICT;

-- Which project, key or end user of a project has which.
CREATE TABLE tier_assignments (
    project  TEXT NOT NULL,
    api_key  TEXT NOT NULL,
    end_user TEXT NOT NULL,
    tier     TEXT NOT NULL,
    set_at   INTEGER NOT NULL,
    PRIMARY KEY (project, api_key, end_user)
) STRICT;
CREATE INDEX tier_assignments_tier ON tier_assignments (tier);

-- How windows of a budget stand is asked for with the newest first.
CREATE INDEX budget_pools_windows ON budget_pools (rule, start);

INSERT INTO versions (name, version) VALUES ('limits', 1) ON CONFLICT (name) DO NOTHING;
