-- Tables of the conductor's store, version 2.
--
-- Each row has a few readable columns for what people search by, and `body`: the whole record
-- but for its key, in the store's own encoding. The body is what the conductor reads. Times are
-- milliseconds since 1970 in UTC; `views.sql` spells them out. What changes here needs a version
-- and a step from the one before.
--
-- No STRICT tables: the sqlite3 of older distributions must be able to read this.
-- WITHOUT ROWID where rows are small and found by their key. What may be large (pieces, ends)
-- is appended in the order of writing and found through an index of keys.

CREATE TABLE meta (
    key         TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

CREATE TABLE flows (
    id           INTEGER PRIMARY KEY,
    name         TEXT,
    state        TEXT NOT NULL,
    alive        INTEGER NOT NULL,
    audience     TEXT NOT NULL,
    request      BLOB NOT NULL,
    submitted_at INTEGER NOT NULL,
    ended_at     INTEGER,
    cancelled_by TEXT,
    paused_by    TEXT,
    retry_of     INTEGER,
    body         BLOB NOT NULL
);
CREATE INDEX flows_alive ON flows (id) WHERE alive = 1;
CREATE INDEX flows_audience ON flows (audience);
CREATE INDEX flows_request ON flows (audience, request);

CREATE TABLE spec (
    flow  INTEGER NOT NULL,
    piece INTEGER NOT NULL,
    body  BLOB NOT NULL,
    PRIMARY KEY (flow, piece)
);

CREATE TABLE jobs (
    flow       INTEGER NOT NULL,
    slot       INTEGER NOT NULL,
    job        INTEGER NOT NULL,
    name       TEXT NOT NULL,
    score      TEXT NOT NULL,
    state      TEXT NOT NULL,
    tasks      INTEGER NOT NULL,
    ok         INTEGER NOT NULL,
    failures   INTEGER NOT NULL,
    started_at INTEGER,
    ended_at   INTEGER,
    body       BLOB NOT NULL,
    PRIMARY KEY (flow, slot, job)
) WITHOUT ROWID;

CREATE TABLE targets (
    flow  INTEGER NOT NULL,
    slot  INTEGER NOT NULL,
    job   INTEGER NOT NULL,
    piece INTEGER NOT NULL,
    body  BLOB NOT NULL,
    PRIMARY KEY (flow, slot, job, piece)
);

CREATE TABLE params (
    flow INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    job  INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (flow, slot, job)
);

CREATE TABLE tasks (
    flow       INTEGER NOT NULL,
    slot       INTEGER NOT NULL,
    job        INTEGER NOT NULL,
    idx        INTEGER NOT NULL,
    host       TEXT NOT NULL,
    state      TEXT NOT NULL,
    attempt    INTEGER NOT NULL,
    exit       INTEGER,
    signal     INTEGER,
    sent_at    INTEGER,
    started_at INTEGER,
    ended_at   INTEGER,
    body       BLOB NOT NULL,
    PRIMARY KEY (flow, slot, job, idx)
) WITHOUT ROWID;
-- By job first, so that a job's writes stay together.
CREATE INDEX tasks_host ON tasks (flow, slot, job, host);

CREATE TABLE ends (
    flow    INTEGER NOT NULL,
    slot    INTEGER NOT NULL,
    job     INTEGER NOT NULL,
    host    TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    late    INTEGER NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (flow, slot, job, host, attempt)
);

CREATE TABLE players (
    host         TEXT PRIMARY KEY,
    last_order   INTEGER NOT NULL,
    detached_at  INTEGER,
    removed      INTEGER NOT NULL,
    drained_by   TEXT,
    drain_reason TEXT,
    drained_at   INTEGER,
    body         BLOB NOT NULL
) WITHOUT ROWID;

-- Hosts that keep their cells. `order_number` is the order of the task that left them so.
CREATE TABLE holds (
    host         TEXT PRIMARY KEY,
    flow         INTEGER NOT NULL,
    slot         INTEGER NOT NULL,
    job          INTEGER NOT NULL,
    order_number INTEGER NOT NULL,
    state        TEXT NOT NULL,
    since        INTEGER NOT NULL,
    body         BLOB NOT NULL
) WITHOUT ROWID;

-- Flows that are gone, whose pieces are still in the other tables: nobody shall see them.
CREATE TABLE pruned (
    flow INTEGER PRIMARY KEY
);
