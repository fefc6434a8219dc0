//! What is written is what would have been, and so is what a crash leaves of it.

use std::collections::BTreeMap;

use orchestra_model::{
    FlowId, Timestamp,
    delivery::{EndBytes, OrderNumber, SpoolId},
    record::{EndRecord, HoldRecord, Impact},
};

use super::*;

const HOSTS: [&str; 2] = ["db1", "db2"];

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn job(job: u16) -> JobId {
    JobId { flow: FlowId(1), slot: 1, job }
}

fn player(name: &str, last_order: u64) -> PlayerRecord {
    let (spool, last_order) = (Some(SpoolId([1; 16])), OrderNumber(last_order));
    let host = host(name);
    PlayerRecord { host, spool, last_order, detached_at: None, removed: false, drained: None }
}

/// Sent by this order, as its attempt of the same number.
fn task(n: u16, name: &str, order: u64) -> TaskRecord {
    TaskRecord {
        job: job(n),
        index: 0,
        host: host(name),
        state: TaskState::Sent,
        attempt: u32::try_from(order).unwrap(),
        retries: 0,
        order: OrderNumber(order),
        sent_at: Some(Timestamp(order)),
        started_at: None,
        ended_at: None,
        impact: Impact::Holds,
        before: None,
        exit: None,
        signal: None,
        detail: None,
        time_limit: None,
        change: 0,
        parent: None,
    }
}

fn started(sent: &TaskRecord) -> TaskRecord {
    TaskRecord { started_at: Some(Timestamp(7)), ..sent.clone() }
}

fn ended(started: &TaskRecord, state: TaskState) -> TaskRecord {
    TaskRecord { state, ended_at: Some(Timestamp(8)), ..started.clone() }
}

fn end(task: &TaskRecord) -> Op {
    let (job, host, attempt) = (task.job, task.host.clone(), task.attempt);
    let end = EndBytes::new(*b"end").unwrap();
    Op::Put(Record::End(EndRecord { job, host, attempt, late: false, end }))
}

fn hold(task: &TaskRecord) -> Op {
    let (job, host, order) = (task.job, task.host.clone(), task.order);
    let (state, since) = (TaskState::Failed, Timestamp(1));
    Op::Put(Record::Hold(HoldRecord { host, job, order, state, since }))
}

fn of_player(record: &PlayerRecord) -> Op {
    Op::Put(Record::Player(record.clone()))
}

fn of_task(record: &TaskRecord) -> Op {
    Op::Put(Record::Task(record.clone()))
}

fn batch(ops: &[Op]) -> Vec<Op> {
    let mut batch = Batch::default();
    ops.iter().for_each(|op| batch.push(op.clone()));
    let bytes = batch.bytes();
    let ops = batch.into_ops();
    assert_eq!(bytes, ops.iter().map(weight).sum::<usize>());
    ops
}

#[test]
fn a_start_is_left_out_and_what_is_known_since_stays_behind_what_has_to_be_there_before() {
    let started = started(&task(1, "db1", 5));
    let failed = ended(&started, TaskState::Failed);
    let rest = [end(&failed), hold(&failed), of_task(&failed)];
    let all: Vec<Op> = [of_task(&started)].into_iter().chain(rest.clone()).collect();
    assert_eq!(batch(&all), rest);
}

#[test]
fn starts_of_other_attempts_and_whatever_is_more_than_a_start_stay() {
    let sent = task(1, "db1", 5);
    let again = task(1, "db1", 6);
    let waits = TaskRecord { state: TaskState::Waiting, ..sent.clone() };
    let other = task(2, "db1", 5);
    let cases = [
        [of_task(&started(&sent)), of_task(&again)],
        [of_task(&sent), of_task(&started(&sent))],
        [of_task(&waits), of_task(&ended(&sent, TaskState::Ok))],
        [of_task(&started(&sent)), of_task(&ended(&other, TaskState::Ok))],
        [of_task(&ended(&sent, TaskState::Lost)), of_task(&ended(&sent, TaskState::Lost))],
    ];
    for case in cases {
        assert_eq!(batch(&case), case);
    }
}

#[test]
fn orders_of_one_player_are_numbered_before_the_first_of_them() {
    let tasks: Vec<Op> = (1..4).map(|n| of_task(&task(n, "db1", u64::from(n)))).collect();
    let rows = (1..4).zip(&tasks).flat_map(|(n, task)| {
        let other = [of_player(&player("db2", n)), of_task(&self::task(9, "db2", n))];
        [of_player(&player("db1", n)), task.clone()].into_iter().chain(other)
    });
    let rows: Vec<Op> = rows.collect();
    let joined = batch(&rows);
    assert_eq!(joined.len(), 8);
    assert_eq!(joined[0], of_player(&player("db1", 3)));
    assert_eq!(joined[2], of_player(&player("db2", 3)));
}

#[test]
fn a_player_that_changed_otherwise_stays_where_it_is() {
    let (first, lost) = (task(1, "db1", 5), ended(&task(1, "db1", 5), TaskState::Lost));
    let moved = |order| PlayerRecord { spool: Some(SpoolId([2; 16])), ..player("db1", order) };
    let gone = PlayerRecord { detached_at: Some(Timestamp(3)), ..player("db1", 5) };
    let next = |order| of_task(&task(2, "db1", order));
    let begin = [of_player(&player("db1", 5)), of_task(&first)];
    let cases = [
        // Of another spool, behind what was lost with the older one.
        vec![of_task(&lost), of_player(&moved(6)), next(6)],
        // Away and back: the number is the same, and neither may be forgotten.
        vec![of_player(&gone), of_player(&player("db1", 5))],
        // Numbers that a recovery left out, behind what may have run in the forgotten time.
        vec![of_task(&lost), of_player(&player("db1", 6))],
        vec![of_task(&lost), of_player(&player("db1", 70)), next(70)],
        // Of a task that was sent before.
        vec![of_player(&player("db1", 6)), of_task(&started(&task(2, "db1", 6)))],
    ];
    for case in cases {
        let all: Vec<Op> = begin.iter().cloned().chain(case).collect();
        assert_eq!(batch(&all), all);
    }
}

/// A store, as far as it goes here.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rows {
    players: BTreeMap<HostName, PlayerRecord>,
    tasks: BTreeMap<JobId, TaskRecord>,
    ends: BTreeMap<(JobId, u32), EndRecord>,
    holds: BTreeMap<HostName, HoldRecord>,
}

impl Rows {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Put(Record::Player(row)) => drop(self.players.insert(row.host.clone(), row)),
            Op::Put(Record::Task(row)) => drop(self.tasks.insert(row.job, row)),
            Op::Put(Record::Hold(row)) => drop(self.holds.insert(row.host.clone(), row)),
            Op::Put(Record::End(row)) => {
                self.ends.entry((row.job, row.attempt)).or_insert(row);
            }
            Op::Release(host) => drop(self.holds.remove(&host)),
            other => panic!("{other:?}"),
        }
    }

    /// What recovery relies on, whatever a crash has left.
    fn check(&self) {
        for task in self.tasks.values().filter(|task| task.attempt > 0) {
            let player = &self.players[&task.host];
            assert!(task.order <= player.last_order, "{task:?} has a number that is given again");
            if task.state == TaskState::Sent {
                // The spool that was asked: its number is in the time that it was sent.
                let spool = SpoolId([u8::try_from(task.sent_at.unwrap().0).unwrap(); 16]);
                assert_eq!(player.spool, Some(spool), "{task:?} was lost with another spool");
            }
            if task.state == TaskState::Failed {
                let hold = self.holds.get(&task.host).map(|hold| hold.order);
                let is_later =
                    |end: &EndRecord| end.host == task.host && end.attempt > task.attempt;
                let is_down = hold >= Some(task.order) || self.ends.values().any(is_later);
                assert!(is_down, "{task:?} left its host down");
            }
            let is_told = matches!(task.state, TaskState::Failed | TaskState::Ok);
            assert!(!is_told || self.ends.contains_key(&(task.job, task.attempt)), "{task:?}");
        }
    }
}

/// An engine, as far as it goes here: one task at a time on each player.
struct Past {
    chance: u64,
    rows: Rows,
    ops: Vec<Op>,
    next_job: u16,
}

impl Past {
    fn new(seed: u64) -> Self {
        let mut past = Self {
            chance: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            rows: Rows::default(),
            ops: Vec::new(),
            next_job: 1,
        };
        for name in HOSTS {
            past.rows.apply(of_player(&player(name, 0)));
        }
        past
    }

    fn below(&mut self, n: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % n
    }

    fn decide(&mut self, op: Op) {
        self.rows.apply(op.clone());
        self.ops.push(op);
    }

    fn step(&mut self) {
        let name = host(HOSTS[usize::try_from(self.below(2)).unwrap()]);
        let mut player = self.rows.players[&name].clone();
        let in_flight = |task: &&TaskRecord| task.host == name && task.state == TaskState::Sent;
        let flying = self.rows.tasks.values().find(in_flight).cloned();
        match (flying, self.below(8)) {
            (Some(task), 0) => {
                // Its spool is another one: what was there is lost.
                player.spool = player.spool.map(|spool| SpoolId([spool.0[0] + 1; 16]));
                self.decide(of_task(&ended(&task, TaskState::Lost)));
                self.decide(of_player(&player));
            }
            (None, 0) => {
                player.detached_at = player.detached_at.xor(Some(Timestamp(9)));
                self.decide(of_player(&player));
            }
            (Some(task), 1 | 2) => {
                self.decide(end(&task));
                self.decide(hold(&task));
                self.decide(of_task(&ended(&task, TaskState::Failed)));
            }
            (Some(task), 3..=5) => {
                self.decide(end(&task));
                self.decide(Op::Release(name));
                self.decide(of_task(&ended(&task, TaskState::Ok)));
            }
            (Some(task), _) => self.decide(of_task(&started(&task))),
            (None, _) => {
                player.last_order = player.last_order.next();
                let mut task = task(self.next_job, name.as_str(), player.last_order.0);
                task.sent_at = player.spool.map(|spool| Timestamp(spool.0[0].into()));
                self.next_job += 1;
                self.decide(of_player(&player));
                self.decide(of_task(&task));
            }
        }
    }
}

#[test]
fn whatever_a_crash_leaves_of_a_batch_can_be_recovered_from_and_the_whole_is_the_same() {
    let mut saved = 0;
    for seed in 1..200 {
        let mut past = Past::new(seed);
        (0..past.below(6)).for_each(|_| past.step());
        past.rows.check();
        let before = past.rows.clone();
        past.ops.clear();
        (0..40).for_each(|_| past.step());
        let ops = batch(&past.ops);
        saved += past.ops.len() - ops.len();
        let mut rows = before;
        for op in ops {
            rows.apply(op);
            rows.check();
        }
        assert_eq!(rows, past.rows, "seed {seed}");
    }
    assert!(saved > 1_000, "{saved}");
}
