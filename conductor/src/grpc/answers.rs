//! Answers of the desk, as messages of the protocol.

use bytes::Bytes;
use std::sync::Arc;

use orchestra_flow::answer;
use orchestra_model::{
    HostSet,
    audit::{AuditEntry, AuditRecord, ChainReport, Object},
    bundle::RegisteredBundle,
    failures::FailureGroup,
    ledger::CellStatus,
    limits,
    record::EndRecord,
    relay::FetchStatus,
    score::HeldScore,
    service::{LogChunk, ServicePlan, ServiceStatus, Stranger},
    status::{FlowSummary, PlayerStatus, TaskStatus},
    vitals::HostUsage,
};
use orchestra_proto::{
    Planned, mac_to_wire, stream_to_wire,
    v1::{self, GroupKind, watch_event::Event},
};
use orchestra_service::Taken;
use prost::Message as _;

use super::pages::cut;
use crate::{
    declined::{Declined, Ground},
    desk::{
        Cursor, Execution, ListedDeployment, ListedGroup, ListedVersion, News, Notice, OutputPart,
    },
    fleet::Word,
    places::ToldPlaces,
    reload::Loaded,
};

/// Longest folded host set of one audit line, in bytes: a page has room for it.
const HOSTS_BYTES: usize = 64 << 10;

/// One or more pages of a list.
pub(super) type Encoded<P> = Result<Vec<P>, Declined>;

pub(super) fn tasks(tasks: Vec<TaskStatus>) -> Encoded<v1::TaskPage> {
    let pages = cut(tasks.into_iter().map(|task| (&task).into())).into_iter();
    Ok(pages.map(|tasks| v1::TaskPage { tasks, outputs: Vec::new() }).collect())
}

pub(super) fn failures(failures: Vec<FailureGroup>) -> Encoded<v1::FailurePage> {
    let pages = cut(failures.into_iter().map(|group| (&group).into())).into_iter();
    Ok(pages.map(|failures| v1::FailurePage { failures }).collect())
}

/// Encodes flows. A flow's line is short, so a piece is one page.
pub(super) fn flows(flows: Vec<FlowSummary>) -> Encoded<v1::FlowPage> {
    let flows = flows.into_iter().map(|flow| (&flow).into());
    Ok(vec![v1::FlowPage { flows: flows.collect(), filtered: true }])
}

pub(super) fn players(players: Vec<PlayerStatus>) -> Encoded<v1::PlayerPage> {
    let pages = cut(players.into_iter().map(|player| (&player).into())).into_iter();
    Ok(pages.map(|players| v1::PlayerPage { players }).collect())
}

/// Encodes who holds which scores: the players that were heard, and the versions.
pub(super) fn scores((heard, scores): (HostSet, Vec<HeldScore>)) -> Encoded<v1::ScorePage> {
    let mut pages: Vec<v1::ScorePage> = cut(scores.iter().map(Into::into))
        .into_iter()
        .map(|scores| v1::ScorePage { scores, heard: String::new() })
        .collect();
    pages.insert(0, v1::ScorePage { heard: heard.to_string(), scores: Vec::new() });
    Ok(pages)
}

/// Encodes who has which places: the players that were heard, what is wrong with directories, and the
/// places.
pub(super) fn places((heard, places, troubles): ToldPlaces) -> Encoded<v1::PlacePage> {
    let first = v1::PlacePage { heard: heard.to_string(), ..v1::PlacePage::default() };
    let troubles = cut(troubles.iter().map(Into::into)).into_iter();
    let troubles = troubles.map(|troubles| v1::PlacePage { troubles, ..v1::PlacePage::default() });
    let places = cut(places.iter().map(Into::into)).into_iter();
    let places = places.map(|places| v1::PlacePage { places, ..v1::PlacePage::default() });
    Ok([first].into_iter().chain(troubles).chain(places).collect())
}

pub(super) fn bundles(bundles: Vec<RegisteredBundle>) -> Encoded<v1::BundlePage> {
    let pages = cut(bundles.into_iter().map(|bundle| (&bundle).into())).into_iter();
    Ok(pages.map(|bundles| v1::BundlePage { bundles }).collect())
}

pub(super) fn fetches(fetches: Vec<FetchStatus>) -> Encoded<v1::FetchPage> {
    let pages = cut(fetches.into_iter().map(|fetch| (&fetch).into())).into_iter();
    Ok(pages.map(|fetches| v1::FetchPage { fetches }).collect())
}

pub(super) fn vitals(hosts: Vec<HostUsage>) -> Encoded<v1::VitalsPage> {
    let pages = cut(hosts.into_iter().map(|host| (&host).into())).into_iter();
    Ok(pages.map(|hosts| v1::VitalsPage { hosts }).collect())
}

pub(super) fn cells(cells: Vec<CellStatus>) -> Encoded<v1::LedgerPage> {
    let pages = cut(cells.into_iter().map(|cell| (&cell).into())).into_iter();
    Ok(pages.map(|cells| v1::LedgerPage { cells }).collect())
}

pub(super) fn deployments(deployments: Vec<ListedDeployment>) -> Encoded<v1::DeploymentPage> {
    let told: Vec<v1::Deployment> = deployments.into_iter().map(deployment).collect();
    if let Some(deployment) = told.iter().find(|one| one.encoded_len() > limits::MESSAGE_BYTES) {
        let name = &deployment.name;
        let why = format!("deployment {name} is larger than one answer can carry");
        return Err(Declined::new(Ground::TooMuch, why));
    }
    let pages = cut(told.into_iter()).into_iter();
    Ok(pages.map(|deployments| v1::DeploymentPage { deployments }).collect())
}

fn deployment(listed: ListedDeployment) -> v1::Deployment {
    let ListedDeployment { name, apps, envs, cells, hosts, canonical } = listed;
    let canonical = canonical.unwrap_or_default();
    v1::Deployment { name: name.to_string(), apps, envs, cells, hosts, canonical }
}

pub(super) fn groups(groups: Vec<ListedGroup>) -> Encoded<v1::GroupPage> {
    let pages = cut(groups.into_iter().map(group)).into_iter();
    Ok(pages.map(|groups| v1::GroupPage { groups }).collect())
}

fn group(listed: ListedGroup) -> v1::Group {
    let ListedGroup { word, hosts, count } = listed;
    let (name, kind) = match word {
        Word::All => ("all".to_owned(), GroupKind::All),
        Word::Group(name) => (name.to_string(), GroupKind::Group),
        Word::App(name) => (name.to_string(), GroupKind::App),
        Word::Label(key, value) => (format!("{key}={value}"), GroupKind::Label),
    };
    v1::Group { name, kind: kind.into(), hosts, count }
}

pub(super) fn audit(lines: Vec<AuditRecord>) -> Encoded<v1::AuditPage> {
    let pages = cut(lines.into_iter().map(audit_line)).into_iter();
    Ok(pages.map(|lines| v1::AuditPage { lines }).collect())
}

fn audit_line(line: AuditRecord) -> v1::AuditLine {
    let AuditEntry { by, deed, on, reason, answer, rule, times } = line.entry;
    let text = |text: Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
    let mut told = v1::AuditLine {
        number: line.number,
        at_ms: line.at.0,
        by: by.to_string(),
        verb: deed.as_str().to_owned(),
        outcome: deed.outcome().to_owned(),
        reason: text(reason),
        answer: answer.to_string(),
        rule: text(rule),
        times,
        link: line.link.map(mac_to_wire).unwrap_or_default(),
        ..v1::AuditLine::default()
    };
    match on {
        Object::Flow(flow) => told.flow = flow.0,
        Object::Hosts(hosts) => told.hosts = shortened(&hosts),
        Object::Service(service) => told.service = service.to_string(),
        Object::File(file) => told.file = file.to_string(),
        Object::Peer(peer) => told.peer = peer.to_string(),
        Object::Lines(number) => told.lines = number,
        Object::Conductor => {}
    }
    told
}

pub(super) fn audit_report(report: ChainReport) -> v1::VerifyAuditResponse {
    let breaks = report.breaks.into_iter().map(|found| {
        let (kind, from, to) = found.to_parts();
        v1::AuditBreak { kind: kind.to_owned(), from, to }
    });
    v1::VerifyAuditResponse {
        lines: report.lines,
        unlinked: report.unlinked,
        first: report.first,
        last: report.head.number,
        link: report.head.link.map(mac_to_wire).unwrap_or_default(),
        breaks: breaks.collect(),
        further: report.further,
    }
}

/// Cuts a folded host set, which is ASCII.
pub(super) fn shortened(hosts: &str) -> String {
    match hosts.get(..HOSTS_BYTES) {
        Some(beginning) => format!("{beginning}…"),
        None => hosts.to_owned(),
    }
}

pub(super) fn log_chunk(chunk: LogChunk) -> Encoded<v1::LogChunk> {
    Ok(vec![chunk.into()])
}

pub(super) fn attempt(record: EndRecord) -> Encoded<v1::AttemptLog> {
    Ok(vec![attempt_log(record)])
}

fn attempt_log(record: EndRecord) -> v1::AttemptLog {
    let EndRecord { job, host, attempt, late, end } = record;
    v1::AttemptLog {
        job: Some(job.into()),
        host: host.to_string(),
        attempt,
        late,
        end: Bytes::from_owner(end.to_shared()),
    }
}

pub(super) fn output_part(part: OutputPart) -> Encoded<v1::OutputPart> {
    use v1::output_part::Part;
    let part = match part {
        OutputPart::Ended(record) => Part::Ended(attempt_log(record)),
        OutputPart::Written { of: Execution { job, host, attempt }, stream, chunk } => {
            Part::Written(v1::WrittenOutput {
                job: Some(job.into()),
                host: host.to_string(),
                attempt,
                stream: stream_to_wire(stream).into(),
                chunk: Some(chunk.into()),
            })
        }
    };
    Ok(vec![v1::OutputPart { part: Some(part) }])
}

pub(super) fn notice(notice: Notice) -> Encoded<v1::WatchEvent> {
    let cursor = notice.cursor.map(cursor);
    let event = match notice.news {
        News::Change(event) => return Ok(vec![v1::WatchEvent { cursor, ..(&event).into() }]),
        News::Status(status) => Event::Status((&*status).into()),
        News::Restored => Event::Restored(v1::StoreRestored {}),
    };
    Ok(vec![v1::WatchEvent { event: Some(event), cursor }])
}

fn cursor(cursor: Cursor) -> v1::Cursor {
    let Cursor { store, term, change } = cursor;
    v1::Cursor { store: store.0.to_vec().into(), term: term.0, change }
}

/// Encodes a plan. This may take long.
pub(super) fn plan(planned: &Planned) -> Result<v1::PlanResponse, Declined> {
    let response = v1::PlanResponse::from(planned);
    match response.encoded_len() {
        bytes if bytes > limits::MESSAGE_BYTES => Err(Declined::new(
            Ground::TooMuch,
            format!(
                "the plan has {} waves and {bytes} bytes, more than one answer can carry; plan \
                 fewer hosts at once",
                response.waves.len()
            ),
        )),
        _ => Ok(response),
    }
}

pub(super) fn changed(answer: &answer::Changed) -> v1::FlowChanged {
    v1::FlowChanged { flow: answer.flow.0, state: answer.state.to_string() }
}

pub(super) fn drained(answer: &answer::Drained) -> v1::DrainResponse {
    let (hosts, count) = folded(&answer.hosts);
    v1::DrainResponse { hosts, count, in_flight: answer.in_flight }
}

pub(super) fn loaded(loaded: &Loaded) -> v1::ReloadResponse {
    let deployments = v1::DeploymentChanges {
        now: loaded.deployments.now,
        added: loaded.deployments.added,
        changed: loaded.deployments.changed,
        removed: loaded.deployments.removed,
    };
    v1::ReloadResponse {
        players: loaded.players,
        added: loaded.added,
        removed: loaded.removed,
        deployments: Some(deployments),
        closed: loaded.closed,
        services: loaded.services.iter().map(Into::into).collect(),
    }
}

/// Returns a host set as text, and how many hosts it has.
pub(super) fn folded(hosts: &HostSet) -> (String, u32) {
    (hosts.to_string(), u32::try_from(hosts.len()).unwrap_or(u32::MAX))
}

pub(super) fn service_changed(taken: &Taken) -> v1::ServiceChanged {
    v1::ServiceChanged {
        name: taken.service.to_string(),
        version: taken.version.0,
        unchanged: taken.unchanged,
        flow: taken.flow.map_or(0, |flow| flow.0),
        left_out: taken.left_out.to_string(),
        trouble: taken.trouble.clone().unwrap_or_default(),
        waiting: taken.waiting.iter().map(Into::into).collect(),
        moves: taken.moves.iter().map(Into::into).collect(),
    }
}

pub(super) fn services(services: Vec<ServiceStatus>) -> Encoded<v1::ServicePage> {
    let pages = cut(services.into_iter().map(|status| (&status).into())).into_iter();
    Ok(pages.map(|services| v1::ServicePage { services }).collect())
}

pub(super) fn service_plan((versions, plan): (Vec<ListedVersion>, ServicePlan)) -> v1::ServicePlan {
    let versions = versions.into_iter().map(version).collect();
    v1::ServicePlan { versions, ..(&plan).into() }
}

pub(super) fn strangers(strangers: Vec<Stranger>) -> Encoded<v1::StrangerPage> {
    let pages = cut(strangers.into_iter().map(|stranger| (&stranger).into())).into_iter();
    Ok(pages.map(|strangers| v1::StrangerPage { strangers }).collect())
}

pub(super) fn versions(versions: Vec<ListedVersion>) -> Encoded<v1::VersionPage> {
    let pages = cut(versions.into_iter().map(version)).into_iter();
    Ok(pages.map(|versions| v1::VersionPage { versions }).collect())
}

fn version(version: ListedVersion) -> v1::ServiceVersion {
    let ListedVersion { record, spec, changed_params } = version;
    let mut spec = v1::ServiceSpec::from(&spec);
    spec.params.values_mut().for_each(String::clear);
    v1::ServiceVersion {
        version: record.version.0,
        by: record.by.to_string(),
        at_ms: record.at.0,
        reverted: record.reverted,
        spec: Some(spec),
        changed_params,
    }
}
