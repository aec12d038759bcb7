CREATE TABLE cursor (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    number INTEGER NOT NULL,
    hash   TEXT    NOT NULL
) STRICT;
INSERT INTO "cursor" VALUES(1,12,'0x0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c');
CREATE TABLE inputs (
    task TEXT PRIMARY KEY REFERENCES tasks (address),
    data TEXT NOT NULL
) STRICT;
INSERT INTO "inputs" VALUES('0xa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1','{"a": 1}');
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
INSERT INTO "intents" VALUES(1,'1071:attempt:0xa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1','attempt','0xa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1','0x9999999999999999999999999999999999999999',X'84895F34','0',1700003000.0,'sent',3,'0x7777777777777777777777777777777777777777777777777777777777777777',NULL,NULL,NULL,NULL,1700000003.0,1700000004.5);
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
INSERT INTO "journal" VALUES(1,'0xa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1',1700000000.0,NULL,'seen','boot-1','[]','{}');
INSERT INTO "journal" VALUES(2,'0xa2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2',1700000001.0,NULL,'seen','','[]','{}');
INSERT INTO "journal" VALUES(3,'0xa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1',1700000003.0,'seen','admitted','boot-1','[]','{"function": "multiply", "slots": 1, "devices": ["GPU-1"], "environment": 2, "delivery": 1, "intent": "1071:attempt:0xa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"}');
INSERT INTO "journal" VALUES(4,'0xa2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2',1700000003.5,'seen','declined','boot-1','[["payment.below_floor", "0 wei is below the floor of 1 wei"]]','{}');
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('chain_id','1071');
INSERT INTO "meta" VALUES('provider','0x1111111111111111111111111111111111111111');
CREATE TABLE results (
    task TEXT PRIMARY KEY REFERENCES tasks (address),
    body BLOB NOT NULL,
    at   REAL NOT NULL
) STRICT;
INSERT INTO "results" VALUES('0xa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1',X'7B22726573756C74223A20327D',1700000005.0);
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
INSERT INTO "signed" VALUES(1,'0x7777777777777777777777777777777777777777777777777777777777777777','1071:attempt:0xa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1',3,X'02726177',200000,'3000000000','1000000000',1700000004.0,0);
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
INSERT INTO "sources" VALUES('0x5050505050505050505050505050505050505050','ready','sample',2,1,'{"address": "0x5050505050505050505050505050505050505050", "client": "0xc1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1", "metadata_url": "https://example.org/m.json", "environments": [1, 2], "min_payment": 1000000000000000000, "min_available_lockup": 1000000000000000000000, "max_expiry_duration": 86400, "delivery": 1, "last_update": 1699999999, "status": 0}','abababababababababababababababababababababababababababababababab','["GPU-1"]',4294967296,'','',1700000000.0);
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
INSERT INTO "tasks" VALUES(1,'0xa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1','0x5050505050505050505050505050505050505050','admitted',11,1700000000.0,1,'boot-1',1700000003.0,0,'10000000000000000000','1700003600','https://example.org/config.json',1,2,'multiply',1,'["GPU-1"]',0.0,0,0.0,'','',NULL,NULL,'','',NULL);
INSERT INTO "tasks" VALUES(2,'0xa2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2','0x5050505050505050505050505050505050505050','declined',11,1700000001.0,1,'boot-1',1700000003.5,0,'0','0','',NULL,NULL,'',0,'[]',0.0,0,0.0,'','',NULL,NULL,'payment.below_floor','0 wei is below the floor of 1 wei',NULL);
CREATE TABLE wishes (
    subject TEXT PRIMARY KEY,
    wish    TEXT NOT NULL,
    at      REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE approvals (
    source      TEXT PRIMARY KEY,
    sha256      TEXT    NOT NULL,
    at          REAL    NOT NULL,
    images      TEXT    NOT NULL,
    waived      TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    by_operator INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "approvals" VALUES('0x5050505050505050505050505050505050505050','aa',1700000004.0,'["x/y:1"]','["compose.shm_size"]','large models',1);
INSERT INTO "wishes" VALUES('pause','pause',1700000005.0);
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
INSERT INTO "learnt" VALUES('run','0x5050505050505050505050505050505050505050','multiply',2,1.5,'[1.5, 0.5]',1700000006.0);
INSERT INTO "cordons" VALUES(1,'GPU-1','NVIDIA RTX 4090','gpu.xid','Xid 79',1700000007.0,1700000008.0,'test');
INSERT INTO "cordons" VALUES(2,'GPU-1','NVIDIA RTX 4090','gpu.xid','Xid 79',1700000009.0,NULL,'');
CREATE INDEX tasks_live ON tasks (seq)
    WHERE state NOT IN ('settled', 'lost', 'declined', 'failed', 'expired', 'canceled');
CREATE INDEX tasks_by_source ON tasks (source, seq);
CREATE INDEX journal_by_task ON journal (task, seq);
CREATE INDEX intents_open ON intents (seq) WHERE state NOT IN ('confirmed', 'reverted', 'abandoned');
CREATE INDEX intents_paid ON intents (updated_at)
    WHERE state IN ('confirmed', 'reverted', 'abandoned') AND gas_used IS NOT NULL;
CREATE INDEX intents_by_subject ON intents (subject, seq);
CREATE INDEX signed_by_intent ON signed (intent_key, seq);
CREATE INDEX signed_by_nonce ON signed (nonce);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tasks',2);
INSERT INTO "sqlite_sequence" VALUES('journal',4);
INSERT INTO "sqlite_sequence" VALUES('intents',1);
INSERT INTO "sqlite_sequence" VALUES('signed',1);
INSERT INTO "sqlite_sequence" VALUES('cordons',2);
