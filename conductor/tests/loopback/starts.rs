//! Flows that begin at a moment, or after another flow, and over restarts.

use bytes::Bytes;
use orchestra_proto::v1;
use prost::Message as _;
use tonic::{Code, Status};

use crate::harness::{Audience, Conductor, Place, Player, ended, exited, job, request};

/// Submits a job that begins like this.
async fn submit(alice: &Audience, targets: &str, start: v1::Start) -> Result<u64, Status> {
    alice.try_submit(begins(targets, start)).await.map(|answer| answer.flow)
}

fn begins(targets: &str, start: v1::Start) -> v1::SubmitRequest {
    let request = request([job(targets)]);
    let spec = v1::FlowSpec::decode(&request.spec[..]).unwrap();
    let spec = v1::FlowSpec { start: Some(start), ..spec };
    v1::SubmitRequest { spec: Bytes::from(spec.encode_to_vec()), ..request }
}

fn after(flow: u64, end: &str) -> v1::Start {
    v1::Start { at_ms: 0, after: flow, end: end.to_owned() }
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

#[tokio::test]
async fn a_flow_begins_after_another_one_over_a_restart() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let one = alice.submit([job("db1")]).await;
    let then = submit(&alice, "db2", after(one, "ok")).await.unwrap();
    let never = submit(&alice, "db2", after(then, "ok")).await.unwrap();
    assert_eq!(alice.state(then).await, "pending");
    assert_eq!(alice.tasks(then).await[0].reason, "start");
    conductor.kill();

    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(alice.state(then).await, "pending");
    let mut first = Player::new(&place, &conductor.address, "db1").await.attach().await;
    first.obey().await;
    assert_eq!(alice.verdict(one).await, "ok");
    let mut second = Player::new(&place, &conductor.address, "db2").await.attach().await;
    let order = second.order().await;
    assert_eq!(alice.state(then).await, "running");
    let start = alice.flow(then).await.start.unwrap();
    assert_eq!((start.start.unwrap().after, start.ended.as_str()), (one, "ok"));

    second.report(&ended(&order, &exited(1)));
    assert_eq!(alice.verdict(then).await, "failed");
    assert_eq!(alice.verdict(never).await, "failed");
    assert_eq!(alice.tasks(never).await[0].state, "skipped");
    let start = alice.flow(never).await.start.unwrap();
    assert_eq!((start.start.unwrap().after, start.ended.as_str()), (then, "failed"));
}

#[tokio::test]
async fn a_flow_that_waits_for_a_moment_begins_by_itself_or_is_cancelled() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut player = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let at = |at_ms| v1::Start { at_ms, ..v1::Start::default() };
    let later = submit(&alice, "db1", at(now_ms() + 3_600_000)).await.unwrap();
    assert_eq!(alice.state(later).await, "pending");
    assert_eq!(alice.cancel(later).await.unwrap().state, "cancelled");
    assert_eq!(alice.verdict(later).await, "cancelled");
    let soon_ms = now_ms() + 300;
    let soon = submit(&alice, "db1", at(soon_ms)).await.unwrap();
    player.obey().await;
    assert!(now_ms() >= soon_ms);
    assert_eq!(alice.verdict(soon).await, "ok");
}

#[tokio::test]
async fn what_cannot_be_waited_for_is_refused() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let refused = submit(&alice, "db1", after(7, "ok")).await.unwrap_err();
    let said = "it is to begin after flow 7, and there is no such flow";
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, said));
    let refused = submit(&alice, "db1", after(7, "failed")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let far = v1::Start { at_ms: u64::MAX, ..v1::Start::default() };
    let refused = submit(&alice, "db1", far).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("3650d"), "{refused:?}");
    // Nothing of it was stored.
    assert_eq!(alice.submit([job("db1")]).await, 1);
}
