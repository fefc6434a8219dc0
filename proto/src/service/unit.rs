//! What conductor and sitter say to each other of units.

use bytes::Bytes;
use orchestra_model::{
    delivery::OrderNumber,
    names::ServiceName,
    score::ScoreHash,
    service::{
        Exhausted, Instance, MilliCores, Ordinal, Placement, ProcessRule, ReadyRule, ReadySign,
        ReloadRule, Resources, RestartRule, RestartWhen, RunEnd, RunNumber, ServiceVersion,
        StopRule, UnitJob, UnitReport, UnitState, Upkeep, Wanted, is_message,
    },
    size::ByteSize,
    time::{Millis, Timestamp},
};

use super::process::{ports_from_wire, ports_to_wire};
use crate::{
    flow::length,
    invalid::{InField, Invalid},
    v1,
};

/// Spells what a job asks of units, with the instance on each of its hosts.
pub(crate) fn unit_job_to_wire(unit: &UnitJob) -> v1::UnitJob {
    v1::UnitJob {
        ordinals: unit.instances.iter().map(|instance| instance.ordinal.0).collect(),
        placements: unit.instances.iter().map(|instance| instance.placement.0).collect(),
        ..unit_order_to_wire(unit)
    }
}

/// Spells what a job asks of units, for the job part of its orders: instances go with each of them.
pub(crate) fn unit_order_to_wire(unit: &UnitJob) -> v1::UnitJob {
    v1::UnitJob {
        service: unit.service.to_string(),
        version: unit.version.0,
        wanted: match unit.wanted {
            Wanted::Running => v1::unit_job::Wanted::Running,
            Wanted::Restarted => v1::unit_job::Wanted::Restarted,
            Wanted::Stopped => v1::unit_job::Wanted::Stopped,
            Wanted::Gone => v1::unit_job::Wanted::Gone,
            Wanted::Signalled(_) => v1::unit_job::Wanted::Signalled,
            Wanted::Healthy => v1::unit_job::Wanted::Healthy,
            Wanted::Younger(_) => v1::unit_job::Wanted::Younger,
        }
        .into(),
        signal: match unit.wanted {
            Wanted::Signalled(signal) => signal,
            _ => 0,
        },
        younger_than_ms: match unit.wanted {
            Wanted::Younger(age) => age.0,
            _ => 0,
        },
        upkeep: Some((&unit.upkeep).into()),
        healthy_for_ms: unit.healthy_for.0,
        deadline_ms: unit.deadline.0,
        score_hash: hash_to_wire(unit.score_hash),
        ordinals: Vec::new(),
        placements: Vec::new(),
    }
}

/// Reads what a job asks of units.
pub(crate) fn unit_job_from_wire(unit: &v1::UnitJob) -> Result<UnitJob, Invalid> {
    use v1::unit_job::Wanted as Word;
    if unit.ordinals.len() != unit.placements.len() {
        return Err(Invalid::field("UnitJob.placements"));
    }
    let instance = |(ordinal, placement): (&u32, &u64)| Instance {
        ordinal: Ordinal(*ordinal),
        placement: Placement(*placement),
    };
    Ok(UnitJob {
        service: ServiceName::new(&unit.service).in_field("UnitJob.service")?,
        version: ServiceVersion(unit.version),
        wanted: match Word::try_from(unit.wanted).in_field("UnitJob.wanted")? {
            Word::Running => Wanted::Running,
            Word::Restarted => Wanted::Restarted,
            Word::Stopped => Wanted::Stopped,
            Word::Gone => Wanted::Gone,
            Word::Signalled if is_message(unit.signal) => Wanted::Signalled(unit.signal),
            Word::Signalled => return Err(Invalid::field("UnitJob.signal")),
            Word::Healthy => Wanted::Healthy,
            Word::Younger => {
                Wanted::Younger(bounded(unit.younger_than_ms, "UnitJob.younger_than_ms")?)
            }
            Word::Unspecified => return Err(Invalid::field("UnitJob.wanted")),
        },
        upkeep: unit.upkeep.as_ref().in_field("UnitJob.upkeep")?.try_into()?,
        healthy_for: bounded(unit.healthy_for_ms, "UnitJob.healthy_for_ms")?,
        deadline: bounded(unit.deadline_ms, "UnitJob.deadline_ms")?,
        score_hash: hash_from_wire(&unit.score_hash, "UnitJob.score_hash")?,
        instances: unit.ordinals.iter().zip(&unit.placements).map(instance).collect(),
    })
}

/// Spells the hash of a score; nothing where it is not known.
pub(super) fn hash_to_wire(hash: Option<ScoreHash>) -> Bytes {
    hash.map(|hash| Bytes::copy_from_slice(&hash.0)).unwrap_or_default()
}

/// Reads the hash of a score.
pub(super) fn hash_from_wire(
    bytes: &[u8],
    field: &'static str,
) -> Result<Option<ScoreHash>, Invalid> {
    match bytes {
        [] => Ok(None),
        bytes => Ok(Some(ScoreHash(bytes.try_into().in_field(field)?))),
    }
}

pub(super) fn bounded(ms: u64, field: &'static str) -> Result<Millis, Invalid> {
    length(Some(ms), field)?.in_field(field)
}

impl From<&Upkeep> for v1::Upkeep {
    fn from(upkeep: &Upkeep) -> Self {
        use v1::{ready_rule::Sign, restart_rule::When};
        let Upkeep {
            restart,
            ready,
            stop,
            resources,
            health,
            linked_to,
            reload,
            ports,
            process,
            at_most_one,
            require_same_score,
            keep_secrets,
        } = upkeep;
        Self {
            restart: Some(v1::RestartRule {
                when: match restart.when {
                    RestartWhen::Always => When::Always,
                    RestartWhen::OnFailure => When::OnFailure,
                    RestartWhen::Never => When::Never,
                }
                .into(),
                first_ms: restart.first.0,
                max_delay_ms: restart.max_delay.0,
                attempts: restart.attempts,
                window_ms: restart.window.0,
                stable_after_ms: restart.stable_after.0,
            }),
            ready: Some(v1::ReadyRule {
                deadline_ms: ready.deadline.0,
                sign: Some(match &ready.sign {
                    ReadySign::Started => Sign::Started(v1::Empty {}),
                    ReadySign::Notify => Sign::Notify(v1::Empty {}),
                    ReadySign::Fd(fd) => Sign::Fd(*fd),
                    ReadySign::Probe(probe) => Sign::Probe(probe.into()),
                }),
            }),
            stop: Some(v1::StopRule {
                signal: stop.signal,
                grace_ms: stop.grace.0,
                linger_ms: stop.linger.0,
            }),
            resources: resources.as_ref().map(Into::into),
            health: health.as_ref().map(Into::into),
            linked_to: linked_to.as_ref().map(ToString::to_string).unwrap_or_default(),
            reload: reload.map(|ReloadRule { signal }| v1::ReloadRule { signal }),
            ports: ports_to_wire(ports),
            process: (*process != ProcessRule::default()).then(|| process.into()),
            at_most_one: at_most_one.map(Into::into),
            require_same_score: *require_same_score,
            keep_secrets: *keep_secrets,
        }
    }
}

impl TryFrom<&v1::Upkeep> for Upkeep {
    type Error = Invalid;

    fn try_from(upkeep: &v1::Upkeep) -> Result<Self, Invalid> {
        use v1::{ready_rule::Sign, restart_rule::When};
        let restart = upkeep.restart.as_ref().in_field("Upkeep.restart")?;
        let ready = upkeep.ready.as_ref().in_field("Upkeep.ready")?;
        let stop = upkeep.stop.as_ref().in_field("Upkeep.stop")?;
        let upkeep = Upkeep {
            restart: RestartRule {
                when: match When::try_from(restart.when).in_field("RestartRule.when")? {
                    When::Always => RestartWhen::Always,
                    When::OnFailure => RestartWhen::OnFailure,
                    When::Never => RestartWhen::Never,
                    When::Unspecified => return Err(Invalid::field("RestartRule.when")),
                },
                first: bounded(restart.first_ms, "RestartRule.first_ms")?,
                max_delay: bounded(restart.max_delay_ms, "RestartRule.max_delay_ms")?,
                attempts: restart.attempts,
                window: bounded(restart.window_ms, "RestartRule.window_ms")?,
                stable_after: bounded(restart.stable_after_ms, "RestartRule.stable_after_ms")?,
            },
            ready: ReadyRule {
                deadline: bounded(ready.deadline_ms, "ReadyRule.deadline_ms")?,
                sign: match ready.sign.as_ref().in_field("ReadyRule.sign")? {
                    Sign::Started(_) => ReadySign::Started,
                    Sign::Notify(_) => ReadySign::Notify,
                    Sign::Fd(fd) => ReadySign::Fd(*fd),
                    Sign::Probe(probe) => ReadySign::Probe(probe.try_into()?),
                },
            },
            stop: StopRule {
                signal: stop.signal,
                grace: bounded(stop.grace_ms, "StopRule.grace_ms")?,
                linger: bounded(stop.linger_ms, "StopRule.linger_ms")?,
            },
            resources: upkeep.resources.as_ref().map(Into::into),
            health: upkeep.health.as_ref().map(TryInto::try_into).transpose()?,
            linked_to: match &*upkeep.linked_to {
                "" => None,
                name => Some(ServiceName::new(name).in_field("Upkeep.linked_to")?),
            },
            reload: upkeep.reload.as_ref().map(|rule| ReloadRule { signal: rule.signal }),
            ports: ports_from_wire(&upkeep.ports)?,
            process: upkeep
                .process
                .as_ref()
                .map_or(Ok(ProcessRule::default()), TryInto::try_into)?,
            at_most_one: upkeep.at_most_one.as_ref().map(TryInto::try_into).transpose()?,
            require_same_score: upkeep.require_same_score,
            keep_secrets: upkeep.keep_secrets,
        };
        upkeep.check().in_field("Upkeep")?;
        Ok(upkeep)
    }
}

impl From<&Resources> for v1::Resources {
    fn from(resources: &Resources) -> Self {
        let Resources { memory, reserve, cpu, processes, enforced } = *resources;
        Self {
            memory_bytes: memory.map(|size| size.0),
            cpu_millicores: cpu.map(|cores| cores.0),
            processes,
            unenforced: !enforced,
            reserve_bytes: reserve.map(|size| size.0),
        }
    }
}

/// What it has to be is checked with the whole upkeep.
impl From<&v1::Resources> for Resources {
    fn from(resources: &v1::Resources) -> Self {
        Self {
            memory: resources.memory_bytes.map(ByteSize),
            reserve: resources.reserve_bytes.map(ByteSize),
            cpu: resources.cpu_millicores.map(MilliCores),
            processes: resources.processes,
            enforced: !resources.unenforced,
        }
    }
}

impl From<&UnitReport> for v1::UnitReport {
    fn from(report: &UnitReport) -> Self {
        Self {
            service: report.service.to_string(),
            version: report.version.0,
            ordinal: report.instance.ordinal.0,
            placement: report.instance.placement.0,
            order: report.order.0,
            state: report.state.to_string(),
            since_ms: report.since.0,
            run: report.run.0,
            restarts: report.restarts,
            last_end: report.last_end.as_ref().map(Into::into),
            trouble: report.trouble.clone().unwrap_or_default(),
            turns: report.turns,
            flapping: report.flapping,
            score_hash: hash_to_wire(report.score_hash),
            run_age_ms: report.run_age.map(|age| age.0),
        }
    }
}

impl TryFrom<&v1::UnitReport> for UnitReport {
    type Error = Invalid;

    fn try_from(report: &v1::UnitReport) -> Result<Self, Invalid> {
        Ok(UnitReport {
            service: ServiceName::new(&report.service).in_field("UnitReport.service")?,
            version: ServiceVersion(report.version),
            instance: Instance {
                ordinal: Ordinal(report.ordinal),
                placement: Placement(report.placement),
            },
            order: OrderNumber(report.order),
            state: UnitState::from_word(&report.state).in_field("UnitReport.state")?,
            since: Timestamp(report.since_ms),
            run: RunNumber(report.run),
            restarts: report.restarts,
            last_end: report.last_end.as_ref().map(TryInto::try_into).transpose()?,
            trouble: Some(report.trouble.clone()).filter(|why| !why.is_empty()),
            turns: report.turns,
            flapping: report.flapping,
            score_hash: hash_from_wire(&report.score_hash, "UnitReport.score_hash")?,
            run_age: length(report.run_age_ms, "UnitReport.run_age_ms")?,
        })
    }
}

impl From<&RunEnd> for v1::RunEnd {
    fn from(end: &RunEnd) -> Self {
        use v1::run_end::End;
        let end = match end {
            RunEnd::Exited(code) => End::Exited(*code),
            RunEnd::Signalled(signal) => End::Signalled(signal.unsigned_abs()),
            RunEnd::OutOfMemory(Exhausted { limit, peak }) => End::OutOfMemory(v1::OutOfMemory {
                limit_bytes: limit.map(|size| size.0),
                peak_bytes: peak.map(|size| size.0),
            }),
            RunEnd::NeverReady => End::NeverReady(v1::Empty {}),
            RunEnd::Watchdog => End::Watchdog(v1::Empty {}),
            RunEnd::Asked => End::Asked(v1::Empty {}),
            RunEnd::NotSpawned(why) => End::NotSpawned(why.clone()),
            RunEnd::HostRestarted => End::HostRestarted(v1::Empty {}),
            RunEnd::Unknown => End::Unknown(v1::Empty {}),
            RunEnd::Linked => End::Linked(v1::Empty {}),
            RunEnd::LeaseRanOut => End::LeaseRanOut(v1::Empty {}),
        };
        Self { end: Some(end) }
    }
}

impl TryFrom<&v1::RunEnd> for RunEnd {
    type Error = Invalid;

    fn try_from(end: &v1::RunEnd) -> Result<Self, Invalid> {
        use v1::run_end::End;
        Ok(match end.end.as_ref().in_field("RunEnd.end")? {
            End::Exited(code) => RunEnd::Exited(*code),
            End::Signalled(signal) => {
                RunEnd::Signalled(i32::try_from(*signal).in_field("RunEnd.signalled")?)
            }
            End::OutOfMemory(told) => RunEnd::OutOfMemory(Exhausted {
                limit: told.limit_bytes.map(ByteSize),
                peak: told.peak_bytes.map(ByteSize),
            }),
            End::NeverReady(_) => RunEnd::NeverReady,
            End::Watchdog(_) => RunEnd::Watchdog,
            End::Asked(_) => RunEnd::Asked,
            End::NotSpawned(why) => RunEnd::NotSpawned(why.clone()),
            End::HostRestarted(_) => RunEnd::HostRestarted,
            End::Unknown(_) => RunEnd::Unknown,
            End::Linked(_) => RunEnd::Linked,
            End::LeaseRanOut(_) => RunEnd::LeaseRanOut,
        })
    }
}
