//! Entries in bytes: a kind byte, then fields of fixed order. A number that was given to a kind or
//! a word is never given to another.

use std::sync::Arc;

use orchestra_model::{
    ServiceName,
    delivery::StoreId,
    journal::{ByteReader, InvalidEntry, JournalEntry, push_bytes, push_key},
    limits,
    process::BootId,
    score::ScoreHash,
};

use super::{
    orders::{push_order, read_order},
    statuses::{push_run_end, push_run_id, push_status, read_run_end, read_run_id, read_status},
};
use crate::{
    bounds,
    effect::{UnitFailure, WatchEnd},
    entry::Entry,
    state::{Clock, Tombstone, UnitKey, Watch},
};

const CLOCK: u8 = 1;
const PASSED: u8 = 2;
const ORDERED: u8 = 3;
const STATUS: u8 = 4;
const WATCH: u8 = 5;
const WATCH_FORGOTTEN: u8 = 6;
const FORGOTTEN: u8 = 7;

impl JournalEntry for Entry {
    fn push(&self, out: &mut Vec<u8>) {
        match self {
            Entry::Clock(Clock { boot, base, last }) => {
                out.push(CLOCK);
                out.extend(boot.0);
                out.extend(base.to_le_bytes());
                out.extend(last.to_le_bytes());
            }
            Entry::Passed { at } => {
                out.push(PASSED);
                out.extend(at.to_le_bytes());
            }
            Entry::Ordered { unit, order, attempt, asked, keeps_params } => {
                out.push(ORDERED);
                push_unit(out, unit);
                out.extend(order.0.to_le_bytes());
                push_key(out, attempt);
                out.push((*keeps_params).into());
                push_order(out, asked);
            }
            Entry::Status { unit, status } => {
                out.push(STATUS);
                push_unit(out, unit);
                push_status(out, status);
            }
            Entry::Watch { key, watch } => {
                out.push(WATCH);
                push_key(out, key);
                push_unit(out, &watch.unit);
                out.extend(watch.order.0.to_le_bytes());
                out.extend(watch.accepted.to_le_bytes());
                push_watch_end(out, watch.end.as_ref());
            }
            Entry::WatchForgotten { key } => {
                out.push(WATCH_FORGOTTEN);
                push_key(out, key);
            }
            Entry::Forgotten { unit, tombstone } => {
                out.push(FORGOTTEN);
                push_unit(out, unit);
                out.extend(tombstone.order.0.to_le_bytes());
                push_key(out, &tombstone.attempt);
                push_run_id(out, tombstone.last);
            }
        }
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<Entry, InvalidEntry> {
        let kind = reader.u8().ok_or(InvalidEntry::Malformed("kind"))?;
        let entry = match kind {
            CLOCK => read_clock(reader).ok_or("clock"),
            PASSED => read_moment(reader).map(|at| Entry::Passed { at }).ok_or("moment"),
            ORDERED => read_ordered(reader).ok_or("order"),
            STATUS => read_unit_status(reader).ok_or("status"),
            WATCH => read_watch(reader).ok_or("watch"),
            WATCH_FORGOTTEN => {
                reader.key().map(|key| Entry::WatchForgotten { key }).ok_or("watched attempt")
            }
            FORGOTTEN => read_forgotten(reader).ok_or("forgotten unit"),
            unknown => return Err(InvalidEntry::UnknownKind(unknown)),
        };
        entry.map_err(InvalidEntry::Malformed)
    }
}

fn read_clock(reader: &mut ByteReader<'_>) -> Option<Entry> {
    let (boot, base) = (BootId(reader.array()?), read_moment(reader)?);
    Some(Entry::Clock(Clock { boot, base, last: read_moment(reader)? }))
}

fn read_ordered(reader: &mut ByteReader<'_>) -> Option<Entry> {
    let (unit, order, attempt) = (read_unit(reader)?, reader.order()?, reader.key()?);
    let keeps_params = reader.bool()?;
    let asked = Arc::new(read_order(reader)?);
    Some(Entry::Ordered { unit, order, attempt, asked, keeps_params })
}

fn read_unit_status(reader: &mut ByteReader<'_>) -> Option<Entry> {
    let unit = read_unit(reader)?;
    Some(Entry::Status { unit, status: Box::new(read_status(reader)?) })
}

fn read_watch(reader: &mut ByteReader<'_>) -> Option<Entry> {
    let (key, unit, order) = (reader.key()?, read_unit(reader)?, reader.order()?);
    let (accepted, end) = (read_moment(reader)?, read_watch_end(reader)?);
    Some(Entry::Watch { key, watch: Watch { unit, order, accepted, end } })
}

fn read_forgotten(reader: &mut ByteReader<'_>) -> Option<Entry> {
    let (unit, order, attempt) = (read_unit(reader)?, reader.order()?, reader.key()?);
    let tombstone = Tombstone { order, attempt, last: read_run_id(reader)? };
    Some(Entry::Forgotten { unit, tombstone })
}

fn push_unit(out: &mut Vec<u8>, unit: &UnitKey) {
    out.extend(unit.store.0);
    push_bytes(out, unit.service.as_str().as_bytes());
}

fn read_unit(reader: &mut ByteReader<'_>) -> Option<UnitKey> {
    let store = StoreId(reader.array()?);
    Some(UnitKey { store, service: ServiceName::new(reader.text(limits::NAME_BYTES)?).ok()? })
}

/// Appends the hash of a score, after whether it is known.
pub(super) fn push_hash(out: &mut Vec<u8>, hash: Option<ScoreHash>) {
    out.push(hash.is_some().into());
    hash.iter().for_each(|hash| out.extend(hash.0));
}

pub(super) fn read_hash(reader: &mut ByteReader<'_>) -> Option<Option<ScoreHash>> {
    Some(if reader.bool()? { Some(ScoreHash(reader.array()?)) } else { None })
}

/// A moment or number within [`bounds::REACHABLE`].
pub(super) fn read_moment(reader: &mut ByteReader<'_>) -> Option<u64> {
    reader.u64().filter(|at| *at <= bounds::REACHABLE)
}

fn push_watch_end(out: &mut Vec<u8>, end: Option<&WatchEnd>) {
    match end {
        None => out.push(0),
        Some(WatchEnd::Ready) => out.push(1),
        Some(WatchEnd::TimedOut) => out.push(2),
        Some(WatchEnd::Cancelled) => out.push(3),
        Some(WatchEnd::Superseded) => out.push(4),
        Some(WatchEnd::Unwritten(why)) => {
            out.push(5);
            push_bytes(out, why.as_bytes());
        }
        Some(WatchEnd::Failed { failure, cause }) => {
            out.push(match failure {
                UnitFailure::GaveUp => 6,
                UnitFailure::Ended => 7,
                UnitFailure::OutOfMemory => 8,
            });
            push_run_end(out, cause);
        }
    }
}

fn read_watch_end(reader: &mut ByteReader<'_>) -> Option<Option<WatchEnd>> {
    let failed = |failure, reader: &mut ByteReader<'_>| {
        read_run_end(reader).map(|cause| WatchEnd::Failed { failure, cause })
    };
    Some(Some(match reader.u8()? {
        0 => return Some(None),
        1 => WatchEnd::Ready,
        2 => WatchEnd::TimedOut,
        3 => WatchEnd::Cancelled,
        4 => WatchEnd::Superseded,
        5 => WatchEnd::Unwritten(reader.text(bounds::WHY_BYTES)?.to_owned()),
        6 => failed(UnitFailure::GaveUp, reader)?,
        7 => failed(UnitFailure::Ended, reader)?,
        8 => failed(UnitFailure::OutOfMemory, reader)?,
        _ => return None,
    }))
}
