//! Nothing is answered, sent or acknowledged before it is on disk.

use orchestra_proto::v1;
use tokio::task::JoinSet;

use crate::harness::{
    Audience, Conductor, Place, ended, exited, job, one_player, request, with_params,
};

#[tokio::test]
async fn an_answered_submission_survives_a_crash() {
    let place = Place::new("db[1-9]\n");
    let mut answered: Vec<(v1::SubmitRequest, u64)> = Vec::new();
    for round in 0..4 {
        let conductor = Conductor::start(&place);
        let alice = Audience::new(&place, &conductor.address).await;
        for (asked, flow) in &answered {
            let again = alice.try_submit(asked.clone()).await.unwrap();
            assert_eq!((again.flow, again.repeated), (*flow, true));
            assert_eq!(alice.state(*flow).await, "running");
        }
        // Several at once: some are answered when the crash comes, some are not.
        let mut tasks = JoinSet::new();
        for n in 0..20 {
            let asked = with_params(request([job("db[1-9]")]), (1, 1), "n", &n.to_string());
            let alice = alice.clone();
            tasks.spawn(async move {
                let flow = alice.try_submit(asked.clone()).await.ok()?.flow;
                Some((asked, flow))
            });
        }
        for _ in 0..=round {
            answered.extend(tasks.join_next().await.unwrap().unwrap());
        }
        conductor.kill();
        answered.extend(tasks.join_all().await.into_iter().flatten());
    }
    let mut flows: Vec<u64> = answered.iter().map(|(_, flow)| *flow).collect();
    flows.sort_unstable();
    flows.dedup();
    assert_eq!(flows.len(), answered.len(), "each has a number of its own");
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_and_what_was_sent_is_known() {
    let (place, conductor, alice, mut player) = one_player().await;
    let mut session = player.attach().await;
    let flow = alice.submit([job("db1"), job("db1"), job("db1")]).await;
    let first = session.obey().await;
    let second = session.order().await;
    conductor.kill();

    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let states: Vec<String> = alice.tasks(flow).await.into_iter().map(|task| task.state).collect();
    assert_eq!(states, ["ok", "sent", "waiting"]);
    // It did the second meanwhile, and tells so until it is acknowledged.
    player.mark(&session, second.number);
    player.snapshot.settled = vec![settled(&second)];
    player.reconnect(&place, &conductor.address).await;
    let mut session = player.attach().await;
    session.report(&ended(&second, &exited(0)));
    assert_eq!(session.acknowledged().await, second.key.clone().unwrap());
    player.snapshot.settled.clear();
    let third = session.obey().await;
    assert!(first.number < second.number && second.number < third.number);
    assert_eq!(alice.verdict(flow).await, "ok");
    conductor.kill();

    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(alice.state(flow).await, "ok");
    assert_eq!(alice.logs(flow, "db1").await.len(), 3);
}

fn settled(order: &v1::Order) -> v1::SettledAttempt {
    let v1::AttemptKey { store_id, job, attempt } = order.key.clone().unwrap();
    v1::SettledAttempt { store_id, job, attempt, order: order.number, proof: None }
}

#[tokio::test]
async fn an_answered_cancel_survives_a_crash() {
    let (place, conductor, alice, mut player) = one_player().await;
    let mut session = player.attach().await;
    let flow = alice.submit([job("db1"), job("db1")]).await;
    let order = session.order().await;
    assert_eq!(alice.cancel(flow).await.unwrap().state, "cancelling");
    conductor.kill();

    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(alice.state(flow).await, "cancelling");
    player.mark(&session, order.number);
    let live = v1::LiveAttempt {
        key: order.key.clone(),
        order: order.number,
        started_at_ms: 1,
        proof: None,
    };
    player.snapshot.live = vec![live];
    player.reconnect(&place, &conductor.address).await;
    let mut session = player.attach().await;
    let v1::command::Kind::Cancel(cancel) = session.command().await else { panic!("no cancel") };
    assert_eq!((cancel.key, cancel.order), (order.key.clone(), order.number));
    let killed = v1::AttemptEnd {
        outcome: Some(v1::attempt_end::Outcome::Cancelled(v1::CancelledEnd {})),
        ..exited(0)
    };
    session.report(&ended(&order, &killed));
    assert_eq!(alice.verdict(flow).await, "cancelled");
    assert_eq!(alice.cancel(flow).await.unwrap().state, "cancelled");
}
