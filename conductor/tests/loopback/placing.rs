//! Services that are placed: by labels and room of the players file, and by what players say of
//! themselves.

use orchestra_model::{
    service::{AbsenceRule, Labels, Layout, PlaceRule, Resources, ServiceSpec, Spread},
    size::ByteSize,
    time::Millis,
};
use orchestra_proto::v1;

use crate::{
    harness::{Audience, Conductor, eventually},
    services::{Keeper, spec, start},
};

/// A service of so many instances, each of which reserves 1 GiB.
fn placed(count: u32) -> ServiceSpec {
    let layout = Layout::Count(count);
    let mut spec = ServiceSpec {
        place: Some(PlaceRule { layout, require: Labels::new(), spread: Spread::Zone }),
        ..spec("", "hello")
    };
    let reserve = Some(ByteSize(1 << 30));
    spec.upkeep.resources = Some(Resources { reserve, ..Resources::NONE });
    spec
}

/// Waits until the service has hosts.
async fn chosen(alice: &Audience) -> String {
    eventually("placed", async || {
        let service = alice.service().await.unwrap();
        (!service.hosts.is_empty()).then_some(service.hosts)
    })
    .await
}

#[tokio::test]
async fn instances_go_where_there_is_room_and_wait_where_there_is_none() {
    let players = "a[1-2] zone=east memory=2GiB\nb[1-2] zone=west memory=2GiB\n";
    let (place, conductor, alice) = start(players).await;
    let mut first = Keeper::attach(&place, &conductor, "a1").await;
    // By the file it has room; by its own word it has not.
    let little = v1::Room { memory_bytes: Some(512 << 20), cpu_millicores: None };
    let _small = Keeper::attach_with(&place, &conductor, "a2", little).await;
    let mut second = Keeper::attach(&place, &conductor, "b1").await;
    let applied = alice.apply(&placed(3)).await.unwrap();
    assert_eq!(applied.waiting[0].players, 0, "b2 may come: nothing is placed before");
    let mut third = Keeper::attach(&place, &conductor, "b2").await;
    let mut ordinals = Vec::new();
    for keeper in [&mut first, &mut second, &mut third] {
        ordinals.push(keeper.obey("ready").await.ordinal);
    }
    ordinals.sort_unstable();
    assert_eq!(ordinals, [1, 2, 3]);
    let applied = alice.apply(&placed(4)).await.unwrap();
    let [waiting] = &applied.waiting[..] else { panic!("{applied:?}") };
    assert_eq!((waiting.count, waiting.taken, waiting.full), (1, 3, 1));
    assert_eq!(waiting.memory_bytes, 1 << 30);
    for keeper in [&mut first, &mut second, &mut third] {
        keeper.obey("ready").await;
    }
    let whole = eventually("the update", async || {
        let service = alice.service().await.unwrap();
        service.living.is_none().then_some(service)
    })
    .await;
    assert_eq!((whole.hosts.as_str(), whole.waiting[0].full), ("a1,b[1-2]", 1));
    // Where everything is placed, a restart moves nothing.
    conductor.kill();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let again = alice.service().await.unwrap();
    assert_eq!((again.hosts, again.instances.len()), (whole.hosts, 3));
    let layout = again.layout.and_then(|layout| layout.layout);
    assert_eq!(layout, Some(v1::layout::Layout::Count(4)));
}

#[tokio::test]
async fn more_and_fewer_instances_are_asked_for_by_number() {
    use v1::change_service_request::Verb;
    let (place, conductor, alice) = start("a[1-2] memory=2GiB\n").await;
    let mut first = Keeper::attach(&place, &conductor, "a1").await;
    let mut second = Keeper::attach(&place, &conductor, "a2").await;
    alice.apply(&placed(1)).await.unwrap();
    let settled = async || {
        eventually("rest", async || {
            let service = alice.service().await.unwrap();
            (service.living.is_none() && service.pending.is_none()).then_some(service)
        })
        .await
    };
    let chosen = chosen(&alice).await;
    let (one, other) = match chosen.as_str() {
        "a1" => (&mut first, &mut second),
        _ => (&mut second, &mut first),
    };
    one.obey("ready").await;
    settled().await;
    let scale =
        |count| Verb::Scale(v1::ServiceScale { zone: String::new(), count, take_over: false });
    let scaled = alice.change(scale(2)).await.unwrap();
    assert_eq!(scaled.version, 1);
    assert_eq!(other.obey("ready").await.ordinal, 2);
    assert_eq!(settled().await.hosts, "a[1-2]");
    alice.change(scale(1)).await.unwrap();
    other.obey("gone").await;
    assert_eq!(settled().await.hosts, chosen);
    let refused = alice.change(Verb::Scale(v1::ServiceScale {
        zone: "east".to_owned(),
        count: 1,
        take_over: false,
    }));
    let refused = refused.await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
}

#[tokio::test]
async fn a_drain_moves_an_instance_and_ends_it_once_it_is_ready_elsewhere() {
    let (place, conductor, alice) = start("a[1-2] memory=2GiB\n").await;
    let mut first = Keeper::attach(&place, &conductor, "a1").await;
    let mut second = Keeper::attach(&place, &conductor, "a2").await;
    alice.apply(&placed(1)).await.unwrap();
    let chosen = chosen(&alice).await;
    let (one, other) = match chosen.as_str() {
        "a1" => (&mut first, &mut second),
        _ => (&mut second, &mut first),
    };
    one.obey("ready").await;
    eventually("rest", async || alice.service().await.unwrap().living.is_none().then_some(()))
        .await;
    alice.drain(&chosen, "a new disk").await.unwrap();
    let order = other.obey("ready").await;
    assert_eq!((order.ordinal, order.placement), (1, 2));
    one.obey("gone").await;
    let moved = eventually("the move", async || {
        let service = alice.service().await.unwrap();
        (service.living.is_none() && service.instances.len() == 1).then_some(service)
    })
    .await;
    assert_ne!(moved.hosts, chosen);
}

#[tokio::test]
async fn an_instance_is_replaced_while_its_player_is_away_and_ended_when_that_is_back() {
    let (place, conductor, alice) = start("a[1-2] memory=2GiB\n").await;
    let first = Keeper::attach(&place, &conductor, "a1").await;
    let second = Keeper::attach(&place, &conductor, "a2").await;
    let absent = AbsenceRule { replace_after: Some(Millis(0)) };
    alice.apply(&ServiceSpec { absent, ..placed(1) }).await.unwrap();
    let chosen = chosen(&alice).await;
    let (mut one, mut other) = if chosen == "a1" { (first, second) } else { (second, first) };
    let order = one.obey("ready").await;
    let rest = async || {
        eventually("rest", async || {
            let service = alice.service().await.unwrap();
            service.living.is_none().then_some(service)
        })
        .await
    };
    rest().await;
    let gone = one.leave(order.number);
    let order = other.obey("ready").await;
    assert_eq!((order.ordinal, order.placement), (1, 2), "it keeps its number");
    let service = rest().await;
    assert_ne!(service.hosts, chosen);
    let left = service.instances.iter().find(|instance| instance.host == chosen).unwrap();
    let replacing = left.absence.as_ref().and_then(|absence| absence.replacing.as_ref()).unwrap();
    assert_eq!(replacing.what, Some(v1::replacing::What::By(service.hosts.clone())));
    let mut one = Keeper::come_back(gone).await;
    one.obey("gone").await;
    let service = eventually("the end of the first", async || {
        let service = alice.service().await.unwrap();
        (service.living.is_none() && service.instances.len() == 1).then_some(service)
    })
    .await;
    let said: Vec<&str> = service.events.iter().map(|event| event.note.as_str()).collect();
    assert!(said.iter().any(|note| note.contains("absent for 0s: its instance replaced on")));
    assert!(said.iter().any(|note| note.contains("is back: its instance was replaced on")));
}
