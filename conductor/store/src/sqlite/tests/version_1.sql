-- A store as version 1 of the tables had it: a running flow of two jobs, one that failed, and the
-- beginning of a submission that a crash cut short. Written by the code of that version, and
-- never to be changed.

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

INSERT INTO meta VALUES('next_flow',4);
INSERT INTO meta VALUES('recovered',1);
INSERT INTO meta VALUES('store_id',X'11111111111111111111111111111111');
INSERT INTO meta VALUES('term',1);
INSERT INTO flows VALUES(1,NULL,'running',1,'alice',X'01010101010101010101010101010101',1700000000001,NULL,NULL,X'010a10010101010101010101010101010101011205616c696365220772756e6e696e672881d095ffbc31bf845682');
INSERT INTO flows VALUES(2,NULL,'failed',0,'alice',X'02020202020202020202020202020202',1700000000002,1700000000900,NULL,X'010a10020202020202020202020202020202021205616c69636522066661696c65642882d095ffbc313084d795ffbc31ea300c34');
INSERT INTO spec VALUES(1,0,X'010a07736c6f74733a20b77a5a86');
INSERT INTO spec VALUES(1,1,X'010a025b5d7143eedb');
INSERT INTO spec VALUES(3,0,X'010a07736c6f74733a20b77a5a86');
INSERT INTO spec VALUES(3,1,X'010a025b5d7143eedb');
INSERT INTO jobs VALUES(1,1,1,'job-1-1','restart-apache','running',100,0,0,1700000000001,NULL,X'010a076a6f622d312d31120e726573746172742d6170616368651864220772756e6e696e672881d095ffbc313a0777616974696e67420b0a0777616974696e67106433396a0c');
INSERT INTO jobs VALUES(1,2,1,'job-2-1','restart-apache','running',100,0,0,1700000000001,NULL,X'010a076a6f622d322d31120e726573746172742d6170616368651864220772756e6e696e672881d095ffbc313a0777616974696e67420b0a0777616974696e6710642037beb7');
INSERT INTO jobs VALUES(2,1,1,'job-1-1','restart-apache','failed',100,0,0,1700000000001,1700000000900,X'010a076a6f622d312d31120e726573746172742d617061636865186422066661696c65642881d095ffbc313084d795ffbc313a07736b6970706564420b0a0777616974696e671064cebf7b1e');
INSERT INTO jobs VALUES(3,1,1,'job-1-1','restart-apache','running',100,0,0,1700000000001,NULL,X'010a076a6f622d312d31120e726573746172742d6170616368651864220772756e6e696e672881d095ffbc313a0777616974696e67420b0a0777616974696e67106433396a0c');
INSERT INTO targets VALUES(1,1,1,0,X'010a0864625b302d39395dcde6afeb');
INSERT INTO targets VALUES(1,2,1,0,X'010a0864625b302d39395dcde6afeb');
INSERT INTO targets VALUES(3,1,1,0,X'010a0864625b302d39395dcde6afeb');
INSERT INTO params VALUES(1,1,1,unhex('010a8020' || hex(zeroblob(4096)) || '120f0a05746f6b656e1206736563726574d7114b0e'));
INSERT INTO tasks VALUES(1,1,1,0,'db0.east.example.com','sent',1,NULL,NULL,1700000000002,NULL,NULL,X'010a146462302e656173742e6578616d706c652e636f6d120473656e74180128013082d095ffbc31b378c5ef');
INSERT INTO tasks VALUES(1,1,1,1,'db1.east.example.com','sent',1,NULL,NULL,1700000000002,NULL,NULL,X'010a146462312e656173742e6578616d706c652e636f6d120473656e74180128023082d095ffbc319868d4ae');
INSERT INTO tasks VALUES(1,2,1,0,'db0.east.example.com','sent',1,NULL,NULL,1700000000002,NULL,NULL,X'010a146462302e656173742e6578616d706c652e636f6d120473656e74180128013082d095ffbc31b378c5ef');
INSERT INTO tasks VALUES(1,2,1,1,'db1.east.example.com','sent',1,NULL,NULL,1700000000002,NULL,NULL,X'010a146462312e656173742e6578616d706c652e636f6d120473656e74180128023082d095ffbc319868d4ae');
INSERT INTO tasks VALUES(2,1,1,0,'db0.east.example.com','failed',1,3,NULL,1700000000002,NULL,1700000000900,X'010a146462302e656173742e6578616d706c652e636f6d12066661696c6564180128013082d095ffbc314084d795ffbc314806363c3271');
INSERT INTO tasks VALUES(2,1,1,1,'db1.east.example.com','unreachable',0,NULL,NULL,NULL,NULL,1700000000900,X'010a146462312e656173742e6578616d706c652e636f6d120b756e726561636861626c654084d795ffbc31ad2c2d75');
INSERT INTO ends VALUES(1,1,1,'db1.east.example.com',1,0,X'011203656e64a9f3b68d');
INSERT INTO ends VALUES(1,2,1,'db1.east.example.com',1,0,X'011203656e64a9f3b68d');
INSERT INTO players VALUES('db1.east.example.com',12,NULL,0,X'010a1007070707070707070707070707070707100c3cd1c645');

PRAGMA application_id = 1332896616;
PRAGMA user_version = 1;
