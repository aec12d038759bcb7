-- Amounts and times that a stranger chose (uint256) are decimal text: SQLite integers end at 2^63.
-- Lists and structs are JSON. Times of ours are unix seconds.

-- include sending/0001_outbox.sql

CREATE TABLE tasks (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    address         TEXT    NOT NULL UNIQUE,
    source          TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    seen_block      INTEGER NOT NULL,
    seen_at         REAL    NOT NULL,
    version         INTEGER NOT NULL,
    boot            TEXT    NOT NULL,
    updated_at      REAL    NOT NULL,
    obliged         INTEGER NOT NULL,
    payment         TEXT    NOT NULL,
    expiry          TEXT    NOT NULL,
    config_url      TEXT    NOT NULL,
    delivery        INTEGER,
    environment     INTEGER,
    function        TEXT    NOT NULL,
    slots           INTEGER NOT NULL,
    devices         TEXT    NOT NULL,
    deadline        REAL    NOT NULL,
    dispatches      INTEGER NOT NULL,
    accepted_at     REAL    NOT NULL,
    cid             TEXT    NOT NULL,
    link            TEXT    NOT NULL,
    response        TEXT,
    finalized_block INTEGER,
    code            TEXT    NOT NULL,
    reason          TEXT    NOT NULL,
    bid             TEXT
) STRICT;

CREATE INDEX tasks_live ON tasks (seq)
    WHERE state NOT IN ('settled', 'lost', 'declined', 'failed', 'expired', 'canceled');
CREATE INDEX tasks_by_source ON tasks (source, seq);

-- The text of a task's input can be large; apart from the row, a step does not write it again.
CREATE TABLE inputs (
    task TEXT PRIMARY KEY REFERENCES tasks (address),
    data TEXT NOT NULL
) STRICT;

CREATE TABLE results (
    task TEXT PRIMARY KEY REFERENCES tasks (address),
    body BLOB NOT NULL,
    at   REAL NOT NULL
) STRICT;

CREATE TABLE journal (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    task    TEXT NOT NULL REFERENCES tasks (address),
    at      REAL NOT NULL,
    before  TEXT,
    after   TEXT NOT NULL,
    boot    TEXT NOT NULL,
    reasons TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT;

CREATE INDEX journal_by_task ON journal (task, seq);

CREATE TABLE sources (
    address        TEXT PRIMARY KEY,
    state          TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    environment    INTEGER,
    registered     INTEGER NOT NULL,
    params         TEXT,
    compose_sha256 TEXT    NOT NULL,
    devices        TEXT    NOT NULL,
    device_memory  INTEGER NOT NULL,
    code           TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    updated_at     REAL    NOT NULL
) STRICT;

-- What the operator asked for while the daemon ran: holds over a restart and goes before the settings.
CREATE TABLE wishes (
    subject TEXT PRIMARY KEY,
    wish    TEXT NOT NULL,
    at      REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Which compose file of a source may run, by hash, and the rules that the operator lifted for that very file.
CREATE TABLE approvals (
    source      TEXT PRIMARY KEY,
    sha256      TEXT    NOT NULL,
    at          REAL    NOT NULL,
    images      TEXT    NOT NULL,
    waived      TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    by_operator INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was measured here: `recent` holds the last samples. A PULL_RATE has no subject, most facts no aspect.
CREATE TABLE learnt (
    fact       TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    aspect     TEXT    NOT NULL,
    samples    INTEGER NOT NULL,
    highest    REAL    NOT NULL,
    recent     TEXT    NOT NULL,
    updated_at REAL    NOT NULL,
    PRIMARY KEY (fact, subject, aspect)
) STRICT, WITHOUT ROWID;

-- Cards that were taken out of use for their health: now, while `lifted_at` is null, and before.
CREATE TABLE cordons (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    card      TEXT NOT NULL,
    name      TEXT NOT NULL,
    code      TEXT NOT NULL,
    text      TEXT NOT NULL,
    at        REAL NOT NULL,
    lifted_at REAL,
    lifted_by TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX cordons_standing ON cordons (card) WHERE lifted_at IS NULL;
