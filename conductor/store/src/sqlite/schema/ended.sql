-- Flows by their ends: which of them were kept long enough is asked every minute. Made wherever it is
-- missing: the previous release can do without it, and keeps it right all the same.
CREATE INDEX IF NOT EXISTS flows_ended ON flows (ended_at, id) WHERE alive = 0;
