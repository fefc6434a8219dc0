//! What the sitter reports, as messages of the wire.

use bytes::Bytes;
use orchestra_link::ipc::PAYLOAD_BYTES;
use orchestra_model::{
    Millis,
    bundle::PlacesReport,
    delivery::{OrderNumber, PlayerSnapshot, StoreId, Term},
    score::ScoreOffer,
    service::{Leases, LogPart, ReadingId, Room, UnitReport},
    vitals::VitalsBatch,
};
use orchestra_proto::{batch_to_wire, log_part_to_wire, snapshot_to_wire, v1};
use orchestra_spool::Snapshot;
use prost::Message;

/// Returns the report of a changed unit, which is about no attempt.
pub(crate) fn unit_report(report: &UnitReport) -> v1::Report {
    v1::Report { key: None, order: 0, kind: Some(v1::report::Kind::Unit(report.into())) }
}

/// Returns the next part of a log that somebody reads, as a report about no attempt.
pub(crate) fn log_report(id: ReadingId, part: LogPart) -> v1::Report {
    let kind = v1::report::Kind::Log(log_part_to_wire(id, part));
    v1::Report { key: None, order: 0, kind: Some(kind) }
}

/// Returns samples of vitals, as a report about no attempt.
pub(crate) fn vitals_report(batch: &VitalsBatch) -> v1::Report {
    v1::Report { key: None, order: 0, kind: Some(v1::report::Kind::Vitals(batch_to_wire(batch))) }
}

/// Returns the question for leases, as a report about no attempt.
pub(crate) fn leases_report(asked: &Leases) -> v1::Report {
    v1::Report { key: None, order: 0, kind: Some(v1::report::Kind::Leases(asked.into())) }
}

/// Returns all places, as a report about no attempt.
pub(crate) fn places_report(places: &PlacesReport) -> v1::Report {
    v1::Report { key: None, order: 0, kind: Some(v1::report::Kind::Places(places.into())) }
}

/// Encodes a snapshot of what the spool knows and what the sitter adds. If it is larger than a
/// message may be, the last scores are left out, and so are not offered.
pub(crate) fn snapshot(
    spool: Snapshot,
    max_tasks: u32,
    kill_grace: Millis,
    scores: Vec<ScoreOffer>,
    units: Vec<(StoreId, Vec<UnitReport>)>,
    room: Room,
    places: &PlacesReport,
) -> Bytes {
    let whole = PlayerSnapshot {
        spool: spool.spool,
        // The marks have these for each store.
        mark: OrderNumber(0),
        term: Term(0),
        evidence: None,
        live: spool.live,
        settled: spool.settled,
        max_tasks,
        kill_grace,
        scores: scores.into(),
        units: None,
        room,
    };
    let mut wire = snapshot_to_wire(&whole, &spool.marks, Some(units));
    wire.vitals = true;
    wire.attempt_logs = true;
    wire.places = Some(places.into());
    while wire.encoded_len() > PAYLOAD_BYTES && !wire.scores.is_empty() {
        let kept = wire.scores.len() / 2;
        tracing::error!(kept, "the scores' descriptions are too large together");
        wire.scores.truncate(kept);
    }
    wire.encode_to_vec().into()
}
