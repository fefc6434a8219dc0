//! What the sitter says, spelt as the wire has it.

use bytes::Bytes;
use orchestra_model::{
    Millis,
    delivery::{OrderNumber, PlayerSnapshot, Term},
    score::ScoreOffer,
};
use orchestra_proto::{Mark, snapshot_to_wire, v1};
use orchestra_spool::{Report, Snapshot, StoreMark};
use prost::Message;

use crate::ipc::PAYLOAD_BYTES;

/// A report. An end's bytes are carried as they are.
pub(crate) fn report(report: &Report) -> v1::Report {
    use v1::report::Kind;
    let (order, kind) = match report {
        Report::Started { order, at, .. } => (order, Kind::Started(v1::Started { at_ms: at.0 })),
        Report::Ended { order, end, .. } => {
            (order, Kind::Ended(Bytes::copy_from_slice(end.as_slice())))
        }
        Report::Refused { order, refusal, .. } => (order, Kind::Refused(refusal.into())),
    };
    v1::Report { key: Some(report.key().into()), order: order.0, kind: Some(kind) }
}

/// A snapshot, encoded, of what the spool knows and what the sitter adds. Where it is larger than
/// a message may be, the last scores are left out, and with that are not offered.
pub(crate) fn snapshot(
    spool: Snapshot,
    max_tasks: u32,
    kill_grace: Millis,
    scores: Vec<ScoreOffer>,
) -> Bytes {
    let mark = |of: &StoreMark| {
        let StoreMark { store, mark, term, evidence } = *of;
        Mark { store, mark, term, evidence }
    };
    let marks: Vec<Mark> = spool.marks.iter().map(mark).collect();
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
    };
    let mut wire = snapshot_to_wire(&whole, marks);
    while wire.encoded_len() > PAYLOAD_BYTES && !wire.scores.is_empty() {
        let kept = wire.scores.len() / 2;
        tracing::error!(kept, "the scores' descriptions are too large together");
        wire.scores.truncate(kept);
    }
    wire.encode_to_vec().into()
}
