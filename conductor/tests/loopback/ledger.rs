//! Limits over all flows, as whoever asks sees them; and what a person does about hosts that are
//! down.

use orchestra_proto::v1;
use tonic::Code;

use crate::{
    deployments::{WEB, place},
    harness::{
        Audience, Conductor, Place, Player, Session, ended, eventually, exited, id, job, request,
    },
};

async fn attach(place: &Place, address: &str, hosts: &[&str]) -> Vec<Session> {
    let mut sessions = Vec::new();
    for host in hosts {
        sessions.push(Player::new(place, address, host).await.attach().await);
    }
    sessions
}

/// The cell of an app in the east.
async fn east(alice: &Audience, app: &str) -> v1::CellStatus {
    let cells = alice.ledger("web", false).await.unwrap();
    cells.into_iter().find(|cell| cell.app == app && cell.env_value == "east").unwrap()
}

fn holders(cell: &v1::CellStatus) -> Vec<(&str, &str)> {
    cell.holders.iter().map(|holder| (holder.host.as_str(), holder.down.as_str())).collect()
}

#[tokio::test]
async fn a_failure_holds_until_somebody_releases_it() {
    let place = place(WEB);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut sessions = attach(&place, &conductor.address, &["be1.east", "be2.east"]).await;
    let [first, _] = sessions.as_mut_slice() else { panic!() };

    let failing = alice.submit([job("be1.east")]).await;
    let order = first.order().await;
    let blocked = alice.submit([job("be2.east")]).await;
    let cell = east(&alice, "backend").await;
    assert_eq!(holders(&cell), [("be1.east", "")]);
    assert_eq!(cell.waiting, [(blocked, 1)].into());
    first.report(&ended(&order, &exited(3)));
    assert_eq!(alice.verdict(failing).await, "failed");
    assert_eq!(holders(&east(&alice, "backend").await), [("be1.east", "failed")]);

    eventually("a stall", async || (alice.state(blocked).await == "stalled").then_some(())).await;
    let status = alice.flow(blocked).await;
    assert!(status.stalled[0].contains("be1.east"), "{status:?}");
    let ask = |host: &str, flow| v1::ExplainRequest {
        flow: id(flow),
        host: host.to_owned(),
        ..Default::default()
    };
    let why = alice.explain(ask("be2.east", blocked)).await.unwrap();
    assert_eq!((why.flow, why.state.as_str()), (blocked, "stalled"));
    assert_eq!((why.explanations[0].reason.as_str(), why.explanations[0].dead), ("cell", true));
    assert!(why.explanations[0].text.contains("orc ledger release"), "{why:?}");
    let why = alice.explain(ask("be1.east", failing)).await.unwrap();
    assert_eq!(why.state, "failed");
    let told = &why.explanations[0].text;
    assert!(told.starts_with("failed with exit code 3; be1.east counts as down"), "{told}");
    assert_eq!(alice.explain(ask("fe1.east", failing)).await.unwrap_err().code(), Code::NotFound);

    // All of it still holds after a restart.
    conductor.kill();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(holders(&east(&alice, "backend").await), [("be1.east", "failed")]);
    let mut sessions = attach(&place, &conductor.address, &["be2.east"]).await;
    assert_eq!(alice.release("be1.east", "").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(alice.release("be1!be1", "why").await.unwrap_err().code(), Code::FailedPrecondition);
    let unknown = alice.release("be1.east,typo", "why").await.unwrap_err();
    assert!(unknown.message().contains("typo"), "{unknown}");
    assert_eq!(alice.release("be[1-2].east", "mended by hand").await.unwrap(), "be1.east");
    assert_eq!(alice.release("be1.east", "again").await.unwrap(), "");
    sessions[0].obey().await;
    assert_eq!(alice.verdict(blocked).await, "ok");
    assert_eq!(holders(&east(&alice, "backend").await), []);
    conductor.logged("holds released").await;
    let log = conductor.log();
    assert!(log.contains("mended by hand") && log.contains("alice"), "{log}");
}

#[tokio::test]
async fn a_removed_hosts_hold_can_be_named() {
    let place = place(
        &WEB.replace("concurrency: {frontend: 50%, backend: 1}", "concurrency: {frontend: 1}"),
    );
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut sessions = attach(&place, &conductor.address, &["fe1.east"]).await;
    let flow = alice.submit([job("fe1.east")]).await;
    let order = sessions[0].order().await;
    sessions[0].report(&ended(&order, &exited(1)));
    assert_eq!(alice.verdict(flow).await, "failed");
    std::fs::remove_dir_all(place.path("deployments.d")).unwrap();
    place.write("players", "fe[2-4].east\nbe[1-2].east\n");
    alice.reload(true).await.unwrap();
    assert_eq!(alice.release("fe1.east", "it is no more").await.unwrap(), "fe1.east");
}

#[tokio::test]
async fn a_look_is_not_held_back_and_an_unthrottled_job_neither() {
    let place = place(WEB);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut sessions = attach(&place, &conductor.address, &["be1.east"]).await;
    let mut second = Player::new(&place, &conductor.address, "be2.east").await;
    if let Some(v1::score_offer::State::Spec(spec)) = &mut second.snapshot.scores[0].state {
        spec.disruptive = false;
    }
    let mut second = second.attach().await;
    alice.submit([job("be1.east")]).await;
    sessions[0].order().await;
    let look = alice.submit([job("be2.east")]).await;
    second.obey().await;
    assert_eq!(alice.verdict(look).await, "ok");
    alice.submit([v1::JobSpec { unthrottled: true, ..job("be1.east") }]).await;
    sessions[0].order().await;
    assert_eq!(holders(&east(&alice, "backend").await), [("be1.east", "")]);
}

#[tokio::test]
async fn backends_go_before_frontends() {
    let place = place(WEB);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let hosts = ["be1.east", "fe1.east", "fe1.west"];
    let mut sessions = attach(&place, &conductor.address, &hosts).await;
    let [backend, east, west] = sessions.as_mut_slice() else { panic!() };
    let flow = alice.submit([job("be1.east,fe1.east,fe1.west")]).await;
    west.obey().await;
    let order = backend.order().await;
    let why = v1::ExplainRequest { flow: id(flow), host: "fe1.east".into(), ..Default::default() };
    let why = alice.explain(why).await.unwrap();
    assert_eq!(why.explanations[0].reason, "sequence");
    assert!(why.explanations[0].text.contains("be1.east"), "{why:?}");
    backend.report(&ended(&order, &exited(0)));
    east.obey().await;
    assert_eq!(alice.verdict(flow).await, "ok");
}

#[tokio::test]
async fn a_large_ledger_arrives() {
    let mut text = String::from("many:\n  apps: {every: \"h[1-3000]\"}\n  envs:\n    rack:\n");
    for rack in 0..1_000 {
        text.push_str(&format!("      r{rack}: h[{}-{}]\n", rack * 3 + 1, rack * 3 + 3));
    }
    text.push_str("  constraints: {rack: {concurrency: {every: 1}}}\n");
    let place = Place::new("h[1-3000]\n");
    std::fs::create_dir(place.path("deployments.d")).unwrap();
    place.write("deployments.d/many.yaml", &text);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(alice.ledger("", false).await.unwrap().len(), 1_000);
    alice.try_submit(request([job("h[1-3000]")])).await.unwrap();
    assert_eq!(alice.ledger("", true).await.unwrap().len(), 0, "nobody is there to wait");
}
