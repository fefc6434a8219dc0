//! A player with a valid certificate that claims what this conductor never said: it concerns that
//! player alone.

use std::fs;

use bytes::Bytes;
use orchestra_proto::v1;

use crate::harness::{Audience, Conductor, Place, Player, eventually, job, one_player};

/// A spool that claims to have answered for this order, in this term.
fn claim(player: &mut Player, store_id: &Bytes, mark: u64, term: u64) {
    let store_id = store_id.clone();
    player.snapshot.marks = vec![v1::StoreMark { store_id, mark, term, evidence: None }];
}

async fn quarantined(alice: &Audience) -> u32 {
    alice.status().await.quarantined
}

async fn release(alice: &Audience, hosts: &str) -> Result<v1::ReleasePlayersResponse, String> {
    let request = v1::ReleasePlayersRequest { hosts: hosts.to_owned(), reason: "looked".into() };
    let answer = alice.client.clone().release_players(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
}

#[tokio::test]
async fn a_liar_gets_nothing_and_everybody_else_goes_on() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut honest = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let store = honest.welcome.store_id.clone();
    let mut liar = Player::new(&place, &conductor.address, "db2").await;
    claim(&mut liar, &store, 77, honest.welcome.term);
    let mut session = liar.attach().await;

    let flow = alice.submit([job("db1"), job("db2")]).await;
    honest.obey().await;
    let status = alice.status().await;
    assert_eq!((status.stale_store.as_str(), status.attached, status.quarantined), ("", 2, 1));
    let players = alice.players("db2", false).await.unwrap();
    assert_eq!(players[0].quarantined, "it claims, without proof, order 77 of 0");
    assert!(conductor.log().contains("the player is quarantined"), "{}", conductor.log());
    assert_eq!(alice.tasks(flow).await[1].reason, "quarantined");

    // A release goes on above its claims; it tells its state anew.
    let released = release(&alice, "db2").await.unwrap();
    assert_eq!((released.hosts.as_str(), released.count, released.lost), ("db2", 1, 0));
    let ended = session.end().await.unwrap();
    assert_eq!(ended.message(), "the player was released from quarantine");
    let mut session = liar.attach().await;
    let order = session.obey().await;
    assert_eq!(order.number, 78);
    assert_eq!(alice.verdict(flow).await, "ok");
    assert_eq!(quarantined(&alice).await, 0);
}

#[tokio::test]
async fn a_claim_that_cannot_be_reached_uses_no_numbers_up() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut honest = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let store = honest.welcome.store_id.clone();
    let mut liar = Player::new(&place, &conductor.address, "db2").await;
    let settled = |flow| v1::SettledAttempt {
        store_id: store.clone(),
        job: Some(v1::JobId { flow, slot: 1, job: 1 }),
        attempt: 1,
        ..Default::default()
    };
    for (mark, term, flow) in
        [(u64::MAX, 1, 1), (0, u64::MAX, 1), (0, 1, (1 << 53) - 2), (1 << 63, 1, 1)]
    {
        claim(&mut liar, &store, mark, term);
        liar.snapshot.settled = vec![settled(flow)];
        let _session = liar.attach().await;
        eventually("quarantine", async || (quarantined(&alice).await == 1).then_some(())).await;
        if mark > 0 || term > 1 {
            let why = release(&alice, "db2").await.unwrap_err();
            assert!(why.contains("stop the player and move its spool away"), "{why}");
        }
    }
    // Also over a recovery that nobody needed, which leaves out a million numbers and no more.
    let recovered = alice.recover(true).await.unwrap();
    assert_eq!(recovered.next_flow, 1_000_001);
    assert!(recovered.term < 10, "{}", recovered.term);
    let _ = honest.end().await;
    let mut honest = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let _session = liar.attach().await;
    let flow = alice.submit([job("db1")]).await;
    assert_eq!(flow, 1_000_001);
    honest.obey().await;
    assert_eq!(alice.verdict(flow).await, "ok");
}

#[tokio::test]
async fn a_recovery_names_its_store_and_has_a_plan() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let empty = alice.client.clone().recover(v1::RecoverRequest::default()).await.unwrap_err();
    assert!(empty.message().starts_with("this conductor's store is "), "{empty:?}");
    let refused = alice.recover(false).await.unwrap_err();
    assert!(refused.message().starts_with("nothing says that this store is an old copy"));
    let plan = alice.client.clone().plan_recover(v1::PlanRecoverRequest {}).await.unwrap();
    let plan = plan.into_inner();
    let term = alice.status().await.term;
    assert_eq!((plan.stale_store.as_str(), plan.term), ("", term + 1));
    let recovered = alice.recover(true).await.unwrap();
    assert_eq!((recovered.term, recovered.next_flow), (plan.term, plan.next_flow));
}

#[tokio::test]
async fn a_store_without_its_key_is_an_old_copy_until_somebody_goes_on_with_it() {
    let (place, conductor, alice, mut player) = one_player().await;
    let mut session = player.attach().await;
    let flow = alice.submit([job("db1")]).await;
    let order = session.obey().await;
    player.mark(&session, order.number);
    assert_eq!(alice.verdict(flow).await, "ok");
    assert!(conductor.stop().await.success());
    fs::remove_file(place.path("state").join("proof.key")).unwrap();

    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let why = alice.status().await.stale_store;
    assert!(why.contains("proof.key is missing"), "{why}");
    player.reconnect(&place, &conductor.address).await;
    let mut session = player.attach().await;
    let waits = alice.submit([job("db1")]).await;
    assert_eq!(alice.tasks(waits).await[0].reason, "stale-store");
    alice.recover(false).await.unwrap();
    assert!(place.path("state").join("proof.key").exists());
    let _ = session.end().await;
    // What it can show was said under a key that is lost; what it claims is within what was issued.
    let mut session = player.attach().await;
    session.obey().await;
    assert_eq!(alice.verdict(waits).await, "ok");
    assert!(conductor.stop().await.success());

    // The new key stays, and proves what was said under it.
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(alice.status().await.stale_store, "");
}
