-- The gateway's own file. Amounts are decimal text: SQLite integers end at 2^63.

-- include sending/0001_outbox.sql

CREATE TABLE models (
    id          TEXT PRIMARY KEY,
    source      TEXT NOT NULL,
    function    TEXT NOT NULL,
    price       TEXT NOT NULL,
    description TEXT NOT NULL,
    auto_confirm INTEGER NOT NULL,
    environments TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    digest     TEXT NOT NULL UNIQUE,
    tier       TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    day_budget TEXT,
    created_at REAL NOT NULL,
    revoked_at REAL,
    address    TEXT UNIQUE,
    secrets    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Sign-ins with a wallet: messages to be signed, and tokens of those who did.
CREATE TABLE challenges (nonce TEXT PRIMARY KEY, message TEXT NOT NULL, expires_at REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (
    digest     TEXT PRIMARY KEY,
    key        TEXT NOT NULL REFERENCES keys (id),
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE orders (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    owner       TEXT    NOT NULL REFERENCES keys (id),
    model_id    TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    payment     TEXT    NOT NULL,
    expiry      INTEGER NOT NULL,
    max_seconds INTEGER NOT NULL,
    gpu_memory  TEXT    NOT NULL,
    config_url  TEXT    NOT NULL,
    created_at  REAL    NOT NULL,
    updated_at  REAL    NOT NULL,
    callback_url TEXT   NOT NULL,
    user_address TEXT   NOT NULL,
    pinned      INTEGER NOT NULL,
    address     TEXT,
    provider    TEXT,
    response    TEXT,
    result_url  TEXT    NOT NULL,
    refunded    INTEGER NOT NULL,
    code        TEXT    NOT NULL,
    reason      TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX orders_by_address ON orders (address) WHERE address IS NOT NULL;
CREATE INDEX orders_by_owner ON orders (owner, seq);
CREATE INDEX orders_by_day ON orders (owner, created_at);
CREATE INDEX orders_live ON orders (owner, seq) WHERE state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED');
CREATE INDEX orders_over ON orders (updated_at) WHERE state IN ('COMPLETED', 'FAILED', 'CANCELLED');
CREATE INDEX orders_unpinned ON orders (seq) WHERE pinned = 0 AND state = 'CREATED';

CREATE TABLE configs ("order" TEXT PRIMARY KEY REFERENCES orders (id), body BLOB NOT NULL) STRICT;
CREATE TABLE results ("order" TEXT PRIMARY KEY REFERENCES orders (id), body BLOB NOT NULL) STRICT;

-- How high the chain was when an order's end was read from it; `settled` once it was read again, deep enough.
CREATE TABLE ends (
    "order" TEXT PRIMARY KEY REFERENCES orders (id),
    height  INTEGER NOT NULL,
    settled INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX ends_by_height ON ends (height);
CREATE INDEX ends_open ON ends (height) WHERE NOT settled;

CREATE TABLE idempotency (
    owner       TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    "order"     TEXT NOT NULL REFERENCES orders (id),
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_order ON idempotency ("order");

-- The history of all orders; whoever follows it (webhooks, streams) keeps the last `seq` that it has seen.
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    "order" TEXT NOT NULL REFERENCES orders (id),
    owner   TEXT NOT NULL,
    at      REAL NOT NULL,
    kind    TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_order ON events ("order", seq);
CREATE INDEX events_by_owner ON events (owner, seq);

CREATE TABLE deliveries (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT    NOT NULL UNIQUE,
    owner   TEXT    NOT NULL,
    "order" TEXT    NOT NULL REFERENCES orders (id),
    url     TEXT    NOT NULL,
    kind    TEXT    NOT NULL,
    body    BLOB    NOT NULL,
    made_at REAL    NOT NULL,
    next_at REAL    NOT NULL,
    tries   INTEGER NOT NULL,
    state   TEXT    NOT NULL,
    answer  TEXT    NOT NULL
) STRICT;

CREATE INDEX deliveries_due ON deliveries (next_at) WHERE state = 'pending';
CREATE INDEX deliveries_by_order ON deliveries ("order");
CREATE INDEX deliveries_by_url ON deliveries (url, owner);

-- Endpoints that are told nothing any more.
CREATE TABLE disabled (
    owner TEXT NOT NULL,
    url   TEXT NOT NULL,
    at    REAL NOT NULL,
    why   TEXT NOT NULL,
    PRIMARY KEY (owner, url)
) STRICT, WITHOUT ROWID;
