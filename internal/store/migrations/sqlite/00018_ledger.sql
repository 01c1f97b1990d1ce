-- Upgrade: online
-- +goose Up

-- What allows an amount that replicas share, such as a budget in one window: docs/adr/0015-leases-shrink-with-the-books.md. At
-- every commit, settled - overrun + held + unknown <= highest, and held is the sum of the leases whose state is not 1.
CREATE TABLE budget_pools (
    id      INTEGER PRIMARY KEY,
    rule    TEXT NOT NULL,
    subject TEXT NOT NULL,
    start   INTEGER NOT NULL,
    ends    INTEGER NOT NULL,
    version INTEGER NOT NULL, -- of the terms; -1 where what was spent came before them
    allowed INTEGER NOT NULL,
    highest INTEGER NOT NULL, -- the most that was allowed
    settled INTEGER NOT NULL,
    held    INTEGER NOT NULL,
    unknown INTEGER NOT NULL,
    overrun INTEGER NOT NULL,
    need    INTEGER NOT NULL, -- what a call has needed last
    wanted  INTEGER NOT NULL, -- when somebody did not get that last, by this database's clock; 0 is never
    UNIQUE (rule, subject, start)
) STRICT;
CREATE INDEX budget_pools_ends ON budget_pools (ends) WHERE ends > 0;
CREATE INDEX budget_pools_wanted ON budget_pools (wanted) WHERE wanted > 0;

-- The part of a pool that one process has. Of a lease of state 1 that somebody has settled by hand, amount is what is left of what
-- they said. State 2 is from before a restore: what was spent from it may be lost, so it waits for somebody to settle it.
CREATE TABLE budget_leases (
    id      TEXT NOT NULL PRIMARY KEY,
    pool    INTEGER NOT NULL REFERENCES budget_pools (id),
    journal TEXT NOT NULL,
    run     TEXT NOT NULL,
    amount  INTEGER NOT NULL,
    net     INTEGER NOT NULL, -- what it was granted less what it gave back, over all its trades
    state   INTEGER NOT NULL,
    renewed INTEGER NOT NULL
) STRICT;
CREATE INDEX budget_leases_pool ON budget_leases (pool);
CREATE INDEX budget_leases_journal ON budget_leases (journal);

-- Whose money it is (kind spend), and who gets it (kind owed). Columns only grow, but for what is pending.
CREATE TABLE ledger_accounts (
    id             INTEGER PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    kind           TEXT NOT NULL,
    org            TEXT NOT NULL,
    project        TEXT NOT NULL, -- id
    provider       TEXT NOT NULL,
    credential     INTEGER NOT NULL, -- which of the provider's, from 1; 0 if it has one
    debit_posted   INTEGER NOT NULL DEFAULT 0,
    credit_posted  INTEGER NOT NULL DEFAULT 0,
    debit_pending  INTEGER NOT NULL DEFAULT 0,
    credit_pending INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The ledger. Entries are only ever added.
CREATE TABLE ledger_entries (
    seq      INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL, -- when the try was sent, by the clock of records
    made     INTEGER NOT NULL, -- when the entry was
    kind     INTEGER NOT NULL, -- as in the package ledger
    debit    INTEGER NOT NULL, -- accounts; 0 where no money moves
    credit   INTEGER NOT NULL,
    amount   INTEGER NOT NULL, -- nano-dollars
    try      TEXT NOT NULL, -- id; of a lease's settlement the lease's
    exchange INTEGER NOT NULL, -- seq of the exchange, 0 where there is none; it may be gone
    target   INTEGER NOT NULL, -- number of a name
    settles  INTEGER NOT NULL, -- seq of the pending entry that it ends, 0 if none
    note     TEXT NOT NULL,
    moves    BLOB -- what moved in pools, for each its id and what was added to settled, unknown and overrun, as varints
) STRICT;
CREATE INDEX ledger_entries_at ON ledger_entries (at);
-- +goose StatementBegin
CREATE TRIGGER ledger_entries_stay BEFORE UPDATE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER ledger_entries_whole BEFORE DELETE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
-- +goose StatementEnd

-- Tries of which it is not known what they came to.
CREATE TABLE ledger_unknowns (
    entry      INTEGER PRIMARY KEY, -- the pending one
    try        TEXT NOT NULL, -- id
    at         INTEGER NOT NULL,
    org        TEXT NOT NULL,
    project    TEXT NOT NULL,
    target     TEXT NOT NULL,
    credential INTEGER NOT NULL,
    bound      INTEGER NOT NULL, -- nano-dollars
    reason     TEXT NOT NULL,
    charges    TEXT NOT NULL, -- JSON
    settled    INTEGER NOT NULL -- the entry that ended it, 0 as long as none has
) STRICT;
CREATE INDEX ledger_unknowns_try ON ledger_unknowns (try);
CREATE INDEX ledger_unknowns_open ON ledger_unknowns (at) WHERE settled = 0;

-- How far the books are: number of the last entry, and of the last exchange whose tries are in them.
CREATE TABLE ledger_state (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    entries   INTEGER NOT NULL,
    exchanges INTEGER NOT NULL
) STRICT;
INSERT INTO ledger_state (id, entries, exchanges) VALUES (1, 0, 0);
-- Exchanges that a version without a ledger wrote, so that nobody looks for their entries.
CREATE TABLE ledger_gaps (
    first INTEGER PRIMARY KEY,
    last  INTEGER NOT NULL
) STRICT;
