-- Upgrade: online
-- +goose Up

-- What replicas hold of what is counted a minute or at once: the sum of an amount is never over its limit. Times are the database's own.
CREATE TABLE rate_holders (
    holder  TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- one run of a process
    since   BIGINT NOT NULL, -- it has renewed all the while from then on
    renewed BIGINT NOT NULL,
    gone    BIGINT NOT NULL -- 1: it must not use what it holds, which counts for a while yet
);
CREATE TABLE rate_shares (
    rule    TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    measure TEXT COLLATE "C" NOT NULL,
    holder  TEXT COLLATE "C" NOT NULL,
    amount  BIGINT NOT NULL,
    keeps   BIGINT NOT NULL, -- how long after its holder's last renewal it counts, if that is gone
    back    BIGINT NOT NULL, -- when some of it may be given back, 0 if that is not known
    PRIMARY KEY (rule, subject, measure, holder)
);
CREATE INDEX rate_shares_holder ON rate_shares (holder);
-- What somebody lacked, and when.
CREATE TABLE rate_wants (
    rule    TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    measure TEXT COLLATE "C" NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (rule, subject, measure)
);
CREATE INDEX rate_wants_at ON rate_wants (at);
