//! A store that was restored from an old copy: nothing is sent before an operator said so, and
//! nothing runs twice.

use std::fs;

use orchestra_proto::v1;

use crate::harness::{
    Audience, Conductor, Place, Player, copy_dir, eventually, job, one_player, soon,
};

#[tokio::test]
async fn a_restored_copy_waits_for_an_operator_and_runs_nothing_twice() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut player = Player::new(&place, &conductor.address, "db1").await;
    let mut session = player.attach().await;
    let done = alice.submit([job("db1")]).await;
    let first = session.obey().await;
    player.mark(&session, first.number);
    drop(session);
    eventually("it to be detached", async || (alice.status().await.attached == 0).then_some(()))
        .await;
    let waited = alice.submit([job("db1")]).await;
    assert!(conductor.stop().await.success());
    copy_dir(&place.path("state"), &place.path("backup"));

    // What the copy knows nothing of: what waited ran, and so did a flow of its own.
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    player.reconnect(&place, &conductor.address).await;
    let mut session = player.attach().await;
    let second = session.obey().await;
    let forgotten = alice.submit([job("db1")]).await;
    let third = session.obey().await;
    assert!(first.number < second.number && second.number < third.number);
    player.mark(&session, third.number);
    conductor.kill();
    fs::remove_dir_all(place.path("state")).unwrap();
    fs::rename(place.path("backup"), place.path("state")).unwrap();

    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(alice.status().await.stale_store, "");
    player.reconnect(&place, &conductor.address).await;
    let mut session = player.attach().await;
    let why = alice.status().await.stale_store;
    assert!(why.starts_with(&format!("player db1 has proof of order {}", third.number)), "{why}");
    conductor.logged("the store is an old copy: nothing is sent").await;
    let status = alice.flow(waited).await;
    assert!(status.stale_store);
    assert_eq!(status.slots[0].jobs[0].waiting["stale-store"], 1);
    // Submissions are stored, and wait.
    let stored = alice.submit([job("db2")]).await;
    assert_eq!(stored, forgotten, "the number is given anew, which is why it must not be sent");
    let mut other = Player::new(&place, &conductor.address, "db2").await.attach().await;

    let term = alice.status().await.term;
    let recovered = alice.recover(false).await.unwrap();
    assert!(recovered.term > term && recovered.term > session.welcome.term);
    assert!(recovered.next_flow > 1_000_000);
    let ended = session.end().await.unwrap();
    assert_eq!(ended.message(), "the store was recovered from an old copy");
    assert_eq!(
        soon("nothing but the end", other.next()).await.err().unwrap().unwrap().message(),
        ended.message()
    );
    assert_eq!(alice.status().await.stale_store, "");

    // Whatever waited for this player may have run in the time that is forgotten.
    let mut session = player.attach().await;
    assert_eq!(session.welcome.term, recovered.term);
    assert_eq!(alice.status().await.stale_store, "");
    assert_eq!(alice.verdict(waited).await, "failed");
    let task = alice.tasks(waited).await.remove(0);
    assert_eq!((task.state.as_str(), task.attempt), ("lost", 0));
    assert!(task.detail.contains("the restored store has forgotten"), "{}", task.detail);
    assert_eq!(alice.state(done).await, "ok");
    let flow = alice.submit([job("db1")]).await;
    assert!(flow >= recovered.next_flow);
    let order = session.obey().await;
    assert!(order.number > third.number, "its numbers go on from what it has seen");
    // The other one had nothing forgotten, and goes on.
    let mut other = Player::new(&place, &conductor.address, "db2").await.attach().await;
    other.obey().await;
    assert_eq!(alice.verdict(stored).await, "ok");
}

#[tokio::test]
async fn a_recovery_that_nobody_needed_does_no_harm() {
    let (_place, _conductor, alice, mut player) = one_player().await;
    let mut session = player.attach().await;
    let flow = alice.submit([job("db1"), job("db1")]).await;
    let order = session.order().await;
    // Several at once: one after the other, or refused, and the conductor goes on.
    let recover = async || alice.recover(true).await;
    let (one, two) = tokio::join!(recover(), recover());
    let terms: Vec<u64> = [one, two].into_iter().flatten().map(|answer| answer.term).collect();
    assert!(!terms.is_empty());
    session.end().await;
    player.mark(&session, order.number);
    player.snapshot.live = vec![v1::LiveAttempt {
        key: order.key.clone(),
        order: order.number,
        started_at_ms: 1,
        proof: None,
    }];
    let session = player.attach().await;
    assert_eq!(session.welcome.term, *terms.iter().max().unwrap());
    session.report(&crate::harness::ended(&order, &crate::harness::exited(0)));
    let player = tokio::spawn(session.obey_all());
    eventually("the flow to end", async || (alice.state(flow).await == "ok").then_some(())).await;
    player.abort();
}
