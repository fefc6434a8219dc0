//! Plans: what would happen, and a digest that holds a submission to it.

use std::time::{Duration, Instant};

use orchestra_proto::v1;
use tonic::Code;

use crate::{
    deployments::{WEB, place},
    harness::{
        Audience, Conductor, Place, Player, ended, exited, job, request, request_in_one_slot, score,
    },
};

fn waves(plan: &v1::PlanResponse) -> Vec<Vec<(&str, &str)>> {
    plan.waves
        .iter()
        .map(|wave| {
            let steps = wave.steps.iter();
            steps.map(|step| (step.job_name.as_str(), step.hosts.as_str())).collect()
        })
        .collect()
}

#[tokio::test]
async fn waves_follow_from_limits_and_sequences() {
    let place = place(WEB);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let _session = Player::new(&place, &conductor.address, "be1.east").await.attach().await;
    let asked = request([job("fe[1-4].east,be[1-2].east")]);
    let plan = alice.plan(asked.clone()).await.unwrap();
    let expected = ["be1.east", "be2.east", "fe[1-2].east", "fe[3-4].east"];
    let expected: Vec<_> = expected.iter().map(|hosts| vec![("job-1", *hosts)]).collect();
    assert_eq!(waves(&plan), expected);
    assert_eq!(plan.absent, "be2.east,fe[1-4].east");
    assert_eq!((plan.free.as_str(), plan.refusal.as_str()), ("", ""));
    assert_eq!(plan.digest.len(), 64);
    assert_eq!(plan.scores[0].unheard, "be2.east,fe[1-4].east");
    // Nothing of all that was stored or sent.
    assert_eq!(alice.try_flow(1).await.unwrap_err().code(), Code::NotFound);
    for wrong in [job("nobody"), job("be1.east!be1.east")] {
        let refused = alice.plan(request([wrong.clone()])).await.unwrap_err();
        let same = alice.try_submit(request([wrong])).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (same.code(), same.message()));
        assert!(refused.metadata().contains_key("orchestra-hosts"));
    }
}

#[tokio::test]
async fn a_submission_can_be_held_to_its_plan() {
    let place = place(WEB);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut player = Player::new(&place, &conductor.address, "be1.east").await;
    let session = player.attach().await;
    let asked = || request([job("fe[1-4].east,be[1-2].east")]);
    let digest = alice.plan(asked()).await.unwrap().digest;
    let if_plan = |digest: &str| v1::SubmitRequest { if_plan: digest.to_owned(), ..asked() };

    // Players that come and go do not count.
    drop(session);
    let _other = Player::new(&place, &conductor.address, "be2.east").await.attach().await;
    assert_eq!(alice.plan(asked()).await.unwrap().digest, digest);
    // Another version of the score does.
    player.snapshot.scores = vec![score("hello", 2)];
    drop(player.attach().await);
    let refused = alice.try_submit(if_plan(&digest)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let drifted = alice.plan(asked()).await.unwrap().digest;
    assert!(refused.message().starts_with("the plan has changed"), "{refused:?}");
    assert!(refused.message().contains(&drifted), "{refused:?}");
    player.snapshot.scores = vec![score("hello", 1)];
    let mut session = player.attach().await;
    assert_eq!(alice.plan(asked()).await.unwrap().digest, digest);
    // So do deployments, also where the waves stay as they were.
    place.write("deployments.d/more.yaml", "more: {apps: {every: \"be1.east\"}}");
    alice.reload(false).await.unwrap();
    assert!(alice.try_submit(if_plan(&digest)).await.is_err());
    std::fs::remove_file(place.path("deployments.d/more.yaml")).unwrap();
    alice.reload(true).await.unwrap();
    // And what others hold.
    let other = alice.submit([job("be1.east")]).await;
    let order = session.order().await;
    let plan = alice.plan(asked()).await.unwrap();
    assert_eq!(waves(&plan)[0], [("job-1", "be1.east")], "a hold is shared by its host's tasks");
    session.report(&ended(&order, &exited(1)));
    session.acknowledged().await;
    assert_eq!(alice.verdict(other).await, "failed");

    let digest = alice.plan(asked()).await.unwrap().digest;
    let wanted = if_plan(&digest);
    let first = alice.try_submit(wanted.clone()).await.unwrap();
    assert!(!first.repeated);
    session.order().await;
    // A repeated request is the same flow, although its own plan is another one by now.
    let again = alice.try_submit(wanted).await.unwrap();
    assert_eq!((again.flow, again.repeated), (first.flow, true));
}

#[tokio::test]
async fn what_is_held_is_told() {
    let place = place(WEB);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut session = Player::new(&place, &conductor.address, "be1.east").await.attach().await;
    alice.submit([job("be1.east")]).await;
    let order = session.order().await;
    let plan = alice.plan(request([job("be2.east")])).await.unwrap();
    assert_eq!(waves(&plan), [[("job-1", "be2.east")]]);
    assert_eq!(plan.awaited[0].host, "be1.east");
    session.report(&ended(&order, &exited(1)));
    session.acknowledged().await;
    let plan = alice.plan(request([job("be2.east")])).await.unwrap();
    assert_eq!(plan.waves, []);
    assert_eq!((plan.stuck[0].hosts.as_str(), plan.stuck[0].count), ("be2.east", 1));
    assert!(plan.stuck[0].reason.contains("be1.east"), "{plan:?}");
}

/// Ten thousand hosts with limits and a sequence.
#[tokio::test]
async fn a_large_plan_keeps_nobody_waiting() {
    let mut text = String::from(
        "large:\n  apps: {front: \"fe[1-8000]\", back: \"be[1-2000]\"}\n  envs:\n    rack:\n",
    );
    for rack in 0..10 {
        let (fe, be) = (rack * 800, rack * 200);
        text.push_str(&format!(
            "      r{rack}: fe[{}-{}],be[{}-{}]\n",
            fe + 1,
            fe + 800,
            be + 1,
            be + 200
        ));
    }
    text.push_str(
        "  constraints: {rack: {concurrency: {front: 25%, back: 50%}, sequence: [[back, front]]}}\n",
    );
    let place = Place::new("fe[1-8000]\nbe[1-2000]\n");
    std::fs::create_dir(place.path("deployments.d")).unwrap();
    place.write("deployments.d/large.yaml", &text);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let asked = request_in_one_slot([job("fe[1-8000]"), job("be[1-2000]")]);
    let begun = Instant::now();
    let planning = tokio::spawn({
        let (alice, asked) = (alice.clone(), asked.clone());
        async move { alice.plan(asked).await.unwrap() }
    });
    let mut slowest = Duration::ZERO;
    while !planning.is_finished() {
        let asked = Instant::now();
        alice.status().await;
        slowest = slowest.max(asked.elapsed());
    }
    let took = begun.elapsed();
    let plan = planning.await.unwrap();
    assert_eq!(plan.waves.len(), 6);
    let planned: u32 = plan.waves.iter().flat_map(|wave| &wave.steps).map(|step| step.count).sum();
    assert_eq!(planned, 10_000);
    // How fast it is, a benchmark says; this is for something that is out of all proportion.
    println!("planned in {took:?}, the slowest question took {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}
