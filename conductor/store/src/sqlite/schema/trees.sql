-- The hosts of jobs that follow a tree. Made wherever it is missing: the previous release knows no
-- trees and runs such a job as any other, so it raises no version.
CREATE TABLE IF NOT EXISTS trees (
    flow  INTEGER NOT NULL,
    slot  INTEGER NOT NULL,
    job   INTEGER NOT NULL,
    piece INTEGER NOT NULL,
    body  BLOB NOT NULL,
    PRIMARY KEY (flow, slot, job, piece)
);
