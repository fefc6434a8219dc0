//! What the audience asks and is told.

use bytes::Bytes;
use orchestra_model::{
    Asker,
    delivery::{EndBytes, SpoolId},
    ids::{FlowId, JobId},
    names::{FlowName, HostName, JobName, ScoreName},
    record::Drain,
    start::StartStatus,
    state::{FlowState, JobState, TaskState, WaitReason},
    status::{
        Absence, AbsentTasks, CanaryStatus, ConductorStatus, Counts, Due, Event, FlowStatus,
        FlowSummary, JobAbsence, JobStatus, PlayerStatus, TaskStatus,
    },
    time::{Millis, Timestamp},
    tree::Parent,
};

use crate::{
    flow::{moment, moment_ms},
    invalid::{InField, Invalid},
    remedy::spelt,
    v1,
};

pub(crate) fn optional_name<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, orchestra_model::names::InvalidName>,
    field: &'static str,
) -> Result<Option<T>, Invalid> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some).in_field(field) }
}

pub(crate) fn text<T: ToString>(name: Option<&T>) -> String {
    name.map(ToString::to_string).unwrap_or_default()
}

impl From<&FlowSummary> for v1::FlowSummary {
    fn from(flow: &FlowSummary) -> Self {
        Self {
            id: flow.id.0,
            name: text(flow.name.as_ref()),
            state: flow.state.to_string(),
            audience: flow.audience.to_string(),
            by_keeper: flow.by_keeper,
            submitted_at_ms: flow.submitted_at.0,
            ended_at_ms: moment_ms(flow.ended_at),
            absent: flow.absent,
            counts: flow.counts.as_ref().map(counts_to_wire).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::FlowSummary> for FlowSummary {
    type Error = Invalid;

    fn try_from(flow: v1::FlowSummary) -> Result<Self, Invalid> {
        Ok(FlowSummary {
            id: FlowId(flow.id),
            name: optional_name(&flow.name, FlowName::new, "FlowSummary.name")?,
            state: FlowState::from_word(&flow.state).in_field("FlowSummary.state")?,
            audience: Asker::from_word(&flow.audience).in_field("FlowSummary.audience")?,
            by_keeper: flow.by_keeper,
            submitted_at: Timestamp(flow.submitted_at_ms),
            ended_at: moment(flow.ended_at_ms),
            absent: flow.absent,
            counts: match flow.counts.is_empty() {
                true => None,
                false => Some(counts_from_wire(&flow.counts)?),
            },
        })
    }
}

impl From<&FlowStatus> for v1::FlowStatus {
    fn from(flow: &FlowStatus) -> Self {
        let slot =
            |jobs: &Vec<JobStatus>| v1::SlotStatus { jobs: jobs.iter().map(Into::into).collect() };
        Self {
            summary: Some((&flow.summary).into()),
            cancelled_by: text(flow.cancelled_by.as_ref()),
            cancel_reason: text(flow.cancel_reason.as_ref()),
            slots: flow.slots.iter().map(slot).collect(),
            stale_store: flow.stale_store,
            paused_by: text(flow.paused_by.as_ref()),
            retry_of: flow.retry_of.map_or(0, |flow| flow.0),
            start: flow.start.map(|awaited| v1::Awaited {
                start: Some(awaited.start.into()),
                ended: text(awaited.ended.as_ref()),
            }),
            stalled: flow.stalled.iter().map(spelt).collect(),
        }
    }
}

impl TryFrom<v1::FlowStatus> for FlowStatus {
    type Error = Invalid;

    fn try_from(flow: v1::FlowStatus) -> Result<Self, Invalid> {
        let slot = |slot: v1::SlotStatus| slot.jobs.into_iter().map(TryInto::try_into).collect();
        let audience =
            |name: &str, field: &'static str| optional_name(name, Asker::from_word, field);
        Ok(FlowStatus {
            summary: flow.summary.in_field("FlowStatus.summary")?.try_into()?,
            cancelled_by: audience(&flow.cancelled_by, "FlowStatus.cancelled_by")?,
            cancel_reason: Some(flow.cancel_reason).filter(|why| !why.is_empty()).map(Into::into),
            paused_by: audience(&flow.paused_by, "FlowStatus.paused_by")?,
            retry_of: Some(FlowId(flow.retry_of)).filter(|flow| *flow > FlowId(0)),
            start: flow.start.as_ref().map(awaited).transpose()?,
            stalled: flow.stalled.into_iter().map(Into::into).collect(),
            stale_store: flow.stale_store,
            slots: flow.slots.into_iter().map(slot).collect::<Result<_, Invalid>>()?,
        })
    }
}

fn awaited(awaited: &v1::Awaited) -> Result<StartStatus, Invalid> {
    let ended = match &*awaited.ended {
        "" => None,
        word => Some(FlowState::from_word(word).in_field("Awaited.ended")?),
    };
    let start = awaited.start.as_ref().in_field("Awaited.start")?;
    Ok(StartStatus { start: start.try_into()?, ended })
}

fn counts_to_wire(counts: &Counts) -> std::collections::BTreeMap<String, u32> {
    counts.iter().filter(|(_, n)| *n > 0).map(|(state, n)| (state.to_string(), n)).collect()
}

fn counts_from_wire(counts: &std::collections::BTreeMap<String, u32>) -> Result<Counts, Invalid> {
    let mut model = Counts::default();
    for (word, n) in counts {
        model.set(TaskState::from_word(word).in_field("counts")?, *n);
    }
    Ok(model)
}

impl From<&JobStatus> for v1::JobStatus {
    fn from(job: &JobStatus) -> Self {
        Self {
            id: Some(job.id.into()),
            name: job.name.to_string(),
            score: job.score.to_string(),
            scope: v1::Scope::from(job.scope).into(),
            state: job.state.to_string(),
            targets: job.targets.clone(),
            counts: counts_to_wire(&job.counts),
            waiting: job.waiting.iter().map(|(reason, n)| (reason.to_string(), *n)).collect(),
            window: job.window,
            needed: job.needed,
            started_at_ms: moment_ms(job.started_at),
            ended_at_ms: moment_ms(job.ended_at),
            canary: job.canary.map(|canary| v1::CanaryStatus {
                tasks: canary.tasks,
                ok: canary.ok,
                until_ms: moment_ms(canary.until),
            }),
            absent_in_flight: job.absence.as_ref().and_then(|of| absent_to_wire(&of.in_flight)),
            absent_waiting: job.absence.as_ref().and_then(|of| absent_to_wire(&of.waiting)),
        }
    }
}

impl TryFrom<v1::JobStatus> for JobStatus {
    type Error = Invalid;

    fn try_from(job: v1::JobStatus) -> Result<Self, Invalid> {
        let reason = |(word, n): (String, u32)| {
            WaitReason::from_word(&word).map(|reason| (reason, n)).in_field("JobStatus.waiting")
        };
        let scope = v1::Scope::try_from(job.scope).in_field("JobStatus.scope")?;
        let absence = JobAbsence {
            in_flight: job.absent_in_flight.map(absent_from_wire).unwrap_or_default(),
            waiting: job.absent_waiting.map(absent_from_wire).unwrap_or_default(),
        };
        Ok(JobStatus {
            id: job.id.as_ref().in_field("JobStatus.id")?.try_into()?,
            name: JobName::new(&job.name).in_field("JobStatus.name")?,
            score: ScoreName::new(&job.score).in_field("JobStatus.score")?,
            scope: scope.into(),
            state: JobState::from_word(&job.state).in_field("JobStatus.state")?,
            targets: job.targets,
            counts: counts_from_wire(&job.counts)?,
            waiting: job.waiting.into_iter().map(reason).collect::<Result<_, _>>()?,
            window: job.window,
            needed: job.needed,
            canary: job.canary.map(|canary| CanaryStatus {
                tasks: canary.tasks,
                ok: canary.ok,
                until: moment(canary.until_ms),
            }),
            started_at: moment(job.started_at_ms),
            ended_at: moment(job.ended_at_ms),
            absence: Some(absence).filter(|absence| !absence.is_empty()),
        })
    }
}

fn due(at_ms: u64, left_ms: u64) -> Option<Due> {
    moment(at_ms).map(|at| Due { at, left: Millis(left_ms) })
}

impl From<Absence> for v1::Absence {
    fn from(absence: Absence) -> Self {
        Self {
            since_ms: moment_ms(absence.since),
            given_up_at_ms: absence.given_up.map_or(0, |due| due.at.0),
            given_up_in_ms: absence.given_up.map_or(0, |due| due.left.0),
        }
    }
}

impl From<v1::Absence> for Absence {
    fn from(absence: v1::Absence) -> Self {
        Self {
            since: moment(absence.since_ms),
            given_up: due(absence.given_up_at_ms, absence.given_up_in_ms),
        }
    }
}

fn absent_to_wire(absent: &AbsentTasks) -> Option<v1::AbsentTasks> {
    (absent.tasks > 0).then(|| v1::AbsentTasks {
        tasks: absent.tasks,
        hosts: absent.hosts.clone(),
        since_ms: moment_ms(absent.since),
        given_up_at_ms: absent.given_up.map_or(0, |due| due.at.0),
        given_up_in_ms: absent.given_up.map_or(0, |due| due.left.0),
    })
}

fn absent_from_wire(absent: v1::AbsentTasks) -> AbsentTasks {
    AbsentTasks {
        tasks: absent.tasks,
        hosts: absent.hosts,
        since: moment(absent.since_ms),
        given_up: due(absent.given_up_at_ms, absent.given_up_in_ms),
    }
}

pub(crate) fn exit_signal(
    exit: Option<i32>,
    signal: Option<u32>,
    field: &'static str,
) -> Result<(Option<i32>, Option<i32>), Invalid> {
    Ok((exit, signal.map(i32::try_from).transpose().in_field(field)?))
}

impl From<&TaskStatus> for v1::TaskStatus {
    fn from(task: &TaskStatus) -> Self {
        Self {
            job: Some(task.job.into()),
            host: text(task.host.as_ref()),
            state: task.state.to_string(),
            reason: text(task.reason.as_ref()),
            detail: text(task.detail.as_ref()),
            attempt: task.attempt,
            exit: task.exit,
            signal: task.signal.map(i32::unsigned_abs),
            started_at_ms: moment_ms(task.started_at),
            ended_at_ms: moment_ms(task.ended_at),
            end: task
                .end
                .as_ref()
                .map_or_else(Bytes::new, |end| Bytes::from_owner(end.to_shared())),
            index: task.index,
            absence: task.absence.map(Into::into),
            last_line: text(task.last_line.as_ref()),
            parent: task.parent.as_ref().map(ToString::to_string),
            shared_stdout: 0,
            shared_stderr: 0,
        }
    }
}

impl TryFrom<v1::TaskStatus> for TaskStatus {
    type Error = Invalid;

    fn try_from(task: v1::TaskStatus) -> Result<Self, Invalid> {
        let (exit, signal) = exit_signal(task.exit, task.signal, "TaskStatus.signal")?;
        let reason = match task.reason.as_str() {
            "" => None,
            word => Some(WaitReason::from_word(word).in_field("TaskStatus.reason")?),
        };
        Ok(TaskStatus {
            job: task.job.as_ref().in_field("TaskStatus.job")?.try_into()?,
            index: task.index,
            host: optional_name(&task.host, HostName::new, "TaskStatus.host")?,
            state: TaskState::from_word(&task.state).in_field("TaskStatus.state")?,
            reason,
            detail: (!task.detail.is_empty()).then(|| task.detail.as_str().into()),
            attempt: task.attempt,
            exit,
            signal,
            started_at: moment(task.started_at_ms),
            ended_at: moment(task.ended_at_ms),
            end: (!task.end.is_empty())
                .then(|| EndBytes::new(&task.end[..]))
                .transpose()
                .in_field("TaskStatus.end")?,
            absence: task.absence.map(Into::into),
            last_line: (!task.last_line.is_empty()).then(|| task.last_line.as_str().into()),
            parent: (task.parent.as_deref().map(Parent::from_word).transpose())
                .in_field("TaskStatus.parent")?,
        })
    }
}

impl From<&Event> for v1::WatchEvent {
    fn from(event: &Event) -> Self {
        use v1::watch_event::Event as Wire;
        let event = match event {
            Event::Flow { flow, state } => {
                Wire::Flow(v1::FlowChanged { flow: flow.0, state: state.to_string() })
            }
            Event::Job { job, state, counts, .. } => Wire::Job(v1::JobChanged {
                job: Some((*job).into()),
                state: state.to_string(),
                counts: counts_to_wire(counts),
            }),
            Event::Task {
                job,
                index,
                host,
                state,
                attempt,
                exit,
                signal,
                detail,
                before,
                absence,
                ..
            } => Wire::Task(v1::TaskChanged {
                job: Some((*job).into()),
                host: text(host.as_ref()),
                state: state.to_string(),
                attempt: *attempt,
                exit: *exit,
                signal: signal.map(i32::unsigned_abs),
                detail: text(detail.as_ref()),
                absence: absence.map(Into::into),
                index: *index,
                before: text(before.as_ref()),
            }),
        };
        Self { event: Some(event), cursor: None }
    }
}

/// What a watcher hears: where the flow stands, or what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// The whole status: first, last, and after falling behind.
    Status(Box<FlowStatus>),
    /// A change.
    Event(Event),
    /// The store was restored from a copy: some of what was told may not be so any more.
    Restored,
}

impl TryFrom<v1::WatchEvent> for Watched {
    type Error = Invalid;

    fn try_from(event: v1::WatchEvent) -> Result<Self, Invalid> {
        use v1::watch_event::Event as Wire;
        let job_id = |job: &Option<v1::JobId>| -> Result<JobId, Invalid> {
            job.as_ref().in_field("WatchEvent.job")?.try_into()
        };
        let change = event.cursor.as_ref().map_or(0, |cursor| cursor.change);
        Ok(Watched::Event(match event.event.in_field("WatchEvent.event")? {
            Wire::Status(status) => return Ok(Watched::Status(Box::new(status.try_into()?))),
            Wire::Restored(v1::StoreRestored {}) => return Ok(Watched::Restored),
            Wire::Flow(flow) => Event::Flow {
                flow: FlowId(flow.flow),
                state: FlowState::from_word(&flow.state).in_field("FlowChanged.state")?,
            },
            Wire::Job(job) => Event::Job {
                job: job_id(&job.job)?,
                state: JobState::from_word(&job.state).in_field("JobChanged.state")?,
                counts: counts_from_wire(&job.counts)?,
                change,
            },
            Wire::Task(task) => {
                let (exit, signal) = exit_signal(task.exit, task.signal, "TaskChanged.signal")?;
                Event::Task {
                    job: job_id(&task.job)?,
                    index: task.index,
                    host: optional_name(&task.host, HostName::new, "TaskChanged.host")?,
                    state: TaskState::from_word(&task.state).in_field("TaskChanged.state")?,
                    attempt: task.attempt,
                    exit,
                    signal,
                    detail: (!task.detail.is_empty()).then(|| task.detail.as_str().into()),
                    before: match task.before.as_str() {
                        "" => None,
                        word => Some(TaskState::from_word(word).in_field("TaskChanged.before")?),
                    },
                    absence: task.absence.map(Into::into),
                    change,
                }
            }
        }))
    }
}

impl From<&PlayerStatus> for v1::PlayerStatus {
    fn from(player: &PlayerStatus) -> Self {
        Self {
            host: player.host.to_string(),
            labels: player.labels.clone(),
            attached: player.attached,
            since_ms: moment_ms(player.since),
            max_tasks: player.max_tasks,
            in_flight: player.in_flight,
            version: player.version.clone(),
            spool_id: player.spool.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(&id.0)),
            scores: player.scores.iter().map(Into::into).collect(),
            drain: player.drained.as_ref().map(|drain| v1::Drain {
                by: drain.by.to_string(),
                reason: drain.reason.to_string(),
                since_ms: drain.since.0,
            }),
            quarantined: text(player.quarantined.as_ref()),
            jobs: player.jobs.iter().map(|job| (*job).into()).collect(),
            lost_at_ms: player.lost.map_or(0, |lost| lost.at.0),
            lost_in_ms: player.lost.map_or(0, |lost| lost.left.0),
            certificate_ends_ms: moment_ms(player.certificate_ends),
        }
    }
}

impl TryFrom<v1::PlayerStatus> for PlayerStatus {
    type Error = Invalid;

    fn try_from(player: v1::PlayerStatus) -> Result<Self, Invalid> {
        Ok(PlayerStatus {
            host: HostName::new(&player.host).in_field("PlayerStatus.host")?,
            labels: player.labels,
            attached: player.attached,
            since: moment(player.since_ms),
            max_tasks: player.max_tasks,
            in_flight: player.in_flight,
            jobs: player.jobs.iter().map(JobId::try_from).collect::<Result<_, _>>()?,
            lost: due(player.lost_at_ms, player.lost_in_ms),
            version: player.version,
            spool: SpoolId::from_slice(&player.spool_id),
            certificate_ends: moment(player.certificate_ends_ms),
            drained: player.drain.map(TryInto::try_into).transpose()?,
            quarantined: Some(player.quarantined).filter(|why| !why.is_empty()),
            scores: player.scores.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<v1::Drain> for Drain {
    type Error = Invalid;

    fn try_from(drain: v1::Drain) -> Result<Self, Invalid> {
        Ok(Drain {
            by: Asker::from_word(&drain.by).in_field("Drain.by")?,
            reason: drain.reason.into(),
            since: Timestamp(drain.since_ms),
        })
    }
}

impl From<&ConductorStatus> for v1::ConductorStatus {
    fn from(status: &ConductorStatus) -> Self {
        Self {
            name: status.name.clone(),
            version: status.version.clone(),
            pid: status.pid,
            started_at_ms: status.started_at.0,
            store_id: status.store_id.clone(),
            term: status.term,
            players: status.players,
            attached: status.attached,
            quarantined: status.quarantined,
            flows_alive: status.flows_alive,
            deployments: status.deployments,
            cells: status.cells,
            loaded_at_ms: status.loaded_at.0,
            reload_error: text(status.reload_error.as_ref()),
            revocation_error: text(status.revocation_error.as_ref()),
            audit_export_error: text(status.audit_export_error.as_ref()),
            stale_store: text(status.stale_store.as_ref()),
            store_error: text(status.store_error.as_ref()),
            store_held_since_ms: status.store_held_since.map_or(0, |since| since.0),
            certificate_ends_ms: moment_ms(status.certificate_ends),
            certificates_ending: status.certificates_ending,
            now_ms: moment_ms(status.now),
        }
    }
}

impl From<v1::ConductorStatus> for ConductorStatus {
    fn from(status: v1::ConductorStatus) -> Self {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            name: status.name,
            version: status.version,
            pid: status.pid,
            started_at: Timestamp(status.started_at_ms),
            store_id: status.store_id,
            term: status.term,
            players: status.players,
            attached: status.attached,
            quarantined: status.quarantined,
            flows_alive: status.flows_alive,
            deployments: status.deployments,
            cells: status.cells,
            loaded_at: Timestamp(status.loaded_at_ms),
            reload_error: some(status.reload_error),
            revocation_error: some(status.revocation_error),
            audit_export_error: some(status.audit_export_error),
            certificate_ends: moment(status.certificate_ends_ms),
            certificates_ending: status.certificates_ending,
            now: moment(status.now_ms),
            stale_store: some(status.stale_store),
            store_error: some(status.store_error),
            store_held_since: Some(status.store_held_since_ms).filter(|at| *at > 0).map(Timestamp),
        }
    }
}
