//! Watching: the status, what changes, the final status.

use std::{collections::BTreeMap, fs};

use orchestra_certs::Role;
use orchestra_proto::v1::{self, audience_client::AudienceClient, watch_event::Event};
use tonic::Streaming;

use crate::harness::{
    Audience, Conductor, Place, Player, copy_dir, ended, exited, id, job, one_player,
    request_in_one_slot, soon, started,
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
    let (_place, _conductor, alice, mut player) = one_player().await;
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
                    Event::Flow(_) | Event::Task(_) | Event::Restored(_) => {}
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
    let (place, conductor, alice, mut player) = one_player().await;
    player.snapshot.max_tasks = 1_000;
    let flow = alice.try_submit(request_in_one_slot(vec![job("db1"); JOBS])).await.unwrap().flow;
    // One that reads what it is made to read, and not a frame ahead.
    let narrow = place.connect_narrow(&conductor.address, Role::Audience, "alice").await;
    let request = v1::WatchRequest { flow: id(flow), ..Default::default() };
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

/// A reader that keeps its cursor, and what it was told of tasks that ended.
#[derive(Default)]
struct Reader {
    cursor: v1::Cursor,
    every_end: bool,
    /// How often each end was told, by job, place and state.
    ends: BTreeMap<(u32, u32, String), u32>,
    restored: u32,
    last: Option<v1::FlowStatus>,
}

impl Reader {
    async fn open(&self, alice: &Audience, flow: u64) -> Streaming<v1::WatchEvent> {
        let request = v1::WatchRequest {
            flow: id(flow),
            since: Some(self.cursor.clone()),
            every_end: self.every_end,
            snapshots: true,
            quiet: false,
        };
        alice.client.clone().watch(request).await.unwrap().into_inner()
    }

    /// Reads until it knows so many ends, or the stream is over.
    async fn read(&mut self, events: &mut Streaming<v1::WatchEvent>, enough: usize) {
        while self.ends.len() < enough || self.last.is_none() {
            let Some(told) = soon("an event", events.message()).await.unwrap() else { return };
            match told.event.unwrap() {
                Event::Task(task) => {
                    let is_over = !["sent", "running", "waiting"].contains(&&*task.state);
                    if is_over {
                        let key = (task.job.unwrap().job, task.index, task.state);
                        *self.ends.entry(key).or_default() += 1;
                    }
                }
                Event::Restored(_) => self.restored += 1,
                Event::Status(status) => self.last = Some(status),
                Event::Flow(_) | Event::Job(_) => {}
            }
            if let Some(cursor) = told.cursor {
                self.cursor = cursor;
            }
        }
    }

    async fn read_all(&mut self, alice: &Audience, flow: u64) {
        let mut events = self.open(alice, flow).await;
        self.read(&mut events, usize::MAX).await;
    }

    #[track_caller]
    fn knows_each_once(&self, ends: usize) {
        assert_eq!(self.ends.len(), ends);
        let often: Vec<_> = self.ends.iter().filter(|(_, often)| **often != 1).collect();
        assert!(often.is_empty(), "{often:?}");
    }
}

#[tokio::test]
async fn a_reader_knows_every_end_once_over_reconnects_and_crashes() {
    const TASKS: usize = 40;
    let (place, conductor, alice, mut player) = one_player().await;
    player.snapshot.max_tasks = 1;
    let mut session = player.attach().await;
    let flow = alice.try_submit(request_in_one_slot(vec![job("db1"); TASKS])).await.unwrap().flow;
    let mut reader = Reader::default();
    let mut events = reader.open(&alice, flow).await;
    let mut last = 0;
    for _ in 0..10 {
        last = session.obey().await.number;
    }
    reader.read(&mut events, 10).await;
    drop(events);
    // Nobody reads, and the conductor is killed.
    for _ in 0..10 {
        last = session.obey().await.number;
    }
    player.mark(&session, last);
    conductor.kill();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    player.reconnect(&place, &conductor.address).await;
    let mut session = player.attach().await;
    let mut events = reader.open(&alice, flow).await;
    reader.read(&mut events, 20).await;
    reader.knows_each_once(20);
    for _ in 0..10 {
        session.obey().await;
    }
    reader.read(&mut events, 30).await;
    drop(events);
    // The flow ends while nobody reads.
    for _ in 0..10 {
        session.obey().await;
    }
    assert_eq!(alice.verdict(flow).await, "ok");
    reader.read_all(&alice, flow).await;
    reader.knows_each_once(TASKS);
    assert_eq!((reader.restored, reader.last.as_ref().map(state)), (0, Some("ok")));
    // There is nothing more to tell, and a newcomer is told everything.
    reader.read_all(&alice, flow).await;
    reader.knows_each_once(TASKS);
    let mut newcomer = Reader::default();
    newcomer.read_all(&alice, flow).await;
    newcomer.knows_each_once(TASKS);
}

#[tokio::test]
async fn a_reader_that_falls_behind_knows_every_end_once() {
    const JOBS: usize = 3_000;
    let (place, conductor, alice, mut player) = one_player().await;
    player.snapshot.max_tasks = 1_000;
    let flow = alice.try_submit(request_in_one_slot(vec![job("db1"); JOBS])).await.unwrap().flow;
    let narrow = place.connect_narrow(&conductor.address, Role::Audience, "alice").await;
    let slow = Audience { client: AudienceClient::new(narrow) };
    let mut reader = Reader::default();
    let mut events = reader.open(&slow, flow).await;
    reader.read(&mut events, 0).await;
    let player = tokio::spawn(player.attach().await.obey_all());
    assert_eq!(alice.verdict(flow).await, "ok");
    reader.read(&mut events, usize::MAX).await;
    reader.knows_each_once(JOBS);
    assert_eq!(reader.last.as_ref().map(state), Some("ok"));
    player.abort();
}

#[tokio::test]
async fn tasks_that_were_never_sent_end_too_for_those_who_want_to_know() {
    const HOSTS: usize = 2_500;
    let place = Place::new(&format!("db[1-{HOSTS}]\n"));
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut session = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let flow = alice.submit([job(&format!("db[1-{HOSTS}]"))]).await;
    let mut all = Reader { every_end: true, ..Reader::default() };
    let mut events = all.open(&alice, flow).await;
    all.read(&mut events, 0).await;
    let order = session.order().await;
    session.report(&started(&order));
    session.report(&ended(&order, &exited(1)));
    all.read(&mut events, usize::MAX).await;
    all.knows_each_once(HOSTS);
    assert_eq!(all.ends[&(1, 0, "failed".to_owned())], 1);
    assert_eq!(all.ends[&(1, HOSTS as u32 - 1, "skipped".to_owned())], 1);
    let mut late = Reader { every_end: true, ..Reader::default() };
    late.read_all(&alice, flow).await;
    assert_eq!(late.ends, all.ends);
    let mut sent = Reader::default();
    sent.read_all(&alice, flow).await;
    sent.knows_each_once(1);
}

#[tokio::test]
async fn the_ends_of_attempts_before_the_last_are_told_to_whoever_missed_them() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut session = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let flow = alice.submit([v1::JobSpec { retries: 2, ..job("db1") }]).await;
    for code in [3, 4, 0] {
        let order = session.order().await;
        session.report(&started(&order));
        session.report(&ended(&order, &exited(code)));
        session.acknowledged().await;
    }
    assert_eq!(alice.verdict(flow).await, "ok");
    let mut events = Reader::default().open(&alice, flow).await;
    let mut told = Vec::new();
    while let Some(Event::Task(task)) = event(&mut events).await {
        told.push((task.attempt, task.state, task.exit, task.before));
    }
    let was = |attempt, exit| (attempt, "waiting".to_owned(), Some(exit), "failed".to_owned());
    assert_eq!(told, [was(1, 3), was(2, 4), (3, "ok".to_owned(), Some(0), String::new())]);
}

#[tokio::test]
async fn a_reader_is_told_that_the_store_was_restored() {
    let (place, conductor, alice, mut player) = one_player().await;
    player.snapshot.max_tasks = 1;
    let mut session = player.attach().await;
    let flow = alice.try_submit(request_in_one_slot(vec![job("db1"); 2])).await.unwrap().flow;
    let first = session.obey().await.number;
    player.mark(&session, first);
    assert!(conductor.stop().await.success());
    copy_dir(&place.path("state"), &place.path("backup"));

    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    player.reconnect(&place, &conductor.address).await;
    let mut session = player.attach().await;
    session.obey().await;
    let mut reader = Reader::default();
    reader.read_all(&alice, flow).await;
    reader.knows_each_once(2);
    conductor.kill();
    fs::remove_dir_all(place.path("state")).unwrap();
    fs::rename(place.path("backup"), place.path("state")).unwrap();

    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut events = reader.open(&alice, flow).await;
    reader.last = None;
    reader.read(&mut events, 0).await;
    assert_eq!(reader.restored, 1);
    assert_eq!(reader.ends[&(1, 0, "ok".to_owned())], 2, "what is known is told again");
    assert_eq!(reader.last.as_ref().map(state), Some("running"));
    assert!(reader.cursor.change > 0 && reader.cursor.change < 6, "{:?}", reader.cursor);
}
