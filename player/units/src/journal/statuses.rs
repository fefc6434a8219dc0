//! How a unit stands, in bytes.

use orchestra_model::{
    ByteSize, Millis, Timestamp,
    journal::{ByteReader, push_bytes, push_process},
    service::{Exhausted, Placement, RunEnd, RunNumber},
};

use super::{
    codec::{push_hash, read_hash, read_moment},
    orders::{push_stop, read_stop},
};
use crate::{
    bounds,
    state::{Ending, RecentRestarts, Run, RunId, Signals, Stage, Status, Turns, Unhealthy},
};

/// Added to the kind of a stage if the next run's number is spoken for.
const AHEAD: u8 = 16;
/// Most moments of restarts that a journal may hold: one more than are remembered, for the newest.
const MOMENTS: u32 = bounds::RESTART_MOMENTS as u32 + 1;

pub(super) fn push_status(out: &mut Vec<u8>, status: &Status) {
    push_run_id(out, status.last);
    out.extend(status.since.0.to_le_bytes());
    out.extend(status.waits.to_le_bytes());
    out.extend(status.changed.0.to_le_bytes());
    out.extend(status.restarts.to_le_bytes());
    out.extend((status.recent.moments().count() as u32).to_le_bytes());
    for (at, times) in status.recent.moments() {
        out.extend(at.to_le_bytes());
        out.extend(times.to_le_bytes());
    }
    out.extend(status.turns.count().to_le_bytes());
    status.turns.moments().for_each(|at| out.extend(at.to_le_bytes()));
    out.push(status.last_end.is_some().into());
    status.last_end.iter().for_each(|end| push_run_end(out, end));
    let ahead = if status.ahead { AHEAD } else { 0 };
    match &status.stage {
        Stage::Waiting { until } => {
            out.push(1 + ahead);
            out.extend(until.to_le_bytes());
        }
        Stage::Running(run) => {
            out.push(2 + ahead);
            push_run(out, run);
        }
        Stage::Stopped => out.push(3 + ahead),
        Stage::Ended => out.push(4 + ahead),
        Stage::GaveUp => out.push(5 + ahead),
    }
}

pub(super) fn read_status(reader: &mut ByteReader<'_>) -> Option<Status> {
    let (last, since) = (read_run_id(reader)?, Timestamp(reader.u64()?));
    let (waits, changed, restarts) = (reader.u32()?, reader.order()?, reader.u32()?);
    let (recent, turns) = (read_recent(reader)?, read_turns(reader)?);
    let last_end = if reader.bool()? { Some(read_run_end(reader)?) } else { None };
    let kind = reader.u8()?;
    let (kind, ahead) = kind.checked_sub(AHEAD).map_or((kind, false), |kind| (kind, true));
    let stage = match kind {
        1 => Stage::Waiting { until: reader.u64()? },
        2 => Stage::Running(Box::new(read_run(reader)?)),
        3 => Stage::Stopped,
        4 => Stage::Ended,
        5 => Stage::GaveUp,
        _ => return None,
    };
    Some(Status { last, ahead, stage, since, waits, changed, restarts, recent, turns, last_end })
}

fn read_recent(reader: &mut ByteReader<'_>) -> Option<RecentRestarts> {
    let count = reader.u32().filter(|count| *count <= MOMENTS)?;
    let mut moment = || Some((read_moment(reader)?, reader.u32()?));
    let moments: Option<Vec<_>> = (0..count).map(|_| moment()).collect();
    Some(RecentRestarts::from_moments(moments?))
}

fn read_turns(reader: &mut ByteReader<'_>) -> Option<Turns> {
    let count = reader.u32()?;
    let moments: Option<Vec<_>> =
        (0..count.min(bounds::FLAPS as u32)).map(|_| read_moment(reader)).collect();
    Turns::from_moments(moments?, count)
}

fn push_run(out: &mut Vec<u8>, run: &Run) {
    out.extend(run.of.0.to_le_bytes());
    out.push(run.beside.is_some().into());
    run.beside.iter().for_each(|order| out.extend(order.0.to_le_bytes()));
    push_stop(out, &run.stop);
    out.extend(run.begun.to_le_bytes());
    out.push(run.process.is_some().into());
    run.process.iter().for_each(|process| push_process(out, process));
    push_hash(out, run.score);
    let watchdog = run.watchdog.map(|silence| silence.0);
    for moment in [run.up, run.ready, run.extended, watchdog, run.stopping, run.signalled] {
        out.push(moment.is_some().into());
        moment.iter().for_each(|at| out.extend(at.to_le_bytes()));
    }
    out.extend(run.signals.bits().to_le_bytes());
    out.push(run.unhealthy.is_some().into());
    if let Some(Unhealthy { since, why }) = &run.unhealthy {
        out.extend(since.to_le_bytes());
        push_bytes(out, why.as_bytes());
    }
    out.push(run.ending.is_some().into());
    if let Some(Ending { cause, at }) = &run.ending {
        push_run_end(out, cause);
        out.extend(at.to_le_bytes());
    }
}

fn read_run(reader: &mut ByteReader<'_>) -> Option<Run> {
    let of = reader.order()?;
    let beside = if reader.bool()? { Some(reader.order()?) } else { None };
    let (stop, begun) = (read_stop(reader)?, read_moment(reader)?);
    let process = if reader.bool()? { Some(reader.process()?) } else { None };
    let score = read_hash(reader)?;
    let mut moment =
        || -> Option<Option<u64>> { Some(if reader.bool()? { Some(reader.u64()?) } else { None }) };
    let (up, ready, extended) = (moment()?, moment()?, moment()?);
    let (watchdog, stopping, signalled) = (moment()?.map(Millis), moment()?, moment()?);
    let signals = Signals::from_bits(reader.u32()?)?;
    let unhealthy = if reader.bool()? { Some(read_unhealthy(reader)?) } else { None };
    let ending = if reader.bool()? {
        Some(Ending { cause: read_run_end(reader)?, at: read_moment(reader)? })
    } else {
        None
    };
    Some(Run {
        of,
        beside,
        stop,
        begun,
        process,
        score,
        up,
        ready,
        unhealthy,
        extended,
        watchdog,
        stopping,
        signals,
        signalled,
        ending,
    })
}

fn read_unhealthy(reader: &mut ByteReader<'_>) -> Option<Unhealthy> {
    let since = read_moment(reader)?;
    Some(Unhealthy { since, why: reader.text(bounds::TROUBLE_BYTES)?.to_owned() })
}

pub(super) fn push_run_id(out: &mut Vec<u8>, run: RunId) {
    out.extend(run.placement.0.to_le_bytes());
    out.extend(run.number.0.to_le_bytes());
}

pub(super) fn read_run_id(reader: &mut ByteReader<'_>) -> Option<RunId> {
    let placement = Placement(read_moment(reader)?);
    Some(RunId { placement, number: RunNumber(read_moment(reader)?) })
}

pub(super) fn push_run_end(out: &mut Vec<u8>, end: &RunEnd) {
    match end {
        RunEnd::Exited(code) => {
            out.push(1);
            out.extend(code.to_le_bytes());
        }
        RunEnd::Signalled(signal) => {
            out.push(2);
            out.extend(signal.to_le_bytes());
        }
        // An end without numbers is spelt as every release reads it.
        RunEnd::OutOfMemory(exhausted) if *exhausted == Exhausted::default() => out.push(3),
        RunEnd::OutOfMemory(Exhausted { limit, peak }) => {
            out.push(20);
            for size in [limit, peak] {
                out.push(size.is_some().into());
                size.iter().for_each(|size| out.extend(size.0.to_le_bytes()));
            }
        }
        RunEnd::NeverReady => out.push(4),
        RunEnd::Watchdog => out.push(5),
        RunEnd::Asked => out.push(6),
        RunEnd::NotSpawned(why) => {
            out.push(7);
            push_bytes(out, why.as_bytes());
        }
        RunEnd::HostRestarted => out.push(8),
        RunEnd::Unknown => out.push(9),
        RunEnd::Linked => out.push(10),
        RunEnd::LeaseRanOut => out.push(70),
    }
}

pub(super) fn read_run_end(reader: &mut ByteReader<'_>) -> Option<RunEnd> {
    Some(match reader.u8()? {
        1 => RunEnd::Exited(i32::from_le_bytes(reader.array()?)),
        2 => RunEnd::Signalled(i32::from_le_bytes(reader.array()?)),
        3 => RunEnd::OutOfMemory(Exhausted::default()),
        4 => RunEnd::NeverReady,
        5 => RunEnd::Watchdog,
        6 => RunEnd::Asked,
        7 => RunEnd::NotSpawned(reader.text(bounds::WHY_BYTES)?.to_owned()),
        8 => RunEnd::HostRestarted,
        9 => RunEnd::Unknown,
        10 => RunEnd::Linked,
        70 => RunEnd::LeaseRanOut,
        20 => {
            let mut size = || -> Option<Option<ByteSize>> {
                Some(if reader.bool()? { Some(ByteSize(reader.u64()?)) } else { None })
            };
            RunEnd::OutOfMemory(Exhausted { limit: size()?, peak: size()? })
        }
        _ => return None,
    })
}
