-- What whoever sends transactions has, the provider's journal and the gateway's file: whose file this is, how far the
-- chain was read, what is to be sent, and what was signed for it. Amounts are decimal text: SQLite integers end at 2^63.
-- What is released stays as it is: a change is a new file here, and a new migration of both that includes it.

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE cursor (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    number INTEGER NOT NULL,
    hash   TEXT    NOT NULL
) STRICT;

CREATE TABLE intents (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    key          TEXT NOT NULL UNIQUE,
    effect       TEXT NOT NULL,
    subject      TEXT NOT NULL,
    "to"         TEXT NOT NULL,
    data         BLOB NOT NULL,
    value        TEXT NOT NULL,
    deadline     REAL,
    state        TEXT NOT NULL,
    nonce        INTEGER,
    tx_hash      TEXT,
    block_number INTEGER,
    block_hash   TEXT,
    gas_used     INTEGER,
    fee_paid     TEXT,
    planned_at   REAL NOT NULL,
    updated_at   REAL NOT NULL
) STRICT;

CREATE INDEX intents_open ON intents (seq) WHERE state NOT IN ('confirmed', 'reverted', 'abandoned');
CREATE INDEX intents_paid ON intents (updated_at)
    WHERE state IN ('confirmed', 'reverted', 'abandoned') AND gas_used IS NOT NULL;
CREATE INDEX intents_by_subject ON intents (subject, seq);

CREATE TABLE signed (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    hash       TEXT    NOT NULL UNIQUE,
    intent_key TEXT    NOT NULL REFERENCES intents (key),
    nonce      INTEGER NOT NULL,
    raw        BLOB    NOT NULL,
    gas        INTEGER NOT NULL,
    max_fee    TEXT    NOT NULL,
    tip_fee    TEXT,
    signed_at  REAL    NOT NULL,
    void       INTEGER NOT NULL
) STRICT;

CREATE INDEX signed_by_intent ON signed (intent_key, seq);
CREATE INDEX signed_by_nonce ON signed (nonce);
