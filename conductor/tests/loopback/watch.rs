//! Watching: the status, what changes, the final status.

use std::collections::BTreeMap;

use orchestra_certs::Role;
use orchestra_proto::v1::{self, audience_client::AudienceClient, watch_event::Event};
use tonic::Streaming;

use crate::harness::{
    Audience, Conductor, Place, Player, ended, exited, id, job, request_in_one_slot, soon, started,
};

async fn event(events: &mut Streaming<v1::WatchEvent>) -> Option<Event> {
    let event = soon("an event", events.message()).await.unwrap()?;
    Some(event.event.unwrap())
}

fn state(status: &v1::FlowStatus) -> &str {
    &status.summary.as_ref().unwrap().state
}

#[tokio::test]
async fn first_the_status_then_changes_then_the_final_status() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let flow = alice.submit([job("db1")]).await;
    let mut events = alice.watch(flow).await;
    let Some(Event::Status(first)) = event(&mut events).await else { panic!("no status first") };
    assert_eq!(state(&first), "running");
    let waiting = BTreeMap::from([("player-absent".to_owned(), 1)]);
    assert_eq!(first.slots[0].jobs[0].waiting, waiting.into_iter().collect());

    let mut session = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let order = session.order().await;
    session.report(&started(&order));
    let Some(Event::Task(task)) = event(&mut events).await else { panic!("no change of a task") };
    assert_eq!((task.host.as_str(), task.state.as_str(), task.attempt), ("db1", "running", 1));
    session.report(&ended(&order, &exited(3)));
    let Some(Event::Task(task)) = event(&mut events).await else { panic!("no change of a task") };
    assert_eq!((task.state.as_str(), task.exit), ("failed", Some(3)));
    let Some(Event::Job(job)) = event(&mut events).await else { panic!("no change of a job") };
    assert_eq!((job.state.as_str(), job.counts["failed"]), ("failed", 1));
    let Some(Event::Flow(changed)) = event(&mut events).await else { panic!("no change of it") };
    assert_eq!((changed.flow, changed.state.as_str()), (flow, "failed"));
    let Some(Event::Status(last)) = event(&mut events).await else { panic!("no status last") };
    assert_eq!(state(&last), "failed");
    assert!(event(&mut events).await.is_none());

    let mut events = alice.watch(flow).await;
    let Some(Event::Status(status)) = event(&mut events).await else { panic!("no status") };
    assert_eq!(status, last);
    assert!(event(&mut events).await.is_none(), "an ended flow has no more to tell");
}

/// The flow may end before the watch begins, after it, or between its two questions.
#[tokio::test]
async fn a_watch_ends_with_the_final_status_whenever_the_flow_ends() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let session = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let player = tokio::spawn(session.obey_all());
    for _ in 0..100 {
        let flow = alice.submit([job("db1")]).await;
        assert_eq!(alice.verdict(flow).await, "ok");
    }
    player.abort();
}

/// What a watcher hears after the first status is later than that status.
#[tokio::test]
async fn no_change_from_before_the_first_status_is_told_after_it() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut player = Player::new(&place, &conductor.address, "db1").await;
    player.snapshot.max_tasks = 1_000;
    let session = player.attach().await;
    let player = tokio::spawn(session.obey_all());
    let flow = alice.try_submit(request_in_one_slot(vec![job("db1"); 1_000])).await.unwrap().flow;
    let mut watchers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut events = alice.watch(flow).await;
        watchers.spawn(async move {
            let mut over = Vec::new();
            while let Some(event) = event(&mut events).await {
                match event {
                    Event::Status(status) => {
                        let jobs = status.slots[0].jobs.iter();
                        over = jobs.map(|job| job.ended_at_ms > 0).collect();
                    }
                    Event::Job(job) => {
                        let index = job.job.unwrap().job as usize - 1;
                        assert!(!over[index], "job {index} ended twice");
                        over[index] = true;
                    }
                    Event::Flow(_) | Event::Task(_) => {}
                }
            }
            assert!(over.iter().all(|over| *over));
        });
    }
    watchers.join_all().await;
    player.abort();
}

#[tokio::test]
async fn a_slow_watcher_is_told_the_whole_status_and_holds_nobody_up() {
    const JOBS: usize = 3_000;
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut player = Player::new(&place, &conductor.address, "db1").await;
    player.snapshot.max_tasks = 1_000;
    let flow = alice.try_submit(request_in_one_slot(vec![job("db1"); JOBS])).await.unwrap().flow;
    // One that reads what it is made to read, and not a frame ahead.
    let narrow = place.connect_narrow(&conductor.address, Role::Audience, "alice").await;
    let request = v1::WatchRequest { flow: id(flow) };
    let mut slow = AudienceClient::new(narrow).watch(request).await.unwrap().into_inner();
    let Some(Event::Status(first)) = event(&mut slow).await else { panic!("no status") };
    assert_eq!(state(&first), "running");

    let player = tokio::spawn(player.attach().await.obey_all());
    assert_eq!(alice.verdict(flow).await, "ok");
    let (mut told, mut statuses) = (0, Vec::new());
    while let Some(event) = event(&mut slow).await {
        match event {
            Event::Status(status) => statuses.push(status),
            _ => told += 1,
        }
    }
    assert!(told < 2 * JOBS, "it was told all {told} changes, so it was not slow");
    assert_eq!(statuses.last().map(state), Some("ok"));
    player.abort();
}
