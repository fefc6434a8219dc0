-- Makes tables of version 2 of those of version 1, whose bodies read as they are. What was sent
-- before impacts were recorded counts as a change.

ALTER TABLE flows ADD COLUMN paused_by TEXT;
ALTER TABLE flows ADD COLUMN retry_of INTEGER;

ALTER TABLE players ADD COLUMN drained_by TEXT;
ALTER TABLE players ADD COLUMN drain_reason TEXT;
ALTER TABLE players ADD COLUMN drained_at INTEGER;

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

CREATE TABLE pruned (
    flow INTEGER PRIMARY KEY
);
