//! Services in JSON.

use orchestra_client::{ServiceState, ready_hosts, wanted_hosts};
use orchestra_model::{
    Asker,
    names::LabelValue,
    service::{
        Change, Exhausted, InstanceId, InstanceStatus, LivingChange, Replaceable, RunEnd,
        ServiceEvent, ServiceFile, ServiceRecord, ServiceStatus, Waiting,
    },
    state::FlowState,
};
use serde::Serialize;

use super::{absence::OfAbsence, brakes::OfSuspicion, obstacles::OfHindered};
use crate::view::{vitals::OfUsage, when};

/// A service without its instances.
#[derive(Serialize)]
pub(crate) struct Summary<'a> {
    name: &'a str,
    version: u64,
    score: &'a str,
    /// What its version's score holds; `null`: that is not known.
    score_hash: Option<String>,
    goal: &'static str,
    state: &'static str,
    /// On how many of its hosts it is ready.
    ready: usize,
    /// On how many it is wanted.
    wanted: usize,
    /// On how many a run executes another score than its version's.
    drifted: usize,
    /// The newest version that was ready everywhere.
    stable: Option<u64>,
    owner: &'a str,
    /// `null`: no file ever said what it is to be.
    file: Option<OfFile<'a>>,
    hosts: String,
    paused_by: Option<&'a str>,
    flow: Option<u64>,
    trouble: Option<&'a str>,
    /// Instances for which no player has room.
    waiting: Vec<OfWaiting<'a>>,
    /// Why the health of its units is not believed; `null`: it is.
    suspicion: Option<OfSuspicion<'a>>,
}

/// Instances that wait for a player: each player is counted once, at the first reason that keeps it
/// out.
#[derive(Serialize)]
pub(super) struct OfWaiting<'a> {
    count: u32,
    /// `null`: whichever.
    zone: Option<&'a str>,
    /// 0: nobody looks for one yet, because the conductor has just started.
    players: u32,
    elsewhere: u32,
    taken: u32,
    absent: u32,
    drained: u32,
    too_old: u32,
    without_score: u32,
    full: u32,
    short_of_memory: u32,
    short_of_cpu: u32,
    /// What one instance needs.
    memory_bytes: u64,
    cpu_millicores: u64,
}

impl<'a> From<&'a Waiting> for OfWaiting<'a> {
    fn from(waiting: &'a Waiting) -> Self {
        Self {
            count: waiting.count,
            zone: waiting.zone.as_ref().map(LabelValue::as_str),
            players: waiting.players,
            elsewhere: waiting.elsewhere,
            taken: waiting.taken,
            absent: waiting.absent,
            drained: waiting.drained,
            too_old: waiting.too_old,
            without_score: waiting.without_score,
            full: waiting.full,
            short_of_memory: waiting.short_of_memory,
            short_of_cpu: waiting.short_of_cpu,
            memory_bytes: waiting.need.memory.0,
            cpu_millicores: waiting.need.cpu,
        }
    }
}

impl<'a> From<&'a ServiceStatus> for Summary<'a> {
    fn from(status: &'a ServiceStatus) -> Self {
        let record = &status.record;
        Self {
            name: record.name.as_str(),
            version: record.version.0,
            score: record.score.as_str(),
            score_hash: status.score_hash.map(|hash| hash.to_string()),
            goal: record.goal.as_str(),
            state: ServiceState::of(status).as_str(),
            ready: ready_hosts(status),
            wanted: wanted_hosts(status),
            drifted: status.drifted().len(),
            stable: record.stable.map(|version| version.0),
            owner: record.owner.as_str(),
            file: record.file.as_ref().map(OfFile::from),
            hosts: record.hosts.to_string(),
            paused_by: record.paused_by.as_ref().map(Asker::as_str),
            flow: status.flow().map(|flow| flow.0),
            trouble: status.trouble.as_deref(),
            waiting: status.waiting.iter().map(Into::into).collect(),
            suspicion: record.judged.suspicion.as_ref().map(OfSuspicion::from),
        }
    }
}

/// A file of `services.d`.
#[derive(Serialize)]
struct OfFile<'a> {
    name: &'a str,
    standing: &'static str,
}

impl<'a> From<&'a ServiceFile> for OfFile<'a> {
    fn from(file: &'a ServiceFile) -> Self {
        Self { name: &file.name, standing: file.standing.as_str() }
    }
}

/// All of a service.
#[derive(Serialize)]
pub(crate) struct Whole<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    last_version: u64,
    pending: Option<OfChange<'a>>,
    living: Option<OfLiving<'a>>,
    /// Restarts unhealthy units beside that.
    relief: Option<OfLiving<'a>>,
    unplaced: String,
    given_up: String,
    /// Hosts that it has left and that were not cleaned up yet.
    uncleaned: String,
    strangers: String,
    /// What keeps instances from being where and as they are to be.
    hindered: Vec<OfHindered<'a>>,
    instances: Vec<OfInstance<'a>>,
    /// Oldest first.
    events: Vec<OfEvent<'a>>,
}

impl<'a> From<&'a ServiceStatus> for Whole<'a> {
    fn from(status: &'a ServiceStatus) -> Self {
        let record = &status.record;
        let hindered = status.hindered.iter();
        let hindered = hindered.map(|it| OfHindered::new(&it.hosts, &it.by, &record.name));
        Self {
            summary: Summary::from(status),
            last_version: record.last_version.0,
            pending: record.pending.as_ref().map(OfChange::from),
            living: record.living.as_ref().map(OfLiving::from),
            relief: record.relief.as_ref().map(OfLiving::from),
            unplaced: status.unplaced.to_string(),
            given_up: status.given_up.to_string(),
            uncleaned: status.uncleaned.to_string(),
            strangers: status.strangers.to_string(),
            hindered: hindered.collect(),
            instances: status.instances.iter().map(|it| OfInstance::new(record, it)).collect(),
            events: record.events.iter().map(OfEvent::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct OfChange<'a> {
    cause: &'static str,
    /// An audience, `orchestra:files`, or `orchestra:keeper`: the conductor by itself.
    by: &'a str,
    /// `null`: all of its hosts.
    hosts: Option<String>,
}

impl<'a> From<&'a Change> for OfChange<'a> {
    fn from(change: &'a Change) -> Self {
        Self {
            cause: change.cause.as_str(),
            by: change.by.as_str(),
            hosts: change.hosts.as_ref().map(ToString::to_string),
        }
    }
}

#[derive(Serialize)]
struct OfLiving<'a> {
    flow: u64,
    cause: &'static str,
    by: &'a str,
    version: u64,
    superseded: bool,
}

impl<'a> From<&'a LivingChange> for OfLiving<'a> {
    fn from(living: &'a LivingChange) -> Self {
        let LivingChange { flow, cause, by, version, superseded } = living;
        let (flow, version) = (flow.0, version.0);
        let (cause, by) = (cause.as_str(), by.as_str());
        Self { flow, cause, by, version, superseded: *superseded }
    }
}

#[derive(Serialize)]
struct OfInstance<'a> {
    id: String,
    host: &'a str,
    ordinal: u32,
    placement: u64,
    attached: bool,
    /// `null`, as the next ones: its player has told nothing since the conductor started.
    state: Option<&'static str>,
    version: Option<u64>,
    since: Option<String>,
    run: Option<u64>,
    restarts: Option<u32>,
    last_end: Option<OfEnd<'a>>,
    /// Why it is unhealthy; `null` if it is not.
    trouble: Option<&'a str>,
    /// How often it turned unhealthy, or healthy again, since its last order.
    turns: Option<u32>,
    /// Whether it flaps: it turns so often that nobody is to rely on it.
    flapping: Option<bool>,
    /// What its present run executes; `null`: it has none, or that is not known.
    score_hash: Option<String>,
    /// Whether that is another score than its version's; `null`: one of the two is not known.
    drifted: Option<bool>,
    /// Why it counts as down; `null` if it does not.
    unready: Option<&'static str>,
    /// `null`: it has no run, or its player has told nothing of it.
    usage: Option<OfUsage>,
    /// `now`, a moment, or `on-proof`; `null`: its player is there, or the service may be alive twice.
    replaceable: Option<String>,
    /// `null`: its player is there.
    absence: Option<OfAbsence<'a>>,
}

impl<'a> OfInstance<'a> {
    fn new(record: &ServiceRecord, status: &'a InstanceStatus) -> Self {
        let (ordinal, placement) = (status.instance.ordinal, status.instance.placement);
        let report = status.report.as_ref();
        Self {
            id: InstanceId { service: record.name.clone(), ordinal }.to_string(),
            host: status.host.as_str(),
            ordinal: ordinal.0,
            placement: placement.0,
            attached: status.attached,
            state: report.map(|report| report.state.as_str()),
            version: report.map(|report| report.version.0),
            since: report.map(|report| when(report.since)),
            run: report.map(|report| report.run.0),
            restarts: report.map(|report| report.restarts),
            last_end: report.and_then(|report| report.last_end.as_ref()).map(OfEnd::from),
            trouble: report.and_then(|report| report.trouble.as_deref()),
            turns: report.map(|report| report.turns),
            flapping: report.map(|report| report.flapping),
            score_hash: report.and_then(|it| it.score_hash).map(|hash| hash.to_string()),
            drifted: status.drifted,
            unready: status.unready.map(orchestra_model::service::Unready::as_str),
            usage: status.usage.as_ref().map(OfUsage::from),
            replaceable: status.replaceable.map(|replaceable| match replaceable {
                Replaceable::Now => "now".to_owned(),
                Replaceable::At(at) => when(at),
                Replaceable::OnProof => "on-proof".to_owned(),
            }),
            absence: status.absence.as_ref().map(OfAbsence::from),
        }
    }
}

/// How a run ended.
#[derive(Serialize)]
struct OfEnd<'a> {
    how: &'static str,
    exit: Option<i32>,
    signal: Option<i32>,
    detail: Option<&'a str>,
    /// Of a run that was out of memory.
    memory_limit_bytes: Option<u64>,
    memory_peak_bytes: Option<u64>,
}

impl<'a> From<&'a RunEnd> for OfEnd<'a> {
    fn from(end: &'a RunEnd) -> Self {
        let how = match end {
            RunEnd::Exited(_) => "exited",
            RunEnd::Signalled(_) => "signalled",
            RunEnd::OutOfMemory(_) => "out-of-memory",
            RunEnd::NeverReady => "never-ready",
            RunEnd::Watchdog => "watchdog",
            RunEnd::Asked => "asked",
            RunEnd::NotSpawned(_) => "not-spawned",
            RunEnd::HostRestarted => "host-restarted",
            RunEnd::Unknown => "unknown",
            RunEnd::Linked => "linked",
            RunEnd::LeaseRanOut => "lease-ran-out",
        };
        let (memory_limit_bytes, memory_peak_bytes) = (None, None);
        let mut of = Self {
            how,
            exit: None,
            signal: None,
            detail: None,
            memory_limit_bytes,
            memory_peak_bytes,
        };
        match end {
            RunEnd::Exited(code) => of.exit = Some(*code),
            RunEnd::Signalled(signal) => of.signal = Some(*signal),
            RunEnd::NotSpawned(why) => of.detail = Some(why),
            RunEnd::OutOfMemory(Exhausted { limit, peak }) => {
                of.memory_limit_bytes = limit.map(|size| size.0);
                of.memory_peak_bytes = peak.map(|size| size.0);
            }
            _ => {}
        }
        of
    }
}

#[derive(Serialize)]
struct OfEvent<'a> {
    at: String,
    cause: &'static str,
    /// An audience, `orchestra:files`, or `orchestra:keeper`: the conductor by itself.
    by: &'a str,
    version: u64,
    flow: Option<u64>,
    /// How the flow ended; `null`: it began.
    ended: Option<FlowState>,
    note: Option<&'a str>,
}

impl<'a> From<&'a ServiceEvent> for OfEvent<'a> {
    fn from(event: &'a ServiceEvent) -> Self {
        Self {
            at: when(event.at),
            cause: event.cause.as_str(),
            by: event.by.as_str(),
            version: event.version.0,
            flow: event.flow.map(|flow| flow.0),
            ended: event.ended,
            note: event.note.as_deref(),
        }
    }
}
