//! What the model says is read back as it was said, and what it cannot say is refused.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use orchestra_model::{
    Asker, FlowId, FlowState, HostName, HostSet, JobId, JobName, JobState, Millis, Params,
    Quantity, ScoreName, ServiceName, TaskState, Timestamp, WaitReason,
    delivery::{
        AttemptEnd, AttemptKey, EndBytes, EndSummary, JobPart, LiveAttempt, OrderNumber, Outcome,
        Output, PlayerSnapshot, SettledAttempt, SpoolId, StoreId, StoreMark, Term,
    },
    deployment::{AppCell, CellKey},
    flow::{FlowSpec, JobSpec, OnDoomed, Scope, SequenceOnFailure, SlotSpec},
    ledger::{CellStatus, Explanation, Forecast, Holder, ScoreSurvey, Serving},
    limits,
    names::{AppName, DeploymentName, EnvType, EnvValue, LabelKey, LabelValue},
    proof::{Evidence, Mac, Proof},
    record::Drain,
    score::{ParamSpec, ScoreHash, ScoreOffer, ScoreSpec},
    service::{
        AbsenceBrake, AbsenceRule, AtMostOne, Cause, Change, Exhausted, FileStanding, FleetZones,
        Goal, HealthRule, Hindered, HttpPath, Instance, InstanceAbsence, InstanceStatus, Judged,
        Judgement, Layout, LivingChange, MilliCores, Need, Obstacle, OnUnhealthy, Ordinal,
        PlaceRule, Placement, PlannedAbsence, PortName, PortRule, Probe, ProcessRule, ReadyRule,
        ReadySign, Recipe, RecipeJob, RecipeStep, ReloadRule, Replaceable, Replacing,
        ReplacingWait, Resources, RestartRule, RestartWhen, Room, RunEnd, RunNumber, ServiceEvent,
        ServiceFile, ServiceRecord, ServiceSpec, ServiceStatus, ServiceVersion, SocketName, Spread,
        StopRule, Suspicion, Target, Umask, UnitJob, UnitReport, UnitState, Unready, UnwellUnit,
        UpdateRule, Upkeep, Waiting, Wanted, ZoneStatus,
    },
    size::ByteSize,
    status::{
        Absence, AbsentTasks, CanaryStatus, ConductorStatus, Counts, Due, FlowStatus, FlowSummary,
        JobAbsence, JobStatus, PlayerStatus,
    },
    thresholds::ResolvedLimit,
    tree::Parent,
    vitals::{UnitUsage, UnitVitals},
};

use prost::Message as _;

use crate::{
    Planned, RawSnapshot, decode_end, decode_service, encode_end, encode_service, scores_from_wire,
    snapshot_from_wire, snapshot_to_wire, summarize_end, v1,
};

fn hosts(text: &str) -> HostSet {
    HostSet::parse_plain(text).unwrap()
}

fn job_name(name: &str) -> JobName {
    JobName::new(name).unwrap()
}

fn alice() -> Asker {
    Asker::from_word("alice").unwrap()
}

const JOB: JobId = JobId { flow: FlowId(42), slot: 1, job: 2 };

fn spec() -> JobSpec {
    JobSpec::new(job_name("web"), ScoreName::new("restart-apache").unwrap(), "fe[1-6]")
}

#[test]
fn every_field_of_a_job_is_read_back() {
    let gated = JobSpec {
        scope: Scope::All,
        parallel: Quantity::Percent(50),
        success: Some(Quantity::Percent(90)),
        max_failures: Some(Quantity::Count(0)),
        timeout: Some(Millis(1)),
        give_up_after: Some(Millis(2)),
        lost_after: Some(Millis(0)),
        retries: 3,
        retry_delay: Millis(4),
        quorum: Quantity::Percent(80),
        canary: Some(Quantity::Count(2)),
        bake: Some(Millis(0)),
        on_doomed: OnDoomed::Cancel,
        sequence_on_failure: SequenceOnFailure::Continue,
        unthrottled: true,
        only_where_ok: JobName::new("first").ok(),
        recipe: Some(RecipeJob {
            service: ServiceName::new("web").unwrap(),
            step: RecipeStep::Cleanup,
        }),
        ..spec()
    };
    for job in [spec(), gated] {
        let flow = FlowSpec::new(vec![SlotSpec { jobs: vec![job] }]);
        assert_eq!(FlowSpec::try_from(&v1::FlowSpec::from(&flow)).unwrap(), flow);
    }
}

#[test]
fn what_a_job_does_not_say_is_the_default() {
    let wire = v1::JobSpec {
        name: "web".to_owned(),
        score: "restart-apache".to_owned(),
        targets: "fe[1-6]".to_owned(),
        ..Default::default()
    };
    assert_eq!(JobSpec::try_from(&wire).unwrap(), spec());
}

#[test]
fn gates_out_of_bounds_are_refused_by_name() {
    let wire = || v1::JobSpec::from(&spec());
    let long = limits::DURATION_MS + 1;
    let percent = v1::Quantity { amount: Some(v1::quantity::Amount::Percent(101)) };
    let wrong = [
        (v1::JobSpec { retry_delay_ms: long, ..wire() }, "JobSpec.retry_delay_ms"),
        (v1::JobSpec { bake_ms: Some(long), ..wire() }, "JobSpec.bake_ms"),
        (v1::JobSpec { on_doomed: 9, ..wire() }, "JobSpec.on_doomed"),
        (v1::JobSpec { sequence_on_failure: 9, ..wire() }, "JobSpec.sequence_on_failure"),
        (v1::JobSpec { quorum: Some(percent), ..wire() }, "Quantity.percent"),
        (v1::JobSpec { canary: Some(percent), ..wire() }, "Quantity.percent"),
    ];
    for (job, field) in wrong {
        let message = JobSpec::try_from(&job).unwrap_err().to_string();
        assert!(message.starts_with(field), "{message}");
    }
}

#[test]
fn a_flow_says_who_paused_it_and_what_it_waits_for() {
    let status = FlowStatus {
        summary: FlowSummary {
            id: FlowId(42),
            name: None,
            state: FlowState::Paused,
            audience: alice(),
            by_keeper: false,
            submitted_at: Timestamp(1),
            ended_at: None,
            absent: 3,
            counts: Some(Counts::all_in(TaskState::Waiting, 6)),
        },
        cancelled_by: Some(alice()),
        cancel_reason: Some("wrong version".into()),
        paused_by: Some(alice()),
        retry_of: Some(FlowId(41)),
        start: None,
        stalled: vec!["fe1 is down".into()],
        stale_store: false,
        slots: vec![vec![JobStatus {
            id: JOB,
            name: job_name("web"),
            score: ScoreName::new("restart-apache").unwrap(),
            scope: Scope::All,
            state: JobState::Running,
            targets: "fe[1-6]".to_owned(),
            counts: Counts::all_in(TaskState::Waiting, 6),
            waiting: BTreeMap::from([(WaitReason::Canary, 4), (WaitReason::Cell, 2)]),
            window: 3,
            needed: 6,
            canary: Some(CanaryStatus { tasks: 2, ok: 1, until: Some(Timestamp(9)) }),
            started_at: Some(Timestamp(2)),
            ended_at: None,
            absence: Some(JobAbsence {
                in_flight: AbsentTasks {
                    tasks: 2,
                    hosts: "fe[1-2]".to_owned(),
                    since: Some(Timestamp(3)),
                    given_up: Some(Due { at: Timestamp(90), left: Millis(80) }),
                },
                waiting: AbsentTasks::default(),
            }),
        }]],
    };
    assert_eq!(FlowStatus::try_from(v1::FlowStatus::from(&status)).unwrap(), status);
}

#[test]
fn a_player_says_who_drained_it() {
    let drain = Drain { by: alice(), reason: "new disk".into(), since: Timestamp(7) };
    for drained in [None, Some(drain)] {
        let status = PlayerStatus {
            host: HostName::new("fe1").unwrap(),
            labels: BTreeMap::new(),
            attached: true,
            since: Some(Timestamp(3)),
            max_tasks: 4,
            in_flight: 1,
            jobs: vec![JOB],
            lost: Some(Due { at: Timestamp(9), left: Millis(2) }),
            version: "1".to_owned(),
            spool: None,
            certificate_ends: drained.is_none().then_some(Timestamp(8)),
            quarantined: drained.is_none().then(|| "why".to_owned()),
            drained,
            scores: Vec::new(),
        };
        assert_eq!(PlayerStatus::try_from(v1::PlayerStatus::from(&status)).unwrap(), status);
    }
}

#[test]
fn the_conductor_says_how_many_cells_there_are() {
    let wire = v1::ConductorStatus { deployments: 2, cells: 8, ..Default::default() };
    let status = ConductorStatus::from(wire.clone());
    assert_eq!((status.deployments, status.cells), (2, 8));
    assert_eq!(v1::ConductorStatus::from(&status), wire);
}

fn unwell() -> UnwellUnit {
    UnwellUnit { service: ServiceName::new("web").unwrap(), unready: Unready::GaveUp }
}

fn holder(down: Option<TaskState>) -> Holder {
    Holder {
        host: HostName::new("fe1").unwrap(),
        jobs: vec![JOB, JobId { flow: FlowId(43), ..JOB }],
        since: Timestamp(5),
        down,
        units: down.map(|_| unwell()).into_iter().collect(),
        absence: down.map(|_| Absence { since: Some(Timestamp(4)), given_up: None }),
    }
}

#[test]
fn a_cell_is_read_back() {
    let of_app = CellKey::App(AppCell {
        deployment: DeploymentName::new("example").unwrap(),
        env_type: EnvType::new("cluster").unwrap(),
        env_value: EnvValue::new("east").unwrap(),
        app: AppName::new("frontend").unwrap(),
    });
    let of_service = CellKey::Service(ServiceName::new("web").unwrap());
    for (key, limit, down) in
        [(of_app, Some(3), None), (of_service, None, Some(TaskState::TimedOut))]
    {
        let cell = CellStatus {
            key,
            hosts: 6,
            limit,
            holders: vec![holder(down)],
            waiting: BTreeMap::from([(FlowId(42), 3)]),
        };
        assert_eq!(CellStatus::try_from(v1::CellStatus::from(&cell)).unwrap(), cell);
    }
    let down = v1::Holder { down: "upside".to_owned(), ..(&holder(None)).into() };
    assert!(Holder::try_from(down).unwrap_err().to_string().starts_with("Holder.down"));
    let unready = v1::UnwellUnit { unready: "tired".to_owned(), ..(&unwell()).into() };
    let wrong = UnwellUnit::try_from(unready).unwrap_err();
    assert!(wrong.to_string().starts_with("UnwellUnit.unready"), "{wrong}");
}

#[test]
fn an_explanation_is_read_back() {
    for (job, reason) in [(None, None), (Some(JOB), Some(WaitReason::Sequence))] {
        let explanation = Explanation {
            job,
            hosts: hosts("fe[1-2]"),
            reason,
            dead: true,
            text: "be1 failed".into(),
            given_up: job.map(|_| Timestamp(7)),
        };
        let wire = v1::Explanation::from(&explanation);
        assert_eq!((wire.hosts.as_str(), wire.count), ("fe[1-2]", 2));
        assert_eq!(Explanation::try_from(wire).unwrap(), explanation);
    }
}

#[test]
fn a_plan_is_read_back() {
    let forecast = Forecast {
        begins: Some("begins in 2h".to_owned()),
        waves: vec![
            vec![(job_name("web"), hosts("fe[1-3]")), (job_name("api"), hosts("api1"))],
            vec![(job_name("web"), hosts("fe[4-6]"))],
        ],
        stuck: vec![(job_name("web"), hosts("fe7"), "fe8 is down".into())],
        awaited: vec![holder(None)],
        absent: hosts("fe2"),
        drained: hosts("fe7"),
        free: HostSet::default(),
        serving: vec![
            Serving { job: job_name("web"), parent: Parent::Nobody, children: hosts("fe1") },
            Serving {
                job: job_name("web"),
                parent: Parent::Host(HostName::new("fe1").unwrap()),
                children: hosts("fe[2-3]"),
            },
        ],
    };
    let scores = vec![ScoreSurvey {
        job: job_name("web"),
        score: ScoreName::new("restart-apache").unwrap(),
        versions: BTreeMap::from([
            (ScoreHash([1; 32]), hosts("fe[1-3]")),
            (ScoreHash([2; 32]), hosts("fe4")),
        ]),
        missing: hosts("fe5"),
        unheard: hosts("fe[6-7]"),
    }];
    for refusal in [None, Some("no".to_owned())] {
        let plan = Planned {
            forecast: forecast.clone(),
            scores: scores.clone(),
            digest: "ab".repeat(32),
            refusal,
            limits: vec![limit(None), limit(Some(Quantity::Percent(80)))],
            remarks: vec!["job web: no host has to succeed".to_owned()],
        };
        assert_eq!(Planned::try_from(v1::PlanResponse::from(&plan)).unwrap(), plan);
    }
}

fn limit(asked: Option<Quantity>) -> ResolvedLimit {
    let limit = "success".to_owned();
    ResolvedLimit { job: job_name("web"), limit, asked, comes_to: 8, of: 9 }
}

const STORE: StoreId = StoreId([7; 16]);

fn snapshot() -> PlayerSnapshot {
    let key = AttemptKey { store: STORE, job: JOB, attempt: 2 };
    let param = ("package".parse().unwrap(), ParamSpec { required: true, ..Default::default() });
    let spec = ScoreSpec { params: Some(BTreeMap::from([param])), ..Default::default() };
    let offer = |name, spec| ScoreOffer {
        name: ScoreName::new(name).unwrap(),
        hash: Some(ScoreHash([3; 32])),
        spec,
    };
    let proof = Proof { term: Term(5), mac: Mac([9; 16]) };
    PlayerSnapshot {
        spool: SpoolId([1; 16]),
        mark: OrderNumber(5),
        term: Term(6),
        evidence: Some(Evidence { order: OrderNumber(10), attempt: Some(key.into()), proof }),
        live: vec![LiveAttempt {
            key,
            order: OrderNumber(9),
            started_at: Some(Timestamp(8)),
            proof: Some(proof),
        }],
        settled: vec![
            SettledAttempt {
                key: AttemptKey { attempt: 1, ..key },
                order: OrderNumber(7),
                proof: Some(proof),
            },
            SettledAttempt { key, order: OrderNumber(0), proof: None },
        ],
        max_tasks: 4,
        kill_grace: Millis(10),
        scores: [offer("restart", Ok(spec)), offer("stop", Err("it is gone".to_owned()))]
            .into_iter()
            .collect(),
        room: Room { memory: Some(ByteSize(1 << 30)), cpu: Some(MilliCores(2_000)) },
        units: Some(vec![
            unit_report(UnitState::Ready, None),
            UnitReport {
                trouble: Some("HTTP 503".to_owned()),
                ..unit_report(UnitState::Unhealthy, None)
            },
            unit_report(UnitState::GaveUp, Some(RunEnd::NotSpawned("no such file".to_owned()))),
        ]),
    }
}

#[test]
fn a_service_is_read_back() {
    let name = ServiceName::new("web").unwrap();
    let bare = ServiceSpec::new(name, ScoreName::new("run-web").unwrap(), "@web");
    let whole = ServiceSpec {
        params: Params::from_pairs([("port", "80")]).unwrap(),
        prepare: Some(Recipe {
            score: ScoreName::new("install").unwrap(),
            params: Params::from_pairs([("release", "7")]).unwrap(),
        }),
        cleanup: Some(Recipe {
            score: ScoreName::new("remove").unwrap(),
            params: Params::default(),
        }),
        budget: Some(Quantity::Percent(50)),
        update: UpdateRule {
            parallel: Quantity::Count(2),
            canary: Some(Quantity::Count(1)),
            bake: Some(Millis(3)),
            healthy_for: Millis(4),
            deadline: Millis(5),
            max_failures: Quantity::Percent(6),
            auto_revert: false,
            surge: 0,
        },
        upkeep: unit_job(Wanted::Running, &ReadySign::Fd(4)).upkeep,
        judgement: Judgement { on_unhealthy: OnUnhealthy::Restart, panic: None },
        max_age: Some(Millis(8)),
        auto_start: false,
        ..bare.clone()
    };
    let mut linked = ServiceSpec { on: String::new(), ..bare.clone() };
    linked.upkeep.linked_to = Some(ServiceName::new("db").unwrap());
    let mut placed = ServiceSpec { on: String::new(), ..bare.clone() };
    let require = [(LabelKey::new("disk").unwrap(), LabelValue::new("ssd").unwrap())].into();
    placed.update.surge = 2;
    placed.place = Some(PlaceRule { layout: Layout::Count(3), require, spread: Spread::Pack });
    let replaced =
        |replace_after| ServiceSpec { absent: AbsenceRule { replace_after }, ..placed.clone() };
    let (never, at_once) = (replaced(None), replaced(Some(Millis(0))));
    for spec in [&bare, &whole, &linked, &placed, &never, &at_once] {
        assert_eq!(&decode_service(&encode_service(spec)).unwrap(), spec);
    }
    let wire = v1::ServiceSpec { on: "x".repeat(limits::HOSTSET_BYTES + 1), ..(&bare).into() };
    let refused = ServiceSpec::try_from(&wire).unwrap_err().to_string();
    assert!(refused.starts_with("ServiceSpec.on"), "{refused}");
    let never = ServiceSpec { budget: Some(Quantity::Count(0)), ..bare };
    assert!(decode_service(&encode_service(&never)).is_err(), "what makes no sense is refused");
}

#[test]
fn what_becomes_of_an_absent_instance_is_read_back() {
    let waits = ReplacingWait::ALL.iter().copied().map(Replacing::Waits);
    let by = Replacing::By(HostName::new("db2").unwrap());
    for replacing in [Replacing::At(Timestamp(7)), by, Replacing::Never].into_iter().chain(waits) {
        assert_eq!(Replacing::try_from(&v1::Replacing::from(&replacing)).unwrap(), replacing);
        let planned = PlannedAbsence { hosts: hosts("db[1-3]"), replacing };
        assert_eq!(PlannedAbsence::try_from(&v1::PlannedAbsence::from(&planned)).unwrap(), planned);
    }
}

#[test]
fn a_fleet_by_zones_is_read_back() {
    let brake =
        |released_by| Some(AbsenceBrake { at: Timestamp(3), absent: 6, of: 10, released_by });
    let zone = |zone: Option<&str>, brake| ZoneStatus {
        zone: zone.map(|zone| LabelValue::new(zone).unwrap()),
        players: 12,
        attached: 4,
        absent: 6,
        brake,
    };
    let zones = vec![zone(None, brake(Some(alice()))), zone(Some("east"), None)];
    for brake in [None, brake(None)] {
        let fleet = FleetZones { zones: zones.clone(), brake };
        assert_eq!(FleetZones::try_from(v1::FleetZones::from(&fleet)).unwrap(), fleet);
    }
}

#[test]
fn what_is_told_of_a_service_is_read_back() {
    let event = |ended: Option<FlowState>| ServiceEvent {
        at: Timestamp(1),
        cause: Cause::Update,
        by: if ended.is_none() { alice() } else { Asker::Keeper },
        version: ServiceVersion(2),
        flow: Some(FlowId(3)),
        ended,
        note: ended.map(|_| "why".into()),
    };
    let instance = |report: Option<UnitReport>| InstanceStatus {
        host: HostName::new("db1").unwrap(),
        instance: Instance { ordinal: Ordinal(1), placement: Placement(12) },
        attached: report.is_some(),
        unready: report.is_none().then_some(Unready::Untold),
        drifted: report.is_some().then_some(true),
        replaceable: report.is_none().then_some(Replaceable::At(Timestamp(7))),
        absence: report.is_none().then_some(InstanceAbsence {
            since: Timestamp(6),
            replacing: Some(Replacing::By(HostName::new("db2").unwrap())),
        }),
        usage: report.as_ref().map(|report| UnitUsage {
            service: report.service.clone(),
            ordinal: Ordinal(1),
            age: Millis(4_000),
            now: UnitVitals {
                cpu: Some(MilliCores(250)),
                memory: Some(ByteSize(3 << 20)),
                ..UnitVitals::default()
            },
            cpu_highest: Some(MilliCores(300)),
            memory_limit: Some(ByteSize(64 << 20)),
            cpu_limit: None,
        }),
        report,
    };
    let whole = ServiceStatus {
        record: ServiceRecord {
            name: ServiceName::new("web").unwrap(),
            owner: alice(),
            file: Some(ServiceFile {
                name: "services.d/web.yaml".into(),
                content: [0; 32],
                standing: FileStanding::TakenOver,
            }),
            version: ServiceVersion(2),
            score: ScoreName::new("run-web").unwrap(),
            last_version: ServiceVersion(3),
            stable: Some(ServiceVersion(1)),
            goal: Goal::Running,
            hosts: hosts("db[1-3]"),
            layout: Some(Layout::Zones([(LabelValue::new("east").unwrap(), 2)].into())),
            surged: Some(Layout::Zones([(LabelValue::new("east").unwrap(), 3)].into())),
            paused_by: Some(alice()),
            pending: Some(Change {
                cause: Cause::Restart,
                by: alice(),
                hosts: Some(hosts("db1")),
                signal: Some(10),
                with: vec![ServiceName::new("api").unwrap()],
            }),
            living: Some(LivingChange {
                flow: FlowId(3),
                cause: Cause::Update,
                by: Asker::Files,
                version: ServiceVersion(2),
                superseded: true,
            }),
            relief: Some(LivingChange {
                flow: FlowId(4),
                cause: Cause::Unhealthy,
                by: Asker::Keeper,
                version: ServiceVersion(2),
                superseded: false,
            }),
            spent: Millis(0),
            last_placement: Placement(12),
            judged: Judged {
                suspicion: Some(Suspicion {
                    at: Timestamp(3),
                    failed: 7,
                    of: 10,
                    tried: Some((HostName::new("db1").unwrap(), Timestamp(4))),
                }),
                ..Judged::default()
            },
            forgotten: Vec::new(),
            events: vec![event(None), event(Some(FlowState::Failed))],
        },
        score_hash: Some(ScoreHash([4; 32])),
        instances: vec![instance(Some(unit_report(UnitState::Ready, None))), instance(None)],
        unplaced: hosts("db2"),
        waiting: vec![Waiting {
            count: 1,
            zone: Some(LabelValue::new("east").unwrap()),
            players: 28,
            elsewhere: 1,
            taken: 2,
            absent: 3,
            drained: 4,
            too_old: 5,
            without_score: 6,
            full: 7,
            short_of_memory: 10,
            short_of_cpu: 11,
            need: Need { memory: ByteSize(8), cpu: 9 },
        }],
        given_up: hosts("db3"),
        uncleaned: hosts("db5"),
        strangers: hosts("db4"),
        hindered: obstacles().into_iter().map(|by| Hindered { hosts: hosts("db1"), by }).collect(),
        trouble: Some("why".to_owned()),
    };
    let bare = ServiceStatus {
        record: ServiceRecord {
            stable: None,
            layout: Some(Layout::Count(3)),
            surged: None,
            file: None,
            hosts: HostSet::default(),
            paused_by: None,
            pending: None,
            living: None,
            relief: None,
            events: Vec::new(),
            ..whole.record.clone()
        },
        score_hash: None,
        instances: Vec::new(),
        waiting: Vec::new(),
        unplaced: HostSet::default(),
        given_up: HostSet::default(),
        uncleaned: HostSet::default(),
        strangers: HostSet::default(),
        hindered: Vec::new(),
        trouble: None,
    };
    for status in [whole, bare] {
        assert_eq!(ServiceStatus::try_from(v1::ServiceStatus::from(&status)).unwrap(), status);
    }
}

/// One of each.
fn obstacles() -> Vec<Obstacle> {
    vec![
        Obstacle::Absent,
        Obstacle::Replacing(ReplacingWait::ZoneDisrupted),
        Obstacle::Room(Box::new(Waiting { count: 1, players: 2, full: 2, ..Waiting::default() })),
        Obstacle::Starting,
        Obstacle::Drained,
        Obstacle::TooOld,
        Obstacle::Stranger,
        Obstacle::Linked,
        Obstacle::Successor(HostName::new("db2").unwrap()),
        Obstacle::Predecessor(HostName::new("db3").unwrap()),
        Obstacle::Flow(FlowId(1)),
        Obstacle::NextFlow(FlowId(2)),
        Obstacle::GivenUp,
        Obstacle::Paused,
        Obstacle::NoFlow,
        Obstacle::Suspicious,
        Obstacle::Flapping,
        Obstacle::Unhealthy,
        Obstacle::GaveUp,
        Obstacle::Misfit(Millis(20_000)),
        Obstacle::Lease,
        Obstacle::Itself,
    ]
}

fn unit_report(state: UnitState, last_end: Option<RunEnd>) -> UnitReport {
    UnitReport {
        service: ServiceName::new("web").unwrap(),
        version: ServiceVersion(7),
        instance: Instance { ordinal: Ordinal(3), placement: Placement(12) },
        order: OrderNumber(9),
        state,
        since: Timestamp(8),
        run: RunNumber(4),
        score_hash: (state == UnitState::Ready).then_some(ScoreHash([5; 32])),
        run_age: Some(Millis(12)),
        restarts: 3,
        last_end,
        trouble: None,
        turns: 5,
        flapping: true,
    }
}

#[test]
fn every_end_of_a_run_is_read_back() {
    for end in [
        RunEnd::Exited(-1),
        RunEnd::Signalled(9),
        RunEnd::OutOfMemory(Exhausted::default()),
        RunEnd::OutOfMemory(Exhausted { limit: Some(ByteSize(64 << 20)), peak: Some(ByteSize(1)) }),
        RunEnd::NeverReady,
        RunEnd::Watchdog,
        RunEnd::Asked,
        RunEnd::NotSpawned("why".to_owned()),
        RunEnd::HostRestarted,
        RunEnd::Linked,
        RunEnd::LeaseRanOut,
        RunEnd::Unknown,
    ] {
        assert_eq!(RunEnd::try_from(&v1::RunEnd::from(&end)).unwrap(), end);
    }
}

fn unit_job(wanted: Wanted, sign: &ReadySign) -> UnitJob {
    UnitJob {
        service: ServiceName::new("web").unwrap(),
        version: ServiceVersion(7),
        wanted,
        upkeep: Upkeep {
            restart: RestartRule {
                when: RestartWhen::OnFailure,
                first: Millis(1),
                max_delay: Millis(2),
                attempts: Some(3),
                window: Millis(4),
                stable_after: Millis(5),
            },
            ready: ReadyRule { sign: sign.clone(), deadline: Millis(6) },
            stop: StopRule { linger: Millis(4), signal: 2, grace: Millis(7) },
            resources: Some(Resources {
                memory: Some(ByteSize(5 << 20)),
                reserve: Some(ByteSize(3 << 20)),
                cpu: Some(MilliCores(1_500)),
                processes: Some(20),
                enforced: *sign == ReadySign::Started,
            }),
            health: Some(HealthRule::new(Probe::Tcp(Target::Named(
                PortName::new("http").unwrap(),
            )))),
            reload: Some(ReloadRule { signal: 1 }),
            ports: [
                (PortName::new("http").unwrap(), PortRule { number: 8_000, by_ordinal: true }),
                (PortName::new("admin").unwrap(), PortRule { number: 9, by_ordinal: false }),
            ]
            .into_iter()
            .collect(),
            process: ProcessRule {
                nofile: Some(4_096),
                nice: Some(-20),
                oom_score_adj: Some(-1_000),
                umask: Umask::new(0o27),
                state_dir: true,
            },
            linked_to: (*sign == ReadySign::Notify).then(|| ServiceName::new("db").unwrap()),
            at_most_one: (*sign != ReadySign::Started).then(|| AtMostOne {
                lease: (*sign == ReadySign::Notify).then(|| Millis::seconds(10)),
            }),
            require_same_score: *sign == ReadySign::Notify,
            keep_secrets: *sign == ReadySign::Started,
        },
        healthy_for: Millis(8),
        deadline: Millis(9),
        score_hash: (*sign == ReadySign::Notify).then_some(ScoreHash([6; 32])),
        instances: [Instance { ordinal: Ordinal(1), placement: Placement(12) }].into(),
    }
}

#[test]
fn what_is_asked_of_units_is_read_back() {
    let (socket, path) = (SocketName::new("s").unwrap(), HttpPath::new("/up").unwrap());
    let probe = ReadySign::Probe(Probe::Http(Target::Unix(socket), path));
    let check = ReadySign::Probe(Probe::Score(ScoreName::new("check-web").unwrap()));
    let signs = [ReadySign::Started, ReadySign::Notify, ReadySign::Fd(3), probe, check];
    let wanted = [Wanted::Running, Wanted::Signalled(10), Wanted::Stopped, Wanted::Gone];
    let wanted = wanted.into_iter().chain([Wanted::Healthy, Wanted::Younger(Millis(9))]);
    for (wanted, sign) in wanted.zip(signs) {
        let unit = Some(Arc::new(unit_job(wanted, &sign)));
        let job = JobSpec { unit: unit.clone(), ..spec() };
        let flow = FlowSpec::new(vec![SlotSpec { jobs: vec![job] }]);
        assert_eq!(FlowSpec::try_from(&v1::FlowSpec::from(&flow)).unwrap(), flow);
        let part = JobPart {
            job: JOB,
            name: job_name("web"),
            score: ScoreName::new("run-web").unwrap(),
            audience: alice(),
            params: Params::default(),
            unit,
            seal: None,
        };
        let read = JobPart::try_from(v1::JobBody::from(&part)).unwrap();
        let without = UnitJob { instances: Arc::default(), ..unit_job(wanted, &sign) };
        assert_eq!(read, JobPart { unit: Some(Arc::new(without)), ..part });
    }
}

#[test]
fn what_is_asked_of_units_and_makes_no_sense_is_refused() {
    let wire = || {
        v1::FlowSpec::from(&FlowSpec::new(vec![SlotSpec {
            jobs: vec![JobSpec {
                unit: Some(Arc::new(unit_job(Wanted::Running, &ReadySign::Notify))),
                ..spec()
            }],
        }]))
    };
    let refused = |change: &dyn Fn(&mut v1::UnitJob)| {
        let mut flow = wire();
        change(flow.slots[0].jobs[0].unit.as_mut().unwrap());
        FlowSpec::try_from(&flow).unwrap_err().to_string()
    };
    for (change, field) in [
        (
            (&|unit: &mut v1::UnitJob| unit.wanted = 0) as &dyn Fn(&mut v1::UnitJob),
            "UnitJob.wanted",
        ),
        (&|unit| unit.placements.clear(), "UnitJob.placements"),
        (&|unit| unit.deadline_ms = u64::MAX, "UnitJob.deadline_ms"),
        (&|unit| unit.service = "Web".to_owned(), "UnitJob.service"),
        (&|unit| unit.upkeep = None, "UnitJob.upkeep"),
        (&|unit| unit.upkeep.as_mut().unwrap().stop.as_mut().unwrap().signal = 64, "Upkeep"),
        (&|unit| unit.upkeep.as_mut().unwrap().resources = Some(Default::default()), "Upkeep"),
    ] {
        let told = refused(change);
        assert!(told.starts_with(field), "{told}");
    }
}

#[test]
fn a_snapshot_is_read_back_and_its_scores_can_be_read_later() {
    let snapshot = snapshot();
    let others =
        StoreMark { store: StoreId([8; 16]), mark: OrderNumber(1), term: Term(2), evidence: None };
    let PlayerSnapshot { mark, term, evidence, .. } = snapshot;
    let ours = StoreMark { store: STORE, mark, term, evidence };
    let units =
        snapshot.units.clone().map(|ours| vec![(StoreId([8; 16]), Vec::new()), (STORE, ours)]);
    let bytes = snapshot_to_wire(&snapshot, &[others, ours], units).encode_to_vec();
    let raw = RawSnapshot::decode(&bytes[..]).unwrap();
    assert_eq!(raw.encode_to_vec(), bytes, "the same message");
    assert_eq!(snapshot_from_wire(&raw, STORE, scores_from_wire).unwrap(), snapshot);
}

#[test]
fn a_snapshot_whose_scores_are_wrong_is_refused() {
    let wire = snapshot_to_wire(&snapshot(), &[], None);
    let read = |scores: Vec<Bytes>| {
        let raw = RawSnapshot { scores, ..RawSnapshot::decode(&wire.encode_to_vec()[..]).unwrap() };
        snapshot_from_wire(&raw, STORE, scores_from_wire)
    };
    assert!(read(vec![Bytes::from_static(b"\xff")]).is_err());
    assert!(read(vec![Bytes::new()]).unwrap_err().to_string().starts_with("ScoreOffer"));
    let many = read(vec![Bytes::new(); limits::SCORES + 1]).unwrap_err().to_string();
    assert!(many.starts_with("Snapshot.scores"), "{many}");
}

#[test]
fn what_an_end_leads_to_is_read_without_the_rest_of_it() {
    let (started_at, ended_at) = (Some(Timestamp(7)), Timestamp(9));
    let outcomes = [
        Outcome::Exited(-3),
        Outcome::Signalled(9),
        Outcome::TimedOut,
        Outcome::Cancelled,
        Outcome::Lost("it went".to_owned()),
    ];
    for outcome in outcomes {
        let end = AttemptEnd {
            outcome: outcome.clone(),
            started_at,
            ended_at,
            response: [("key".to_owned(), "value".to_owned())].into(),
            stdout: Output { head: vec![7; 1_000], bytes: 1_000, ..Output::default() },
            stderr: Output::default(),
        };
        let bytes = encode_end(&end).unwrap();
        assert_eq!(decode_end(&bytes).unwrap(), end);
        let summary = EndSummary { outcome, started_at, ended_at };
        assert_eq!(summarize_end(&bytes).unwrap(), summary);
        // Standard output (field 9) that is no message is nothing to the summary, and is told to who
        // reads.
        let spoilt = [bytes.as_slice(), &[9 << 3 | 2, 1, 0xff]].concat();
        let spoilt = EndBytes::new(spoilt).unwrap();
        assert_eq!(summarize_end(&spoilt).unwrap(), summary);
        assert!(decode_end(&spoilt).is_err());
    }
    let nothing = EndBytes::new(&b""[..]).unwrap();
    assert!(summarize_end(&nothing).is_err() && decode_end(&nothing).is_err());
}
