//! What holds for services, their versions and placements.

use orchestra_model::{
    Asker, BundleName, FlowId, FlowState, HostName, HostSet, Millis, ScoreName, ServiceName,
    Timestamp,
    bundle::{
        BundleId, BundleSerial, BundleStatement, PublisherKey, RegisteredBundle, Seal,
        StatementSignature,
    },
    names::LabelValue,
    record::{Op, Record},
    score::ScoreHash,
    service::{
        AbsenceBrake, BrakeScope, Brakes, Cause, Change, FileStanding, Forgotten, Goal, Instance,
        Judged, Layout, LivingChange, Ordinal, Placement, PlacementRecord, ServiceEvent,
        ServiceFile, ServiceRecord, ServiceVersion, Suspicion, VersionRecord,
    },
};

use super::{Place, put};

pub(super) fn services_are_kept_with_their_versions_and_placements(place: &dyn Place) {
    let mut store = place.open();
    let (alice, web) = (Asker::from_word("alice").unwrap(), ServiceName::new("web").unwrap());
    let hosts = |text: &str| HostSet::parse_plain(text).unwrap();
    let event = |ended: Option<FlowState>, note: Option<&str>| ServiceEvent {
        at: Timestamp(7),
        cause: Cause::Update,
        by: if ended.is_none() { alice.clone() } else { Asker::Keeper },
        version: ServiceVersion(2),
        flow: Some(FlowId(9)),
        ended,
        note: note.map(Into::into),
    };
    let whole = ServiceRecord {
        name: web.clone(),
        owner: alice.clone(),
        file: Some(ServiceFile {
            name: "services.d/web.yaml".into(),
            content: [7; 32],
            standing: FileStanding::TakenOver,
        }),
        version: ServiceVersion(2),
        score: ScoreName::new("run-web").unwrap(),
        last_version: ServiceVersion(3),
        stable: Some(ServiceVersion(1)),
        goal: Goal::Stopped,
        hosts: hosts("db[1-3]"),
        layout: Some(Layout::Zones([(LabelValue::new("east").unwrap(), 2)].into())),
        surged: Some(Layout::Count(3)),
        paused_by: Some(alice.clone()),
        pending: Some(Change {
            cause: Cause::Restart,
            by: alice.clone(),
            hosts: Some(hosts("db2")),
            signal: Some(1),
            with: vec![ServiceName::new("api").unwrap()],
        }),
        living: Some(LivingChange {
            flow: FlowId(9),
            cause: Cause::Update,
            by: Asker::Files,
            version: ServiceVersion(2),
            superseded: true,
        }),
        relief: Some(LivingChange {
            flow: FlowId(10),
            cause: Cause::Unhealthy,
            by: Asker::Keeper,
            version: ServiceVersion(2),
            superseded: false,
        }),
        judged: Judged {
            suspicion: Some(Suspicion {
                at: Timestamp(3),
                failed: 7,
                of: 10,
                tried: Some((HostName::new("db2").unwrap(), Timestamp(4))),
            }),
            trusted: Timestamp(2),
        },
        spent: Millis(7_000),
        last_placement: Placement(12),
        forgotten: vec![Forgotten {
            placements: (Placement(3), Placement(5)),
            versions: (ServiceVersion(1), ServiceVersion(2)),
        }],
        events: vec![event(None, None), event(Some(FlowState::Failed), Some("2 away"))],
    };
    let bare = ServiceRecord {
        name: ServiceName::new("api").unwrap(),
        stable: None,
        file: None,
        goal: Goal::Removed,
        hosts: HostSet::default(),
        layout: None,
        surged: None,
        paused_by: None,
        pending: None,
        living: None,
        relief: None,
        judged: Judged::default(),
        forgotten: Vec::new(),
        events: Vec::new(),
        ..whole.clone()
    };
    let version = |n, reverted| VersionRecord {
        service: web.clone(),
        version: ServiceVersion(n),
        spec: (*b"spec\x00").into(),
        by: alice.clone(),
        at: Timestamp(5),
        reverted,
        score_hash: reverted.then_some(ScoreHash([7; 32])),
        drift_told: reverted,
    };
    let placed = |host: &str, n, told| PlacementRecord {
        service: web.clone(),
        host: HostName::new(host).unwrap(),
        instance: Instance { ordinal: Ordinal(n), placement: Placement(u64::from(n) + 10) },
        told,
        dead: !told,
        absent: Millis(if told { 0 } else { 75_000 }),
        prepared: told.then_some(ServiceVersion(2)),
        left: !told,
    };
    put(
        &mut *store,
        [
            Record::Version(version(1, false)),
            Record::Version(version(2, true)),
            Record::Service(Box::new(whole.clone())),
            Record::Service(Box::new(bare.clone())),
            Record::Placement(placed("db1", 1, true)),
            Record::Placement(placed("db2", 2, false)),
        ],
    );
    drop(store);
    let mut store = place.open();
    let reader = store.reader().unwrap();
    assert_eq!(reader.services().unwrap(), [bare, whole.clone()]);
    assert_eq!(reader.versions().unwrap(), [version(1, false), version(2, true)]);
    assert_eq!(reader.placements().unwrap(), [placed("db1", 1, true), placed("db2", 2, false)]);
    drop(reader);
    let gone = [
        Op::PruneVersion(web.clone(), ServiceVersion(1)),
        Op::PruneVersion(web.clone(), ServiceVersion(8)),
        Op::Displace(web.clone(), HostName::new("db1").unwrap()),
    ];
    store.commit(&gone).unwrap();
    put(&mut *store, [Record::Placement(placed("db2", 2, true))]);
    drop(store);
    let reader = place.open().reader().unwrap();
    assert_eq!(reader.versions().unwrap(), [version(2, true)]);
    assert_eq!(reader.placements().unwrap(), [placed("db2", 2, true)]);
}

pub(super) fn brakes_are_kept(place: &dyn Place) {
    let mut store = place.open();
    assert_eq!(store.reader().unwrap().brakes().unwrap(), Brakes::default());
    let brake = |released_by| AbsenceBrake { at: Timestamp(5), absent: 6, of: 10, released_by };
    let east = BrakeScope::Zone(Some(LabelValue::new("east").unwrap()));
    let alice = Asker::from_word("alice").unwrap();
    let scopes = [BrakeScope::Fleet, BrakeScope::Zone(None)].map(|scope| (scope, brake(None)));
    let all = Brakes(scopes.into_iter().chain([(east, brake(Some(alice)))]).collect());
    put(&mut *store, [Record::Brakes(all.clone())]);
    drop(store);
    let mut store = place.open();
    assert_eq!(store.reader().unwrap().brakes().unwrap(), all);
    put(&mut *store, [Record::Brakes(Brakes::default())]);
    assert_eq!(store.reader().unwrap().brakes().unwrap(), Brakes::default());
}

pub(super) fn bundles_are_kept_until_they_are_forgotten(place: &dyn Place) {
    let bundle = |serial: u8, source: &str| {
        let mut seal = Seal::unsigned(BundleStatement {
            domain: HostName::new("d.test").unwrap(),
            name: BundleName::new("site").unwrap(),
            serial: BundleSerial::new(serial.into()).unwrap(),
            expires: Some(Timestamp(9)),
            id: BundleId([serial; 32]),
            manifest_bytes: 1,
            entries: 2,
            content_bytes: 3,
            size: 4,
        });
        let key = PublisherKey([7; 32]);
        seal.add(StatementSignature { key, signature: [8; 64] }).unwrap();
        let sources = [HostName::new(source).unwrap()].into();
        RegisteredBundle { seal, sources, by: Asker::Local, registered_at: Timestamp(5) }
    };
    let mut store = place.open();
    assert_eq!(store.reader().unwrap().bundles().unwrap(), []);
    let put_all = [bundle(1, "a"), bundle(2, "a"), bundle(2, "b")];
    put(&mut *store, put_all.map(|bundle| Record::Bundle(Box::new(bundle))));
    drop(store);
    let mut store = place.open();
    let mut read = store.reader().unwrap().bundles().unwrap();
    read.sort_by_key(|bundle| bundle.seal.statement.serial);
    assert_eq!(read, [bundle(1, "a"), bundle(2, "b")]);
    store.commit(&[1, 9].map(|n| Op::ForgetBundle(BundleId([n; 32])))).unwrap();
    assert_eq!(store.reader().unwrap().bundles().unwrap(), [bundle(2, "b")]);
}
