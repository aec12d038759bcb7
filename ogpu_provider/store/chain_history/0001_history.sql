-- What the chain showed of everybody's tasks, read once. Addresses of tasks are their 20 bytes; times those of blocks.
-- Amounts and times that a stranger chose (uint256) are decimal text: SQLite integers end at 2^63.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Blocks that were read, without gaps in between; `hash` and `at` are those of the last one.
CREATE TABLE spans (
    first INTEGER PRIMARY KEY,
    last  INTEGER NOT NULL,
    hash  TEXT    NOT NULL,
    at    INTEGER NOT NULL
) STRICT;

CREATE TABLE sources (
    id      INTEGER PRIMARY KEY,
    address TEXT NOT NULL UNIQUE,
    params  TEXT
) STRICT;

-- In the chain's order: `place` is the block's number times 2^24, plus the log's index.
CREATE TABLE tasks (
    place   INTEGER PRIMARY KEY,
    address BLOB    NOT NULL UNIQUE,
    source  INTEGER NOT NULL REFERENCES sources (id),
    at      INTEGER NOT NULL,
    payment TEXT    NOT NULL,
    expiry  TEXT    NOT NULL
) STRICT;

-- Apart from the tasks: blocks may be read backwards in time, and a task's end before its publication.
CREATE TABLE fates (
    task         BLOB PRIMARY KEY,
    attempts     INTEGER NOT NULL DEFAULT 0,
    attempted_at INTEGER,
    responded_at INTEGER,
    response     BLOB,
    ended_at     INTEGER,
    "end"        INTEGER
) STRICT, WITHOUT ROWID;
