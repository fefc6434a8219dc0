//! What Cerebro's own tests expect of a task, where a unit is to do the same: `docs/cerebro.md` has all
//! of it, with what is different here.

use std::fs;

use orchestra_model::{
    ByteSize, Millis,
    service::{
        LogQuery, LogRuns, LogStream, MilliCores, Resources, RestartRule, RestartWhen, RunEnd,
        RunNumber, UnitState, Upkeep,
    },
};

use super::{
    Asked, RECORD, ask,
    health::told,
    limits::{EATS, LITTLE, can_limit},
    record,
};
use crate::{
    Test,
    logs::{ALL, read},
    world::{World, eventually},
};

pub(crate) const TESTS: &[Test] = &[
    ("two_restarts_are_three_runs_with_an_output_each", two_restarts_are_three_runs),
    ("seventy_one_restarts_are_seventy_two_runs", seventy_one_restarts),
    ("a_run_is_followed_after_it_broke_a_limit_too", after_it_broke_a_limit_too),
    ("what_stays_within_its_limits_ends_well", what_stays_within_its_limits_ends_well),
];

/// So many restarts at once, and then it gives up.
fn restarts(attempts: u32) -> RestartRule {
    RestartRule { attempts: Some(attempts), max_delay: Millis(5), ..RestartRule::default() }
}

/// A unit that gave up: its runs, and why the order for it failed.
fn gives_up(world: &World, upkeep: Upkeep) -> (usize, String) {
    let patient = Asked { upkeep, healthy_for: Millis::minutes(5), ..Asked::default() };
    let patient = Asked { deadline: Millis::minutes(10), ..patient };
    let end = world.ended(ask(world, &patient));
    told(world, UnitState::GaveUp);
    (record(world).len(), end.response["cause"].clone())
}

fn two_restarts_are_three_runs() {
    let world = World::new();
    world.score("web", &format!("{RECORD}\necho out $ORC_RUN; echo err $ORC_RUN >&2; exit 0"));
    world.start();
    let upkeep = Upkeep { restart: restarts(2), ..Upkeep::default() };
    assert_eq!(gives_up(&world, upkeep), (3, "exited 0".to_owned()));
    let mut reading = 0;
    for (stream, name) in [(LogStream::Stdout, "out"), (LogStream::Stderr, "err")] {
        for run in 1..=3 {
            let query = LogQuery { stream, runs: LogRuns::Number(RunNumber(run)), ..ALL };
            eventually("what a run wrote", || {
                reading += 1;
                (read(&world, reading, query.clone()) == format!("{name} {run}\n")).then_some(())
            });
        }
    }
}

fn seventy_one_restarts() {
    let world = World::new();
    world.score("web", &format!("{RECORD}\nexit 3"));
    world.start();
    let upkeep = Upkeep { restart: restarts(71), ..Upkeep::default() };
    assert_eq!(gives_up(&world, upkeep), (72, "exited 3".to_owned()));
}

/// A grandchild's need of memory is the run's.
fn after_it_broke_a_limit_too() {
    if !can_limit("memory") {
        return;
    }
    let world = World::new();
    let eats = format!("sh -c 'sh -c \"{EATS} > /dev/null; :\"; :'");
    world.score("web", &format!("{RECORD}\n{eats}\nexec sleep 1000"));
    world.start();
    let upkeep = Upkeep { restart: restarts(2), resources: Some(LITTLE), ..Upkeep::default() };
    let (runs, why) = gives_up(&world, upkeep);
    assert_eq!(runs, 3);
    assert!(why.starts_with("out of memory: it had "), "{why}");
}

fn what_stays_within_its_limits_ends_well() {
    if !["memory", "cpu", "pids"].into_iter().all(can_limit) {
        return;
    }
    let world = World::new();
    world.score("web", &format!("{RECORD}\nsh -c 'echo well > $OUT/well'; exit 0"));
    world.start();
    let resources = Resources {
        memory: Some(ByteSize(64 << 20)),
        cpu: Some(MilliCores(1_000)),
        processes: Some(20),
        ..Resources::NONE
    };
    let restart = RestartRule { when: RestartWhen::OnFailure, ..RestartRule::default() };
    let upkeep = Upkeep { restart, resources: Some(resources), ..Upkeep::default() };
    ask(&world, &Asked { upkeep, ..Asked::default() });
    let ended = eventually("its end", || {
        let report = world.unit_report();
        (report.state == UnitState::Ended).then_some(report)
    });
    assert_eq!((ended.last_end, ended.run.0), (Some(RunEnd::Exited(0)), 1), "{}", world.log());
    assert_eq!(fs::read_to_string(world.out("well")).unwrap(), "well\n");
}
