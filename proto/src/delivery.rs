//! What conductor and sitter say to each other.

use std::sync::Arc;

use bytes::Bytes;
use orchestra_model::{
    Asker, JobId,
    bundle::Seal,
    delivery::{
        AttemptEnd, AttemptKey, EndBytes, EndSummary, EndTooLarge, JobPart, KnownEnd, LiveAttempt,
        Order, OrderNumber, Outcome, Output, PlayerSnapshot, Refusal, Report, SettledAttempt,
        SpoolId, StoreId, StoreMark, Term,
    },
    limits,
    names::{JobName, ScoreName},
    proof::{Attempted, Evidence, Mac, Proof},
    score::{Offers, ScoreOffer},
    service::{Instance, Ordinal, Placement, UnitReport},
    time::{Millis, Timestamp},
};
use prost::Message;

use crate::{
    flow::{moment, moment_ms, params_from_wire, params_to_wire},
    invalid::{InField, Invalid},
    service::{unit_job_from_wire, unit_order_to_wire},
    v1,
};

/// Reads a store id.
pub fn store_id(bytes: &[u8]) -> Result<StoreId, Invalid> {
    StoreId::from_slice(bytes).in_field("store_id")
}

impl From<AttemptKey> for v1::AttemptKey {
    fn from(key: AttemptKey) -> Self {
        Self {
            store_id: Bytes::copy_from_slice(&key.store.0),
            job: Some(key.job.into()),
            attempt: key.attempt,
        }
    }
}

impl TryFrom<&v1::AttemptKey> for AttemptKey {
    type Error = Invalid;

    fn try_from(key: &v1::AttemptKey) -> Result<Self, Invalid> {
        Ok(AttemptKey {
            store: StoreId::from_slice(&key.store_id).in_field("AttemptKey.store_id")?,
            job: key.job.as_ref().in_field("AttemptKey.job")?.try_into()?,
            attempt: Some(key.attempt).filter(|n| *n > 0).in_field("AttemptKey.attempt")?,
        })
    }
}

fn key(key: Option<&v1::AttemptKey>, field: &'static str) -> Result<AttemptKey, Invalid> {
    key.in_field(field)?.try_into()
}

impl From<Proof> for v1::Proof {
    fn from(Proof { term, mac }: Proof) -> Self {
        Self { term: term.0, mac: mac_to_wire(mac) }
    }
}

impl TryFrom<&v1::Proof> for Proof {
    type Error = Invalid;

    fn try_from(proof: &v1::Proof) -> Result<Self, Invalid> {
        let mac = Mac::from_slice(&proof.mac).in_field("Proof.mac")?;
        Ok(Proof { term: Term(proof.term), mac })
    }
}

impl From<Evidence> for v1::Evidence {
    fn from(evidence: Evidence) -> Self {
        Self {
            order: evidence.order.0,
            job: evidence.attempt.map(|attempted| attempted.job.into()),
            attempt: evidence.attempt.map_or(0, |attempted| attempted.attempt),
            proof: Some(evidence.proof.into()),
        }
    }
}

impl TryFrom<&v1::Evidence> for Evidence {
    type Error = Invalid;

    fn try_from(evidence: &v1::Evidence) -> Result<Self, Invalid> {
        let attempted = |job| -> Result<Attempted, Invalid> {
            Ok(Attempted { job: JobId::try_from(job)?, attempt: evidence.attempt })
        };
        Ok(Evidence {
            order: OrderNumber(evidence.order),
            attempt: evidence.job.as_ref().map(attempted).transpose()?,
            proof: evidence.proof.as_ref().in_field("Evidence.proof")?.try_into()?,
        })
    }
}

/// Spells the code of a proof.
pub fn mac_to_wire(mac: Mac) -> Bytes {
    Bytes::copy_from_slice(&mac.0)
}

/// Reads the code of a proof; `None` where the conductor gave none.
pub fn mac_from_wire(mac: &[u8], field: &'static str) -> Result<Option<Mac>, Invalid> {
    match mac {
        [] => Ok(None),
        mac => Mac::from_slice(mac).in_field(field).map(Some),
    }
}

fn proof_from_wire(proof: Option<&v1::Proof>) -> Result<Option<Proof>, Invalid> {
    proof.map(TryInto::try_into).transpose()
}

fn evidence_from_wire(evidence: Option<&v1::Evidence>) -> Result<Option<Evidence>, Invalid> {
    evidence.map(TryInto::try_into).transpose()
}

/// A [`PlayerSnapshot`] for every store that the spool has served, with the units that it keeps for
/// each, unless the player keeps none; the conductor reads its own.
pub fn snapshot_to_wire(
    snapshot: &PlayerSnapshot,
    marks: &[StoreMark],
    units: Option<Vec<(StoreId, Vec<UnitReport>)>>,
) -> v1::Snapshot {
    let store_units = |(store, units): (StoreId, Vec<UnitReport>)| v1::StoreUnits {
        store_id: Bytes::copy_from_slice(&store.0),
        units: units.iter().map(Into::into).collect(),
    };
    let mark = |mark: &StoreMark| v1::StoreMark {
        store_id: Bytes::copy_from_slice(&mark.store.0),
        mark: mark.mark.0,
        term: mark.term.0,
        evidence: mark.evidence.map(Into::into),
    };
    let live = |attempt: &LiveAttempt| v1::LiveAttempt {
        key: Some(attempt.key.into()),
        order: attempt.order.0,
        started_at_ms: moment_ms(attempt.started_at),
        proof: attempt.proof.map(Into::into),
    };
    let settled = |attempt: &SettledAttempt| v1::SettledAttempt {
        store_id: Bytes::copy_from_slice(&attempt.key.store.0),
        job: Some(attempt.key.job.into()),
        attempt: attempt.key.attempt,
        order: attempt.order.0,
        proof: attempt.proof.map(Into::into),
    };
    v1::Snapshot {
        spool_id: Bytes::copy_from_slice(&snapshot.spool.0),
        marks: marks.iter().map(mark).collect(),
        live: snapshot.live.iter().map(live).collect(),
        settled: snapshot.settled.iter().map(settled).collect(),
        max_tasks: snapshot.max_tasks,
        kill_grace_ms: snapshot.kill_grace.0,
        scores: snapshot.scores.iter().map(Into::into).collect(),
        units: units
            .map(|units| v1::Units { stores: units.into_iter().map(store_units).collect() }),
        // Said by whoever takes samples.
        vitals: false,
        attempt_logs: false,
        room: Some(snapshot.room.into()),
        // Said by whoever has places.
        places: None,
    }
}

/// A [`v1::Snapshot`] whose scores are still encoded: the same bytes, read by whoever may know
/// what the larger part of them says.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RawSnapshot {
    /// As in the snapshot.
    #[prost(bytes = "bytes", tag = "1")]
    pub spool_id: Bytes,
    /// As in the snapshot.
    #[prost(message, repeated, tag = "2")]
    pub marks: Vec<v1::StoreMark>,
    /// As in the snapshot.
    #[prost(message, repeated, tag = "3")]
    pub live: Vec<v1::LiveAttempt>,
    /// As in the snapshot.
    #[prost(message, repeated, tag = "4")]
    pub settled: Vec<v1::SettledAttempt>,
    /// As in the snapshot.
    #[prost(uint32, tag = "5")]
    pub max_tasks: u32,
    /// As in the snapshot.
    #[prost(uint64, tag = "6")]
    pub kill_grace_ms: u64,
    /// Each an encoded [`v1::ScoreOffer`].
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub scores: Vec<Bytes>,
    /// As in the snapshot.
    #[prost(message, optional, tag = "8")]
    pub units: Option<v1::Units>,
    /// As in the snapshot.
    #[prost(bool, tag = "9")]
    pub vitals: bool,
    /// As in the snapshot.
    #[prost(bool, tag = "10")]
    pub attempt_logs: bool,
    /// As in the snapshot.
    #[prost(message, optional, tag = "50")]
    pub room: Option<v1::Room>,
    /// As in the snapshot.
    #[prost(message, optional, tag = "80")]
    pub places: Option<v1::Places>,
}

/// Reads a snapshot as the conductor of `store` needs it: mark and term are that store's. What the
/// scores say is left to `read_scores`, which is [`scores_from_wire`] or knows the answer.
pub fn snapshot_from_wire(
    snapshot: &RawSnapshot,
    store: StoreId,
    read_scores: impl FnOnce(&[Bytes]) -> Result<Offers, Invalid>,
) -> Result<PlayerSnapshot, Invalid> {
    let ours = snapshot.marks.iter().find(|mark| mark.store_id[..] == store.0);
    let live = |attempt: &v1::LiveAttempt| -> Result<LiveAttempt, Invalid> {
        Ok(LiveAttempt {
            key: key(attempt.key.as_ref(), "LiveAttempt.key")?,
            order: OrderNumber(attempt.order),
            started_at: moment(attempt.started_at_ms),
            proof: proof_from_wire(attempt.proof.as_ref())?,
        })
    };
    let settled = |attempt: &v1::SettledAttempt| -> Result<SettledAttempt, Invalid> {
        let key = v1::AttemptKey {
            store_id: attempt.store_id.clone(),
            job: attempt.job,
            attempt: attempt.attempt,
        };
        Ok(SettledAttempt {
            key: (&key).try_into()?,
            order: OrderNumber(attempt.order),
            proof: proof_from_wire(attempt.proof.as_ref())?,
        })
    };
    if snapshot.scores.len() > limits::SCORES {
        return Err(Invalid::field("Snapshot.scores"));
    }
    Ok(PlayerSnapshot {
        spool: SpoolId::from_slice(&snapshot.spool_id).in_field("Snapshot.spool_id")?,
        mark: OrderNumber(ours.map_or(0, |mark| mark.mark)),
        term: Term(ours.map_or(0, |mark| mark.term)),
        live: snapshot.live.iter().map(live).collect::<Result<_, _>>()?,
        evidence: evidence_from_wire(ours.and_then(|mark| mark.evidence.as_ref()))?,
        settled: snapshot.settled.iter().map(settled).collect::<Result<_, _>>()?,
        max_tasks: Some(snapshot.max_tasks)
            .filter(|n| (1..=limits::MAX_TASKS).contains(n))
            .in_field("Snapshot.max_tasks")?,
        kill_grace: Millis(snapshot.kill_grace_ms.min(limits::DURATION_MS)),
        scores: read_scores(&snapshot.scores)?,
        units: snapshot.units.as_ref().map(|units| units_of(units, store)).transpose()?,
        room: snapshot.room.map(Into::into).unwrap_or_default(),
    })
}

/// What is kept running for one store.
fn units_of(units: &v1::Units, store: StoreId) -> Result<Vec<UnitReport>, Invalid> {
    let ours = units.stores.iter().filter(|units| units.store_id[..] == store.0);
    let reports: Vec<&v1::UnitReport> = ours.flat_map(|units| &units.units).collect();
    if reports.len() > limits::UNITS {
        return Err(Invalid::field("Snapshot.units"));
    }
    reports.into_iter().map(TryInto::try_into).collect()
}

/// Reads encoded offers.
pub fn scores_from_wire(scores: &[Bytes]) -> Result<Offers, Invalid> {
    let read = |bytes: &Bytes| -> Result<ScoreOffer, Invalid> {
        let wire = v1::ScoreOffer::decode(bytes.clone()).in_field("Snapshot.scores")?;
        (&wire).try_into()
    };
    scores.iter().map(read).collect()
}

impl From<&Report<EndBytes>> for v1::Report {
    fn from(report: &Report<EndBytes>) -> Self {
        use v1::report::Kind;
        let (order, kind) = match report {
            Report::Started { order, at, .. } => {
                (order, Kind::Started(v1::Started { at_ms: at.0 }))
            }
            Report::Ended { order, end, .. } => {
                (order, Kind::Ended(Bytes::from_owner(end.to_shared())))
            }
            Report::Refused { order, refusal, .. } => (order, Kind::Refused(refusal.into())),
        };
        Self { key: Some(report.key().into()), order: order.0, kind: Some(kind) }
    }
}

/// Encodes an end: once, by the sitter.
pub fn encode_end(end: &AttemptEnd) -> Result<EndBytes, EndTooLarge> {
    EndBytes::new(v1::AttemptEnd::from(end).encode_to_vec())
}

/// Reads an end whole, for people.
pub fn decode_end(end: &EndBytes) -> Result<AttemptEnd, Invalid> {
    v1::AttemptEnd::decode(end.as_slice()).in_field("AttemptEnd")?.try_into()
}

/// Reads of an end what must be known of it on the way, and leaves the rest as it is: whatever a
/// stream or a response holds, a conductor can go on.
pub fn summarize_end(end: &EndBytes) -> Result<EndSummary, Invalid> {
    let read = ReadEnd::decode(end.as_slice()).in_field("AttemptEnd")?;
    Ok(EndSummary {
        outcome: read.outcome.in_field("AttemptEnd.outcome")?.try_into()?,
        started_at: moment(read.started_at_ms),
        ended_at: Timestamp(read.ended_at_ms),
    })
}

/// An end with its summary.
pub fn known_end(bytes: EndBytes) -> Result<KnownEnd, Invalid> {
    Ok(KnownEnd { summary: summarize_end(&bytes)?, bytes })
}

/// The fields of a [`v1::AttemptEnd`] that a summary needs. Others are skipped, not copied.
#[derive(Clone, PartialEq, prost::Message)]
struct ReadEnd {
    #[prost(oneof = "v1::attempt_end::Outcome", tags = "1, 2, 3, 4, 5")]
    outcome: Option<v1::attempt_end::Outcome>,
    #[prost(uint64, tag = "6")]
    started_at_ms: u64,
    #[prost(uint64, tag = "7")]
    ended_at_ms: u64,
}

impl TryFrom<v1::attempt_end::Outcome> for Outcome {
    type Error = Invalid;

    fn try_from(outcome: v1::attempt_end::Outcome) -> Result<Self, Invalid> {
        use v1::attempt_end::Outcome as Wire;
        Ok(match outcome {
            Wire::Exited(code) => Outcome::Exited(code),
            Wire::Signalled(signal) => {
                Outcome::Signalled(i32::try_from(signal).in_field("AttemptEnd.signalled")?)
            }
            Wire::TimedOut(_) => Outcome::TimedOut,
            Wire::Cancelled(_) => Outcome::Cancelled,
            Wire::Lost(why) => Outcome::Lost(why),
        })
    }
}

impl TryFrom<v1::Report> for Report<EndBytes> {
    type Error = Invalid;

    fn try_from(report: v1::Report) -> Result<Self, Invalid> {
        use v1::report::Kind;
        let key = key(report.key.as_ref(), "Report.key")?;
        let order = OrderNumber(report.order);
        Ok(match report.kind.in_field("Report.kind")? {
            Kind::Started(started) => Report::Started { key, order, at: Timestamp(started.at_ms) },
            Kind::Ended(bytes) => {
                let end = EndBytes::new(&bytes[..]).in_field("Report.ended")?;
                Report::Ended { key, order, end }
            }
            Kind::Refused(refusal) => Report::Refused { key, order, refusal: refusal.try_into()? },
            Kind::Unit(_) | Kind::Log(_) | Kind::Vitals(_) | Kind::Leases(_) | Kind::Places(_) => {
                return Err(Invalid::field("Report.kind"));
            }
        })
    }
}

impl From<&Refusal> for v1::Refusal {
    fn from(refusal: &Refusal) -> Self {
        use v1::refusal::Reason;
        let mut wire = v1::Refusal::default();
        let reason = match refusal {
            Refusal::UnknownScore => Reason::UnknownScore,
            Refusal::Busy => Reason::Busy,
            Refusal::Cancelled => Reason::Cancelled,
            Refusal::AlreadyAcknowledged => Reason::AlreadyAcknowledged,
            Refusal::Stopping => Reason::Stopping,
            Refusal::StaleTerm { seen, evidence } => {
                wire.term = seen.0;
                wire.evidence = evidence.map(Into::into);
                Reason::StaleTerm
            }
            Refusal::ScoreDisabled(detail) => {
                wire.detail.clone_from(detail);
                Reason::ScoreDisabled
            }
            Refusal::Parameters(detail) => {
                wire.detail.clone_from(detail);
                Reason::Parameters
            }
            Refusal::SpawnFailed(detail) => {
                wire.detail.clone_from(detail);
                Reason::SpawnFailed
            }
            Refusal::Spool(detail) => {
                wire.detail.clone_from(detail);
                Reason::Spool
            }
            Refusal::Limits(detail) => {
                wire.detail.clone_from(detail);
                Reason::Limits
            }
            Refusal::Bundle(detail) => {
                wire.detail.clone_from(detail);
                Reason::Bundle
            }
            Refusal::Source(detail) => {
                wire.detail.clone_from(detail);
                Reason::Source
            }
            Refusal::Policy(detail) => {
                wire.detail.clone_from(detail);
                Reason::Policy
            }
        };
        wire.set_reason(reason);
        wire
    }
}

impl TryFrom<v1::Refusal> for Refusal {
    type Error = Invalid;

    fn try_from(refusal: v1::Refusal) -> Result<Self, Invalid> {
        use v1::refusal::Reason;
        let detail = refusal.detail;
        Ok(match Reason::try_from(refusal.reason).in_field("Refusal.reason")? {
            Reason::Unspecified => return Err(Invalid::field("Refusal.reason")),
            Reason::UnknownScore => Refusal::UnknownScore,
            Reason::ScoreDisabled => Refusal::ScoreDisabled(detail),
            Reason::Parameters => Refusal::Parameters(detail),
            Reason::SpawnFailed => Refusal::SpawnFailed(detail),
            Reason::Busy => Refusal::Busy,
            Reason::Cancelled => Refusal::Cancelled,
            Reason::Spool => Refusal::Spool(detail),
            Reason::Limits => Refusal::Limits(detail),
            Reason::Bundle => Refusal::Bundle(detail),
            Reason::Source => Refusal::Source(detail),
            Reason::Policy => Refusal::Policy(detail),
            Reason::StaleTerm => Refusal::StaleTerm {
                seen: Term(refusal.term),
                evidence: evidence_from_wire(refusal.evidence.as_ref())?,
            },
            Reason::AlreadyAcknowledged => Refusal::AlreadyAcknowledged,
            Reason::Stopping => Refusal::Stopping,
        })
    }
}

impl From<&AttemptEnd> for v1::AttemptEnd {
    fn from(end: &AttemptEnd) -> Self {
        use v1::attempt_end::Outcome as Wire;
        let outcome = match &end.outcome {
            Outcome::Exited(code) => Wire::Exited(*code),
            Outcome::Signalled(signal) => Wire::Signalled(signal.unsigned_abs()),
            Outcome::TimedOut => Wire::TimedOut(v1::TimedOut {}),
            Outcome::Cancelled => Wire::Cancelled(v1::CancelledEnd {}),
            Outcome::Lost(why) => Wire::Lost(why.clone()),
        };
        Self {
            outcome: Some(outcome),
            started_at_ms: moment_ms(end.started_at),
            ended_at_ms: end.ended_at.0,
            response: end.response.clone(),
            stdout: Some((&end.stdout).into()),
            stderr: Some((&end.stderr).into()),
        }
    }
}

impl TryFrom<v1::AttemptEnd> for AttemptEnd {
    type Error = Invalid;

    fn try_from(end: v1::AttemptEnd) -> Result<Self, Invalid> {
        let response_bytes: usize =
            end.response.iter().map(|(key, value)| key.len() + value.len()).sum();
        if end.response.len() > limits::RESPONSE_PAIRS || response_bytes > limits::RESPONSE_BYTES {
            return Err(Invalid::field("AttemptEnd.response"));
        }
        Ok(AttemptEnd {
            outcome: end.outcome.in_field("AttemptEnd.outcome")?.try_into()?,
            started_at: moment(end.started_at_ms),
            ended_at: Timestamp(end.ended_at_ms),
            response: end.response,
            stdout: end.stdout.unwrap_or_default().try_into()?,
            stderr: end.stderr.unwrap_or_default().try_into()?,
        })
    }
}

impl From<&Output> for v1::Output {
    fn from(output: &Output) -> Self {
        Self {
            head: Bytes::copy_from_slice(&output.head),
            tail: Bytes::copy_from_slice(&output.tail),
            bytes: output.bytes,
            truncated: output.truncated,
        }
    }
}

impl TryFrom<v1::Output> for Output {
    type Error = Invalid;

    fn try_from(output: v1::Output) -> Result<Self, Invalid> {
        if output.head.len() > limits::OUTPUT_HEAD_BYTES
            || output.tail.len() > limits::OUTPUT_TAIL_BYTES
        {
            return Err(Invalid::field("Output"));
        }
        Ok(Output {
            head: output.head.into(),
            tail: output.tail.into(),
            bytes: output.bytes,
            truncated: output.truncated,
        })
    }
}

impl From<&JobPart> for v1::JobBody {
    fn from(part: &JobPart) -> Self {
        Self {
            job: Some(part.job.into()),
            name: part.name.to_string(),
            score: part.score.to_string(),
            audience: part.audience.to_string(),
            params: params_to_wire(&part.params),
            unit: part.unit.as_deref().map(unit_order_to_wire),
            seal: part.seal.as_ref().map(|seal| seal.encode().into()).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::JobBody> for JobPart {
    type Error = Invalid;

    fn try_from(body: v1::JobBody) -> Result<Self, Invalid> {
        Ok(JobPart {
            job: body.job.as_ref().in_field("JobBody.job")?.try_into()?,
            name: JobName::new(&body.name).in_field("JobBody.name")?,
            score: ScoreName::new(&body.score).in_field("JobBody.score")?,
            audience: Asker::from_word(&body.audience).in_field("JobBody.audience")?,
            params: params_from_wire(body.params)?,
            unit: body.unit.as_ref().map(unit_job_from_wire).transpose()?.map(Arc::new),
            seal: match body.seal.is_empty() {
                true => None,
                false => Some(Arc::new(Seal::decode(&body.seal).in_field("JobBody.seal")?)),
            },
        })
    }
}

/// An order, as the sitter decodes it.
#[derive(Clone, Debug)]
pub struct ReadOrder {
    /// The digest of the job part that it refers to.
    pub job_digest: Bytes,
    /// Its small part.
    pub order: Order,
    /// The conductor's proof that it ordered this.
    pub mac: Option<Mac>,
}

/// Reads the small part of an order.
pub fn order_from_wire(order: &v1::Order) -> Result<ReadOrder, Invalid> {
    let model = Order {
        number: Some(OrderNumber(order.number))
            .filter(|number| number.0 > 0)
            .in_field("Order.number")?,
        key: key(order.key.as_ref(), "Order.key")?,
        timeout: order.timeout_ms.map(Millis),
        instance: (order.placement > 0).then_some(Instance {
            ordinal: Ordinal(order.ordinal),
            placement: Placement(order.placement),
        }),
        tree: order.tree.as_ref().map(TryInto::try_into).transpose()?.map(Arc::new),
    };
    let mac = mac_from_wire(&order.mac, "Order.mac")?;
    Ok(ReadOrder { job_digest: order.job_digest.clone(), order: model, mac })
}

/// Spells an order on the wire, with the proof of it.
pub fn order_to_wire(order: &Order, job_digest: Bytes, mac: Mac) -> v1::Order {
    v1::Order {
        number: order.number.0,
        key: Some(order.key.into()),
        job_digest,
        timeout_ms: order.timeout.map(|timeout| timeout.0),
        mac: mac_to_wire(mac),
        ordinal: order.instance.map_or(0, |instance| instance.ordinal.0),
        placement: order.instance.map_or(0, |instance| instance.placement.0),
        tree: order.tree.as_deref().map(Into::into),
    }
}
