//! Submissions: each is one flow, whole, or nothing and a reason.

use orchestra_proto::v1;
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::harness::{
    Audience, Conductor, Place, Player, job, one_of, request, request_in_one_slot, with_params,
};

async fn start(players: &str) -> (Place, Conductor, Audience) {
    let place = Place::new(players);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    (place, conductor, alice)
}

fn hosts(status: &Status) -> Option<&str> {
    status.metadata().get("orchestra-hosts").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_request_id_belongs_to_one_submission() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let asked = with_params(request([job("db1")]), (1, 1), "token", "s3cret");
    let flow = alice.try_submit(asked.clone()).await.unwrap().flow;
    let others = [
        with_params(request([job("db1")]), (1, 1), "token", "s3cret!"),
        with_params(request([job("db2")]), (1, 1), "token", "s3cret"),
        request([job("db1")]),
    ];
    let refuse_others = async |alice: &Audience| {
        for other in &others {
            let other = v1::SubmitRequest { request_id: asked.request_id.clone(), ..other.clone() };
            let refused = alice.try_submit(other).await.unwrap_err();
            assert!(refused.message().contains("it is another submission"), "{refused:?}");
        }
        let again = alice.try_submit(asked.clone()).await.unwrap();
        assert!(again.repeated && again.flow == flow);
    };
    refuse_others(&alice).await;
    // The parameters are erased, and who asked is recognised all the same; also by the next process.
    alice.cancel(flow).await.unwrap();
    refuse_others(&alice).await;
    conductor.kill();
    let conductor = Conductor::start(&place);
    refuse_others(&Audience::new(&place, &conductor.address).await).await;
}

#[tokio::test]
async fn the_same_request_is_the_same_flow() {
    let (place, conductor, alice) = start("db1\n").await;
    let asked = request([job("db1")]);
    let first = alice.try_submit(asked.clone()).await.unwrap();
    assert!(!first.repeated);
    let again = alice.try_submit(asked.clone()).await.unwrap();
    assert_eq!((again.flow, again.repeated), (first.flow, true));
    // Somebody else's id is another one.
    let bob = Audience::named(&place, &conductor.address, "bob").await;
    let other = bob.try_submit(asked).await.unwrap();
    assert!(other.flow != first.flow && !other.repeated);
}

#[tokio::test]
async fn the_same_request_many_times_at_once_is_one_flow() {
    let (place, conductor, _) = start("db1\n").await;
    let asked = request([job("db1")]);
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let alice = Audience::new(&place, &conductor.address).await;
        for _ in 0..8 {
            let (alice, asked) = (alice.clone(), asked.clone());
            tasks.spawn(async move { alice.try_submit(asked).await.unwrap() });
        }
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|answer| answer.flow == 1));
    assert_eq!(answers.iter().filter(|answer| !answer.repeated).count(), 1);
}

#[tokio::test]
async fn what_is_not_well_formed_is_refused_with_a_reason() {
    let (_place, _conductor, alice) = start("db[1-2]\n").await;
    let good = || request([job("db1")]);
    let spec =
        |spec: v1::FlowSpec| v1::SubmitRequest { spec: spec.encode_to_vec().into(), ..good() };
    let named = |name: &str, score: &str| {
        let job = v1::JobSpec { name: name.to_owned(), score: score.to_owned(), ..job("db1") };
        spec(v1::FlowSpec {
            name: String::new(),
            start: None,
            slots: vec![v1::SlotSpec { jobs: vec![job] }],
        })
    };
    let twice = || {
        let once = with_params(good(), (1, 1), "a", "b");
        v1::SubmitRequest { params: [once.params.clone(), once.params].concat(), ..good() }
    };
    let cases = [
        (v1::SubmitRequest { request_id: "short".into(), ..good() }, "the request id has 16 bytes"),
        (v1::SubmitRequest { spec: "\u{7f}?".into(), ..good() }, "the spec: "),
        (spec(v1::FlowSpec::default()), "no slots"),
        (named("../../x", "hello"), "job name \"../../x\""),
        (named("web", "../../bin/ls"), "score name \"../../bin/ls\""),
        (named("", "hello"), "job name"),
        (request([v1::JobSpec { retries: 1 << 30, ..job("db1") }]), "retries"),
        (request([v1::JobSpec { timeout_ms: Some(u64::MAX), ..job("db1") }]), "JobSpec.timeout_ms"),
        (request([job("db[1-")]), ""),
        (request([job("@nobody")]), "nobody"),
        (with_params(good(), (1, 2), "a", "b"), "parameters for job 1.2, which does not exist"),
        (with_params(good(), (0, 1), "a", "b"), "parameters for job 0.1, which does not exist"),
        (with_params(good(), (1 << 20, 1), "a", "b"), "which does not exist"),
        (with_params(good(), (1, 1), "a-b", "c"), "a-b"),
        (with_params(good(), (1, 1), "ORC_x\0", "c"), ""),
        (twice(), "parameters of job 1.1 are given twice"),
    ];
    for (request, message) in cases {
        let status = alice.try_submit(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(message), "{message:?} in {status:?}");
    }
    // Nothing of all that was stored.
    assert_eq!(alice.submit([job("db1")]).await, 1);
}

#[tokio::test]
async fn hosts_that_are_not_there_are_told_apart() {
    let (_place, _conductor, alice) = start("db[1-2] app=db\n").await;
    let status = alice.try_submit(request([job("db[1-4]")])).await.unwrap_err();
    assert_eq!((status.code(), hosts(&status)), (Code::FailedPrecondition, Some("unknown")));
    assert!(status.message().contains("db[3-4]"), "{status:?}");
    for empty in ["", "db1!db1", "@app=db!@all"] {
        let status = alice.try_submit(request([job(empty)])).await.unwrap_err();
        assert_eq!((status.code(), hosts(&status)), (Code::FailedPrecondition, Some("empty")));
    }
    let status = alice.players("db[1-3]", false).await.unwrap_err();
    assert_eq!((status.code(), hosts(&status)), (Code::FailedPrecondition, Some("unknown")));
    // So many that they do not fit into a status: it still arrives.
    let many: Vec<String> = (0..20_000).map(|n| format!("x{n}y{}", n * 3)).collect();
    let status = alice.try_submit(request([job(&many.join(","))])).await.unwrap_err();
    assert_eq!((status.code(), hosts(&status)), (Code::FailedPrecondition, Some("unknown")));
    assert!(status.message().contains("20000 unknown hosts"), "{status:?}");
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_made() {
    let place = Place::new("h[1-1000]\n");
    place.configure("[limits]\nmax_flow_bytes = \"64KiB\"\nmax_hosts = 5000\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let padded = v1::JobSpec { targets: format!("h1{}", " ".repeat(70_000)), ..job("") };
    let status = alice.try_submit(request([padded])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("max_flow_bytes is 65536"), "{status:?}");

    let status = alice.try_submit(request(vec![job("@all"); 6])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("at most 5000 are allowed"), "{status:?}");
    assert_eq!(alice.submit(vec![job("@all"); 5]).await, 1);
    alice.submit(vec![one_of("@all"); 100]).await;
    assert!(conductor.peak_memory() < 100 << 20);
}

/// Ten thousand jobs may each name a million hosts in a few bytes.
#[tokio::test]
async fn a_small_text_does_not_make_a_huge_flow() {
    let (_place, conductor, alice) = start("h[1-1000]\n").await;
    let before = conductor.peak_memory();
    let jobs = |job: v1::JobSpec| request_in_one_slot(vec![job; 10_000]);
    for job in [job("h[1-1000]"), one_of("h[1-1000]")] {
        let status = alice.try_submit(jobs(job)).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    }
    let status = alice.try_submit(jobs(one_of("x[1-1000000]"))).await.unwrap_err();
    assert_eq!(hosts(&status), Some("unknown"), "{}", status.code());
    let more = conductor.peak_memory() - before;
    assert!(more < 1 << 30, "it took {} MiB", more >> 20);
    assert_eq!(alice.submit([job("h1")]).await, 1);
}

#[tokio::test]
async fn a_message_beyond_all_bounds_is_refused() {
    let (_place, _conductor, alice) = start("db1\n").await;
    let spec = vec![0; 9 << 20].into();
    let asked = v1::SubmitRequest { spec, ..request([job("db1")]) };
    let status = alice.try_submit(asked).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
}

#[tokio::test]
async fn one_of_goes_to_whoever_is_there() {
    let (place, conductor, alice) = start("db[1-3]\n").await;
    let mut session = Player::new(&place, &conductor.address, "db2").await.attach().await;
    let flow = alice.submit([one_of("db[1-3]")]).await;
    session.obey().await;
    assert_eq!(alice.verdict(flow).await, "ok");
    assert_eq!(alice.tasks(flow).await[0].host, "db2");
}

#[tokio::test]
async fn questions_about_flows_that_never_were_are_answered() {
    let (_place, _conductor, alice) = start("db1\n").await;
    for flow in [0, 1, 1 << 53, u64::MAX] {
        assert_eq!(alice.try_flow(flow).await.unwrap_err().code(), Code::NotFound, "{flow}");
        assert_eq!(alice.cancel(flow).await.unwrap_err().code(), Code::NotFound, "{flow}");
        let list = v1::ListTasksRequest { flow: crate::harness::id(flow), ..Default::default() };
        assert_eq!(alice.list_tasks(list).await.unwrap_err().code(), Code::NotFound, "{flow}");
        let end = alice.watch(flow).await.message().await.unwrap_err();
        assert_eq!(end.code(), Code::NotFound, "{flow}");
    }
    let last = v1::FlowRef { flow: Some(v1::flow_ref::Flow::Last(true)) };
    let status = alice.client.clone().get_flow(v1::GetFlowRequest { flow: Some(last) }).await;
    assert_eq!(status.unwrap_err().message(), "alice has not submitted any flow yet");
    let nothing = alice.client.clone().get_flow(v1::GetFlowRequest { flow: None }).await;
    assert_eq!(nothing.unwrap_err().code(), Code::InvalidArgument);
}
