//! The simulation: the real engine, the real store logic and the real spool logic in a pretended
//! world of disks, connections, players, operators and clocks, where everything goes wrong that
//! can. One seed chooses everything.
//!
//! See README.md beside this file: which check guards which promise, and how to replay a failure.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod chance;
mod leases;
mod reference;
mod run;
mod script;
mod world;

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use orchestra_model::{FlowState, TaskState, WaitReason};

use world::Told;

/// Seeds of an ordinary `make test`.
const SEEDS: u64 = 1_000;

/// As many as `SEEDS` says, from `FROM` on; or the one that `SEED` says.
#[test]
fn whatever_happens_the_promises_hold() {
    let asked = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (from, until) = match asked("SEED") {
        Some(seed) => (seed, seed + 1),
        None => {
            let from = asked("FROM").unwrap_or(0);
            (from, from + asked("SEEDS").unwrap_or(SEEDS))
        }
    };
    let next = AtomicU64::new(from);
    let failed: Mutex<Vec<(u64, String)>> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= until || failed.lock().unwrap().len() >= most_failures() {
                return;
            }
            if let Err(report) = run::seed(seed) {
                failed.lock().unwrap().push((seed, report));
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    for (_, report) in &failed {
        eprintln!("{report}");
    }
    let seeds: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
    assert!(seeds.is_empty(), "seeds {seeds:?} fail");
}

/// How many failing seeds are looked for: one says enough, unless somebody asks for more.
fn most_failures() -> usize {
    std::env::var("FAILURES").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..8 {
        let (once, again) = (run::trace_of(seed), run::trace_of(seed));
        let differs = once.iter().zip(&again).find(|(once, again)| once != again);
        assert!(differs.is_none() && once.len() == again.len(), "seed {seed}: {differs:?}");
    }
}

/// The world is bad enough: there is no state and no reason that is not met in it.
#[test]
fn everything_that_can_be_told_is_told_somewhere() {
    let mut told: BTreeSet<Told> = BTreeSet::new();
    (0..150).for_each(|seed| told.extend(run::told_in(seed)));
    let tasks = TaskState::ALL.iter().copied().map(Told::Task);
    let flows = FlowState::ALL.iter().copied().map(Told::Flow);
    let reasons = WaitReason::ALL.iter().copied().map(Told::Reason);
    let missing: Vec<Told> =
        tasks.chain(flows).chain(reasons).filter(|word| !told.contains(word)).collect();
    // That a task runs is not on record.
    let never = [Told::Task(TaskState::Running)];
    assert_eq!(missing, never, "of {told:?}");
}
