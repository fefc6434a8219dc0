//! What players offer decides what is worth storing, and what whoever submits is told.

use orchestra_proto::v1;
use tonic::Code;

use crate::harness::{Audience, Conductor, Place, Player, id, job, request, score, with_params};

/// Attaches players with these scores.
async fn attach(
    place: &Place,
    conductor: &Conductor,
    hosts: &[&str],
    scores: &[v1::ScoreOffer],
) -> Vec<crate::harness::Session> {
    let mut sessions = Vec::new();
    for host in hosts {
        let mut player = Player::new(place, &conductor.address, host).await;
        player.snapshot.scores = scores.to_vec();
        sessions.push(player.attach().await);
    }
    sessions
}

fn named(score: &str, targets: &str) -> v1::JobSpec {
    v1::JobSpec { score: score.to_owned(), ..job(targets) }
}

/// A score that takes one number and one secret.
fn strict(version: u8) -> v1::ScoreOffer {
    let mut offer = score("hello", version);
    let param = |key: &str, r#type: &str, sensitive| v1::ParamSpec {
        key: key.to_owned(),
        r#type: r#type.to_owned(),
        sensitive,
        ..Default::default()
    };
    if let Some(v1::score_offer::State::Spec(spec)) = &mut offer.state {
        let params = vec![param("count", "integer", false), param("token", "host", true)];
        spec.params = Some(v1::ParamSchema { params });
    }
    offer
}

#[tokio::test]
async fn what_no_target_has_is_not_stored() {
    let place = Place::new("db[1-3]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let _sessions = attach(&place, &conductor, &["db1", "db2"], &[score("hello", 1)]).await;
    let refused = alice.try_submit(request([named("helo", "db[1-2]")])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let told = "job job-1: no target has a score helo; did you mean hello?";
    assert_eq!(refused.message(), told);
    let unplanned = alice.plan(request([named("helo", "db[1-2]")])).await.unwrap_err();
    assert_eq!((unplanned.code(), unplanned.message()), (Code::InvalidArgument, told));
    // The third may have it.
    let answer = alice.try_submit(request([named("helo", "db[1-3]")])).await.unwrap();
    assert_eq!(answer.flow, 1);
    assert_eq!(
        answer.warnings,
        ["job job-1: score helo is missing on db[1-2] (2)", "job job-1: db3 (1) is not attached",]
    );
    let _third = attach(&place, &conductor, &["db3"], &[]).await;
    assert!(alice.try_submit(request([named("helo", "db[1-3]")])).await.is_err());
    assert_eq!(alice.submit([job("db[1-2]")]).await, 2);
}

#[tokio::test]
async fn what_was_stored_stays_so_whatever_is_offered_since() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let asked = request([job("db1")]);
    let first = alice.try_submit(asked.clone()).await.unwrap();
    assert_eq!(first.warnings, ["job job-1: db1 (1) is not attached"]);
    let _session = attach(&place, &conductor, &["db1"], &[]).await;
    assert!(alice.try_submit(request([job("db1")])).await.is_err());
    let again = alice.try_submit(asked.clone()).await.unwrap();
    assert_eq!((again.flow, again.repeated), (first.flow, true));
    let planned = v1::SubmitRequest { if_plan: "another".to_owned(), ..asked };
    assert!(alice.try_submit(planned).await.unwrap().repeated);
}

#[tokio::test]
async fn parameters_that_no_target_takes_are_refused_without_their_values() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut sessions = attach(&place, &conductor, &["db1"], &[strict(1)]).await;
    sessions.extend(attach(&place, &conductor, &["db2"], &[strict(2)]).await);
    for (key, told) in [
        ("count", "job job-1: parameter count: expected a whole number"),
        ("token", "job job-1: parameter token: expected a host name"),
        (
            "coumt",
            "job job-1: parameter coumt: the score takes no such parameter; did you mean count?",
        ),
    ] {
        let asked = with_params(request([job("db[1-2]")]), (1, 1), key, "HUNTER 2");
        let refused = alice.try_submit(asked).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with(told), "{told:?} in {refused:?}");
        assert!(!refused.message().contains("HUNTER"), "{refused:?}");
    }
    let asked = with_params(request([job("db[1-2]")]), (1, 1), "count", "7");
    let warnings = alice.try_submit(asked).await.unwrap().warnings;
    assert!(warnings[0].contains("score hello has 2 versions"), "{warnings:?}");
    assert!(!conductor.log().contains("HUNTER"));
}

#[tokio::test]
async fn the_same_version_everywhere_can_be_demanded() {
    let place = Place::new("db[1-4]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut sessions = attach(&place, &conductor, &["db1", "db2"], &[score("hello", 1)]).await;
    sessions.extend(attach(&place, &conductor, &["db3"], &[score("hello", 2)]).await);
    let same =
        |targets: &str| v1::SubmitRequest { require_same_score: true, ..request([job(targets)]) };
    alice.try_submit(same("db[1-2],db4")).await.unwrap();
    let refused = alice.try_submit(same("db[1-3]")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("010101010101 on db[1-2] (2)"), "{refused:?}");
    assert!(refused.message().contains("020202020202 on db3 (1)"), "{refused:?}");
    let plan = alice.plan(same("db[1-3]")).await.unwrap();
    assert_eq!(plan.refusal, refused.message());
    let versions: Vec<_> =
        plan.scores[0].versions.iter().map(|version| version.hosts.as_str()).collect();
    assert_eq!(versions, ["db[1-2]", "db3"]);
}

#[tokio::test]
async fn a_player_that_went_is_remembered_until_the_conductor_goes() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    drop(attach(&place, &conductor, &["db1"], &[]).await);
    assert!(alice.try_submit(request([job("db1")])).await.is_err());
    conductor.kill();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let flow = alice.submit([job("db1")]).await;
    let why = alice
        .explain(v1::ExplainRequest {
            flow: id(flow),
            host: "db1".to_owned(),
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(why.explanations[0].reason, "player-absent");
}
