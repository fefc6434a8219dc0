-- Tables of the conductor's store, version 1.
--
-- Each row has a few readable columns for what people search by, and `body`: the whole record
-- but for its key, in the store's own encoding. The body is what the conductor reads. Times are
-- milliseconds since 1970 in UTC; the views at the end spell them out.
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
    host        TEXT PRIMARY KEY,
    last_order  INTEGER NOT NULL,
    detached_at INTEGER,
    removed     INTEGER NOT NULL,
    body        BLOB NOT NULL
) WITHOUT ROWID;

-- For people:
--   SELECT * FROM task_list WHERE host = 'db3' ORDER BY started;
--   SELECT * FROM flow_list WHERE audience = 'alice' AND submitted >= '2026-11-01';

CREATE VIEW flow_list AS
SELECT id AS flow, name, state, audience,
       datetime(submitted_at / 1000, 'unixepoch') AS submitted,
       datetime(ended_at / 1000, 'unixepoch') AS ended,
       cancelled_by
FROM flows;

CREATE VIEW job_list AS
SELECT flow || '.' || slot || '.' || job AS id, name, score, state, tasks, ok, failures,
       datetime(started_at / 1000, 'unixepoch') AS started,
       datetime(ended_at / 1000, 'unixepoch') AS ended
FROM jobs;

CREATE VIEW task_list AS
SELECT t.flow || '.' || t.slot || '.' || t.job || '@' || t.host AS id,
       f.audience, j.name AS job, j.score, t.host, t.state, t.attempt, t.exit, t.signal,
       datetime(t.sent_at / 1000, 'unixepoch') AS sent,
       datetime(t.started_at / 1000, 'unixepoch') AS started,
       datetime(t.ended_at / 1000, 'unixepoch') AS ended
FROM tasks AS t
JOIN jobs AS j ON j.flow = t.flow AND j.slot = t.slot AND j.job = t.job
JOIN flows AS f ON f.id = t.flow;

CREATE VIEW player_list AS
SELECT host, last_order, removed,
       datetime(detached_at / 1000, 'unixepoch') AS detached
FROM players;
