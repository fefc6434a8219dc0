//! Lists: whole, in order, in bounded pages, whatever happens meanwhile.

use orchestra_certs::Role;
use orchestra_proto::v1::{self, audience_client::AudienceClient};
use prost::Message as _;
use tonic::Code;

use crate::harness::{
    Audience, Conductor, Place, Player, count, ended, exited, id, job, request,
    request_in_one_slot, soon,
};

fn list(flow: u64) -> v1::ListTasksRequest {
    v1::ListTasksRequest { flow: id(flow), ..Default::default() }
}

#[tokio::test]
async fn a_hundred_thousand_absent_hosts_come_in_pages() {
    const HOSTS: usize = 100_000;
    let place = Place::new("h[1-100000] app=web\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let flow = alice.submit([job("@app=web")]).await;
    alice.tasks(flow).await;
    let before = conductor.peak_memory();
    // Many who begin to read and do not go on; on a connection of their own, which they fill.
    let others = Audience::new(&place, &conductor.address).await;
    let mut slow = Vec::new();
    for _ in 0..30 {
        let mut pages = others.client.clone().list_tasks(list(flow)).await.unwrap().into_inner();
        if slow.is_empty() {
            assert!(soon("a page", pages.message()).await.unwrap().is_some());
        }
        slow.push(pages);
    }
    let mut pages = alice.client.clone().list_tasks(list(flow)).await.unwrap().into_inner();
    let mut next = 0;
    while let Some(page) = soon("a page", pages.message()).await.unwrap() {
        assert!(page.tasks.len() <= 1_000);
        for task in page.tasks {
            assert_eq!((task.index as usize, task.host), (next, format!("h{}", next + 1)));
            assert_eq!((task.state.as_str(), task.reason.as_str()), ("waiting", "player-absent"));
            next += 1;
        }
    }
    assert_eq!(next, HOSTS);
    let more = conductor.peak_memory() - before;
    assert!(more < 64 << 20, "it took {} MiB", more >> 20);
    assert_eq!(alice.players("", false).await.unwrap().len(), HOSTS);
    let request = v1::ResolveHostsRequest { hosts: "@all!h[1-99990]".to_owned() };
    let resolved = alice.client.clone().resolve_hosts(request).await.unwrap().into_inner();
    assert_eq!((resolved.hosts.as_str(), resolved.count), ("h[99991-100000]", 10));
}

/// What many ask for who waited for the same flow is read once, and costs each of them a line.
#[tokio::test]
async fn what_did_not_end_ok_is_told_folded() {
    const HOSTS: u32 = 100_000;
    let place = Place::new("h[1-100000] app=web\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut session = Player::new(&place, &conductor.address, "h7").await.attach().await;
    // One failure does not make the others skipped.
    let tolerant = v1::JobSpec { max_failures: count(2), ..job("@app=web") };
    let flow = alice.submit([tolerant]).await;
    let order = session.order().await;
    session.report(&ended(&order, &exited(3)));
    soon("the end", async {
        while alice.failures(flow).await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let failed = ("failed".to_owned(), Some(3), "h7".to_owned(), 1);
    assert_eq!(alice.failures(flow).await, std::slice::from_ref(&failed));
    alice.cancel(flow).await.unwrap();
    let cancelled = ("cancelled".to_owned(), None, "h[1-6,8-100000]".to_owned(), HOSTS - 1);
    let all = [failed, cancelled];
    soon("what was cancelled", async {
        while alice.failures(flow).await.len() < all.len() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(alice.failures(flow).await, all);
    let before = conductor.peak_memory();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let alice = Audience::new(&place, &conductor.address).await;
        readers.spawn(async move { alice.failures(flow).await });
    }
    while let Some(told) = readers.join_next().await {
        assert_eq!(told.unwrap(), all);
    }
    let more = conductor.peak_memory() - before;
    assert!(more < 64 << 20, "it took {} MiB", more >> 20);
}

#[tokio::test]
async fn a_flow_that_ends_in_the_middle_of_a_listing_leaves_no_gap() {
    let place = Place::new("h[1-20000]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let flow = alice.submit([job("@all"), job("h[1-3]")]).await;
    let narrow = place.connect_narrow(&conductor.address, Role::Audience, "alice").await;
    let mut pages = AudienceClient::new(narrow).list_tasks(list(flow)).await.unwrap().into_inner();
    let mut tasks = pages.message().await.unwrap().unwrap().tasks;
    assert_eq!(alice.cancel(flow).await.unwrap().state, "cancelled");
    while let Some(page) = soon("a page", pages.message()).await.unwrap() {
        tasks.extend(page.tasks);
    }
    let places: Vec<(u32, u32)> =
        tasks.iter().map(|task| (task.job.unwrap().slot, task.index)).collect();
    let expected = (0..20_000).map(|index| (1, index)).chain((0..3).map(|index| (2, index)));
    assert_eq!(places, expected.collect::<Vec<_>>());
    assert_eq!(tasks[0].state, "waiting");
    assert_eq!(tasks[19_999].state, "cancelled");
}

#[tokio::test]
async fn a_listing_is_of_what_was_chosen() {
    let place = Place::new("db[1-4]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut session = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let flow = alice.try_submit(request_in_one_slot([job("db[1-4]"), job("db1")])).await.unwrap();
    let flow = flow.flow;
    for order in [session.order().await, session.order().await] {
        session.report(&ended(&order, &exited(0)));
    }
    session.acknowledged().await;
    session.acknowledged().await;
    let found = async |change: fn(&mut v1::ListTasksRequest)| {
        let mut request = list(flow);
        change(&mut request);
        let tasks = alice.list_tasks(request).await;
        tasks
            .map(|tasks| tasks.iter().map(|task| format!("{}:{}", task.host, task.state)).collect())
    };
    let ok: Vec<String> = found(|r| r.states = vec!["ok".to_owned()]).await.unwrap();
    assert_eq!(ok, ["db1:ok", "db1:ok"]);
    let ok: Vec<String> = found(|r| r.host = "db3".to_owned()).await.unwrap();
    assert_eq!(ok, ["db3:waiting"]);
    let ok: Vec<String> = found(|r| r.job = 2).await.unwrap();
    assert_eq!(ok, ["db1:ok"]);
    let ok: Vec<String> = found(|r| r.job_name = "job-2".to_owned()).await.unwrap();
    assert_eq!(ok, ["db1:ok"]);
    for (change, code) in [
        ((|r| r.slot = 9) as fn(&mut v1::ListTasksRequest), tonic::Code::NotFound),
        (|r| r.job_name = "../x".to_owned(), tonic::Code::InvalidArgument),
        (|r| r.host = "../x".to_owned(), tonic::Code::InvalidArgument),
        (|r| r.states = vec!["asleep".to_owned()], tonic::Code::InvalidArgument),
        (|r| r.flow = None, tonic::Code::InvalidArgument),
    ] {
        let refused: Result<Vec<String>, _> = found(change).await;
        assert_eq!(refused.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn large_ends_and_logs_arrive() {
    const HOSTS: usize = 60;
    let place = Place::new("db[1-60]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let output = v1::Output {
        head: vec![b'h'; 16 << 10].into(),
        tail: vec![b't'; 48 << 10].into(),
        bytes: 1 << 40,
        truncated: true,
    };
    let end = v1::AttemptEnd {
        stdout: Some(output.clone()),
        stderr: Some(output),
        response: [("key".to_owned(), "v".repeat(60_000))].into(),
        ..exited(0)
    };
    let flow = alice.submit([job("@all")]).await;
    let mut sessions = Vec::new();
    for n in 1..=HOSTS {
        let name = format!("db{n}");
        let mut session = Player::new(&place, &conductor.address, &name).await.attach().await;
        let order = session.order().await;
        session.report(&ended(&order, &end));
        sessions.push(session);
    }
    // While it was alive it was not asked; now all of it is in the store.
    assert_eq!(alice.verdict(flow).await, "ok");
    let tasks = alice.list_tasks(v1::ListTasksRequest { ends: true, ..list(flow) }).await.unwrap();
    assert_eq!(tasks.len(), HOSTS);
    assert!(tasks.iter().all(|task| task.end.len() > 180_000), "{}", tasks[0].end.len());
    let logs = alice.logs(flow, "db7").await;
    assert_eq!(v1::AttemptEnd::decode(logs[0].end.clone()).unwrap(), end);
}

#[tokio::test]
async fn the_last_line_of_what_failed_is_told_without_its_output() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let flow = alice.submit([job("@all")]).await;
    let mut sessions = Vec::new();
    for (name, code) in [("db1", 0), ("db2", 1)] {
        let mut session = Player::new(&place, &conductor.address, name).await.attach().await;
        let order = session.order().await;
        let stderr = v1::Output {
            head: b"so\nConnection refused\n"[..].into(),
            bytes: 22,
            ..Default::default()
        };
        session.report(&ended(&order, &v1::AttemptEnd { stderr: Some(stderr), ..exited(code) }));
        sessions.push(session);
    }
    assert_eq!(alice.verdict(flow).await, "failed");
    let asked = v1::ListTasksRequest { last_lines: true, ..list(flow) };
    let tasks = alice.list_tasks(asked).await.unwrap();
    let lines: Vec<&str> = tasks.iter().map(|task| task.last_line.as_str()).collect();
    assert_eq!(lines, ["", "Connection refused"]);
    assert!(tasks.iter().all(|task| task.end.is_empty()));
}

#[tokio::test]
async fn many_scores_and_many_jobs_arrive() {
    let place = Place::new("db[1-3]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut sessions = Vec::new();
    for name in ["db1", "db2", "db3"] {
        let mut player = Player::new(&place, &conductor.address, name).await;
        let offer = |n| v1::ScoreOffer {
            name: format!("score-{n}"),
            hash: vec![7; 32].into(),
            state: Some(v1::score_offer::State::Spec(v1::ScoreSpec {
                description: "x".repeat(4_000),
                timeout_ms: 1_000,
                ..Default::default()
            })),
        };
        player.snapshot.scores.extend((1..1_024).map(offer));
        sessions.push(player.attach().await);
    }
    let players = alice.players("db[1-3]", true).await.unwrap();
    assert_eq!(players.iter().map(|player| player.scores.len()).sum::<usize>(), 3 * 1_024);
    assert!(alice.players("", false).await.unwrap().iter().all(|player| player.scores.is_empty()));

    let flow = alice.try_submit(request_in_one_slot(vec![job("db[1-3]"); 10_000])).await.unwrap();
    let jobs = &alice.flow(flow.flow).await.slots[0].jobs;
    assert_eq!(jobs.len(), 10_000);
}

#[tokio::test]
async fn flows_are_listed_newest_first() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    for _ in 0..30 {
        alice.submit([job("db1")]).await;
    }
    assert_eq!(alice.cancel(29).await.unwrap().state, "cancelled");
    let listed = async |limit, alive| {
        let request = v1::ListFlowsRequest { limit, alive, ..Default::default() };
        let mut pages = alice.client.clone().list_flows(request).await.unwrap().into_inner();
        let mut flows = Vec::new();
        while let Some(page) = pages.message().await.unwrap() {
            flows.extend(page.flows.into_iter().map(|flow| flow.id));
        }
        flows
    };
    assert_eq!(listed(0, false).await, (11..=30).rev().collect::<Vec<u64>>());
    assert_eq!(listed(3, true).await, [30, 28, 27]);
    assert_eq!(listed(u32::MAX, false).await.len(), 30);
    let last = v1::FlowRef { flow: Some(v1::flow_ref::Flow::Last(true)) };
    let newest = alice.client.clone().get_flow(v1::GetFlowRequest { flow: Some(last) }).await;
    assert_eq!(newest.unwrap().into_inner().summary.unwrap().id, 30);
    assert!(alice.try_submit(request([job("db1")])).await.is_ok());
}

#[tokio::test]
async fn flows_are_found_by_who_made_them_their_scores_and_their_hosts() {
    let place = Place::new("db[1-3]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let of = |score: &str, targets: &str| v1::JobSpec { score: score.into(), ..job(targets) };
    let first = alice.submit([of("one", "db[1-2]"), of("two", "db3")]).await;
    let second = alice.submit([of("two", "db[1-3]")]).await;
    let third = alice.submit([of("one", "db1")]).await;
    alice.cancel(third).await.unwrap();
    let found = async |request: v1::ListFlowsRequest| {
        let mut pages = alice.client.clone().list_flows(request).await.unwrap().into_inner();
        let mut flows = Vec::new();
        while let Some(page) = pages.message().await.unwrap() {
            assert!(page.filtered);
            flows.extend(page.flows);
        }
        flows
    };
    let ids = async |request| found(request).await.iter().map(|flow| flow.id).collect::<Vec<_>>();
    let by = |score: &str, host: &str| v1::ListFlowsRequest {
        score: score.into(),
        host: host.into(),
        ..Default::default()
    };
    assert_eq!(ids(by("two", "")).await, [second, first]);
    assert_eq!(ids(by("one", "")).await, [third, first]);
    assert_eq!(ids(by("", "db3")).await, [second, first]);
    // Score and host are those of one job.
    assert_eq!(ids(by("one", "db3")).await, [0; 0]);
    let alive = v1::ListFlowsRequest { alive: true, ..by("one", "db1") };
    assert_eq!(ids(alive).await, [first]);
    let limited = v1::ListFlowsRequest { limit: 1, ..by("two", "") };
    assert_eq!(ids(limited).await, [second]);
    let cancelled = v1::ListFlowsRequest { states: vec!["cancelled".into()], ..by("", "") };
    assert_eq!(ids(cancelled).await, [third]);
    assert_eq!(ids(v1::ListFlowsRequest { by: "bob".into(), ..by("", "") }).await, [0; 0]);
    assert_eq!(ids(v1::ListFlowsRequest { until_ms: Some(1), ..by("", "") }).await, [0; 0]);
    // Tasks are counted, of those that are alive and of those that are not.
    let counts: Vec<_> = found(by("", "")).await.into_iter().map(|flow| flow.counts).collect();
    let of = |state: &str, tasks| [(state.to_owned(), tasks)].into();
    assert_eq!(counts, [of("cancelled", 1), of("waiting", 3), of("waiting", 3)]);
    let unknown = v1::ListFlowsRequest { states: vec!["done".into()], ..by("", "") };
    let refused = alice.client.clone().list_flows(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
