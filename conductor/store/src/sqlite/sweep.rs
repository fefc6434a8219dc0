//! Removing flows: at once for readers, and step by step from the tables.
//!
//! A flow that is pruned loses its row and is noted in `pruned`, by which readers know that its
//! pieces are not to be seen. [`sweep`] takes those out a few at a time, and the note last: after
//! a crash it just goes on. Flow numbers are never used twice, so nothing new hides behind a note.

use orchestra_model::FlowId;
use rusqlite::{Connection, OptionalExtension, Result, params};

use super::{body::PAGE_BYTES, write::int};

/// Tables with pieces of flows, and their keys. What is secret goes first: it is still there
/// where a submission was cut short.
const PIECES: [(&str, &str); 7] = [
    ("params", "flow, slot, job"),
    ("ends", "flow, slot, job, host, attempt"),
    ("tasks", "flow, slot, job, idx"),
    ("targets", "flow, slot, job, piece"),
    ("trees", "flow, slot, job, piece"),
    ("jobs", "flow, slot, job"),
    ("spec", "flow, piece"),
];

/// Takes a flow from the readers. One that is not there leaves no note, which would lie in wait
/// for its number.
pub(super) fn prune(db: &Connection, flow: FlowId) -> Result<()> {
    let flow = int(flow.0);
    let removed = db.prepare_cached("DELETE FROM flows WHERE id = ?1")?.execute([flow])?;
    if removed > 0 {
        note(db, flow)?;
    }
    Ok(())
}

/// Notes what a submission wrote that did not get as far as its flow's record. Flows are written
/// in the order of their ids, so only what is above the newest can be of that kind.
pub(super) fn note_orphans(db: &Connection) -> Result<()> {
    let newest = db.query_row(
        "SELECT max((SELECT coalesce(max(id), 0) FROM flows),
                    (SELECT coalesce(max(flow), 0) FROM pruned))",
        [],
        |row| row.get(0),
    )?;
    for (table, _) in PIECES {
        let mut next = db.prepare(&format!("SELECT min(flow) FROM {table} WHERE flow > ?1"))?;
        let mut above: i64 = newest;
        while let Some(flow) = next.query_row([above], |row| row.get::<_, Option<i64>>(0))? {
            note(db, flow)?;
            above = flow;
        }
    }
    Ok(())
}

fn note(db: &Connection, flow: i64) -> Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO pruned (flow) VALUES (?1)")?.execute([flow])?;
    Ok(())
}

/// Removes pieces of noted flows until `limit` is used up: each costs one, and one more for each
/// page that it fills. True once no note is left.
pub(super) fn sweep(db: &Connection, limit: usize) -> Result<bool> {
    let mut left = limit.max(1);
    while let Some(flow) = oldest_note(db)? {
        for (table, key) in PIECES {
            left = left.saturating_sub(remove_some(db, table, key, flow, left)?);
        }
        if left == 0 {
            return Ok(false);
        }
        db.prepare_cached("DELETE FROM pruned WHERE flow = ?1")?.execute([flow])?;
        left -= 1;
    }
    Ok(true)
}

fn oldest_note(db: &Connection) -> Result<Option<i64>> {
    db.prepare_cached("SELECT flow FROM pruned ORDER BY flow LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()
}

/// Removes a flow's first pieces in a table, of which the last may go beyond `limit`. Returns
/// what they cost.
fn remove_some(db: &Connection, table: &str, key: &str, flow: i64, limit: usize) -> Result<usize> {
    if limit == 0 {
        return Ok(0);
    }
    let first = format!("FROM {table} WHERE flow = ?1 ORDER BY {key} LIMIT ?2");
    let mut find = db.prepare_cached(&format!("SELECT length(body) {first}"))?;
    let mut lengths = find.query(params![flow, int(limit as u64)])?;
    let (mut pieces, mut cost) = (0, 0);
    while cost < limit
        && let Some(row) = lengths.next()?
    {
        pieces += 1;
        cost += 1 + row.get::<_, u32>(0)? as usize / PAGE_BYTES;
    }
    drop(lengths);
    if pieces > 0 {
        let remove = format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} {first})");
        db.prepare_cached(&remove)?.execute(params![flow, pieces])?;
    }
    Ok(cost)
}
