//! The driver over a store in memory, whose disk fails when it is told to.

use orchestra_flow::{Answer, Rejection, ReplyTo, Settings, Submission, answer};
use orchestra_model::{
    FlowState, HostSet, JobName, Quantity, ScoreName, TaskState,
    audit::{Asker, AuditEntry, Deed, Happening, Object, Verb},
    bundle::BundleRegister,
    delivery::{AttemptKey, PlayerSnapshot, RequestId, SpoolId, StoreId},
    flow::{FlowSpec, JobSpec, SlotSpec},
    hostset::NoGroups,
    status::FlowStatus,
    thresholds::Excess,
};
use orchestra_proto::v1::command::Kind;
use orchestra_service::Services;
use orchestra_store::{Fault, MemoryDisk, Readers, Store as _};
use prost::Message as _;
use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_stream::StreamExt as _;

use super::*;
use crate::{
    lines::{Frames, StreamQueue},
    proof::KeyFile,
};

const STORE: StoreId = StoreId([7; 16]);

/// Returns terms by which a load may take away so much, and takes over nothing.
fn terms(removal: Removal) -> LoadTerms {
    LoadTerms { removal, may_leave: Quantity::Percent(10), take_over: false }
}

fn alice(verb: Verb) -> Asked {
    Asked::by(Asker::from_word("alice").unwrap(), verb)
}

fn recover(reply: oneshot::Sender<Reply>) -> Request {
    Request::Recover(alice(Verb::Recover), reply)
}

/// Returns the way out to a player, and its stream.
fn way_to(host: &str) -> (Outbox, Frames) {
    let (queue, frames) = StreamQueue::new();
    (Outbox::new(host, queue), frames)
}

/// A driver, and the other ends of its mailboxes.
struct Bench {
    disk: MemoryDisk,
    to: Handle,
    finish: Option<oneshot::Sender<()>>,
    driver: JoinHandle<Result<(), CommitError>>,
    fleet: watch::Receiver<Arc<Fleet>>,
    /// Where proof keys are made.
    _keys: TempDir,
}

impl Bench {
    fn new(disk: MemoryDisk) -> Bench {
        let (store, keys) = (disk.open(), TempDir::new().unwrap());
        let identity = store.identity();
        let reader = store.reader().unwrap();
        let settings = Settings { most_tasks: 1_000 };
        let engine =
            super::recover::recover(settings, identity, &*reader, &Arc::default(), None).unwrap();
        let (in_force, audit) = (reader.in_force().unwrap(), reader.audit_head().unwrap());
        let bundles = BundleRegister::restore(reader.bundles().unwrap());
        let remembered = Remembered { identity, in_force, audit, bundles };
        let writer = Writer::start(Box::new(store), KeyFile::new(keys.path())).unwrap();
        let (fleet_sender, fleet) = watch::channel(Arc::default());
        let (to, from, finish) = mailboxes();
        let inventory = Inventory::default();
        let proofs = Proofs::default();
        let clock = Clock::start();
        let driver = Driver::new(
            Engines { engine, services: Services::default() },
            clock,
            remembered,
            writer,
            proofs,
            fleet_sender,
            inventory,
        );
        let driver = tokio::spawn(driver.run(from));
        Bench { disk, to, finish: Some(finish), driver, fleet, _keys: keys }
    }

    /// Returns a bench with these players.
    async fn with(players: &str) -> Bench {
        let bench = Bench::new(MemoryDisk::new(STORE));
        bench.load(players).await.unwrap();
        bench
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Request) -> T {
        let (reply, answer) = oneshot::channel();
        assert!(self.to.requests.send(make(reply)).await.is_ok());
        answer.await.unwrap()
    }

    async fn load(&self, players: &str) -> Reply {
        self.load_with(players, "").await
    }

    /// Loads players with a file of deployments.
    async fn load_with(&self, players: &str, deployments: &str) -> Reply {
        self.load_removing(Removal::AtMost(0), players, deployments).await
    }

    /// Loads a fleet that may take away so much.
    async fn load_removing(&self, removal: Removal, players: &str, deployments: &str) -> Reply {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("players"), players).unwrap();
        if !deployments.is_empty() {
            let inside = directory.path().join("deployments.d");
            std::fs::create_dir(&inside).unwrap();
            std::fs::write(inside.join("web.yaml"), deployments).unwrap();
        }
        let fleet = Arc::new(Fleet::load(directory.path()).unwrap());
        let asked = Some(Asked::locally(Verb::Reload));
        let (terms, files) = (terms(removal), oneshot::channel().0);
        self.ask(|reply| Request::LoadFleet { fleet, terms, asked, files, reply }).await
    }

    /// Asks for a change.
    async fn change<T>(
        &self,
        verb: Verb,
        make: impl FnOnce(ReplyTo<T>) -> Input + Send + 'static,
    ) -> Reply {
        let make = Box::new(|id| make(ReplyTo::new(id)));
        let asked = alice(verb);
        self.ask(|reply| Request::Change { asked, make, reply }).await
    }

    async fn submit(&self, request: u8, targets: &str) -> Result<FlowId, Declined> {
        let name = JobName::new("web").unwrap();
        let job = JobSpec::new(name, ScoreName::new("hello").unwrap(), targets);
        let submission = Submission {
            request: RequestId([request; 16]),
            audience: Asker::from_word("alice").unwrap(),
            by_keeper: false,
            targets: vec![vec![HostSet::parse(targets, &NoGroups).unwrap()]],
            spec: FlowSpec::new(vec![SlotSpec { jobs: vec![job] }]),
            spec_bytes: Arc::from(&b"spec"[..]),
            trees: BTreeMap::new(),
            params: BTreeMap::new(),
            kept_params: BTreeMap::new(),
            retry_of: None,
            mac: Some(Mac([request; 16])),
            excess: Excess::Refused,
        };
        let make = move |reply| Input::FlowSubmitted { reply, submission: Box::new(submission) };
        match self.change(Verb::Submit, make).await? {
            Answer::Submitted(answer::Submitted { flow, .. }) => Ok(flow),
            other => panic!("{other:?}"),
        }
    }

    async fn submitted(&self, request: u8) -> Result<Option<FlowId>, Declined> {
        self.submitted_as(request, Vec::new()).await
    }

    /// Asks for the flow of a request, with which a submission of these macs comes now.
    async fn submitted_as(&self, request: u8, macs: Vec<Mac>) -> Result<Option<FlowId>, Declined> {
        let audience = Asker::from_word("alice").unwrap();
        let request = RequestId([request; 16]);
        self.ask(|reply| Request::Submitted { audience, request, macs, reply }).await
    }

    async fn cancel(&self, flow: FlowId) -> Result<FlowState, Declined> {
        let by = Asker::from_word("alice").unwrap();
        let make =
            move |reply| Input::CancelRequested { reply, flow, by, reason: None, abandon: false };
        match self.change(Verb::Cancel, make).await? {
            Answer::Cancelled(answer::Cancelled { state, .. }) => Ok(state),
            other => panic!("{other:?}"),
        }
    }

    async fn status(&self, flow: FlowId) -> Result<Option<FlowStatus>, Declined> {
        self.ask(|reply| Request::FlowStatus(flow, reply)).await
    }

    async fn health(&self) -> Health {
        self.ask(Request::Health).await.unwrap()
    }

    /// Attaches a player, and returns what it is sent.
    async fn attach(&self, host: &str, session: u64, silent: Option<u64>) -> (Attached, Frames) {
        let (outbox, frames) = way_to(host);
        let snapshot = PlayerSnapshot {
            spool: SpoolId([1; 16]),
            mark: orchestra_model::delivery::OrderNumber(0),
            term: Term(0),
            live: Vec::new(),
            settled: Vec::new(),
            evidence: None,
            max_tasks: 4,
            kill_grace: orchestra_model::Millis(0),
            scores: Default::default(),
            units: None,
            room: Default::default(),
        };
        let attach = Attach {
            host: HostName::new(host).unwrap(),
            session: SessionId(session),
            snapshot: Box::new(snapshot),
            version: String::new(),
            outbox,
            tells_attempt_logs: false,
            silent: silent.map(SessionId),
        };
        let (reply, answer) = oneshot::channel();
        self.to.sessions.send(FromSession::Attached(attach, reply)).await.unwrap();
        (answer.await.unwrap(), frames)
    }

    /// Has a player refuse the first order that it got.
    async fn refuse(&self, player: PlayerIx, session: u64, flow: FlowId) {
        let key = AttemptKey { store: STORE, job: JobId { flow, slot: 1, job: 1 }, attempt: 1 };
        let (order, refusal) = (orchestra_model::delivery::OrderNumber(1), Refusal::UnknownScore);
        let report = Box::new(Report::Refused { key, order, refusal });
        let (session, reports) = (SessionId(session), vec![*report]);
        let room = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let reported = FromSession::Reported { player, session, reports, units: Vec::new(), room };
        self.to.sessions.send(reported).await.unwrap();
    }

    async fn finish(mut self) -> Result<(), CommitError> {
        drop(self.finish.take());
        self.driver.await.unwrap()
    }
}

/// Reads what a player is sent until a command of this kind comes.
async fn told(frames: &mut Frames, is_it: impl Fn(&Kind) -> bool) {
    let has_it = |batch: v1::ToPlayers| {
        batch.frames.into_iter().any(|frame| match frame.frame {
            Some(v1::to_player::Frame::Command(bytes)) => {
                v1::Command::decode(bytes).unwrap().kind.is_some_and(|kind| is_it(&kind))
            }
            _ => false,
        })
    };
    while !has_it(frames.next().await.unwrap().unwrap()) {}
}

fn is_order(kind: &Kind) -> bool {
    matches!(kind, Kind::Order(_))
}

fn is_acknowledgement(kind: &Kind) -> bool {
    matches!(kind, Kind::Acknowledge(_))
}

/// Waits until `look` says yes. A paused clock jumps to what is due next.
async fn until(mut look: impl AsyncFnMut() -> bool) {
    while !look().await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_is_answered_is_on_disk() {
    let bench = Bench::with("db[1-3]\n").await;
    let flow = bench.submit(1, "db[1-3]").await.unwrap();
    let reader = bench.disk.open().reader().unwrap();
    assert_eq!(reader.live_flows().unwrap()[0].id, flow);
}

#[tokio::test(start_paused = true)]
async fn without_space_everybody_is_told_and_it_goes_on_later() {
    let bench = Bench::with("db[1-3]\n").await;
    let quiet = bench.submit(1, "db2").await.unwrap();
    bench.disk.fail_next(Fault::Full);
    let refused = bench.submit(2, "db1").await.unwrap_err();
    assert_eq!(refused.ground(), Ground::Held);
    assert_eq!(refused.message(), "held, not yet taken: no space");
    let since = bench.health().await.store_held_since;
    assert!(since.is_some());
    // A question for that request gets the same answer; for another request there is no flow.
    let held = bench.submitted(2).await.unwrap_err();
    assert_eq!(held.message(), "held, not yet taken: no space");
    let same = bench.submitted_as(2, vec![Mac([9; 16]), Mac([2; 16])]).await.unwrap_err();
    assert_eq!(same.message(), held.message());
    let other = bench.submitted_as(2, vec![Mac([9; 16])]).await.unwrap_err();
    assert!(other.message().contains("it is another submission"), "{other:?}");
    assert_eq!(bench.submitted(1).await.unwrap(), Some(quiet));
    assert_eq!(bench.submitted(7).await.unwrap(), None);
    // The paused clock stands still while tasks run, so the batch is not tried again meanwhile.
    assert!(bench.health().await.store_error.unwrap().contains("no space"));
    assert!(bench.status(quiet).await.unwrap().is_some());
    let unsure = bench.status(quiet.next()).await.unwrap_err();
    assert!(unsure.message().contains("is not on disk"), "{unsure:?}");
    let refused = bench.cancel(quiet).await.unwrap_err();
    assert!(refused.message().starts_with("nothing was changed"), "{refused:?}");
    assert!(bench.load("db1\n").await.is_err());
    assert!(bench.ask(recover).await.is_err());
    let (events, _kept) = mpsc::channel(1);
    let watch = bench
        .ask(|reply| Request::Watch(quiet.next(), Watcher { events, quiet: false }, reply))
        .await;
    assert_eq!(watch.unwrap_err().ground(), Ground::NotNow);

    until(async || bench.health().await.store_error.is_none()).await;
    assert_eq!(bench.health().await.store_held_since, None);
    assert_eq!(bench.submitted(2).await.unwrap(), Some(quiet.next()));
    assert_eq!(bench.submit(2, "db1").await.unwrap(), quiet.next());
    assert_eq!(bench.submit(3, "db1").await.unwrap(), quiet.next().next());
    assert_eq!(bench.cancel(quiet).await.unwrap(), FlowState::Cancelled);
    bench.finish().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_answer_without_space_is_true() {
    let bench = Bench::with("db[1-3]\n").await;
    let flow = bench.submit(1, "db2").await.unwrap();
    bench.disk.fail_next(Fault::Full);
    // All of these come before it is noticed that there is no space.
    let (submitted, cancelled, rejected, asked) = tokio::join!(
        bench.submit(2, "db1"),
        bench.cancel(flow),
        bench.cancel(FlowId(99)),
        bench.submitted(2)
    );
    for held in [submitted.unwrap_err(), cancelled.unwrap_err(), asked.unwrap_err()] {
        assert!(held.message().starts_with("held, not yet taken: no space"), "{held:?}");
    }
    let rejected = rejected.unwrap_err();
    assert!(rejected.message().starts_with("nothing was changed"), "{rejected:?}");
    until(async || bench.health().await.store_error.is_none()).await;
    assert!(bench.status(flow).await.unwrap().is_none(), "it was cancelled, and has ended");
    assert!(bench.submitted(2).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_recovery_that_waits_for_the_disk_is_told_that_it_is_full() {
    let bench = Bench::with("db1\n").await;
    let term = bench.health().await.term;
    bench.disk.fail_next(Fault::Full);
    let recover = async {
        // This comes after the submission, which is being written by then.
        tokio::task::yield_now().await;
        bench.ask(recover).await
    };
    let (submitted, recovered) = tokio::join!(bench.submit(1, "db1"), recover);
    assert_eq!(submitted.unwrap_err().ground(), Ground::Held);
    assert_eq!(recovered.unwrap_err().ground(), Ground::Unchanged);
    until(async || bench.health().await.store_error.is_none()).await;
    assert_eq!(bench.health().await.term, term);
}

#[tokio::test(start_paused = true)]
async fn a_roster_that_waits_for_space_is_put_in_force_whole() {
    let bench = Bench::with("db1\n").await;
    bench.disk.fail_next(Fault::Full);
    let answer = bench.load("db[1-2]\n").await.unwrap();
    assert!(matches!(answer, Answer::Loaded(answer::Loaded { players: 2, .. })), "{answer:?}");
    assert_eq!(bench.fleet.borrow().hosts().len(), 2);
}

const SEQUENCE: &str = "\
web:
  apps: {first: \"db1\", second: \"db2\"}
  envs: {cluster: {east: \"db[1-2]\"}}
  constraints: {cluster: {concurrency: {first: 1}, sequence: [[first, second]]}}
";

/// Each host is in both apps: a job that has both in one slot would wait for ever.
const CIRCLE: &str = "\
web:
  apps: {first: \"db[1-2]\", second: \"db[1-2]\"}
  envs: {cluster: {east: \"db[1-2]\"}}
  constraints: {cluster: {sequence: [[first, second]]}}
";

#[tokio::test]
async fn players_and_deployments_come_into_force_together_or_not_at_all() {
    let bench = Bench::with("db[1-3]\n").await;
    let in_force = async || {
        let health = bench.health().await;
        let fleet = bench.fleet.borrow();
        (health.players, health.deployments, health.cells, fleet.deployments().len())
    };
    bench.submit(1, "db[1-2]").await.unwrap();
    // Too many go, so the deployments do not come either.
    let refused = bench.load_with("db[1-2]\n", SEQUENCE).await.unwrap_err();
    assert!(refused.message().contains("lacks 1 of 3 players"), "{refused:?}");
    assert_eq!(in_force().await, (3, 0, 0, 0));
    // The deployments do not suit, so the new players do not come.
    let refused = bench.load_with("db[1-4]\n", CIRCLE).await.unwrap();
    let is_conflict = matches!(refused, Answer::Rejected(Rejection::ConflictsInFlow { .. }));
    assert!(is_conflict, "{refused:?}");
    assert_eq!(in_force().await, (3, 0, 0, 0));

    bench.load_with("db[1-4]\n", SEQUENCE).await.unwrap();
    assert_eq!(in_force().await, (4, 1, 2, 1));
    // Limits are lifted only if that is allowed, whether or not players are removed too.
    let refused = bench.load_with("db[1-3]\n", "").await.unwrap_err();
    assert!(refused.message().contains("lacks 1 of 4 players"), "{refused:?}");
    assert!(refused.message().contains("deployments.d is not there"), "{refused:?}");
    assert!(bench.load("db[1-4]\n").await.is_err());
    assert_eq!(in_force().await, (4, 1, 2, 1));
    bench.load_removing(Removal::Any, "db[1-4]\n", "").await.unwrap();
    assert_eq!(in_force().await, (4, 0, 0, 0));
}

#[tokio::test]
async fn a_store_that_failed_ends_the_driver() {
    let mut bench = Bench::with("db1\n").await;
    bench.disk.fail_next(Fault::Torn(0));
    let (reply, answer) = oneshot::channel();
    let by = Asker::from_word("alice").unwrap();
    let make = |reply| Input::CancelRequested {
        reply: ReplyTo::new(reply),
        flow: FlowId(1),
        by,
        reason: None,
        abandon: false,
    };
    let cancel = Request::Change { asked: alice(Verb::Cancel), make: Box::new(make), reply };
    let fleet = Arc::new(Fleet::default());
    let (lost_reply, lost_answer) = oneshot::channel();
    let load = Request::LoadFleet {
        fleet,
        terms: terms(Removal::AtMost(1)),
        asked: None,
        files: oneshot::channel().0,
        reply: lost_reply,
    };
    assert!(bench.to.requests.send(load).await.is_ok());
    let lost = (&mut bench.driver).await.unwrap();
    // Nobody gets an answer that is not true.
    assert!(lost_answer.await.is_err());
    assert!(matches!(lost, Err(CommitError::Broken(_))), "{lost:?}");
    assert!(bench.to.requests.send(cancel).await.is_err());
    assert!(answer.await.is_err());
}

#[tokio::test]
async fn it_ends_with_everything_on_disk_though_others_still_hold_it() {
    let bench = Bench::with("db1\n").await;
    let (disk, to) = (bench.disk.clone(), bench.to.clone());
    let (_, frames) = bench.attach("db1", 1, None).await;
    let flow = bench.submit(1, "db1").await.unwrap();
    let player = bench.ask(|reply| {
        let hosts = vec![HostName::new("db1").unwrap()];
        Request::Players { hosts, scores: false, reply }
    });
    assert!(player.await.unwrap()[0].attached);
    let key = AttemptKey { store: STORE, job: JobId { flow, slot: 1, job: 1 }, attempt: 1 };
    let order = orchestra_model::delivery::OrderNumber(1);
    let room = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    let refusal = Refusal::UnknownScore;
    let report = Box::new(Report::Refused { key, order, refusal });
    let Attached::Welcome(player, _) = bench.attach("db1", 2, Some(1)).await.0 else { panic!() };
    let session = SessionId(2);
    let reports = vec![*report];
    let reported = FromSession::Reported { player, session, reports, units: Vec::new(), room };
    to.sessions.send(reported).await.unwrap();
    bench.finish().await.unwrap();
    let task = disk.open().reader().unwrap().tasks(key.job, None, 1).unwrap().remove(0);
    assert_eq!(task.state, TaskState::Refused);
    assert!(to.sessions.is_closed() && to.requests.is_closed());
    drop(frames);
}

#[tokio::test]
async fn an_acknowledgement_waits_for_company_and_goes_by_itself_if_none_comes() {
    let bench = Bench::with("db1\n").await;
    let (Attached::Welcome(player, _), mut frames) = bench.attach("db1", 1, None).await else {
        panic!()
    };
    let flow = bench.submit(1, "db1").await.unwrap();
    told(&mut frames, is_order).await;
    let reported = Instant::now();
    bench.refuse(player, 1, flow).await;
    told(&mut frames, is_acknowledgement).await;
    assert!(reported.elapsed() >= Duration::from_secs(1), "{:?}", reported.elapsed());
}

#[tokio::test]
async fn acknowledgements_that_wait_are_sent_when_it_ends() {
    let bench = Bench::with("db1\n").await;
    let (Attached::Welcome(player, _), mut frames) = bench.attach("db1", 1, None).await else {
        panic!()
    };
    let flow = bench.submit(1, "db1").await.unwrap();
    told(&mut frames, is_order).await;
    bench.refuse(player, 1, flow).await;
    let (finished, ()) = tokio::join!(bench.finish(), told(&mut frames, is_acknowledgement));
    finished.unwrap();
}

#[tokio::test]
async fn only_the_session_that_was_asked_is_superseded() {
    let bench = Bench::with("db1\n").await;
    let (first, _frames) = bench.attach("db1", 1, None).await;
    assert!(matches!(first, Attached::Welcome(..)));
    let (second, _frames) = bench.attach("db1", 2, None).await;
    assert!(matches!(second, Attached::Occupied { by: SessionId(1), .. }), "{second:?}");
    let (third, _kept) = bench.attach("db1", 3, Some(1)).await;
    assert!(matches!(third, Attached::Welcome(..)), "{third:?}");
    // It had asked the first session, which is not the present one.
    let (fourth, _frames) = bench.attach("db1", 4, Some(1)).await;
    assert!(matches!(fourth, Attached::Occupied { by: SessionId(3), .. }), "{fourth:?}");
    drop(_kept);
    let (fifth, _frames) = bench.attach("db1", 5, None).await;
    assert!(matches!(fifth, Attached::Welcome(..)), "its connection is gone: {fifth:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_why_is_told_as_of_now() {
    let bench = Bench::with("db1\n").await;
    let (Attached::Welcome(player, _), _frames) = bench.attach("db1", 1, None).await else {
        panic!()
    };
    let gone = FromSession::Detached { player, session: SessionId(1) };
    bench.to.sessions.send(gone).await.unwrap();
    let flow = bench.submit(1, "db1").await.unwrap();
    let since = async || {
        let why = bench.ask(|reply| Request::Explain { flow, job: None, host: None, reply }).await;
        let text = why.unwrap().unwrap().remove(0).text.to_string();
        let since = text.strip_prefix("not attached, the last one since ").unwrap();
        let (since, _) = since.split_once(" ago;").unwrap();
        let since: orchestra_model::Millis = since.parse().unwrap();
        since.to_std()
    };
    // While the disk is waited for, the clock jumps.
    bench.ask(Request::Settle).await.unwrap();
    let before = since().await;
    tokio::time::advance(Duration::from_secs(7)).await;
    assert_eq!(since().await - before, Duration::from_secs(7));
}

#[tokio::test]
async fn a_newcomer_that_left_is_not_attached() {
    let bench = Bench::with("db1\n").await;
    let (outbox, _frames) = way_to("db1");
    let (attached, frames) = bench.attach("db1", 1, None).await;
    drop((attached, frames, outbox));
    // Once more, and nobody awaits the answer.
    let (outbox, _frames) = way_to("db1");
    let snapshot = PlayerSnapshot {
        spool: SpoolId([1; 16]),
        mark: orchestra_model::delivery::OrderNumber(0),
        term: Term(0),
        live: Vec::new(),
        settled: Vec::new(),
        evidence: None,
        max_tasks: 1,
        kill_grace: orchestra_model::Millis(0),
        scores: Default::default(),
        units: None,
        room: Default::default(),
    };
    let attach = Attach {
        host: HostName::new("db1").unwrap(),
        session: SessionId(2),
        snapshot: Box::new(snapshot),
        version: String::new(),
        outbox,
        tells_attempt_logs: false,
        silent: None,
    };
    let message = FromSession::Attached(attach, oneshot::channel().0);
    bench.to.sessions.send(message).await.unwrap();
    until(async || bench.health().await.attached == 0).await;
}

#[tokio::test]
async fn raising_the_term_waits_for_nothing() {
    let bench = Bench::with("db1\n").await;
    let term = bench.health().await.term;
    let (one, two) = tokio::join!(bench.ask(recover), bench.ask(recover));
    assert!(matches!(one, Ok(Answer::Recovered(answer::Recovered { .. }))), "{one:?}");
    assert_eq!(two.unwrap_err().message(), "a recovery is under way");
    assert_eq!(bench.health().await.term, Term(term.0 + 1));
}

#[tokio::test(start_paused = true)]
async fn who_did_what_is_on_disk_with_what_was_done() {
    let bench = Bench::with("db[1-3]\n").await;
    let flow = bench.submit(1, "db2").await.unwrap();
    // One submission is known already and one is rejected, so nothing was done.
    assert_eq!(bench.submit(1, "db2").await.unwrap(), flow);
    let by = Asker::from_word("alice").unwrap();
    let make = |reply| Input::CancelRequested {
        reply,
        flow: FlowId(99),
        by,
        reason: None,
        abandon: false,
    };
    let rejected = bench.change(Verb::Cancel, make).await.unwrap();
    assert!(matches!(rejected, Answer::Rejected(_)), "{rejected:?}");
    bench.cancel(flow).await.unwrap();
    let lines = |bench: &Bench| {
        let lines = Readers::open(&bench.disk).unwrap().audit_after(0, 9).unwrap().into_iter();
        lines.map(|line| {
            let AuditEntry { by, deed, on, .. } = line.entry;
            (line.number, by.to_string(), deed, on)
        })
    };
    let on = || Object::Flow(flow);
    let (keeper, local) = (|| Asker::Keeper.to_string(), || Asker::Local.to_string());
    let happened = Deed::Happened;
    let expected = [
        (1, keeper(), happened(Happening::ConductorStarted), Object::Conductor),
        (2, local(), happened(Happening::Configured), Object::File("players".into())),
        (3, local(), Deed::Done(Verb::Reload), Object::Conductor),
        (4, "alice".to_owned(), Deed::Done(Verb::Submit), on()),
        (5, "alice".to_owned(), Deed::Done(Verb::Cancel), on()),
        (6, keeper(), happened(Happening::Verdict), on()),
        (7, keeper(), happened(Happening::FlowEnded), on()),
    ];
    assert!(lines(&bench).eq(expected.clone()), "{:?}", lines(&bench).collect::<Vec<_>>());
    // The audit line is written together with the change, or not at all.
    bench.disk.fail_next(Fault::Full);
    bench.submit(2, "db1").await.unwrap_err();
    assert!(lines(&bench).eq(expected));
    assert!(Readers::open(&bench.disk).unwrap().flow(flow.next()).unwrap().is_none());
    until(async || bench.health().await.store_error.is_none()).await;
    assert!(Readers::open(&bench.disk).unwrap().flow(flow.next()).unwrap().is_some());
    assert_eq!(Readers::open(&bench.disk).unwrap().audit_head().unwrap().number, 8);
}
