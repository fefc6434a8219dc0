-- Services, what was applied of each, and where their instances are. Made wherever they are missing: the
-- previous release keeps nothing running, so they raise no version.
--   SELECT name, version, goal FROM services;
CREATE TABLE IF NOT EXISTS services (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    goal TEXT NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS versions (
    service TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    by TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (service, version)
);
CREATE TABLE IF NOT EXISTS placements (
    service TEXT NOT NULL,
    host TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    placement INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (service, host)
) WITHOUT ROWID;
