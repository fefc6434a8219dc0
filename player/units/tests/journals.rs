//! What the units' file reads, cuts and refuses. The frames around the entries are the spool's too, and
//! tested with it.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod common;

use common::*;
use orchestra_model::{
    ByteSize, Millis, ScoreName, Timestamp,
    delivery::{OrderNumber, SpoolId},
    service::{
        Exhausted, HealthRule, HttpPath, PortName, PortRule, Probe, ProcessRule, ReadySign,
        ReloadRule, RestartRule, RestartWhen, RunEnd, SocketName, Target, Umask, Wanted,
    },
};
use orchestra_units::{
    Ending, Entry, RecentRestarts, Run, RunEvent, Signals, Stage, State, Status, Tombstone, Turns,
    Unhealthy, UnitFailure, Watch, WatchEnd, journal, journal::InvalidJournal,
};

const EMPTY: SpoolId = SpoolId([9; 16]);

/// A life with every kind of entry in it, and where each of its batches begins.
fn life() -> (Rig, Vec<usize>) {
    let rule =
        RestartRule { attempts: Some(2), when: RestartWhen::OnFailure, ..Default::default() };
    let mut rig = Rig::new();
    let mut starts = vec![rig.disk.len()];
    let mut mark = |rig: &Rig| starts.push(rig.disk.len());
    rig.order(with_restart(1, rule));
    mark(&rig);
    rig.spawned();
    mark(&rig);
    rig.told(RunEvent::WatchdogSet(Millis(70_000)));
    mark(&rig);
    rig.told(RunEvent::Extended(Millis(5)));
    mark(&rig);
    rig.ends(RunEnd::Exited(7));
    rig.spawned();
    rig.told(RunEvent::StoppingTold);
    mark(&rig);
    let path = HttpPath::new("/up").unwrap();
    let probe = Probe::Http(Target::Unix(SocketName::new("web.sock").unwrap()), path);
    let mut signalled = order(2, Wanted::Signalled(10));
    signalled.unit.upkeep.reload = Some(ReloadRule { signal: 1 });
    let port = PortRule { number: 8_000, by_ordinal: true };
    signalled.unit.upkeep.ports = [(PortName::new("http").unwrap(), port)].into_iter().collect();
    signalled.unit.upkeep.process = ProcessRule {
        nofile: Some(4_096),
        nice: Some(-20),
        oom_score_adj: Some(-1_000),
        umask: Umask::new(0o27),
        state_dir: true,
    };
    let mut probed = with_ready(3, ReadySign::Probe(probe.clone()));
    probed.unit.upkeep.health = Some(HealthRule::new(probe));
    rig.order(signalled);
    mark(&rig);
    rig.order(probed);
    mark(&rig);
    let check = Probe::Score(ScoreName::new("check-web").unwrap());
    let mut checked = with_ready(4, ReadySign::Probe(check.clone()));
    checked.unit.upkeep.health = Some(HealthRule::new(check));
    rig.order(checked);
    mark(&rig);
    let mut secret = with_ready(5, ReadySign::Fd(4));
    secret.keep_params = false;
    rig.order(secret);
    rig.settle(1);
    mark(&rig);
    rig.order(order(6, Wanted::Gone));
    rig.ends(RunEnd::Signalled(15));
    mark(&rig);
    rig.order(order(7, Wanted::Restarted));
    mark(&rig);
    starts.retain(|start| *start < rig.disk.len());
    (rig, starts)
}

#[test]
fn every_prefix_replays_to_a_whole_number_of_batches() {
    let (rig, starts) = life();
    let base = starts[0];
    assert_eq!(journal::replay(&rig.disk).unwrap().state, *rig.units.state());
    for len in base..rig.disk.len() {
        let replayed = journal::replay(&rig.disk[..len]).unwrap();
        replayed.state.audit().unwrap();
        assert!(replayed.valid_len <= len as u64 && replayed.valid_len >= base as u64);
        assert_eq!(replayed.torn, replayed.valid_len < len as u64);
        if starts.contains(&len) {
            assert!(!replayed.torn);
        }
    }
    for len in 0..base {
        assert!(journal::replay(&rig.disk[..len]).is_err(), "base and header are never torn");
    }
}

#[test]
fn a_changed_byte_before_the_last_batch_is_damage() {
    let (mut rig, _) = life();
    let last = rig.disk.len();
    rig.spawned();
    for at in 0..rig.disk.len() {
        let mut bytes = rig.disk.clone();
        bytes[at] ^= 0x40;
        let replayed = journal::replay(&bytes);
        if at < last {
            assert!(replayed.is_err(), "{at}");
        } else {
            let replayed = replayed.unwrap();
            assert_eq!((replayed.valid_len, replayed.torn), (last as u64, true));
        }
    }
}

#[test]
fn a_compacted_journal_is_the_same_state_in_fewer_bytes() {
    let (mut rig, _) = life();
    for run in 0..200 {
        rig.spawned();
        rig.pass(20_000);
        rig.ends(RunEnd::Exited(run));
    }
    let compacted = journal::compacted(rig.units.state());
    let replayed = journal::replay(&compacted).unwrap();
    assert_eq!((replayed.torn, &replayed.state), (false, rig.units.state()));
    assert!(compacted.len() < rig.disk.len() / 20);
    assert!(!journal::should_compact(rig.units.state(), rig.disk.len() as u64), "not worth it");
    assert!(journal::should_compact(rig.units.state(), 1 << 20));
}

#[test]
fn every_status_and_every_end_of_a_watch_reads_as_it_was_written() {
    let ends = [
        RunEnd::Exited(-1),
        RunEnd::Signalled(9),
        RunEnd::OutOfMemory(Exhausted::default()),
        RunEnd::OutOfMemory(Exhausted { limit: None, peak: Some(ByteSize(3)) }),
        RunEnd::NeverReady,
        RunEnd::Watchdog,
        RunEnd::Asked,
        RunEnd::NotSpawned("no such user".to_owned()),
        RunEnd::HostRestarted,
        RunEnd::Unknown,
        RunEnd::Linked,
        RunEnd::LeaseRanOut,
    ];
    let run = |cause: RunEnd| Run {
        of: OrderNumber(1),
        beside: Some(OrderNumber(4)),
        stop: orchestra_model::service::StopRule::default(),
        begun: 5,
        process: Some(process(run_id(1), BOOT, 5)),
        score: Some(SCORE),
        up: Some(6),
        ready: Some(7),
        unhealthy: Some(Unhealthy { since: 8, why: "HTTP 503".to_owned() }),
        extended: Some(u64::MAX),
        watchdog: Some(Millis(9)),
        stopping: Some(10),
        signals: Signals::from_bits(1 << 1 | 1 << 28).unwrap(),
        signalled: Some(12),
        ending: Some(Ending { cause, at: 11 }),
    };
    for end in ends {
        let stages = [
            Stage::Running(Box::new(run(end.clone()))),
            Stage::Waiting { until: 9 },
            Stage::Stopped,
            Stage::Ended,
            Stage::GaveUp,
        ];
        let watches = [
            WatchEnd::Ready,
            WatchEnd::TimedOut,
            WatchEnd::Cancelled,
            WatchEnd::Superseded,
            WatchEnd::Unwritten("full".to_owned()),
            WatchEnd::Failed { failure: UnitFailure::GaveUp, cause: end.clone() },
            WatchEnd::Failed { failure: UnitFailure::Ended, cause: end.clone() },
            WatchEnd::Failed { failure: UnitFailure::OutOfMemory, cause: end.clone() },
        ];
        for (stage, watch_end) in stages.iter().cycle().zip(watches) {
            let status = Status {
                last: run_id(1),
                ahead: stage == &Stage::Ended || stage == &Stage::GaveUp,
                stage: stage.clone(),
                since: Timestamp(3),
                waits: 4,
                changed: OrderNumber(6),
                restarts: 5,
                recent: RecentRestarts::default(),
                turns: Turns::from_moments([5, 6, 6, 7], 9).unwrap(),
                last_end: Some(end.clone()),
            };
            reads_back(&status, &watch_end);
        }
    }
}

fn reads_back(status: &Status, end: &WatchEnd) {
    let mut bytes = journal::compacted(&State::new(EMPTY));
    let at = bytes.len() as u64;
    let asked = std::sync::Arc::new(running(1).unit);
    let watch = |end| Watch { unit: key(), order: OrderNumber(1), accepted: 1, end };
    let entries = [
        Entry::Passed { at: 50 },
        Entry::Ordered {
            unit: key(),
            order: OrderNumber(1),
            attempt: attempt(1),
            asked: asked.clone(),
            keeps_params: true,
        },
        Entry::Status { unit: key(), status: Box::new(status.clone()) },
        Entry::Watch { key: attempt(1), watch: watch(Some(end.clone())) },
    ];
    bytes.extend(journal::frame(at, &entries));
    let state = journal::replay(&bytes).unwrap().state;
    assert_eq!(state.units()[&key()].status, *status);
    assert_eq!(state.units()[&key()].asked, asked);
    assert_eq!(state.watches()[&attempt(1)], watch(Some(end.clone())));
}

#[test]
fn a_file_that_is_something_else_is_told_apart() {
    assert_eq!(journal::replay(b""), Err(InvalidJournal::NotAJournal));
    let mut bytes = Rig::new().disk;
    bytes[..8].copy_from_slice(b"ORCSPOOL");
    assert_eq!(journal::replay(&bytes), Err(InvalidJournal::NotAJournal));
    let mut bytes = Rig::new().disk;
    bytes[8] = 2;
    assert_eq!(journal::replay(&bytes), Err(InvalidJournal::Version(2)));
}

#[test]
fn an_entry_that_cannot_follow_is_refused() {
    let tombstone =
        Tombstone { order: OrderNumber(1), attempt: attempt(1), last: Default::default() };
    let gone = Entry::Forgotten { unit: key(), tombstone };
    for entries in [
        vec![Entry::Passed { at: 0 }],
        vec![Entry::WatchForgotten { key: attempt(1) }],
        vec![gone.clone(), gone],
    ] {
        let mut bytes = Rig::new().disk;
        let at = bytes.len() as u64;
        bytes.extend(journal::frame(at, &entries));
        let error = journal::replay(&bytes).unwrap_err();
        assert!(matches!(error, InvalidJournal::Contradiction { offset, .. } if offset == at));
    }
}
