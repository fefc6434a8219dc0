-- Who did what, and what happened, for as long as it is kept. Made wherever it is missing: what it
-- says is told by the bodies, whose words raised the version to 3.
--   SELECT number, datetime(at / 1000, 'unixepoch') AS at, by, verb, flow FROM audit ORDER BY number;
CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    by TEXT NOT NULL,
    verb TEXT NOT NULL,
    flow INTEGER,
    body BLOB NOT NULL
);
