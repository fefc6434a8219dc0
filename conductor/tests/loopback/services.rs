//! Services: applied, brought to players that keep units, told, and durable.

use std::collections::BTreeMap;

use orchestra_model::{
    Quantity, ScoreName, ServiceName,
    service::{ServiceSpec, UpdateRule},
};
use orchestra_proto::{encode_service, v1};
use prost::Message as _;
use tonic::{Code, Status};

use crate::harness::{
    Audience, Conductor, Place, Player, Session, ended, eventually, exited, job, request,
};

pub(crate) async fn start(players: &str) -> (Place, Conductor, Audience) {
    let place = Place::new(players);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    (place, conductor, alice)
}

pub(crate) fn spec(on: &str, score: &str) -> ServiceSpec {
    let name = ServiceName::new("web").unwrap();
    ServiceSpec::new(name, ScoreName::new(score).unwrap(), on)
}

impl Audience {
    pub(crate) async fn apply(&self, spec: &ServiceSpec) -> Result<v1::ServiceChanged, Status> {
        self.apply_all(&[spec]).await.map(|mut all| all.remove(0))
    }

    /// Applies services at once.
    pub(crate) async fn apply_all(
        &self,
        specs: &[&ServiceSpec],
    ) -> Result<Vec<v1::ServiceChanged>, Status> {
        let specs = specs.iter().map(|spec| encode_service(spec).into()).collect();
        let mut client = self.client.clone();
        let request = v1::ApplyServicesRequest { specs, take_over: false };
        client.apply_services(request).await.map(|answer| answer.into_inner().services)
    }

    pub(crate) async fn change(
        &self,
        verb: v1::change_service_request::Verb,
    ) -> Result<v1::ServiceChanged, Status> {
        let request = v1::ChangeServiceRequest { name: "web".to_owned(), verb: Some(verb) };
        let mut client = self.client.clone();
        client.change_service(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn service(&self) -> Result<v1::ServiceStatus, Status> {
        let mut client = self.client.clone();
        let request = v1::ListServicesRequest { name: "web".to_owned() };
        let mut pages = client.list_services(request).await?.into_inner();
        Ok(pages.message().await?.unwrap().services.remove(0))
    }
}

/// A player that keeps units, as a spool and its units' file would have it.
pub(crate) struct Keeper {
    pub(crate) player: Player,
    pub(crate) session: Session,
    pub(crate) units: BTreeMap<String, v1::UnitReport>,
    jobs: BTreeMap<Vec<u8>, v1::UnitJob>,
}

impl Keeper {
    pub(crate) async fn attach(place: &Place, conductor: &Conductor, host: &str) -> Keeper {
        Self::attach_with(place, conductor, host, v1::Room::default()).await
    }

    /// Attaches a player that says of itself that it has so much room for units.
    pub(crate) async fn attach_with(
        place: &Place,
        conductor: &Conductor,
        host: &str,
        room: v1::Room,
    ) -> Keeper {
        let mut player = Player::new(place, &conductor.address, host).await;
        player.snapshot.units = Some(v1::Units::default());
        player.snapshot.room = Some(room);
        let session = player.attach().await;
        Keeper { player, session, units: BTreeMap::new(), jobs: BTreeMap::new() }
    }

    /// Comes back to another process of the conductor, with its units and what it answered for.
    pub(crate) async fn attach_again(&mut self, place: &Place, conductor: &Conductor, mark: u64) {
        self.player.reconnect(place, &conductor.address).await;
        self.remember(mark);
        self.session = self.player.attach().await;
    }

    /// Writes down its units, and what it answered for.
    fn remember(&mut self, mark: u64) {
        self.player.mark(&self.session, mark);
        let store_id = self.session.welcome.store_id.clone();
        let units = self.units.values().cloned().collect();
        let stores = vec![v1::StoreUnits { store_id, units }];
        self.player.snapshot.units = Some(v1::Units { stores });
    }

    /// Ends its session. Its units live on.
    pub(crate) fn leave(mut self, mark: u64) -> Player {
        self.remember(mark);
        self.player
    }

    /// Comes back after it left.
    pub(crate) async fn come_back(player: Player) -> Keeper {
        let session = player.attach().await;
        Keeper { player, session, units: BTreeMap::new(), jobs: BTreeMap::new() }
    }

    /// Takes the next order for a unit.
    pub(crate) async fn order(&mut self) -> (v1::Order, v1::UnitJob) {
        use v1::command::Kind;
        loop {
            match self.session.command().await {
                Kind::Job(part) => {
                    let body = v1::JobBody::decode(part.body).unwrap();
                    self.jobs.insert(part.digest.to_vec(), body.unit.unwrap());
                }
                Kind::Order(order) => {
                    let job = self.jobs[&order.job_digest.to_vec()].clone();
                    return (order, job);
                }
                other => panic!("no order but {other:?}"),
            }
        }
    }

    /// Tells that the unit is in a state now, by an order.
    pub(crate) fn tell(&mut self, order: &v1::Order, job: &v1::UnitJob, state: &str) {
        let report = v1::UnitReport {
            service: job.service.clone(),
            version: job.version,
            ordinal: order.ordinal,
            placement: order.placement,
            order: order.number,
            state: state.to_owned(),
            since_ms: 1,
            run: 1,
            ..Default::default()
        };
        match state {
            "gone" => drop(self.units.remove(&job.service)),
            _ => drop(self.units.insert(job.service.clone(), report.clone())),
        }
        let kind = Some(v1::report::Kind::Unit(report));
        self.session.report(&v1::Report { key: None, order: 0, kind });
    }

    /// Does as the next order says: the unit is in this state then, and its task ok.
    pub(crate) async fn obey(&mut self, state: &str) -> v1::Order {
        let (order, job) = self.order().await;
        self.tell(&order, &job, state);
        self.session.report(&ended(&order, &exited(0)));
        assert_eq!(self.session.acknowledged().await, order.key.clone().unwrap());
        order
    }
}

#[tokio::test]
async fn a_service_is_brought_to_its_hosts_and_outlives_the_conductor() {
    let (place, conductor, alice) = start("db[1-2]\n").await;
    let mut first = Keeper::attach(&place, &conductor, "db1").await;
    let applied = alice.apply(&spec("db[1-2]", "hello")).await.unwrap();
    assert_eq!((applied.version, applied.left_out.as_str()), (1, "db2"));
    let order = first.obey("ready").await;
    assert_eq!((order.ordinal, order.placement), (1, 1));
    assert_eq!(alice.verdict(applied.flow).await, "ok");
    let mut second = Keeper::attach(&place, &conductor, "db2").await;
    second.obey("ready").await;
    let whole = eventually("all ready", async || {
        let service = alice.service().await.unwrap();
        let ready = |instance: &&v1::InstanceStatus| {
            instance.report.as_ref().is_some_and(|report| report.state == "ready")
        };
        let is_done =
            service.instances.iter().filter(ready).count() == 2 && service.living.is_none();
        is_done.then_some(service)
    })
    .await;
    assert_eq!((whole.stable, whole.goal.as_str()), (1, "running"));
    // Nothing follows from the same again, and nothing from a restart.
    assert!(alice.apply(&spec("db[1-2]", "hello")).await.unwrap().unchanged);
    conductor.kill();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(alice.service().await.unwrap().instances[0].unready, "untold");
    first.attach_again(&place, &conductor, 1).await;
    second.attach_again(&place, &conductor, 1).await;
    let again = alice.service().await.unwrap();
    assert_eq!((again.instances[0].unready.as_str(), again.living), ("", None));
    let flow = alice.submit([job("db1")]).await;
    let order = first.session.order().await;
    assert_eq!(order.placement, 0, "nothing was sent for the units");
    first.session.report(&ended(&order, &exited(0)));
    assert_eq!(alice.verdict(flow).await, "ok");
}

#[tokio::test]
async fn services_that_are_applied_at_once_have_one_flow_also_after_a_crash() {
    let (place, conductor, alice) = start("db1\n").await;
    let mut db1 = Keeper::attach(&place, &conductor, "db1").await;
    let web = spec("db1", "hello");
    let api = ServiceSpec { name: ServiceName::new("api").unwrap(), ..spec("db1", "hello") };
    let applied = alice.apply_all(&[&web, &api]).await.unwrap();
    let told: Vec<_> = applied.iter().map(|it| (it.name.as_str(), it.version, it.flow)).collect();
    let flow = applied[0].flow;
    assert_eq!(told, [("web", 1, flow), ("api", 1, flow)]);
    let (first, of_first) = db1.order().await;
    let (second, of_second) = db1.order().await;
    db1.tell(&first, &of_first, "ready");
    db1.session.report(&ended(&first, &exited(0)));
    assert_eq!(db1.session.acknowledged().await, first.key.clone().unwrap());
    conductor.kill();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    db1.attach_again(&place, &conductor, 1).await;
    // It never came, as far as the conductor can tell.
    assert_eq!(db1.order().await.0.key, second.key);
    db1.tell(&second, &of_second, "ready");
    db1.session.report(&ended(&second, &exited(0)));
    assert_eq!(alice.verdict(flow).await, "ok");
    let service = eventually("the end", async || {
        let service = alice.service().await.unwrap();
        service.living.is_none().then_some(service)
    });
    assert_eq!(service.await.stable, 1);
    let twice = alice.apply_all(&[&web, &web]).await.unwrap_err();
    assert_eq!(twice.code(), Code::InvalidArgument);
    assert!(twice.message().contains("service web is given twice"), "{twice}");
    let none = alice.apply_all(&[]).await.unwrap_err();
    assert!(none.message().contains("0 services are given"), "{none}");
}

#[tokio::test]
async fn a_version_that_fails_is_followed_by_the_one_before() {
    let (place, conductor, alice) = start("db1\n").await;
    let mut db1 = Keeper::attach(&place, &conductor, "db1").await;
    alice.apply(&spec("db1", "hello")).await.unwrap();
    db1.obey("ready").await;
    eventually("the first", async || alice.service().await.unwrap().living.is_none().then_some(()))
        .await;
    let update = UpdateRule { parallel: Quantity::Percent(100), ..UpdateRule::default() };
    let second = ServiceSpec { update, ..spec("db1", "hello") };
    let applied = alice.apply(&second).await.unwrap();
    assert_eq!(applied.version, 2);
    let (order, job) = db1.order().await;
    assert_eq!(job.version, 2);
    db1.tell(&order, &job, "backing-off");
    db1.session.report(&ended(&order, &exited(1)));
    db1.session.acknowledged().await;
    assert_eq!(alice.verdict(applied.flow).await, "failed");
    let order = db1.obey("ready").await;
    assert_eq!(order.placement, 1, "the placement stays");
    let service = eventually("the revert", async || {
        let service = alice.service().await.unwrap();
        service.living.is_none().then_some(service)
    })
    .await;
    assert_eq!((service.version, service.stable, service.last_version), (1, 1, 2));
    let causes: Vec<&str> = service.events.iter().map(|event| event.cause.as_str()).collect();
    assert_eq!(causes[causes.len() - 2..], ["revert", "revert"]);
    conductor.logged("service applied").await;
}

#[tokio::test]
async fn a_unit_that_is_not_ready_holds_its_host_against_changes_of_others() {
    let (place, conductor, alice) = start("db[1-2]\n").await;
    let mut db1 = Keeper::attach(&place, &conductor, "db1").await;
    let mut db2 = Keeper::attach(&place, &conductor, "db2").await;
    alice.apply(&spec("db[1-2]", "hello")).await.unwrap();
    let (order, unit) = db1.order().await;
    db1.tell(&order, &unit, "ready");
    db1.session.report(&ended(&order, &exited(0)));
    db2.obey("ready").await;
    db1.session.acknowledged().await;
    // It crashes and waits: the one host that may be down is.
    db1.tell(&order, &unit, "backing-off");
    eventually("told", async || {
        let unready = alice.service().await.unwrap().instances[0].unready.clone();
        (unready == "not-ready").then_some(())
    })
    .await;
    let flow = alice.submit([job("db2")]).await;
    let explained = eventually("the cell is full", async || {
        let tasks = alice.tasks(flow).await;
        (tasks[0].reason == "cell").then_some(tasks)
    })
    .await;
    assert_eq!(explained.len(), 1);
    db1.tell(&order, &unit, "ready");
    let order = db2.session.order().await;
    db2.session.report(&ended(&order, &exited(0)));
    assert_eq!(alice.verdict(flow).await, "ok");
}

#[tokio::test]
async fn what_operators_ask_of_a_service_is_done_and_recorded() {
    use v1::change_service_request::Verb;
    let (place, conductor, alice) = start("db1\n").await;
    let mut db1 = Keeper::attach(&place, &conductor, "db1").await;
    assert_eq!(alice.change(Verb::Stop(v1::Empty {})).await.unwrap_err().code(), Code::NotFound);
    alice.apply(&spec("db1", "hello")).await.unwrap();
    db1.obey("ready").await;
    let settled = async || {
        eventually("no flow lives", async || {
            let service = alice.service().await.unwrap();
            service.living.is_none().then_some(service)
        })
        .await
    };
    settled().await;
    alice.change(Verb::Restart(String::new())).await.unwrap();
    let (order, job) = db1.order().await;
    assert_eq!(job.wanted(), v1::unit_job::Wanted::Restarted);
    db1.tell(&order, &job, "ready");
    db1.session.report(&ended(&order, &exited(0)));
    db1.session.acknowledged().await;
    settled().await;
    let signal = |signal| Verb::Signal(v1::ServiceSignal { signal, hosts: String::new() });
    assert_eq!(alice.change(signal(9)).await.unwrap_err().code(), Code::InvalidArgument);
    let reload = Verb::Reload(String::new());
    assert_eq!(alice.change(reload).await.unwrap_err().code(), Code::FailedPrecondition);
    alice.change(signal(10)).await.unwrap();
    let (order, job) = db1.order().await;
    assert_eq!((job.wanted(), job.signal), (v1::unit_job::Wanted::Signalled, 10));
    assert_eq!(alice.change(signal(12)).await.unwrap_err().code(), Code::FailedPrecondition);
    db1.tell(&order, &job, "ready");
    db1.session.report(&ended(&order, &exited(0)));
    db1.session.acknowledged().await;
    settled().await;
    for (verb, state, goal) in [
        (Verb::Stop(v1::Empty {}), "stopped", "stopped"),
        (Verb::Start(v1::Empty {}), "ready", "running"),
        (Verb::Remove(v1::Empty {}), "gone", "removed"),
    ] {
        alice.change(verb).await.unwrap();
        db1.obey(state).await;
        assert_eq!(settled().await.goal, goal);
    }
    assert!(alice.service().await.unwrap().instances.is_empty());
    let mut client = alice.client.clone();
    let outcome = "done".to_owned();
    let request = v1::ListAuditRequest { outcome, ..Default::default() };
    let lines = client.list_audit(request).await.unwrap().into_inner().message().await.unwrap();
    let verbs: Vec<String> = lines.unwrap().lines.into_iter().map(|line| line.verb).collect();
    let told = ["remove", "start", "stop", "signal", "restart", "apply"];
    assert_eq!(verbs[..6], told.map(|verb| format!("service-{verb}")));
}

#[tokio::test]
async fn nobody_submits_units_by_hand() {
    let (_place, _conductor, alice) = start("db1\n").await;
    let unit = v1::UnitJob {
        service: "web".to_owned(),
        version: 1,
        wanted: v1::unit_job::Wanted::Gone.into(),
        upkeep: v1::ServiceSpec::from(&spec("db1", "hello")).upkeep,
        ordinals: vec![1],
        placements: vec![1],
        ..Default::default()
    };
    let job = v1::JobSpec { unit: Some(unit), ..job("db1") };
    let refused = alice.try_submit(request([job])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("orc service apply"), "{}", refused.message());
}
