//! Runs that live no longer than their leases are renewed, whoever of the player stands still.

use std::fs;

use orchestra_model::{
    Millis,
    service::{AtMostOne, Lease, Leases, Placement, RunEnd, StopRule, UnitState, Upkeep, Wanted},
};
use orchestra_proto::v1::command::Kind;
use rustix::process::Signal;

use super::{Asked, ask, ends_well, gone, kill, known, prepared, record, started, without_cgroups};
use crate::{
    Test,
    newborns::{launchers, signal},
    world::{World, eventually, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_run_begins_under_a_lease_and_under_nothing_else", a_run_begins_under_a_lease),
    ("a_run_and_its_guard_outlive_the_sitter", a_run_and_its_guard_outlive_the_sitter),
    ("a_run_ends_when_renewals_stop", a_run_ends_when_renewals_stop),
    ("a_run_of_a_stopped_sitter_is_ended_by_its_guard", a_stopped_sitter),
    ("a_run_of_a_sitter_that_is_gone_is_ended_by_its_guard", a_sitter_that_is_gone),
    ("without_cgroups_a_guard_hunts", without_cgroups_a_guard_hunts),
    ("a_stopped_launcher_keeps_no_run_alive", a_stopped_launcher),
    ("a_guard_that_is_killed_or_stopped_is_replaced", a_guard_that_is_killed_or_stopped),
];

/// The shortest lease that there may be, and little grace.
fn leased(wanted: Wanted) -> Asked {
    let at_most_one = Some(AtMostOne { lease: Some(Millis::seconds(10)) });
    let stop = StopRule { grace: Millis(500), ..StopRule::default() };
    Asked { upkeep: Upkeep { at_most_one, stop, ..Upkeep::default() }, ..Asked::wanting(wanted) }
}

/// Its first run is up, and every lease that is asked for is granted as soon as the test hears of it.
fn up(world: World) -> (World, i32) {
    world.start();
    world.grants.set(true);
    ends_well(&world, ask(&world, &leased(Wanted::Running)));
    let pid = known(&world, 1).pid;
    (world, pid)
}

fn grant(world: &World, granted: &Leases) {
    world.say_command(Kind::Leases(granted.into()));
}

/// The numbers of all guards that were started, in order.
fn guards(world: &World) -> Vec<i32> {
    let log = world.log();
    let lines = log.lines().filter(|line| line.contains("started the guard"));
    let pid = |line: &str| line.split("pid=").nth(1)?.split_whitespace().next()?.parse().ok();
    lines.filter_map(pid).collect()
}

fn guard(world: &World, number: usize) -> i32 {
    let what = format!("guard {number}\n{}", world.log());
    eventually(&what, || guards(world).get(number - 1).copied())
}

/// Waits for the next run, under the leases that are asked for from now on. No other may live.
fn next_run(world: &World) {
    world.grants.set(true);
    world.forget_leases();
    while record(world).len() < 2 {
        // It begins, or another question comes.
        world.leases();
    }
    let [first, second] = record(world)[..] else { panic!("{:?}", record(world)) };
    assert!(!lives(first.pid) && lives(second.pid));
}

/// Waits until it is told that the last run ended because its lease ran out: later than its process.
fn wait_told(world: &World) {
    eventually("the cause of the end", || {
        (last_end(world) == Some(RunEnd::LeaseRanOut)).then_some(())
    });
}

fn last_end(world: &World) -> Option<RunEnd> {
    world.attach_again().units.unwrap()[0].last_end.clone()
}

fn a_run_begins_under_a_lease() {
    let world = started();
    let key = ask(&world, &leased(Wanted::Running));
    world.started(key);
    let asked = world.leases();
    let Leases { asked_at, leases } = &asked;
    let lease = Lease {
        service: "web".parse().unwrap(),
        placement: Placement(7),
        length: Millis::seconds(10),
        grace: Millis(500),
    };
    assert_eq!(*leases, std::slice::from_ref(&lease));
    assert_eq!(world.unit_report().state, UnitState::AwaitingLease);
    // What is of another placement, of another time, or asked for by nobody, is no lease.
    let other = Lease { placement: Placement(6), ..lease.clone() };
    grant(&world, &Leases { leases: vec![other], ..asked.clone() });
    grant(&world, &Leases { asked_at: asked_at.saturating_sub(10_000), ..asked.clone() });
    grant(&world, &Leases { asked_at: asked_at + 1_000_000, ..asked.clone() });
    // It is asked for again, and only then: so the others were heard.
    let again = world.leases();
    assert!(again.asked_at > *asked_at && again.leases == [lease], "{again:?}");
    assert_eq!(record(&world), []);
    grant(&world, &again);
    ends_well(&world, key);
    assert_eq!(record(&world).len(), 1);
}

fn a_run_and_its_guard_outlive_the_sitter() {
    let (world, pid) = up(prepared());
    let guard = guard(&world, 1);
    world.crash();
    world.start();
    assert!(lives(pid) && lives(guard));
    world.logged("found the guard");
    world.leases();
    world.signal(Signal::USR2);
    world.hear_the_end();
    world.attach();
    world.leases();
    assert!(lives(pid) && lives(guard));
    assert_eq!((record(&world).len(), guards(&world).len()), (1, 1));
    // It goes with the last unit that needs it.
    ends_well(&world, ask(&world, &leased(Wanted::Gone)));
    gone(pid);
    gone(guard);
    eventually("an empty place", || world.unit_places().is_empty().then_some(()));
}

fn a_run_ends_when_renewals_stop() {
    let (world, pid) = up(prepared());
    world.grants.set(false);
    gone(pid);
    // The guard had nothing to do: the run was asked to end.
    wait_told(&world);
    assert_eq!(record(&world).len(), 1);
    next_run(&world);
}

fn a_stopped_sitter() {
    let (world, pid) = up(prepared());
    world.signal(Signal::STOP);
    gone(pid);
    assert_eq!(record(&world).len(), 1);
    // Granted while nobody heard it: too late.
    world.signal(Signal::CONT);
    wait_told(&world);
    next_run(&world);
}

fn a_sitter_that_is_gone() {
    let (world, pid) = up(prepared());
    let guard = guard(&world, 1);
    world.crash();
    gone(pid);
    // Nothing is left to guard, and the next sitter makes another.
    gone(guard);
    let snapshot = world.start();
    assert_eq!(snapshot.units.unwrap()[0].last_end, Some(RunEnd::LeaseRanOut));
    next_run(&world);
}

fn without_cgroups_a_guard_hunts() {
    let world = without_cgroups(World::new());
    let leaves = "(setsid sleep 1000 & echo $! > $OUT/child)";
    world.score("web", &format!("{}\n{leaves}\nexec sleep 1000", super::RECORD));
    let (world, pid) = up(world);
    let child = world.number_in("child");
    world.signal(Signal::STOP);
    gone(pid);
    gone(child);
    world.signal(Signal::CONT);
    next_run(&world);
}

fn a_stopped_launcher() {
    let (world, pid) = up(prepared());
    for launcher in launchers(world.pid()) {
        signal(launcher, Signal::STOP);
    }
    world.grants.set(false);
    gone(pid);
    // Launchers that do not answer are replaced.
    next_run(&world);
}

fn a_guard_that_is_killed_or_stopped() {
    let (world, pid) = up(prepared());
    kill(guard(&world, 1));
    let second = guard(&world, 2);
    world.forget_leases();
    world.leases();
    signal(second, Signal::STOP);
    // It is noticed when a lease is due; none is asked for before another one is there.
    let third = guard(&world, 3);
    gone(second);
    world.leases();
    assert!(lives(pid) && lives(third));
    assert_eq!(record(&world).len(), 1);
    let book = world.unit_places().into_iter().find(|path| path.ends_with("guard")).unwrap();
    assert!(fs::metadata(book).unwrap().len() > 0);
}
