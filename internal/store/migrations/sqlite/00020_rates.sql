-- Upgrade: online
-- +goose Up

-- What replicas hold of what is counted a minute or at once: the sum of an amount is never over its limit. Times are the database's own.
CREATE TABLE rate_holders (
    holder  TEXT NOT NULL PRIMARY KEY, -- one run of a process
    since   INTEGER NOT NULL, -- it has renewed all the while from then on
    renewed INTEGER NOT NULL,
    gone    INTEGER NOT NULL -- 1: it must not use what it holds, which counts for a while yet
) STRICT;
CREATE TABLE rate_shares (
    rule    TEXT NOT NULL,
    subject TEXT NOT NULL,
    measure TEXT NOT NULL,
    holder  TEXT NOT NULL,
    amount  INTEGER NOT NULL,
    keeps   INTEGER NOT NULL, -- how long after its holder's last renewal it counts, if that is gone
    back    INTEGER NOT NULL, -- when some of it may be given back, 0 if that is not known
    PRIMARY KEY (rule, subject, measure, holder)
) STRICT;
CREATE INDEX rate_shares_holder ON rate_shares (holder);
-- What somebody lacked, and when.
CREATE TABLE rate_wants (
    rule    TEXT NOT NULL,
    subject TEXT NOT NULL,
    measure TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (rule, subject, measure)
) STRICT;
CREATE INDEX rate_wants_at ON rate_wants (at);
