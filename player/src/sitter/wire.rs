//! What the sitter says, spelt as the wire has it.

use bytes::Bytes;
use orchestra_link::ipc::PAYLOAD_BYTES;
use orchestra_model::{
    Millis,
    delivery::{OrderNumber, PlayerSnapshot, StoreId, Term},
    score::ScoreOffer,
    service::{LogPart, ReadingId, UnitReport},
    vitals::VitalsBatch,
};
use orchestra_proto::{batch_to_wire, log_part_to_wire, snapshot_to_wire, v1};
use orchestra_spool::Snapshot;
use prost::Message;

/// That a unit stands otherwise than was told: a report about no attempt.
pub(crate) fn unit_report(report: &UnitReport) -> v1::Report {
    v1::Report { key: None, order: 0, kind: Some(v1::report::Kind::Unit(report.into())) }
}

/// The next part of a log that somebody reads: a report about no attempt.
pub(crate) fn log_report(id: ReadingId, part: LogPart) -> v1::Report {
    let kind = v1::report::Kind::Log(log_part_to_wire(id, part));
    v1::Report { key: None, order: 0, kind: Some(kind) }
}

/// What was sampled: a report about no attempt.
pub(crate) fn vitals_report(batch: &VitalsBatch) -> v1::Report {
    v1::Report { key: None, order: 0, kind: Some(v1::report::Kind::Vitals(batch_to_wire(batch))) }
}

/// A snapshot, encoded, of what the spool knows and what the sitter adds. Where it is larger than
/// a message may be, the last scores are left out, and with that are not offered.
pub(crate) fn snapshot(
    spool: Snapshot,
    max_tasks: u32,
    kill_grace: Millis,
    scores: Vec<ScoreOffer>,
    units: Vec<(StoreId, Vec<UnitReport>)>,
) -> Bytes {
    let whole = PlayerSnapshot {
        spool: spool.spool,
        // Per store, these are in the marks.
        mark: OrderNumber(0),
        term: Term(0),
        evidence: None,
        live: spool.live,
        settled: spool.settled,
        max_tasks,
        kill_grace,
        scores: scores.into(),
        units: None,
    };
    let mut wire = snapshot_to_wire(&whole, &spool.marks, Some(units));
    wire.vitals = true;
    while wire.encoded_len() > PAYLOAD_BYTES && !wire.scores.is_empty() {
        let kept = wire.scores.len() / 2;
        tracing::error!(kept, "the scores' descriptions are too large together");
        wire.scores.truncate(kept);
    }
    wire.encode_to_vec().into()
}
