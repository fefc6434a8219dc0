//! Bodies of what is kept of services.

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, HostSet, Millis, ScoreName, ServiceName, Timestamp,
    names::LabelValue,
    score::ScoreHash,
    service::{
        Cause, Change, FileStanding, Forgotten, Goal, Instance, Judged, Layout, LivingChange,
        Ordinal, Placement, PlacementRecord, ServiceEvent, ServiceFile, ServiceRecord,
        ServiceVersion, Suspicion, VersionRecord,
    },
};
use prost::Message;

use super::{Unreadable, word};

#[derive(Message)]
pub(in super::super) struct ServiceBody {
    #[prost(string, tag = "1")]
    owner: String,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(string, tag = "3")]
    score: String,
    #[prost(uint64, tag = "4")]
    last_version: u64,
    #[prost(uint64, optional, tag = "5")]
    stable: Option<u64>,
    #[prost(string, tag = "6")]
    goal: String,
    /// Folded; at most as long as a host set may be.
    #[prost(string, tag = "7")]
    hosts: String,
    #[prost(string, optional, tag = "8")]
    paused_by: Option<String>,
    #[prost(message, optional, tag = "9")]
    pending: Option<ChangeBody>,
    #[prost(message, optional, tag = "10")]
    living: Option<LivingBody>,
    #[prost(uint64, tag = "11")]
    last_placement: u64,
    #[prost(message, repeated, tag = "12")]
    events: Vec<EventBody>,
    #[prost(message, repeated, tag = "13")]
    forgotten: Vec<ForgottenBody>,
    #[prost(message, optional, tag = "17")]
    file: Option<FileBody>,
    #[prost(message, optional, tag = "50")]
    layout: Option<LayoutBody>,
    #[prost(message, optional, tag = "60")]
    suspicion: Option<SuspicionBody>,
    #[prost(uint64, tag = "61")]
    trusted: u64,
    #[prost(message, optional, tag = "92")]
    relief: Option<LivingBody>,
    /// In milliseconds.
    #[prost(uint64, tag = "80")]
    spent: u64,
    #[prost(message, optional, tag = "81")]
    surged: Option<LayoutBody>,
}

/// A count, or numbers by zones; zones of an empty layout are never stored.
#[derive(Message)]
struct LayoutBody {
    #[prost(uint32, tag = "1")]
    count: u32,
    #[prost(message, repeated, tag = "2")]
    zones: Vec<ZoneBody>,
}

#[derive(Message)]
struct ZoneBody {
    #[prost(string, tag = "1")]
    zone: String,
    #[prost(uint32, tag = "2")]
    count: u32,
}

#[derive(Message)]
struct SuspicionBody {
    #[prost(uint64, tag = "1")]
    at: u64,
    #[prost(uint32, tag = "2")]
    failed: u32,
    #[prost(uint32, tag = "3")]
    of: u32,
    #[prost(string, optional, tag = "4")]
    tried: Option<String>,
    #[prost(uint64, tag = "5")]
    tried_at: u64,
}

/// Numbers above the first of a pair, up to the second.
#[derive(Clone, Copy, Message)]
struct ForgottenBody {
    #[prost(uint64, tag = "1")]
    placements_above: u64,
    #[prost(uint64, tag = "2")]
    placements_to: u64,
    #[prost(uint64, tag = "3")]
    versions_above: u64,
    #[prost(uint64, tag = "4")]
    versions_to: u64,
}

#[derive(Message)]
struct ChangeBody {
    #[prost(string, tag = "1")]
    cause: String,
    #[prost(string, optional, tag = "2")]
    by: Option<String>,
    #[prost(string, optional, tag = "3")]
    hosts: Option<String>,
    #[prost(int32, optional, tag = "4")]
    signal: Option<i32>,
    #[prost(string, repeated, tag = "5")]
    with: Vec<String>,
}

#[derive(Message)]
struct LivingBody {
    #[prost(uint64, tag = "1")]
    flow: u64,
    #[prost(string, tag = "2")]
    cause: String,
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(bool, tag = "4")]
    superseded: bool,
    #[prost(string, optional, tag = "8")]
    by: Option<String>,
}

/// A file of `services.d`.
#[derive(Message)]
struct FileBody {
    #[prost(string, tag = "1")]
    name: String,
    /// 32 bytes.
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
    #[prost(string, tag = "3")]
    standing: String,
}

#[derive(Message)]
struct EventBody {
    #[prost(uint64, tag = "1")]
    at: u64,
    #[prost(string, tag = "2")]
    cause: String,
    #[prost(string, optional, tag = "3")]
    by: Option<String>,
    #[prost(uint64, tag = "4")]
    version: u64,
    #[prost(uint64, optional, tag = "5")]
    flow: Option<u64>,
    #[prost(string, optional, tag = "6")]
    ended: Option<String>,
    #[prost(string, optional, tag = "7")]
    note: Option<String>,
}

fn text(name: Option<&Asker>) -> Option<String> {
    name.map(ToString::to_string)
}

/// Who it was. Where nobody was named, the conductor did it by itself.
fn actor(name: Option<&str>) -> Result<Asker, Unreadable> {
    Ok(audience(name)?.unwrap_or(Asker::Keeper))
}

fn audience(name: Option<&str>) -> Result<Option<Asker>, Unreadable> {
    Ok(name.map(Asker::from_word).transpose()?)
}

fn hosts(text: &str) -> Result<HostSet, Unreadable> {
    let corrupt = |error: &dyn std::fmt::Display| Unreadable::Corrupt(error.to_string());
    match text {
        "" => Ok(HostSet::default()),
        text => HostSet::parse_plain(text).map_err(|error| corrupt(&error)),
    }
}

impl From<&ServiceRecord> for ServiceBody {
    fn from(record: &ServiceRecord) -> Self {
        Self {
            owner: record.owner.to_string(),
            version: record.version.0,
            score: record.score.to_string(),
            last_version: record.last_version.0,
            stable: record.stable.map(|version| version.0),
            goal: record.goal.to_string(),
            hosts: record.hosts.to_string(),
            layout: record.layout.as_ref().map(Into::into),
            surged: record.surged.as_ref().map(Into::into),
            paused_by: text(record.paused_by.as_ref()),
            pending: record.pending.as_ref().map(|change| ChangeBody {
                cause: change.cause.to_string(),
                by: text(Some(&change.by)),
                hosts: change.hosts.as_ref().map(ToString::to_string),
                signal: change.signal,
                with: change.with.iter().map(ToString::to_string).collect(),
            }),
            living: record.living.as_ref().map(Into::into),
            relief: record.relief.as_ref().map(Into::into),
            last_placement: record.last_placement.0,
            events: record.events.iter().map(Into::into).collect(),
            forgotten: record.forgotten.iter().map(Into::into).collect(),
            file: record.file.as_ref().map(Into::into),
            suspicion: record.judged.suspicion.as_ref().map(Into::into),
            trusted: record.judged.trusted.0,
            spent: record.spent.0,
        }
    }
}

impl From<&Layout> for LayoutBody {
    fn from(layout: &Layout) -> Self {
        match layout {
            Layout::Count(count) => Self { count: *count, zones: Vec::new() },
            Layout::Zones(zones) => {
                let zone = |(zone, count): (&LabelValue, &u32)| ZoneBody {
                    zone: zone.to_string(),
                    count: *count,
                };
                Self { count: 0, zones: zones.iter().map(zone).collect() }
            }
        }
    }
}

impl LayoutBody {
    fn into_layout(self) -> Result<Layout, Unreadable> {
        if self.zones.is_empty() {
            return Ok(Layout::Count(self.count));
        }
        let zone = |it: ZoneBody| Ok((LabelValue::new(&it.zone)?, it.count));
        Ok(Layout::Zones(self.zones.into_iter().map(zone).collect::<Result<_, Unreadable>>()?))
    }
}

impl From<&Suspicion> for SuspicionBody {
    fn from(suspicion: &Suspicion) -> Self {
        let Suspicion { at, failed, of, tried } = suspicion;
        let tried_at = tried.as_ref().map_or(0, |(_, at)| at.0);
        let tried = tried.as_ref().map(|(host, _)| host.to_string());
        Self { at: at.0, failed: *failed, of: *of, tried, tried_at }
    }
}

impl SuspicionBody {
    fn into_suspicion(self) -> Result<Suspicion, Unreadable> {
        let tried = self.tried.as_deref().map(HostName::new).transpose()?;
        Ok(Suspicion {
            at: Timestamp(self.at),
            failed: self.failed,
            of: self.of,
            tried: tried.map(|host| (host, Timestamp(self.tried_at))),
        })
    }
}

impl From<&ServiceFile> for FileBody {
    fn from(file: &ServiceFile) -> Self {
        Self {
            name: file.name.to_string(),
            content: file.content.to_vec(),
            standing: file.standing.to_string(),
        }
    }
}

impl FileBody {
    fn into_file(self) -> Result<ServiceFile, Unreadable> {
        let content = <[u8; 32]>::try_from(self.content.as_slice());
        Ok(ServiceFile {
            name: self.name.into(),
            content: content
                .map_err(|_| Unreadable::Corrupt("a digest of another length".to_owned()))?,
            standing: word(&self.standing, FileStanding::from_word)?,
        })
    }
}

impl From<&Forgotten> for ForgottenBody {
    fn from(range: &Forgotten) -> Self {
        Self {
            placements_above: range.placements.0.0,
            placements_to: range.placements.1.0,
            versions_above: range.versions.0.0,
            versions_to: range.versions.1.0,
        }
    }
}

impl From<ForgottenBody> for Forgotten {
    fn from(range: ForgottenBody) -> Self {
        Self {
            placements: (Placement(range.placements_above), Placement(range.placements_to)),
            versions: (ServiceVersion(range.versions_above), ServiceVersion(range.versions_to)),
        }
    }
}

impl From<&LivingChange> for LivingBody {
    fn from(living: &LivingChange) -> Self {
        Self {
            flow: living.flow.0,
            cause: living.cause.to_string(),
            by: text(Some(&living.by)),
            version: living.version.0,
            superseded: living.superseded,
        }
    }
}

impl LivingBody {
    fn into_change(self) -> Result<LivingChange, Unreadable> {
        Ok(LivingChange {
            flow: FlowId(self.flow),
            cause: word(&self.cause, Cause::from_word)?,
            by: actor(self.by.as_deref())?,
            version: ServiceVersion(self.version),
            superseded: self.superseded,
        })
    }
}

impl From<&ServiceEvent> for EventBody {
    fn from(event: &ServiceEvent) -> Self {
        Self {
            at: event.at.0,
            cause: event.cause.to_string(),
            by: text(Some(&event.by)),
            version: event.version.0,
            flow: event.flow.map(|flow| flow.0),
            ended: event.ended.map(|state| state.to_string()),
            note: event.note.as_deref().map(str::to_owned),
        }
    }
}

impl ServiceBody {
    pub(in super::super) fn into_record(self, name: &str) -> Result<ServiceRecord, Unreadable> {
        let change = |change: ChangeBody| -> Result<Change, Unreadable> {
            Ok(Change {
                cause: word(&change.cause, Cause::from_word)?,
                by: actor(change.by.as_deref())?,
                hosts: change.hosts.as_deref().map(hosts).transpose()?,
                signal: change.signal,
                with: change
                    .with
                    .iter()
                    .map(|name| ServiceName::new(name))
                    .collect::<Result<_, _>>()?,
            })
        };
        Ok(ServiceRecord {
            name: ServiceName::new(name)?,
            owner: Asker::from_word(&self.owner)?,
            file: self.file.map(FileBody::into_file).transpose()?,
            version: ServiceVersion(self.version),
            score: ScoreName::new(&self.score)?,
            last_version: ServiceVersion(self.last_version),
            stable: self.stable.map(ServiceVersion),
            goal: word(&self.goal, Goal::from_word)?,
            hosts: hosts(&self.hosts)?,
            layout: self.layout.map(LayoutBody::into_layout).transpose()?,
            surged: self.surged.map(LayoutBody::into_layout).transpose()?,
            paused_by: audience(self.paused_by.as_deref())?,
            pending: self.pending.map(change).transpose()?,
            living: self.living.map(LivingBody::into_change).transpose()?,
            relief: self.relief.map(LivingBody::into_change).transpose()?,
            judged: Judged {
                suspicion: self.suspicion.map(SuspicionBody::into_suspicion).transpose()?,
                trusted: Timestamp(self.trusted),
            },
            spent: Millis(self.spent),
            last_placement: Placement(self.last_placement),
            forgotten: self.forgotten.into_iter().map(Into::into).collect(),
            events: self.events.into_iter().map(EventBody::into_event).collect::<Result<_, _>>()?,
        })
    }
}

impl EventBody {
    fn into_event(self) -> Result<ServiceEvent, Unreadable> {
        let ended = self.ended.as_deref().map(|state| word(state, FlowState::from_word));
        Ok(ServiceEvent {
            at: Timestamp(self.at),
            cause: word(&self.cause, Cause::from_word)?,
            by: actor(self.by.as_deref())?,
            version: ServiceVersion(self.version),
            flow: self.flow.map(FlowId),
            ended: ended.transpose()?,
            note: self.note.map(Into::into),
        })
    }
}

#[derive(Message)]
pub(in super::super) struct VersionBody {
    #[prost(bytes = "vec", tag = "1")]
    spec: Vec<u8>,
    #[prost(string, tag = "2")]
    by: String,
    #[prost(uint64, tag = "3")]
    at: u64,
    #[prost(bool, tag = "4")]
    reverted: bool,
    /// 32 bytes; absent where it is not known.
    #[prost(bytes = "vec", optional, tag = "90")]
    score_hash: Option<Vec<u8>>,
    #[prost(bool, tag = "91")]
    drift_told: bool,
}

impl From<&VersionRecord> for VersionBody {
    fn from(record: &VersionRecord) -> Self {
        Self {
            spec: record.spec.to_vec(),
            by: record.by.to_string(),
            at: record.at.0,
            reverted: record.reverted,
            score_hash: record.score_hash.map(|hash| hash.0.to_vec()),
            drift_told: record.drift_told,
        }
    }
}

fn hash(bytes: &[u8]) -> Result<ScoreHash, Unreadable> {
    let bytes = bytes.try_into().map_err(|_| Unreadable::Corrupt("the hash of a score".into()))?;
    Ok(ScoreHash(bytes))
}

impl VersionBody {
    pub(in super::super) fn into_record(
        self,
        service: &str,
        version: u64,
    ) -> Result<VersionRecord, Unreadable> {
        Ok(VersionRecord {
            service: ServiceName::new(service)?,
            version: ServiceVersion(version),
            spec: self.spec.into(),
            by: Asker::from_word(&self.by)?,
            at: Timestamp(self.at),
            reverted: self.reverted,
            score_hash: self.score_hash.as_deref().map(hash).transpose()?,
            drift_told: self.drift_told,
        })
    }
}

#[derive(Message)]
pub(in super::super) struct PlacementBody {
    #[prost(uint32, tag = "1")]
    ordinal: u32,
    #[prost(uint64, tag = "2")]
    placement: u64,
    #[prost(bool, tag = "3")]
    told: bool,
    #[prost(bool, tag = "70")]
    dead: bool,
    /// In milliseconds.
    #[prost(uint64, tag = "80")]
    absent: u64,
    #[prost(uint64, optional, tag = "94")]
    prepared: Option<u64>,
    #[prost(bool, tag = "93")]
    left: bool,
}

impl From<&PlacementRecord> for PlacementBody {
    fn from(record: &PlacementRecord) -> Self {
        let Instance { ordinal, placement } = record.instance;
        let PlacementRecord { told, dead, absent, prepared, left, .. } = *record;
        let (ordinal, placement) = (ordinal.0, placement.0);
        let prepared = prepared.map(|version| version.0);
        Self { ordinal, placement, told, dead, absent: absent.0, prepared, left }
    }
}

impl PlacementBody {
    pub(in super::super) fn into_record(
        self,
        service: &str,
        host: &str,
    ) -> Result<PlacementRecord, Unreadable> {
        Ok(PlacementRecord {
            service: ServiceName::new(service)?,
            host: HostName::new(host)?,
            instance: Instance {
                ordinal: Ordinal(self.ordinal),
                placement: Placement(self.placement),
            },
            told: self.told,
            dead: self.dead,
            absent: Millis(self.absent),
            prepared: self.prepared.map(ServiceVersion),
            left: self.left,
        })
    }
}
