//! `orc service`.

use orchestra_model::{
    Asker, ByteSize, HostName, HostSet, Quantity, ScoreName,
    delivery::OrderNumber,
    ids::FlowId,
    names::ServiceName,
    params::Params,
    score::ScoreHash,
    service::{
        Cause, Goal, Instance, InstanceStatus, Judged, LivingChange, MilliCores, Ordinal,
        Placement, RunEnd, RunNumber, ServiceEvent, ServiceRecord, ServiceSpec, ServiceStatus,
        ServiceVersion, UnitReport, UnitState, Unready,
    },
    state::FlowState,
    time::{Millis, Timestamp},
    vitals::{Permille, UnitUsage, UnitVitals},
};
use orchestra_proto::v1;

mod asked;
mod brakes;
mod endpoints;
mod explained;
mod foreseen;
mod logs;
mod shown;
mod versions;
mod wait;

/// 2025-11-21T08:00:00Z.
const AT: Timestamp = Timestamp(1_763_712_000_000);

fn name() -> ServiceName {
    ServiceName::new("web").unwrap()
}

fn alice() -> Asker {
    Asker::from_word("alice").unwrap()
}

fn host(n: u32) -> HostName {
    HostName::new(&format!("db{n}")).unwrap()
}

fn hosts(numbers: impl IntoIterator<Item = u32>) -> HostSet {
    HostSet::from_names(numbers.into_iter().map(host))
}

/// The instance on db`n`, ready in version 7.
fn instance(n: u32) -> InstanceStatus {
    let instance = Instance { ordinal: Ordinal(n), placement: Placement(n.into()) };
    InstanceStatus {
        host: host(n),
        instance,
        attached: true,
        report: Some(UnitReport {
            service: name(),
            version: ServiceVersion(7),
            instance,
            order: OrderNumber(n.into()),
            state: UnitState::Ready,
            since: AT,
            run: RunNumber(1),
            score_hash: Some(ScoreHash([0xab; 32])),
            run_age: None,
            restarts: 0,
            last_end: None,
            trouble: None,
            turns: 0,
            flapping: false,
        }),
        unready: None,
        drifted: Some(false),
        usage: None,
        replaceable: None,
        absence: None,
    }
}

/// What the instance on db`n` uses, with so many thousandths of a processor; from 400 on it is held
/// back.
pub(crate) fn usage(n: u32, cpu: u32) -> UnitUsage {
    UnitUsage {
        service: name(),
        ordinal: Ordinal(n),
        age: Millis(4_000),
        now: UnitVitals {
            cpu: Some(MilliCores(cpu)),
            throttled: (cpu >= 400).then_some(Permille(950)),
            memory: Some(ByteSize(30 << 20)),
            memory_peak: Some(ByteSize(40 << 20)),
            processes: Some(3),
        },
        cpu_highest: Some(MilliCores(500)),
        memory_limit: Some(ByteSize(64 << 20)),
        cpu_limit: Some(MilliCores(500)),
    }
}

/// An instance that is not ready.
fn unwell(n: u32, state: UnitState, unready: Unready) -> InstanceStatus {
    let mut instance = instance(n);
    instance.unready = Some(unready);
    let report = instance.report.as_mut().unwrap();
    (report.state, report.run, report.restarts) = (state, RunNumber(12), 11);
    report.last_end = Some(RunEnd::Exited(3));
    instance
}

/// An instance on a player that is away.
fn absent(n: u32) -> InstanceStatus {
    InstanceStatus { attached: false, report: None, unready: Some(Unready::Untold), ..instance(n) }
}

/// Service web in version 7, ready on db[1-N].
pub(crate) fn ready(count: u32) -> ServiceStatus {
    let event = |at, by, ended| ServiceEvent {
        at,
        cause: Cause::Update,
        by,
        version: ServiceVersion(7),
        flow: Some(FlowId(42)),
        ended,
        note: None,
    };
    ServiceStatus {
        record: ServiceRecord {
            name: name(),
            owner: alice(),
            file: None,
            version: ServiceVersion(7),
            score: ScoreName::new("serve-web").unwrap(),
            last_version: ServiceVersion(7),
            stable: Some(ServiceVersion(7)),
            goal: Goal::Running,
            hosts: hosts(1..=count),
            layout: None,
            surged: None,
            paused_by: None,
            pending: None,
            living: None,
            relief: None,
            spent: Millis(0),
            last_placement: Placement(count.into()),
            judged: Judged::default(),
            forgotten: Vec::new(),
            events: vec![
                event(AT, alice(), None),
                event(Timestamp(AT.0 + 60_000), alice(), Some(FlowState::Ok)),
            ],
        },
        score_hash: Some(ScoreHash([0xab; 32])),
        instances: (1..=count).map(instance).collect(),
        unplaced: HostSet::default(),
        waiting: Vec::new(),
        given_up: HostSet::default(),
        uncleaned: HostSet::default(),
        strangers: HostSet::default(),
        hindered: Vec::new(),
        trouble: None,
    }
}

/// A service whose instances are ready, but for these, which stand instead of its own.
fn with(count: u32, others: Vec<InstanceStatus>) -> ServiceStatus {
    let mut status = ready(count);
    for other in others {
        let own = status.instances.iter_mut().find(|own| own.host == other.host).unwrap();
        *own = other;
    }
    status
}

/// This service while flow 43 brings version 7.
fn changing(mut status: ServiceStatus) -> ServiceStatus {
    status.record.living = Some(LivingChange {
        flow: FlowId(43),
        cause: Cause::Update,
        by: alice(),
        version: ServiceVersion(7),
        superseded: false,
    });
    status
}

/// A version as it is told: without the values of its parameters.
pub(crate) fn version(
    number: u64,
    parallel: Quantity,
    changed_params: &[&str],
) -> v1::ServiceVersion {
    let mut spec = ServiceSpec::new(name(), ScoreName::new("serve-web").unwrap(), "@web");
    spec.params = Params::from_pairs([("port", "")]).unwrap();
    spec.update.parallel = parallel;
    v1::ServiceVersion {
        version: number,
        by: "alice".to_owned(),
        at_ms: AT.0,
        reverted: false,
        spec: Some((&spec).into()),
        changed_params: changed_params.iter().map(|key| (*key).to_owned()).collect(),
    }
}
