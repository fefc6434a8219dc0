//! What people are told of services.

use orchestra_model::{
    Asker, FlowState, HostSet, ScoreName,
    ids::FlowId,
    names::{HostName, ServiceName},
    service::{
        Cause, Change, FileChange, FileOutcome, FileStanding, Goal, Instance, InstanceStatus,
        Judged, LivingChange, Ordinal, Placement, ServiceEvent, ServiceFile, ServiceRecord,
        ServiceStatus, ServiceVersion, Suspicion, Unready,
    },
    time::{Millis, Timestamp},
};

use super::unit::{hash_from_wire, hash_to_wire};
use crate::{
    invalid::{InField, Invalid},
    v1,
};

fn text(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn audience(text: &str, field: &'static str) -> Result<Option<Asker>, Invalid> {
    match text {
        "" => Ok(None),
        text => Asker::from_word(text).in_field(field).map(Some),
    }
}

/// Who it was. A conductor of the release before names nobody where it acts by itself.
fn actor(text: &str, field: &'static str) -> Result<Asker, Invalid> {
    Ok(audience(text, field)?.unwrap_or(Asker::Keeper))
}

pub(super) fn hosts(folded: &str, field: &'static str) -> Result<HostSet, Invalid> {
    match folded {
        "" => Ok(HostSet::default()),
        folded => HostSet::parse_plain(folded).in_field(field),
    }
}

fn cause(word: &str, field: &'static str) -> Result<Cause, Invalid> {
    Cause::from_word(word).in_field(field)
}

fn flow(number: u64) -> Option<FlowId> {
    (number > 0).then_some(FlowId(number))
}

impl From<&ServiceStatus> for v1::ServiceStatus {
    fn from(status: &ServiceStatus) -> Self {
        let record = &status.record;
        Self {
            name: record.name.to_string(),
            version: record.version.0,
            score: record.score.to_string(),
            goal: record.goal.to_string(),
            owner: record.owner.to_string(),
            file: record.file.as_ref().map(Into::into),
            stable: record.stable.map_or(0, |version| version.0),
            last_version: record.last_version.0,
            last_placement: record.last_placement.0,
            hosts: record.hosts.to_string(),
            layout: record.layout.as_ref().map(Into::into),
            surged: record.surged.as_ref().map(Into::into),
            uncleaned: status.uncleaned.to_string(),
            waiting: status.waiting.iter().map(Into::into).collect(),
            paused_by: text(record.paused_by.as_ref()),
            pending: record.pending.as_ref().map(|change| v1::ServiceChange {
                cause: change.cause.to_string(),
                by: change.by.to_string(),
                hosts: change.hosts.as_ref().map(ToString::to_string),
                signal: change.signal.unwrap_or(0),
                with: change.with.iter().map(ToString::to_string).collect(),
            }),
            living: record.living.as_ref().map(Into::into),
            relief: record.relief.as_ref().map(Into::into),
            events: record.events.iter().map(Into::into).collect(),
            instances: status.instances.iter().map(Into::into).collect(),
            unplaced: status.unplaced.to_string(),
            given_up: status.given_up.to_string(),
            strangers: status.strangers.to_string(),
            hindered: status.hindered.iter().map(Into::into).collect(),
            trouble: text(status.trouble.as_ref()),
            suspicion: record.judged.suspicion.as_ref().map(Into::into),
            score_hash: hash_to_wire(status.score_hash),
        }
    }
}

impl From<&LivingChange> for v1::LivingChange {
    fn from(living: &LivingChange) -> Self {
        Self {
            flow: living.flow.0,
            cause: living.cause.to_string(),
            by: living.by.to_string(),
            version: living.version.0,
            superseded: living.superseded,
        }
    }
}

impl TryFrom<v1::LivingChange> for LivingChange {
    type Error = Invalid;

    fn try_from(living: v1::LivingChange) -> Result<Self, Invalid> {
        Ok(LivingChange {
            flow: FlowId(living.flow),
            cause: cause(&living.cause, "LivingChange.cause")?,
            by: actor(&living.by, "LivingChange.by")?,
            version: ServiceVersion(living.version),
            superseded: living.superseded,
        })
    }
}

impl From<&Suspicion> for v1::Suspicion {
    fn from(suspicion: &Suspicion) -> Self {
        let tried = suspicion.tried.as_ref();
        Self {
            at_ms: suspicion.at.0,
            failed: suspicion.failed,
            of: suspicion.of,
            tried: text(tried.map(|(host, _)| host)),
            tried_at_ms: tried.map_or(0, |(_, at)| at.0),
        }
    }
}

impl TryFrom<v1::Suspicion> for Suspicion {
    type Error = Invalid;

    fn try_from(suspicion: v1::Suspicion) -> Result<Self, Invalid> {
        let tried = match suspicion.tried.as_str() {
            "" => None,
            host => Some(HostName::new(host).in_field("Suspicion.tried")?),
        };
        Ok(Suspicion {
            at: Timestamp(suspicion.at_ms),
            failed: suspicion.failed,
            of: suspicion.of,
            tried: tried.map(|host| (host, Timestamp(suspicion.tried_at_ms))),
        })
    }
}

impl From<&ServiceFile> for v1::ServiceFile {
    fn from(file: &ServiceFile) -> Self {
        Self { name: file.name.to_string(), standing: file.standing.to_string() }
    }
}

impl TryFrom<v1::ServiceFile> for ServiceFile {
    type Error = Invalid;

    fn try_from(file: v1::ServiceFile) -> Result<Self, Invalid> {
        Ok(ServiceFile {
            name: file.name.into(),
            // Nobody is told.
            content: [0; 32],
            standing: FileStanding::from_word(&file.standing).in_field("ServiceFile.standing")?,
        })
    }
}

impl From<&FileOutcome> for v1::FileOutcome {
    fn from(outcome: &FileOutcome) -> Self {
        Self {
            file: outcome.file.to_string(),
            service: outcome.service.to_string(),
            version: outcome.version.0,
            change: outcome.change.to_string(),
        }
    }
}

impl TryFrom<v1::FileOutcome> for FileOutcome {
    type Error = Invalid;

    fn try_from(outcome: v1::FileOutcome) -> Result<Self, Invalid> {
        Ok(FileOutcome {
            file: outcome.file.into(),
            service: ServiceName::new(&outcome.service).in_field("FileOutcome.service")?,
            version: ServiceVersion(outcome.version),
            change: FileChange::from_word(&outcome.change).in_field("FileOutcome.change")?,
        })
    }
}

impl From<&ServiceEvent> for v1::ServiceEvent {
    fn from(event: &ServiceEvent) -> Self {
        Self {
            at_ms: event.at.0,
            cause: event.cause.to_string(),
            by: event.by.to_string(),
            version: event.version.0,
            flow: event.flow.map_or(0, |flow| flow.0),
            ended: text(event.ended.as_ref()),
            note: text(event.note.as_ref()),
        }
    }
}

impl From<&InstanceStatus> for v1::InstanceStatus {
    fn from(status: &InstanceStatus) -> Self {
        Self {
            host: status.host.to_string(),
            ordinal: status.instance.ordinal.0,
            placement: status.instance.placement.0,
            attached: status.attached,
            report: status.report.as_ref().map(Into::into),
            unready: text(status.unready.as_ref()),
            usage: status.usage.as_ref().map(Into::into),
            replaceable: status.replaceable.map(Into::into),
            drifted: status.drifted,
            absence: status.absence.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::ServiceStatus> for ServiceStatus {
    type Error = Invalid;

    fn try_from(status: v1::ServiceStatus) -> Result<Self, Invalid> {
        let change = |change: v1::ServiceChange| -> Result<Change, Invalid> {
            Ok(Change {
                cause: cause(&change.cause, "ServiceChange.cause")?,
                by: actor(&change.by, "ServiceChange.by")?,
                hosts: change
                    .hosts
                    .map(|folded| hosts(&folded, "ServiceChange.hosts"))
                    .transpose()?,
                signal: (change.signal != 0).then_some(change.signal),
                with: change
                    .with
                    .iter()
                    .map(|name| ServiceName::new(name).in_field("ServiceChange.with"))
                    .collect::<Result<_, _>>()?,
            })
        };
        Ok(ServiceStatus {
            record: ServiceRecord {
                name: ServiceName::new(&status.name).in_field("ServiceStatus.name")?,
                owner: Asker::from_word(&status.owner).in_field("ServiceStatus.owner")?,
                file: status.file.map(TryInto::try_into).transpose()?,
                version: ServiceVersion(status.version),
                score: ScoreName::new(&status.score).in_field("ServiceStatus.score")?,
                last_version: ServiceVersion(status.last_version),
                stable: (status.stable > 0).then_some(ServiceVersion(status.stable)),
                goal: Goal::from_word(&status.goal).in_field("ServiceStatus.goal")?,
                hosts: hosts(&status.hosts, "ServiceStatus.hosts")?,
                layout: status.layout.as_ref().map(TryInto::try_into).transpose()?,
                surged: status.surged.as_ref().map(TryInto::try_into).transpose()?,
                paused_by: audience(&status.paused_by, "ServiceStatus.paused_by")?,
                pending: status.pending.map(change).transpose()?,
                living: status.living.map(TryInto::try_into).transpose()?,
                relief: status.relief.map(TryInto::try_into).transpose()?,
                // Nobody is told.
                spent: Millis(0),
                last_placement: Placement(status.last_placement),
                judged: Judged {
                    suspicion: status.suspicion.map(TryInto::try_into).transpose()?,
                    // Nobody is told.
                    trusted: Timestamp(0),
                },
                // Nobody is told.
                forgotten: Vec::new(),
                events: status.events.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            },
            score_hash: hash_from_wire(&status.score_hash, "ServiceStatus.score_hash")?,
            instances: status.instances.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            unplaced: hosts(&status.unplaced, "ServiceStatus.unplaced")?,
            waiting: status.waiting.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            given_up: hosts(&status.given_up, "ServiceStatus.given_up")?,
            uncleaned: hosts(&status.uncleaned, "ServiceStatus.uncleaned")?,
            strangers: hosts(&status.strangers, "ServiceStatus.strangers")?,
            hindered: status.hindered.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            trouble: Some(status.trouble).filter(|trouble| !trouble.is_empty()),
        })
    }
}

impl TryFrom<&v1::ServiceEvent> for ServiceEvent {
    type Error = Invalid;

    fn try_from(event: &v1::ServiceEvent) -> Result<Self, Invalid> {
        let ended = match event.ended.as_str() {
            "" => None,
            word => Some(FlowState::from_word(word).in_field("ServiceEvent.ended")?),
        };
        Ok(ServiceEvent {
            at: Timestamp(event.at_ms),
            cause: cause(&event.cause, "ServiceEvent.cause")?,
            by: actor(&event.by, "ServiceEvent.by")?,
            version: ServiceVersion(event.version),
            flow: flow(event.flow),
            ended,
            note: (!event.note.is_empty()).then(|| event.note.as_str().into()),
        })
    }
}

impl TryFrom<&v1::InstanceStatus> for InstanceStatus {
    type Error = Invalid;

    fn try_from(status: &v1::InstanceStatus) -> Result<Self, Invalid> {
        let unready = match status.unready.as_str() {
            "" => None,
            word => Some(Unready::from_word(word).in_field("InstanceStatus.unready")?),
        };
        Ok(InstanceStatus {
            host: HostName::new(&status.host).in_field("InstanceStatus.host")?,
            instance: Instance {
                ordinal: Ordinal(status.ordinal),
                placement: Placement(status.placement),
            },
            attached: status.attached,
            report: status.report.as_ref().map(TryInto::try_into).transpose()?,
            unready,
            usage: status.usage.as_ref().map(TryInto::try_into).transpose()?,
            replaceable: status.replaceable.as_ref().map(TryInto::try_into).transpose()?,
            drifted: status.drifted,
            absence: status.absence.as_ref().map(TryInto::try_into).transpose()?,
        })
    }
}
