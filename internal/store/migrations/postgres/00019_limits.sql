-- Upgrade: online
-- +goose Up

-- What callers may use: amounts of money or tokens in windows of time. '' of a scope's column is whatever it is; '*' of project,
-- api_key or end_user is each for itself.
CREATE TABLE budgets (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org      TEXT COLLATE "C" NOT NULL, -- name
    project  TEXT COLLATE "C" NOT NULL, -- id
    api_key  TEXT COLLATE "C" NOT NULL, -- id
    end_user TEXT COLLATE "C" NOT NULL,
    model    TEXT COLLATE "C" NOT NULL, -- glob
    unit     TEXT COLLATE "C" NOT NULL, -- usd, in nano-dollars, or tokens
    per      TEXT COLLATE "C" NOT NULL,
    starts   BIGINT NOT NULL, -- of a term; 0 else
    ends     BIGINT NOT NULL,
    amount   BIGINT NOT NULL,
    zone     TEXT COLLATE "C" NOT NULL,
    mode     TEXT COLLATE "C" NOT NULL,
    alerts   TEXT COLLATE "C" NOT NULL, -- JSON
    kept     TEXT COLLATE "C" NOT NULL, -- JSON
    version  BIGINT NOT NULL,
    set_at   BIGINT NOT NULL,
    UNIQUE (org, project, api_key, end_user, model, unit, per, starts)
);

-- So much a minute, or at once.
CREATE TABLE limits (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org      TEXT COLLATE "C" NOT NULL,
    project  TEXT COLLATE "C" NOT NULL,
    api_key  TEXT COLLATE "C" NOT NULL,
    end_user TEXT COLLATE "C" NOT NULL,
    model    TEXT COLLATE "C" NOT NULL,
    measure  TEXT COLLATE "C" NOT NULL,
    amount   BIGINT NOT NULL,
    mode     TEXT COLLATE "C" NOT NULL,
    set_at   BIGINT NOT NULL,
    UNIQUE (org, project, api_key, end_user, model, measure)
);

-- Named bundles of them.
CREATE TABLE tiers (
    name    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    terms   TEXT COLLATE "C" NOT NULL, -- JSON
    version BIGINT NOT NULL,
    set_at  BIGINT NOT NULL
);

-- Which project, key or end user of a project has which.
CREATE TABLE tier_assignments (
    project  TEXT COLLATE "C" NOT NULL,
    api_key  TEXT COLLATE "C" NOT NULL,
    end_user TEXT COLLATE "C" NOT NULL,
    tier     TEXT COLLATE "C" NOT NULL,
    set_at   BIGINT NOT NULL,
    PRIMARY KEY (project, api_key, end_user)
);
CREATE INDEX tier_assignments_tier ON tier_assignments (tier);

-- How windows of a budget stand is asked for with the newest first.
CREATE INDEX budget_pools_windows ON budget_pools (rule, start);

INSERT INTO versions (name, version) VALUES ('limits', 1) ON CONFLICT (name) DO NOTHING;
