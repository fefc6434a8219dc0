-- Views of the conductor's store, for people:
--   SELECT * FROM task_list WHERE host = 'db3' ORDER BY started;
--   SELECT * FROM flow_list WHERE audience = 'alice' AND submitted >= '2026-11-01';
--   SELECT * FROM hold_list;
--
-- They are made anew whenever the version of the tables rises.

CREATE VIEW flow_list AS
SELECT id AS flow, name, state, audience,
       datetime(submitted_at / 1000, 'unixepoch') AS submitted,
       datetime(ended_at / 1000, 'unixepoch') AS ended,
       cancelled_by, paused_by, retry_of
FROM flows;

-- Flows that live and wait for a person.
CREATE VIEW halted_list AS
SELECT flow, name, state, audience, submitted, paused_by
FROM flow_list
WHERE flow IN (SELECT id FROM flows WHERE alive = 1) AND state IN ('paused', 'stalled');

CREATE VIEW job_list AS
SELECT flow || '.' || slot || '.' || job AS id, name, score, state, tasks, ok, failures,
       datetime(started_at / 1000, 'unixepoch') AS started,
       datetime(ended_at / 1000, 'unixepoch') AS ended
FROM jobs
WHERE flow NOT IN (SELECT flow FROM pruned);

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
       datetime(detached_at / 1000, 'unixepoch') AS detached,
       drained_by, drain_reason,
       datetime(drained_at / 1000, 'unixepoch') AS drained
FROM players;

CREATE VIEW hold_list AS
SELECT host, flow || '.' || slot || '.' || job AS job, order_number, state,
       datetime(since / 1000, 'unixepoch') AS since
FROM holds;
