//! What a `body` column holds: a version byte, a protobuf message, and the CRC-32 of both.
//!
//! A message here may gain fields that the previous release can do without; whatever it could
//! not do without raises [`VERSION`], and then the next release still reads the version before.
//! The key of a record is in the key columns alone.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_model::{
    FlowId, FlowState, HostName, JobId, JobName, JobState, Millis, Params, ScoreName, ServiceName,
    TaskState, Timestamp,
    audit::{Asker, AuditEntry, AuditRecord, Deed, Object},
    delivery::{EndBytes, OrderNumber, RequestId, SpoolId},
    names::{FlowName, InvalidName, ParamKey},
    params::InvalidParams,
    proof::Mac,
    record::{
        Drain, EndRecord, FlowRecord, HoldRecord, Impact, JobRecord, ParamsRecord, PlayerRecord,
        TaskRecord,
    },
    status::Counts,
    thresholds::Thresholds,
    tree::Parent,
};
use prost::Message;

mod brakes;
mod bundle;
mod in_force;
mod service;

pub(super) use brakes::BrakesBody;
pub(super) use bundle::BundleBody;
pub(super) use in_force::InForceBody;
pub(super) use service::{PlacementBody, ServiceBody, VersionBody};

/// The version that this release writes, and the only one so far.
const VERSION: u8 = 1;
const CRC_BYTES: usize = 4;

/// Replaces what is in `buffer` by the encoded message.
pub(super) fn encode<'a>(message: &impl Message, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    buffer.clear();
    buffer.push(VERSION);
    message.encode_raw(buffer);
    let crc = crc32fast::hash(buffer);
    buffer.extend_from_slice(&crc.to_le_bytes());
    buffer
}

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Its version is not one that this release knows.
    Newer(u8),
    /// What is wrong with it.
    Corrupt(String),
}

/// Reads what [`encode`] made.
pub(super) fn decode<M: Message + Default>(body: &[u8]) -> Result<M, Unreadable> {
    let corrupt = |problem: &str| Unreadable::Corrupt(problem.to_owned());
    // Before the checksum, whose place and kind are a matter of the version.
    match body.first() {
        Some(&VERSION) => {}
        Some(&version) if version > VERSION => return Err(Unreadable::Newer(version)),
        _ => return Err(corrupt("it has no version")),
    }
    let Some((covered, crc)) = body.split_last_chunk::<CRC_BYTES>() else {
        return Err(corrupt("it is too short"));
    };
    if crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
        return Err(corrupt("its checksum is wrong"));
    }
    let message = covered.get(1..).ok_or_else(|| corrupt("it is too short"))?;
    M::decode(message).map_err(|error| Unreadable::Corrupt(error.to_string()))
}

impl From<InvalidName> for Unreadable {
    fn from(error: InvalidName) -> Self {
        Unreadable::Corrupt(error.to_string())
    }
}

impl From<InvalidParams> for Unreadable {
    fn from(error: InvalidParams) -> Self {
        Unreadable::Corrupt(error.to_string())
    }
}

/// Reads a word of a state.
fn word<T>(text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Unreadable> {
    parse(text).ok_or_else(|| Unreadable::Corrupt(format!("{text:?} is not a state")))
}

/// Reads the bytes of a random id.
fn id<T>(bytes: &[u8], parse: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, Unreadable> {
    parse(bytes).ok_or_else(|| Unreadable::Corrupt(format!("an id of {} bytes", bytes.len())))
}

#[derive(Message)]
pub(super) struct FlowBody {
    #[prost(bytes = "vec", tag = "1")]
    request: Vec<u8>,
    #[prost(string, tag = "2")]
    audience: String,
    #[prost(string, optional, tag = "3")]
    name: Option<String>,
    #[prost(string, tag = "4")]
    state: String,
    #[prost(uint64, tag = "5")]
    submitted_at: u64,
    #[prost(uint64, optional, tag = "6")]
    ended_at: Option<u64>,
    #[prost(string, optional, tag = "7")]
    cancelled_by: Option<String>,
    #[prost(string, optional, tag = "8")]
    paused_by: Option<String>,
    #[prost(uint64, optional, tag = "9")]
    retry_of: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "10")]
    request_mac: Option<Vec<u8>>,
    #[prost(bool, tag = "14")]
    by_keeper: bool,
    #[prost(string, optional, tag = "15")]
    cancel_reason: Option<String>,
    #[prost(string, optional, tag = "60")]
    predecessor: Option<String>,
}

impl From<&FlowRecord> for FlowBody {
    fn from(record: &FlowRecord) -> Self {
        Self {
            request: record.request.0.to_vec(),
            audience: record.audience.to_string(),
            name: record.name.as_ref().map(ToString::to_string),
            state: record.state.as_str().to_owned(),
            submitted_at: record.submitted_at.0,
            ended_at: record.ended_at.map(|at| at.0),
            cancelled_by: record.cancelled_by.as_ref().map(ToString::to_string),
            paused_by: record.paused_by.as_ref().map(ToString::to_string),
            retry_of: record.retry_of.map(|flow| flow.0),
            request_mac: record.request_mac.map(|mac| mac.0.to_vec()),
            by_keeper: record.by_keeper,
            cancel_reason: record.cancel_reason.as_ref().map(ToString::to_string),
            predecessor: record.predecessor.map(|state| state.as_str().to_owned()),
        }
    }
}

impl FlowBody {
    pub(super) fn into_record(self, id_: FlowId) -> Result<FlowRecord, Unreadable> {
        Ok(FlowRecord {
            id: id_,
            request: id(&self.request, RequestId::from_slice)?,
            audience: Asker::from_word(&self.audience)?,
            by_keeper: self.by_keeper,
            name: self.name.as_deref().map(FlowName::new).transpose()?,
            state: word(&self.state, FlowState::from_word)?,
            submitted_at: Timestamp(self.submitted_at),
            ended_at: self.ended_at.map(Timestamp),
            cancelled_by: self.cancelled_by.as_deref().map(Asker::from_word).transpose()?,
            cancel_reason: self.cancel_reason.map(Into::into),
            paused_by: self.paused_by.as_deref().map(Asker::from_word).transpose()?,
            retry_of: self.retry_of.map(FlowId),
            predecessor: (self.predecessor.as_deref())
                .map(|state| word(state, FlowState::from_word))
                .transpose()?,
            request_mac: (self.request_mac.as_deref())
                .map(|mac| id(mac, Mac::from_slice))
                .transpose()?,
        })
    }
}

/// A piece of a spec.
#[derive(Message)]
pub(super) struct SpecBody {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) bytes: Vec<u8>,
}

#[derive(Message)]
pub(super) struct JobBody {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    score: String,
    #[prost(uint32, tag = "3")]
    tasks: u32,
    #[prost(string, tag = "4")]
    state: String,
    #[prost(uint64, optional, tag = "5")]
    started_at: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    ended_at: Option<u64>,
    #[prost(string, tag = "7")]
    untouched: String,
    #[prost(btree_map = "string, uint32", tag = "8")]
    counts: BTreeMap<String, u32>,
    #[prost(string, repeated, tag = "9")]
    param_keys: Vec<String>,
    #[prost(uint64, optional, tag = "10")]
    canary_ok_at: Option<u64>,
    #[prost(string, optional, tag = "11")]
    promoted_by: Option<String>,
    #[prost(uint64, tag = "12")]
    change: u64,
    /// Jobs of the first release have none.
    #[prost(message, optional, tag = "13")]
    thresholds: Option<ThresholdsBody>,
    #[prost(message, repeated, tag = "60")]
    kept_params: Vec<PairBody>,
}

/// What a job's limits came to.
#[derive(Message)]
pub(super) struct ThresholdsBody {
    #[prost(uint32, tag = "1")]
    window: u32,
    #[prost(uint32, tag = "2")]
    needed: u32,
    #[prost(uint32, tag = "3")]
    tolerated: u32,
    #[prost(uint32, tag = "4")]
    quorum: u32,
    #[prost(uint32, tag = "5")]
    canary: u32,
}

impl From<&Thresholds> for ThresholdsBody {
    fn from(thresholds: &Thresholds) -> Self {
        let Thresholds { window, needed, tolerated, quorum, canary } = *thresholds;
        Self { window, needed, tolerated, quorum, canary }
    }
}

impl From<ThresholdsBody> for Thresholds {
    fn from(body: ThresholdsBody) -> Self {
        let ThresholdsBody { window, needed, tolerated, quorum, canary } = body;
        Self { window, needed, tolerated, quorum, canary }
    }
}

impl From<&JobRecord> for JobBody {
    fn from(record: &JobRecord) -> Self {
        Self {
            name: record.name.to_string(),
            score: record.score.to_string(),
            tasks: record.tasks,
            state: record.state.as_str().to_owned(),
            started_at: record.started_at.map(|at| at.0),
            ended_at: record.ended_at.map(|at| at.0),
            untouched: record.untouched.as_str().to_owned(),
            counts: (record.counts.iter().filter(|(_, tasks)| *tasks > 0))
                .map(|(state, tasks)| (state.as_str().to_owned(), tasks))
                .collect(),
            param_keys: record.param_keys.iter().map(ToString::to_string).collect(),
            canary_ok_at: record.canary_ok_at.map(|at| at.0),
            promoted_by: record.promoted_by.as_ref().map(ToString::to_string),
            change: record.change,
            thresholds: record.thresholds.as_deref().map(ThresholdsBody::from),
            kept_params: pairs(&record.kept_params),
        }
    }
}

impl JobBody {
    pub(super) fn into_record(self, id: JobId) -> Result<JobRecord, Unreadable> {
        let mut counts = Counts::default();
        for (state, tasks) in &self.counts {
            counts.set(word(state, TaskState::from_word)?, *tasks);
        }
        Ok(JobRecord {
            id,
            name: JobName::new(&self.name)?,
            score: ScoreName::new(&self.score)?,
            tasks: self.tasks,
            state: word(&self.state, JobState::from_word)?,
            started_at: self.started_at.map(Timestamp),
            ended_at: self.ended_at.map(Timestamp),
            untouched: word(&self.untouched, TaskState::from_word)?,
            counts,
            param_keys: (self.param_keys.iter())
                .map(|key| ParamKey::new(key))
                .collect::<Result<_, _>>()?,
            canary_ok_at: self.canary_ok_at.map(Timestamp),
            promoted_by: self.promoted_by.as_deref().map(Asker::from_word).transpose()?,
            change: self.change,
            thresholds: self.thresholds.map(|kept| Box::new(kept.into())),
            kept_params: Arc::new(params(self.kept_params)?),
        })
    }
}

/// A piece of a folded host set, or of the hosts of a tree.
#[derive(Message)]
pub(super) struct HostsBody {
    #[prost(string, tag = "1")]
    pub(super) text: String,
}

/// Parameters, behind a page of zeros.
///
/// SQLite overwrites what is deleted, but it also moves rows between pages while they live, and
/// what it leaves behind there is not overwritten. It never moves the part of a row that did not
/// fit its page. The padding fills that first page (4,096 bytes), so that every byte of a value
/// is in a place that deleting overwrites.
#[derive(Message)]
pub(super) struct ParamsBody {
    #[prost(bytes = "vec", tag = "1")]
    padding: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pairs: Vec<PairBody>,
}

#[derive(Message)]
pub(super) struct PairBody {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

fn pairs(params: &Params) -> Vec<PairBody> {
    let pair = |(key, value): (&ParamKey, &str)| PairBody {
        key: key.to_string(),
        value: value.to_owned(),
    };
    params.iter().map(pair).collect()
}

fn params(pairs: Vec<PairBody>) -> Result<Params, Unreadable> {
    Ok(Params::from_pairs(pairs.into_iter().map(|pair| (pair.key, pair.value)))?)
}

/// The page size of the database, which is SQLite's default.
pub(super) const PAGE_BYTES: usize = 4_096;

impl From<&ParamsRecord> for ParamsBody {
    fn from(record: &ParamsRecord) -> Self {
        Self { padding: vec![0; PAGE_BYTES], pairs: pairs(&record.params) }
    }
}

impl ParamsBody {
    pub(super) fn into_params(self) -> Result<Params, Unreadable> {
        params(self.pairs)
    }
}

#[derive(Message)]
pub(super) struct TaskBody {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(string, tag = "2")]
    state: String,
    #[prost(uint32, tag = "3")]
    attempt: u32,
    #[prost(uint32, tag = "4")]
    retries: u32,
    #[prost(uint64, tag = "5")]
    order: u64,
    #[prost(uint64, optional, tag = "6")]
    sent_at: Option<u64>,
    #[prost(uint64, optional, tag = "7")]
    started_at: Option<u64>,
    #[prost(uint64, optional, tag = "8")]
    ended_at: Option<u64>,
    #[prost(sint32, optional, tag = "9")]
    exit: Option<i32>,
    #[prost(sint32, optional, tag = "10")]
    signal: Option<i32>,
    #[prost(string, optional, tag = "11")]
    detail: Option<String>,
    /// See [`impact_number`].
    #[prost(uint32, tag = "12")]
    impact: u32,
    #[prost(string, optional, tag = "13")]
    before: Option<String>,
    #[prost(uint64, optional, tag = "14")]
    time_limit_ms: Option<u64>,
    #[prost(uint64, tag = "15")]
    change: u64,
    /// Empty for nobody; absent where the job has no tree.
    #[prost(string, optional, tag = "50")]
    parent: Option<String>,
}

/// An impact as stored. Tables of version 1 had none, which reads as 0.
fn impact_number(impact: Impact) -> u32 {
    match impact {
        Impact::Look => 1,
        Impact::Unthrottled => 2,
        Impact::Holds => 3,
    }
}

/// The impact of attempt `attempt`. What was sent while nobody asked counts as a change.
fn impact_of(number: u32, attempt: u32) -> Result<Impact, Unreadable> {
    match number {
        0 if attempt == 0 => Ok(Impact::Look),
        1 => Ok(Impact::Look),
        2 => Ok(Impact::Unthrottled),
        0 | 3 => Ok(Impact::Holds),
        _ => Err(Unreadable::Corrupt(format!("{number} is not an impact"))),
    }
}

impl From<&TaskRecord> for TaskBody {
    fn from(record: &TaskRecord) -> Self {
        Self {
            host: record.host.to_string(),
            state: record.state.as_str().to_owned(),
            attempt: record.attempt,
            retries: record.retries,
            order: record.order.0,
            sent_at: record.sent_at.map(|at| at.0),
            started_at: record.started_at.map(|at| at.0),
            ended_at: record.ended_at.map(|at| at.0),
            exit: record.exit,
            signal: record.signal,
            detail: record.detail.as_deref().map(str::to_owned),
            impact: impact_number(record.impact),
            before: record.before.map(|state| state.as_str().to_owned()),
            time_limit_ms: record.time_limit.map(|limit| limit.0),
            change: record.change,
            parent: record.parent.as_ref().map(ToString::to_string),
        }
    }
}

impl TaskBody {
    pub(super) fn into_record(self, job: JobId, index: u32) -> Result<TaskRecord, Unreadable> {
        Ok(TaskRecord {
            job,
            index,
            host: HostName::new(&self.host)?,
            state: word(&self.state, TaskState::from_word)?,
            attempt: self.attempt,
            retries: self.retries,
            order: OrderNumber(self.order),
            sent_at: self.sent_at.map(Timestamp),
            started_at: self.started_at.map(Timestamp),
            ended_at: self.ended_at.map(Timestamp),
            impact: impact_of(self.impact, self.attempt)?,
            before: self.before.map(|text| word(&text, TaskState::from_word)).transpose()?,
            exit: self.exit,
            signal: self.signal,
            detail: self.detail.map(Arc::from),
            time_limit: self.time_limit_ms.map(Millis),
            change: self.change,
            parent: self.parent.as_deref().map(Parent::from_word).transpose()?,
        })
    }
}

#[derive(Message)]
pub(super) struct EndBody {
    #[prost(bool, tag = "1")]
    late: bool,
    #[prost(bytes = "vec", tag = "2")]
    end: Vec<u8>,
}

impl From<&EndRecord> for EndBody {
    fn from(record: &EndRecord) -> Self {
        Self { late: record.late, end: record.end.as_slice().to_vec() }
    }
}

impl EndBody {
    pub(super) fn into_record(
        self,
        job: JobId,
        host: HostName,
        attempt: u32,
    ) -> Result<EndRecord, Unreadable> {
        let end = EndBytes::new(self.end);
        let end = end.map_err(|error| Unreadable::Corrupt(error.to_string()))?;
        Ok(EndRecord { job, host, attempt, late: self.late, end })
    }
}

#[derive(Message)]
pub(super) struct PlayerBody {
    #[prost(bytes = "vec", optional, tag = "1")]
    spool: Option<Vec<u8>>,
    #[prost(uint64, tag = "2")]
    last_order: u64,
    #[prost(uint64, optional, tag = "3")]
    detached_at: Option<u64>,
    #[prost(bool, tag = "4")]
    removed: bool,
    #[prost(message, optional, tag = "5")]
    drained: Option<DrainBody>,
}

#[derive(Message)]
pub(super) struct DrainBody {
    #[prost(string, tag = "1")]
    by: String,
    #[prost(string, tag = "2")]
    reason: String,
    #[prost(uint64, tag = "3")]
    since: u64,
}

impl From<&Drain> for DrainBody {
    fn from(drain: &Drain) -> Self {
        Self { by: drain.by.to_string(), reason: drain.reason.to_string(), since: drain.since.0 }
    }
}

impl DrainBody {
    fn into_drain(self) -> Result<Drain, Unreadable> {
        Ok(Drain {
            by: Asker::from_word(&self.by)?,
            reason: self.reason.into(),
            since: Timestamp(self.since),
        })
    }
}

impl From<&PlayerRecord> for PlayerBody {
    fn from(record: &PlayerRecord) -> Self {
        Self {
            spool: record.spool.map(|spool| spool.0.to_vec()),
            last_order: record.last_order.0,
            detached_at: record.detached_at.map(|at| at.0),
            removed: record.removed,
            drained: record.drained.as_ref().map(DrainBody::from),
        }
    }
}

impl PlayerBody {
    pub(super) fn into_record(self, host: &str) -> Result<PlayerRecord, Unreadable> {
        Ok(PlayerRecord {
            host: HostName::new(host)?,
            spool: self.spool.as_deref().map(|spool| id(spool, SpoolId::from_slice)).transpose()?,
            last_order: OrderNumber(self.last_order),
            detached_at: self.detached_at.map(Timestamp),
            removed: self.removed,
            drained: self.drained.map(DrainBody::into_drain).transpose()?,
        })
    }
}

#[derive(Message)]
pub(super) struct HoldBody {
    #[prost(uint64, tag = "1")]
    flow: u64,
    #[prost(uint32, tag = "2")]
    slot: u32,
    #[prost(uint32, tag = "3")]
    job: u32,
    #[prost(uint64, tag = "4")]
    order: u64,
    #[prost(string, tag = "5")]
    state: String,
    #[prost(uint64, tag = "6")]
    since: u64,
}

impl From<&HoldRecord> for HoldBody {
    fn from(record: &HoldRecord) -> Self {
        Self {
            flow: record.job.flow.0,
            slot: record.job.slot.into(),
            job: record.job.job.into(),
            order: record.order.0,
            state: record.state.as_str().to_owned(),
            since: record.since.0,
        }
    }
}

impl HoldBody {
    pub(super) fn into_record(self, host: &str) -> Result<HoldRecord, Unreadable> {
        let place = |n: u32| {
            u16::try_from(n).map_err(|_| Unreadable::Corrupt(format!("{n} is no place of a job")))
        };
        Ok(HoldRecord {
            host: HostName::new(host)?,
            job: JobId { flow: FlowId(self.flow), slot: place(self.slot)?, job: place(self.job)? },
            order: OrderNumber(self.order),
            state: word(&self.state, TaskState::from_word)?,
            since: Timestamp(self.since),
        })
    }
}

/// A line of who did what.
#[derive(Message)]
pub(super) struct AuditBody {
    #[prost(uint64, tag = "1")]
    at: u64,
    #[prost(string, tag = "2")]
    by: String,
    #[prost(string, tag = "3")]
    verb: String,
    /// 0: none.
    #[prost(uint64, tag = "4")]
    flow: u64,
    #[prost(string, optional, tag = "5")]
    hosts: Option<String>,
    #[prost(string, optional, tag = "6")]
    reason: Option<String>,
    #[prost(string, tag = "7")]
    answer: String,
    #[prost(string, optional, tag = "8")]
    service: Option<String>,
    /// Empty in lines of version 2, where everything was done.
    #[prost(string, tag = "9")]
    outcome: String,
    #[prost(string, optional, tag = "10")]
    file: Option<String>,
    #[prost(string, optional, tag = "11")]
    peer: Option<String>,
    #[prost(uint64, optional, tag = "12")]
    lines: Option<u64>,
    #[prost(string, optional, tag = "13")]
    rule: Option<String>,
    /// 0 in lines of version 2, which stand for one.
    #[prost(uint64, tag = "14")]
    times: u64,
    #[prost(bytes = "vec", optional, tag = "15")]
    link: Option<Vec<u8>>,
}

impl From<&AuditRecord> for AuditBody {
    fn from(line: &AuditRecord) -> Self {
        let AuditEntry { by, deed, on, reason, answer, rule, times } = &line.entry;
        let text = |text: &Arc<str>| text.to_string();
        let mut body = Self {
            at: line.at.0,
            by: by.to_string(),
            verb: deed.as_str().to_owned(),
            outcome: deed.outcome().to_owned(),
            reason: reason.as_ref().map(text),
            answer: answer.to_string(),
            rule: rule.as_ref().map(text),
            times: *times,
            link: line.link.map(|link| link.0.to_vec()),
            ..Self::default()
        };
        match on {
            Object::Flow(flow) => body.flow = flow.0,
            Object::Hosts(hosts) => body.hosts = Some(text(hosts)),
            Object::Service(service) => body.service = Some(service.to_string()),
            Object::File(file) => body.file = Some(text(file)),
            Object::Peer(peer) => body.peer = Some(text(peer)),
            Object::Lines(number) => body.lines = Some(*number),
            Object::Conductor => {}
        }
        body
    }
}

impl AuditBody {
    /// Returns its link, if it has one that can be read.
    pub(super) fn mac(&self) -> Option<Mac> {
        self.link.as_deref().and_then(Mac::from_slice)
    }

    pub(super) fn into_record(self, number: u64) -> Result<AuditRecord, Unreadable> {
        let link = self.mac();
        if link.is_none() && self.link.is_some() {
            return Err(Unreadable::Corrupt("its link has another length".to_owned()));
        }
        let on = match (self.flow, self.hosts, &self.service, self.file, self.peer, self.lines) {
            (0, Some(hosts), ..) => Object::Hosts(hosts.into()),
            (0, None, Some(service), ..) => Object::Service(ServiceName::new(service)?),
            (0, None, None, Some(file), ..) => Object::File(file.into()),
            (0, None, None, None, Some(peer), _) => Object::Peer(peer.into()),
            (0, None, None, None, None, Some(number)) => Object::Lines(number),
            (0, None, None, None, None, None) => Object::Conductor,
            (flow, ..) => Object::Flow(FlowId(flow)),
        };
        let deed = Deed::from_words(&self.verb, &self.outcome).ok_or_else(|| {
            Unreadable::Corrupt(format!("verb {:?} {:?}", self.verb, self.outcome))
        })?;
        let entry = AuditEntry {
            by: Asker::from_word(&self.by)?,
            deed,
            on,
            reason: self.reason.map(Into::into),
            answer: self.answer.into(),
            rule: self.rule.map(Into::into),
            times: self.times.max(1),
        };
        Ok(AuditRecord { number, at: Timestamp(self.at), entry, link })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Vec<u8> {
        let mut buffer = Vec::new();
        encode(&SpecBody { bytes: b"slots".to_vec() }, &mut buffer);
        buffer
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let whole = body();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<SpecBody>(&bytes).is_err(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(decode::<SpecBody>(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(decode::<SpecBody>(&whole).is_ok());
    }

    #[test]
    fn a_newer_version_is_named_whatever_follows_it() {
        assert_eq!(decode::<SpecBody>(&[2, 9, 9]).unwrap_err(), Unreadable::Newer(2));
    }
}
