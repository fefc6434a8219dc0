//! Operations as SQL.

use orchestra_model::{
    Asker, HostName, JobId, Timestamp,
    audit::{AuditMark, AuditRecord, Object},
    bundle::BundleId,
    names::FlowName,
    record::{FlowRecord, HoldRecord, HostsChunk, JobRecord, Op, PlayerRecord, Record, TaskRecord},
    service::{PlacementRecord, ServiceRecord, VersionRecord},
    state::TaskState,
};
use rusqlite::{Connection, OptionalExtension as _, Result, ToSql, params};

use super::body::{
    AuditBody, BrakesBody, BundleBody, EndBody, FlowBody, HoldBody, HostsBody, InForceBody,
    JobBody, ParamsBody, PlacementBody, PlayerBody, ServiceBody, SpecBody, TaskBody, VersionBody,
    decode, encode,
};
use super::sweep::prune;

/// With what the names of bundles begin among the store's own values.
pub(super) const BUNDLE_KEYS: &str = "bundle/";

/// An unsigned number as SQLite keeps numbers. Ids and times are far below 2^63.
pub(super) fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn time(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| int(at.0))
}

/// Carries out one operation. `buffer` is scratch space, kept between calls.
pub(super) fn apply(db: &Connection, op: &Op, buffer: &mut Vec<u8>) -> Result<()> {
    match op {
        Op::Put(record) => put(db, record, buffer),
        Op::EraseParams(job) => erase_params(db, *job),
        Op::PruneFlow(flow) => prune(db, *flow),
        Op::Release(host) => release(db, host),
        Op::PruneAudit(below) => prune_audit(db, *below),
        Op::PruneVersion(service, version) => {
            db.prepare_cached("DELETE FROM versions WHERE service = ?1 AND version = ?2")?
                .execute(params![service.as_str(), int(version.0)])?;
            Ok(())
        }
        Op::Displace(service, host) => {
            db.prepare_cached("DELETE FROM placements WHERE service = ?1 AND host = ?2")?
                .execute(params![service.as_str(), host.as_str()])?;
            Ok(())
        }
        Op::ForgetBundle(id) => {
            db.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([bundle_key(*id)])?;
            Ok(())
        }
    }
}

/// Under which name a bundle stands among the store's own values.
fn bundle_key(id: BundleId) -> String {
    format!("{BUNDLE_KEYS}{id}")
}

fn put(db: &Connection, record: &Record, buffer: &mut Vec<u8>) -> Result<()> {
    match record {
        Record::NextFlow(next) => put_meta(db, "next_flow", int(next.0)),
        Record::Recovered(recovered) => {
            put_meta(db, "half_known", int(recovered.half_known.0))?;
            put_meta(db, "recovered", int(recovered.term.0))
        }
        Record::Brakes(brakes) => put_meta(db, "brakes", encode(&BrakesBody::from(brakes), buffer)),
        Record::Bundle(bundle) => {
            let key = bundle_key(bundle.seal.statement.id);
            put_meta(db, &key, encode(&BundleBody::from(&**bundle), buffer))
        }
        Record::InForce(in_force) => {
            put_meta(db, "in_force", encode(&InForceBody::from(in_force), buffer))
        }
        Record::Flow(flow) => put_flow(db, flow, buffer),
        Record::Spec(chunk) => {
            let body = SpecBody { bytes: chunk.bytes.to_vec() };
            db.prepare_cached(
                "INSERT OR REPLACE INTO spec (flow, piece, body) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![
                int(chunk.flow.0),
                chunk.index,
                encode(&body, buffer)
            ])?;
            Ok(())
        }
        Record::Job(job) => put_job(db, job, buffer),
        Record::Targets(chunk) => {
            let sql = "INSERT OR REPLACE INTO targets (flow, slot, job, piece, body)
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            put_hosts(db, sql, chunk, buffer)
        }
        Record::Tree(chunk) => {
            let sql = "INSERT OR REPLACE INTO trees (flow, slot, job, piece, body)
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            put_hosts(db, sql, chunk, buffer)
        }
        Record::Params(record) => {
            let JobId { flow, slot, job } = record.job;
            let body = ParamsBody::from(record);
            db.prepare_cached(
                "INSERT OR REPLACE INTO params (flow, slot, job, body) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![int(flow.0), slot, job, encode(&body, buffer)])?;
            Ok(())
        }
        Record::Task(task) => put_task(db, task, buffer),
        Record::End(end) => {
            let JobId { flow, slot, job } = end.job;
            let body = EndBody::from(end);
            db.prepare_cached(
                "INSERT OR IGNORE INTO ends (flow, slot, job, host, attempt, late, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                int(flow.0),
                slot,
                job,
                end.host.as_str(),
                end.attempt,
                end.late,
                encode(&body, buffer)
            ])?;
            Ok(())
        }
        Record::Player(player) => put_player(db, player, buffer),
        Record::Hold(hold) => put_hold(db, hold, buffer),
        Record::Audit(line) => put_audit(db, line, buffer),
        Record::Service(service) => put_service(db, service, buffer),
        Record::Version(version) => put_version(db, version, buffer),
        Record::Placement(placement) => put_placement(db, placement, buffer),
    }
}

/// Sets one of the store's own values.
pub(super) fn put_meta(db: &Connection, key: &str, value: impl ToSql) -> Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute(params![key, value])?;
    Ok(())
}

fn put_flow(db: &Connection, flow: &FlowRecord, buffer: &mut Vec<u8>) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO flows
         (id, name, state, alive, audience, request, submitted_at, ended_at, cancelled_by,
          paused_by, retry_of, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        int(flow.id.0),
        flow.name.as_ref().map(FlowName::as_str),
        flow.state.as_str(),
        !flow.state.is_final(),
        flow.audience.as_str(),
        flow.request.0,
        int(flow.submitted_at.0),
        time(flow.ended_at),
        flow.cancelled_by.as_ref().map(Asker::as_str),
        flow.paused_by.as_ref().map(Asker::as_str),
        flow.retry_of.map(|of| int(of.0)),
        encode(&FlowBody::from(flow), buffer),
    ])?;
    Ok(())
}

fn put_hosts(db: &Connection, sql: &str, chunk: &HostsChunk, buffer: &mut Vec<u8>) -> Result<()> {
    let body = HostsBody { text: chunk.text.to_string() };
    let JobId { flow, slot, job } = chunk.job;
    let row = params![int(flow.0), slot, job, chunk.index, encode(&body, buffer)];
    db.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

fn put_job(db: &Connection, job: &JobRecord, buffer: &mut Vec<u8>) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO jobs
         (flow, slot, job, name, score, state, tasks, ok, failures, started_at, ended_at, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        int(job.id.flow.0),
        job.id.slot,
        job.id.job,
        job.name.as_str(),
        job.score.as_str(),
        job.state.as_str(),
        job.tasks,
        job.counts.get(TaskState::Ok),
        job.counts.failures(),
        time(job.started_at),
        time(job.ended_at),
        encode(&JobBody::from(job), buffer),
    ])?;
    Ok(())
}

/// Most puts change a task whose host stays: those leave the index by host alone.
fn put_task(db: &Connection, task: &TaskRecord, buffer: &mut Vec<u8>) -> Result<()> {
    let JobId { flow, slot, job } = task.job;
    let row = params![
        int(flow.0),
        slot,
        job,
        task.index,
        task.host.as_str(),
        task.state.as_str(),
        task.attempt,
        task.exit,
        task.signal,
        time(task.sent_at),
        time(task.started_at),
        time(task.ended_at),
        encode(&TaskBody::from(task), buffer),
    ];
    let changed = db
        .prepare_cached(
            "UPDATE tasks SET state = ?6, attempt = ?7, exit = ?8, signal = ?9, sent_at = ?10,
                              started_at = ?11, ended_at = ?12, body = ?13
             WHERE flow = ?1 AND slot = ?2 AND job = ?3 AND idx = ?4 AND host = ?5",
        )?
        .execute(row)?;
    if changed == 0 {
        db.prepare_cached(
            "INSERT OR REPLACE INTO tasks
             (flow, slot, job, idx, host, state, attempt, exit, signal,
              sent_at, started_at, ended_at, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(row)?;
    }
    Ok(())
}

fn put_player(db: &Connection, player: &PlayerRecord, buffer: &mut Vec<u8>) -> Result<()> {
    let drain = player.drained.as_ref();
    db.prepare_cached(
        "INSERT OR REPLACE INTO players
         (host, last_order, detached_at, removed, drained_by, drain_reason, drained_at, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        player.host.as_str(),
        int(player.last_order.0),
        time(player.detached_at),
        player.removed,
        drain.map(|drain| drain.by.as_str()),
        drain.map(|drain| &*drain.reason),
        time(drain.map(|drain| drain.since)),
        encode(&PlayerBody::from(player), buffer),
    ])?;
    Ok(())
}

fn put_hold(db: &Connection, hold: &HoldRecord, buffer: &mut Vec<u8>) -> Result<()> {
    let JobId { flow, slot, job } = hold.job;
    db.prepare_cached(
        "INSERT OR REPLACE INTO holds (host, flow, slot, job, order_number, state, since, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        hold.host.as_str(),
        int(flow.0),
        slot,
        job,
        int(hold.order.0),
        hold.state.as_str(),
        int(hold.since.0),
        encode(&HoldBody::from(hold), buffer),
    ])?;
    Ok(())
}

fn put_audit(db: &Connection, line: &AuditRecord, buffer: &mut Vec<u8>) -> Result<()> {
    let flow = match line.entry.on {
        Object::Flow(flow) => Some(int(flow.0)),
        _ => None,
    };
    db.prepare_cached(
        "INSERT OR REPLACE INTO audit (number, at, by, verb, flow, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        int(line.number),
        int(line.at.0),
        line.entry.by.as_str(),
        line.entry.deed.as_str(),
        flow,
        encode(&AuditBody::from(line), buffer),
    ])?;
    // The number goes on where lines were pruned.
    put_audit_mark(db, ("last_audit", "last_audit_link"), line.mark())
}

fn put_audit_mark(db: &Connection, (number, link): (&str, &str), mark: AuditMark) -> Result<()> {
    put_meta(db, number, int(mark.number))?;
    match mark.link {
        Some(mac) => put_meta(db, link, mac.0),
        None => {
            db.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([link])?;
            Ok(())
        }
    }
}

fn put_service(db: &Connection, service: &ServiceRecord, buffer: &mut Vec<u8>) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO services (name, version, goal, body) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        service.name.as_str(),
        int(service.version.0),
        service.goal.as_str(),
        encode(&ServiceBody::from(service), buffer),
    ])?;
    Ok(())
}

fn put_version(db: &Connection, version: &VersionRecord, buffer: &mut Vec<u8>) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO versions (service, version, at, by, body)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        version.service.as_str(),
        int(version.version.0),
        int(version.at.0),
        version.by.as_str(),
        encode(&VersionBody::from(version), buffer),
    ])?;
    Ok(())
}

fn put_placement(db: &Connection, placed: &PlacementRecord, buffer: &mut Vec<u8>) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO placements (service, host, ordinal, placement, body)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        placed.service.as_str(),
        placed.host.as_str(),
        placed.instance.ordinal.0,
        int(placed.instance.placement.0),
        encode(&PlacementBody::from(placed), buffer),
    ])?;
    Ok(())
}

/// Removes lines, and keeps the mark of the last of them, from which the others go on.
fn prune_audit(db: &Connection, below: u64) -> Result<()> {
    let sql = "SELECT number, body FROM audit WHERE number < ?1 ORDER BY number DESC LIMIT 1";
    let last = db
        .prepare_cached(sql)?
        .query_row([int(below)], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)));
    let Some((number, body)) = last.optional()? else { return Ok(()) };
    // A line that cannot be read has no link that others could go on from.
    let link = decode::<AuditBody>(&body).ok().and_then(|body| body.mac());
    let mark = AuditMark { number: u64::try_from(number).unwrap_or_default(), link };
    put_audit_mark(db, ("audit_base", "audit_base_link"), mark)?;
    db.prepare_cached("DELETE FROM audit WHERE number < ?1")?.execute([int(below)])?;
    Ok(())
}

fn release(db: &Connection, host: &HostName) -> Result<()> {
    db.prepare_cached("DELETE FROM holds WHERE host = ?1")?.execute([host.as_str()])?;
    Ok(())
}

fn erase_params(db: &Connection, id: JobId) -> Result<()> {
    db.prepare_cached("DELETE FROM params WHERE flow = ?1 AND slot = ?2 AND job = ?3")?
        .execute(params![int(id.flow.0), id.slot, id.job])?;
    Ok(())
}
