//! Services of files: read with the fleet, owned, gone; strangers, and plans.

use std::{fs, path::Path};

use orchestra_proto::{encode_service, v1};
use rustix::process::Signal;
use tonic::{Code, Status};

use crate::{
    harness::{Audience, Conductor, Place, ended, eventually, exited},
    services::{Keeper, spec},
};

const FILE: &str = "services.d/web.yaml";

/// A service of the file, on these hosts; `port` makes one content differ from another.
fn text(on: &str, port: u16) -> String {
    format!("service: web\nscore: hello\non: '{on}'\nparams: {{port: '{port}'}}\n")
}

/// Players, and a file of a service on all of them.
fn place(players: &str, on: &str) -> Place {
    let place = Place::new(players);
    fs::create_dir(place.path("services.d")).unwrap();
    place.write(FILE, &text(on, 1));
    place
}

impl Audience {
    async fn apply_over(&self, on: &str) -> Result<v1::ServiceChanged, Status> {
        let specs = vec![encode_service(&spec(on, "hello")).into()];
        let mut client = self.client.clone();
        let request = v1::ApplyServicesRequest { specs, take_over: true };
        client.apply_services(request).await.map(|answer| answer.into_inner().services.remove(0))
    }

    /// The service once no flow changes it.
    async fn settled(&self) -> v1::ServiceStatus {
        eventually("no flow lives", async || {
            let service = self.service().await.unwrap();
            service.living.is_none().then_some(service)
        })
        .await
    }

    /// Who did what to services, newest first.
    async fn recorded(&self) -> Vec<(String, String)> {
        let mut client = self.client.clone();
        let pages = client.list_audit(v1::ListAuditRequest::default()).await.unwrap();
        let lines = pages.into_inner().message().await.unwrap().unwrap().lines;
        let of_service = lines.into_iter().filter(|line| !line.service.is_empty());
        of_service.map(|line| (line.by, line.verb)).collect()
    }

    async fn strangers(&self) -> Vec<v1::Stranger> {
        let mut client = self.client.clone();
        let pages = client.list_strangers(v1::ListStrangersRequest {}).await.unwrap();
        let page = pages.into_inner().message().await.unwrap();
        page.map(|page| page.strangers).unwrap_or_default()
    }
}

fn standing(service: &v1::ServiceStatus) -> (&str, &str) {
    let file = service.file.as_ref().unwrap();
    (service.owner.as_str(), file.standing.as_str())
}

fn changes(reloaded: &v1::ReloadResponse) -> Vec<(&str, &str, u64)> {
    let told = reloaded.services.iter();
    told.map(|it| (it.file.as_str(), it.change.as_str(), it.version)).collect()
}

#[tokio::test]
async fn a_file_is_applied_at_a_start_and_by_reloads_and_never_again() {
    let place = place("db1\n", "db1");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut db1 = Keeper::attach(&place, &conductor, "db1").await;
    db1.obey("ready").await;
    let service = alice.settled().await;
    assert_eq!(standing(&service), ("orchestra:files", "in-force"));
    // Where nobody was attached there was nothing to do: it came there when its player did.
    let told: Vec<_> =
        service.events[..2].iter().map(|event| (event.by.as_str(), event.flow > 0)).collect();
    assert_eq!(told, [("orchestra:files", false), ("orchestra:keeper", true)]);
    assert_eq!(changes(&alice.reload(false).await.unwrap()), []);
    place.write(FILE, &text("db1", 2));
    let reloaded = alice.reload(false).await.unwrap();
    assert_eq!(changes(&reloaded), [(FILE, "applied", 2)]);
    db1.obey("ready").await;
    let service = alice.settled().await;
    let last = service.events.last().unwrap();
    assert_eq!((last.cause.as_str(), last.by.as_str()), ("update", "orchestra:files"));
    conductor.kill();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    db1.attach_again(&place, &conductor, 2).await;
    assert_eq!(alice.settled().await.version, 2, "what it says it has said before");
    let flows = alice.recorded().await;
    assert_eq!(flows[0], ("orchestra:files".to_owned(), "service-apply".to_owned()));
}

#[tokio::test]
async fn what_the_conductor_does_by_itself_is_by_the_keeper_in_the_name_of_the_owner() {
    let place = place("db[1-2]\n", "db[1-2]");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut db1 = Keeper::attach(&place, &conductor, "db1").await;
    let order = db1.obey("ready").await;
    let flow = order.key.unwrap().job.unwrap().flow;
    alice.settled().await;
    let summary = alice.flow(flow).await.summary.unwrap();
    assert_eq!((summary.audience.as_str(), summary.by_keeper), ("orchestra:files", true));
    let recorded = alice.recorded().await;
    assert_eq!(recorded[0], ("orchestra:keeper".to_owned(), "service-repair".to_owned()));
    // What a person asks for is not.
    let restart = v1::change_service_request::Verb::Restart("db1".to_owned());
    let flow = alice.change(restart).await.unwrap().flow;
    assert!(!alice.flow(flow).await.summary.unwrap().by_keeper);
}

#[tokio::test]
async fn who_owns_a_service_changes_it_and_nobody_else_without_a_word() {
    let place = place("db1\n", "db1");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let refused = alice.apply(&spec("db1", "hello")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("belongs to services.d/web.yaml"), "{refused:?}");
    assert!(refused.message().contains("--take-over"), "{refused:?}");
    alice.apply_over("db1").await.unwrap();
    assert_eq!(standing(&alice.service().await.unwrap()), ("alice", "taken-over"));
    assert_eq!(changes(&alice.reload(false).await.unwrap()), [], "it says what it said");
    place.write(FILE, &text("db1", 2));
    let refused = alice.reload(false).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let told = "services.d/web.yaml: service web was applied by alice";
    assert!(refused.message().contains(told), "{refused:?}");
    assert!(alice.status().await.reload_error.contains(told));
    conductor.kill();
    let refused = Conductor::start_refused(&place);
    assert!(refused.contains(told) && refused.contains("--take-over"), "{refused}");
    let conductor = Conductor::start_with(&place, &["--take-over"]);
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(standing(&alice.service().await.unwrap()), ("orchestra:files", "in-force"));
    alice.apply_over("db1").await.unwrap();
    let reloaded = alice.reload_with(false, true).await.unwrap();
    assert_eq!(changes(&reloaded), [(FILE, "applied", 5)]);
}

#[tokio::test]
async fn one_broken_file_changes_nothing() {
    let place = place("db1\n", "db1");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    place.write(FILE, &text("db1", 2));
    place.write("services.d/api.yaml", "service: api\nscroe: hello\non: db9\n");
    let refused = alice.reload(false).await.unwrap_err();
    assert!(
        refused.message().contains("services.d/api.yaml: line 2: unknown field \"scroe\""),
        "{refused:?}"
    );
    assert_eq!(alice.service().await.unwrap().version, 1);
}

#[tokio::test]
async fn a_file_that_is_gone_stops_nothing_until_its_service_is_removed() {
    let place = place("db1\n", "db1");
    place.write("services.d/api.yaml", "service: api\nscore: hello\non: db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let remove = || v1::change_service_request::Verb::Remove(v1::Empty {});
    let refused = alice.change(remove()).await.unwrap_err();
    assert!(refused.message().contains("remove that file and reload first"), "{refused:?}");
    fs::remove_file(place.path(FILE)).unwrap();
    let reloaded = alice.reload(false).await.unwrap();
    assert_eq!(changes(&reloaded), [(FILE, "gone", 1)]);
    let service = alice.service().await.unwrap();
    assert_eq!(
        (standing(&service), service.goal.as_str()),
        (("orchestra:files", "gone"), "running")
    );
    assert_eq!(changes(&alice.reload(false).await.unwrap()), [], "it is news once");
    alice.change(remove()).await.unwrap();
    assert_eq!(alice.service().await.unwrap().goal, "removed");
}

#[tokio::test]
async fn a_directory_that_vanished_is_refused_by_a_reload_and_a_start() {
    let place = place("db1\n", "db1");
    let mut conductor = Conductor::start(&place);
    let told = "services.d is empty or not there, and with it service web of services.d/web.yaml";
    let empty = |path: &Path| fs::create_dir(path).unwrap();
    for is_there in [false, true] {
        let alice = Audience::new(&place, &conductor.address).await;
        fs::rename(place.path("services.d"), place.path("away")).unwrap();
        if is_there {
            empty(&place.path("services.d"));
        }
        let refused = alice.reload(false).await.unwrap_err();
        assert!(refused.message().contains(told), "{refused:?}");
        conductor.signal(Signal::HUP);
        let log = || conductor.log().matches(told).count();
        eventually("the signal's reload", async || (log() >= 2).then_some(())).await;
        assert_eq!(standing(&alice.service().await.unwrap()).1, "in-force");
        conductor.kill();
        let refused = Conductor::start_refused(&place);
        assert!(refused.contains(told), "{refused}");
        let _ = fs::remove_dir(place.path("services.d"));
        fs::rename(place.path("away"), place.path("services.d")).unwrap();
        conductor = Conductor::start(&place);
    }
    let alice = Audience::new(&place, &conductor.address).await;
    fs::remove_file(place.path(FILE)).unwrap();
    assert_eq!(changes(&alice.reload(true).await.unwrap()), [(FILE, "gone", 1)]);
    assert_eq!(alice.service().await.unwrap().goal, "running", "it is told, and nothing stops");
    assert_eq!(changes(&alice.reload(false).await.unwrap()), [], "what is known to be gone");
}

#[tokio::test]
async fn a_reload_by_which_a_service_would_leave_many_hosts_is_refused() {
    let place = place("db[1-4]\n", "db[1-4]");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    place.write(FILE, &text("db1", 1));
    let refused = alice.reload(false).await.unwrap_err();
    let told = "service web would leave 3 of its 4 hosts: db[2-4]";
    assert!(refused.message().contains(told), "{refused:?}");
    assert_eq!(changes(&alice.reload(true).await.unwrap()), [(FILE, "applied", 2)]);
}

#[tokio::test]
async fn a_plan_tells_hosts_and_does_nothing() {
    let place = Place::new("db[1-3]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut db1 = Keeper::attach(&place, &conductor, "db1").await;
    let plan = async |on: &str, score: &str| {
        let specs = vec![encode_service(&spec(on, score)).into()];
        let mut client = alice.client.clone();
        let request = v1::ApplyServicesRequest { specs, take_over: false };
        client.plan_services(request).await.unwrap().into_inner().services.remove(0)
    };
    let steps = |plan: &v1::ServicePlan| -> Vec<String> {
        plan.steps.iter().map(|it| format!("{} {}", it.step, it.hosts)).collect()
    };
    let told = plan("db[1-2]", "hello").await;
    assert_eq!(
        (told.versions.len(), steps(&told)),
        (1, ["start db1", "absent db2"].map(Into::into).to_vec())
    );
    let mut client = alice.client.clone();
    let request = v1::ListServicesRequest { name: "web".to_owned() };
    assert!(client.list_services(request).await.unwrap().into_inner().message().await.is_err());
    alice.apply(&spec("db[1-2]", "hello")).await.unwrap();
    db1.obey("ready").await;
    alice.settled().await;
    let told = plan("db1", "other").await;
    let versions: Vec<u64> = told.versions.iter().map(|it| it.version).collect();
    assert_eq!((versions, steps(&told)), (vec![1, 2], vec!["update db1".to_owned()]));
    assert_eq!(alice.service().await.unwrap().version, 1);
}

#[tokio::test]
async fn strangers_are_told_and_ended_by_who_says_so() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut db1 = Keeper::attach(&place, &conductor, "db1").await;
    let stranger = v1::UnitReport {
        service: "web".to_owned(),
        version: 7,
        ordinal: 3,
        placement: 9,
        state: "ready".to_owned(),
        since_ms: 1,
        run: 1,
        ..Default::default()
    };
    db1.units.insert("web".to_owned(), stranger);
    db1.attach_again(&place, &conductor, 0).await;
    let strangers = eventually("the stranger", async || {
        Some(alice.strangers().await).filter(|strangers| !strangers.is_empty())
    })
    .await;
    let unit = strangers[0].unit.as_ref().unwrap();
    assert_eq!((unit.placement, strangers[0].is_known), (9, false));
    let stop = || v1::change_service_request::Verb::StopStranger(String::new());
    let flow = alice.change(stop()).await.unwrap().flow;
    let (order, job) = db1.order().await;
    assert_eq!(job.wanted(), v1::unit_job::Wanted::Gone);
    assert_eq!((order.placement, order.ordinal), (9, 3), "its sitter knows it by that");
    db1.tell(&order, &job, "gone");
    db1.session.report(&ended(&order, &exited(0)));
    assert_eq!(alice.verdict(flow).await, "ok");
    assert_eq!(alice.strangers().await, []);
    assert_eq!(alice.change(stop()).await.unwrap_err().code(), Code::NotFound);
    let recorded = alice.recorded().await;
    assert_eq!(recorded[0], ("alice".to_owned(), "service-stop-stranger".to_owned()));
}
