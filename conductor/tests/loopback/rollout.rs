//! What operators do to flows and players: each is durable when it is answered, and logged.

use orchestra_proto::v1::{self, command::Kind};
use prost::Message as _;
use tonic::Code;

use crate::harness::{
    Audience, Conductor, Place, Player, Session, count, ended, eventually, exited, id, job,
    percent, request, retry, started, with_params,
};

async fn start(players: &str) -> (Place, Conductor, Audience) {
    let place = Place::new(players);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    (place, conductor, alice)
}

async fn attach(place: &Place, conductor: &Conductor, host: &str) -> Session {
    Player::new(place, &conductor.address, host).await.attach().await
}

#[tokio::test]
async fn a_paused_flow_starts_nothing_until_it_is_resumed() {
    let (place, conductor, alice) = start("db[1-2]\n").await;
    let mut first = attach(&place, &conductor, "db1").await;
    let flow = alice.submit([job("db[1-2]")]).await;
    let order = first.order().await;
    assert_eq!(alice.pause(flow).await.unwrap(), "paused");
    assert_eq!(alice.pause(flow).await.unwrap(), "paused");
    let status = alice.flow(flow).await;
    assert_eq!(
        (status.paused_by.as_str(), status.summary.unwrap().state.as_str()),
        ("alice", "paused")
    );
    // What runs goes on, and the pause outlives the conductor.
    first.report(&ended(&order, &exited(0)));
    first.acknowledged().await;
    conductor.kill();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut second = attach(&place, &conductor, "db2").await;
    assert_eq!(alice.state(flow).await, "paused");
    assert_eq!(alice.tasks(flow).await[1].reason, "paused");
    assert_eq!(alice.resume(flow).await.unwrap(), "running");
    second.obey().await;
    assert_eq!(alice.verdict(flow).await, "ok");
    for refused in
        [alice.pause(flow).await, alice.resume(flow).await, alice.promote(flow, "").await]
    {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(refused.message(), format!("flow {flow} has ended: it is ok"));
    }
    assert_eq!(alice.pause(flow + 1).await.unwrap_err().code(), Code::NotFound);
    conductor.logged("flow resumed").await;
}

#[tokio::test]
async fn a_canary_holds_the_others_until_it_is_promoted() {
    let (place, conductor, alice) = start("db[1-3]\n").await;
    let mut sessions = Vec::new();
    for host in ["db1", "db2", "db3"] {
        sessions.push(attach(&place, &conductor, host).await);
    }
    let flow = alice.submit([v1::JobSpec { canary: count(1), ..job("db[1-3]") }]).await;
    sessions[0].obey().await;
    let status = eventually("the canary", async || {
        let job = alice.flow(flow).await.slots.remove(0).jobs.remove(0);
        job.canary.filter(|canary| canary.ok == 1)
    })
    .await;
    assert_eq!((status.tasks, status.until_ms), (1, 0));
    assert_eq!(alice.promote(flow, "nothing").await.unwrap_err().code(), Code::NotFound);
    alice.promote(flow, "job-1").await.unwrap();
    sessions[1].obey().await;
    sessions[2].obey().await;
    assert_eq!(alice.verdict(flow).await, "ok");
    let flow = alice.submit([job("db[1-3]")]).await;
    let refused = alice.promote(flow, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("no such job has a canary"), "{refused:?}");
}

#[tokio::test]
async fn nothing_new_starts_on_a_drained_player() {
    let (place, conductor, alice) = start("db[1-2]\n").await;
    let mut first = attach(&place, &conductor, "db1").await;
    let running = alice.submit([job("db1")]).await;
    let order = first.order().await;
    for (hosts, reason, code) in [
        ("db1", "", Code::InvalidArgument),
        ("db1", "two\nlines", Code::InvalidArgument),
        ("db9", "why", Code::FailedPrecondition),
        ("", "why", Code::FailedPrecondition),
    ] {
        assert_eq!(alice.drain(hosts, reason).await.unwrap_err().code(), code);
    }
    let drained = alice.drain("db[1-2]", "new disks").await.unwrap();
    assert_eq!((drained.hosts.as_str(), drained.count, drained.in_flight), ("db[1-2]", 2, 1));
    assert_eq!(alice.drain("db1", "again").await.unwrap().count, 0);
    first.report(&ended(&order, &exited(0)));
    assert_eq!(alice.verdict(running).await, "ok");
    let waiting = alice.submit([job("db1")]).await;
    assert_eq!(alice.tasks(waiting).await[0].reason, "player-drained");

    conductor.kill();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut first = attach(&place, &conductor, "db1").await;
    let drain = alice.players("db1", false).await.unwrap().remove(0).drain.unwrap();
    assert_eq!((drain.by.as_str(), drain.reason.as_str()), ("alice", "new disks"));
    assert_eq!(alice.state(waiting).await, "running");
    let undrained = alice.undrain("db[1-2]").await.unwrap();
    assert_eq!((undrained.hosts.as_str(), undrained.count), ("db[1-2]", 2));
    assert_eq!(alice.undrain("db1").await.unwrap().count, 0);
    first.obey().await;
    assert_eq!(alice.verdict(waiting).await, "ok");
    assert_eq!(alice.players("db1", false).await.unwrap()[0].drain, None);
}

#[tokio::test]
async fn what_is_abandoned_is_lost() {
    let (place, conductor, alice) = start("db1\n").await;
    let mut session = attach(&place, &conductor, "db1").await;
    let flow = alice.submit([job("db1")]).await;
    let order = session.order().await;
    session.report(&started(&order));
    eventually("it runs", async || (alice.tasks(flow).await[0].state == "running").then_some(()))
        .await;
    drop(session);
    eventually("it is gone", async || (alice.status().await.attached == 0).then_some(())).await;
    assert_eq!(alice.cancel(flow).await.unwrap().state, "cancelling");
    assert_eq!(alice.abandon(flow).await.unwrap(), "cancelled");
    let task = alice.tasks(flow).await.remove(0);
    assert_eq!(task.state, "lost");
    assert!(task.detail.contains("alice"), "{}", task.detail);
    // Of an ended flow, it changes nothing.
    assert_eq!(alice.abandon(flow).await.unwrap(), "cancelled");
}

#[tokio::test]
async fn a_living_flows_tasks_get_further_attempts() {
    let (place, conductor, alice) = start("db[1-2]\n").await;
    let mut first = attach(&place, &conductor, "db1").await;
    let wait = v1::Stragglers::Wait.into();
    let lenient = v1::JobSpec { success: count(1), stragglers: wait, ..job("db[1-2]") };
    let flow = alice.submit([lenient]).await;
    assert_eq!(alice.retry(flow).await.unwrap_err().code(), Code::FailedPrecondition);
    let order = first.order().await;
    first.report(&ended(&order, &exited(1)));
    first.acknowledged().await;
    let on = |hosts: &str| v1::RetryRequest { hosts: hosts.to_owned(), ..retry(flow) };
    assert_eq!(alice.try_retry(on("db2")).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(alice.try_retry(on("db9")).await.unwrap_err().code(), Code::FailedPrecondition);
    let retried = alice.try_retry(on("db1")).await.unwrap();
    assert_eq!((retried.flow, retried.tasks, retried.repeated), (flow, 1, false));
    assert_eq!(first.obey().await.key.unwrap().attempt, 2);
    let mut second = attach(&place, &conductor, "db2").await;
    second.obey().await;
    assert_eq!(alice.verdict(flow).await, "ok");
    conductor.logged("retry requested").await;
}

/// A flow of two slots, of which the first failed on one of two hosts; with what it was asked.
async fn half_done(alice: &Audience, sessions: &mut [Session]) -> u64 {
    let jobs = [
        v1::JobSpec { parallel: percent(50), ..job("db[1-3]") },
        v1::JobSpec { parallel: percent(50), ..job("db[1-2]") },
    ];
    let asked = with_params(request(jobs), (2, 1), "package", "secret");
    let flow = alice.try_submit(asked).await.unwrap().flow;
    for (session, code) in sessions.iter_mut().zip([0, 0, 1]) {
        let order = session.order().await;
        session.report(&ended(&order, &exited(code)));
    }
    for session in sessions {
        session.acknowledged().await;
    }
    assert_eq!(alice.verdict(flow).await, "failed");
    flow
}

fn params(slot: u32, keys: &[(&str, &str)]) -> Vec<v1::JobParams> {
    let values = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    vec![v1::JobParams { slot, job: 1, values: values.collect() }]
}

#[tokio::test]
async fn an_ended_flow_goes_on_as_a_new_one() {
    let (place, conductor, alice) = start("db[1-3]\n").await;
    let mut sessions = Vec::new();
    for host in ["db1", "db2", "db3"] {
        sessions.push(attach(&place, &conductor, host).await);
    }
    let flow = half_done(&alice, &mut sessions).await;

    let with = |params| v1::RetryRequest { params, ..retry(flow) };
    for (params, told) in [
        (
            vec![],
            "what may be secret was erased when the flow ended; give it again: \
             --set job-2/package=VALUE",
        ),
        (params(2, &[("package", "x"), ("other", "y")]), "job job-2 had no parameters other"),
        (
            params(1, &[("package", "x")]),
            "job job-1 had no parameters package; a retry has what it had; what may be secret was \
             erased when the flow ended; give it again: --set job-2/package=VALUE",
        ),
        ([params(2, &[]), params(2, &[])].concat(), "parameters of job 2.1 are given twice"),
    ] {
        let refused = alice.try_retry(with(params)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().starts_with(told), "{told:?} in {refused:?}");
    }
    let hosts = v1::RetryRequest { hosts: "db3".to_owned(), ..retry(flow) };
    assert_eq!(alice.try_retry(hosts).await.unwrap_err().code(), Code::InvalidArgument);

    let asked = with(params(2, &[("package", "again")]));
    let retried = alice.try_retry(asked.clone()).await.unwrap();
    assert_eq!((retried.flow, retried.tasks, retried.repeated), (flow + 1, 3, false));
    let again = alice.try_retry(asked.clone()).await.unwrap();
    assert_eq!((again.flow, again.tasks, again.repeated), (flow + 1, 3, true));
    let last = v1::FlowRef { flow: Some(v1::flow_ref::Flow::Last(true)) };
    let again = alice.try_retry(v1::RetryRequest { flow: Some(last), ..asked }).await.unwrap();
    assert_eq!((again.flow, again.repeated), (flow + 1, true));

    let status = alice.flow(retried.flow).await;
    assert_eq!(status.retry_of, flow);
    let jobs: Vec<_> = status.slots.iter().flat_map(|slot| &slot.jobs).collect();
    let limits: Vec<_> =
        jobs.iter().map(|job| (job.targets.as_str(), job.window, job.needed)).collect();
    // Windows of half of three and half of two; two of three were ok already.
    assert_eq!(limits, [("db3", 1, 1), ("db[1-2]", 1, 2)]);
    for session in sessions {
        tokio::spawn(session.obey_all());
    }
    assert_eq!(alice.verdict(retried.flow).await, "ok");
    assert_eq!(alice.state(flow).await, "failed", "what ended stays as it ended");

    let nothing = alice.retry(retried.flow).await.unwrap_err();
    assert_eq!(nothing.code(), Code::FailedPrecondition);
    assert!(nothing.message().contains("nothing is left to do"), "{nothing:?}");
    assert_eq!(alice.retry(99).await.unwrap_err().code(), Code::NotFound);
    conductor.logged("ended flow retried").await;
}

#[tokio::test]
async fn a_retry_remembers_what_its_score_does_not_call_sensitive() {
    let (place, conductor, alice) = start("db1\n").await;
    let mut player = Player::new(&place, &conductor.address, "db1").await;
    let param = |key: &str, sensitive| v1::ParamSpec {
        key: key.to_owned(),
        r#type: "string".to_owned(),
        sensitive,
        ..v1::ParamSpec::default()
    };
    let offer = &mut player.snapshot.scores[0];
    let Some(v1::score_offer::State::Spec(spec)) = &mut offer.state else { panic!("disabled") };
    spec.params =
        Some(v1::ParamSchema { params: vec![param("token", true), param("version", false)] });
    let mut session = player.attach().await;
    let mut asked = with_params(request([job("db1")]), (1, 1), "version", "7");
    asked.params[0].values.insert("token".to_owned(), "hunter2".to_owned());
    let flow = alice.try_submit(asked).await.unwrap().flow;
    let order = session.order().await;
    session.report(&ended(&order, &exited(1)));
    session.acknowledged().await;
    assert_eq!(alice.verdict(flow).await, "failed");

    let refused = alice.try_retry(retry(flow)).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (
            Code::InvalidArgument,
            "what may be secret was erased when the flow ended; give it again: \
             --set job-1/token=VALUE"
        )
    );
    let again = v1::RetryRequest { params: params(1, &[("token", "new")]), ..retry(flow) };
    let again = alice.try_retry(again).await.unwrap().flow;
    let Kind::Job(part) = session.command().await else { panic!("no job part") };
    let values = v1::JobBody::decode(part.body).unwrap().params;
    let values: Vec<(&str, &str)> = values.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(values, [("token", "new"), ("version", "7")]);
    alice.cancel(again).await.unwrap();
}

#[tokio::test]
async fn one_job_of_an_ended_flow_and_hosts_that_went() {
    let (place, conductor, alice) = start("db[1-3]\n").await;
    let mut sessions = Vec::new();
    for host in ["db1", "db2", "db3"] {
        sessions.push(attach(&place, &conductor, host).await);
    }
    let flow = half_done(&alice, &mut sessions).await;
    let job = |name: &str| v1::RetryRequest { job_name: name.to_owned(), ..retry(flow) };
    assert_eq!(alice.try_retry(job("nothing")).await.unwrap_err().code(), Code::NotFound);
    let retried = alice.try_retry(job("job-1")).await.unwrap();
    assert_eq!(retried.tasks, 1);
    assert_eq!(alice.flow(retried.flow).await.slots.len(), 1);
    alice.cancel(retried.flow).await.unwrap();
    place.write("players", "db[1-2]\n");
    alice.reload(true).await.unwrap();
    let gone = alice.try_retry(job("job-1")).await.unwrap_err();
    assert!(gone.message().contains("nothing is left to do"), "{gone:?}");
    let rest = v1::RetryRequest { params: params(2, &[("package", "x")]), ..retry(flow) };
    let retried = alice.try_retry(rest).await.unwrap();
    assert_eq!(retried.tasks, 2);

    let why = v1::ExplainRequest { flow: id(flow), ..Default::default() };
    let why = alice.explain(why).await.unwrap();
    let told: Vec<_> = why.explanations.iter().map(|told| told.text.as_str()).collect();
    assert!(told[0].starts_with("the flow ended failed: 0 of 2 jobs ok; `orc retry"), "{told:?}");
    assert_eq!(told[1], "job job-1 ended partial: 2 of its 3 tasks ok, 3 needed; 1 failed");
    assert_eq!(told[2], "job job-2 ended skipped: 0 of its 2 tasks ok, 2 needed; 2 skipped");
}
