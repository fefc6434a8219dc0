//! Between the change of user and the execution: whoever runs as that user may stop or kill a newborn
//! there, and harms nobody but itself. And launchers, which make newborns, may come and go.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use orchestra_model::delivery::{Outcome, Refusal, Report};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Test,
    world::{World, eventually, is_root, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("who_stops_its_own_newborns_stops_nobody_else", who_stops_its_own_newborns),
    ("who_kills_its_own_newborns_gets_no_start_for_them", who_kills_its_own_newborns),
    ("a_launcher_that_is_killed_is_replaced", a_launcher_that_is_killed),
    ("a_launcher_killed_amid_a_burst_loses_nothing", a_launcher_killed_amid_a_burst),
    ("a_launcher_that_is_stopped_delays_its_user_alone", a_launcher_that_is_stopped),
    ("a_launcher_that_is_stopped_keeps_no_sitter_from_ending", a_stop_beside_a_stopped_launcher),
    ("launchers_end_with_their_sitter", launchers_end_with_their_sitter),
    ("a_host_that_lacks_something_is_busy", a_host_that_lacks_something),
    ("an_attempt_has_as_many_processes_as_it_may", an_attempt_has_as_many_processes),
];

/// Users that nothing else runs as, each of one test: everything of them is going to be signalled. And
/// one for tests that signal launchers alone.
const STOPPED: &str = "news";
const KILLED: &str = "backup";
const CALM: &str = "lp";

/// A score's user that no test signals.
const OTHER: &str = "mail";

/// Somebody who signals everything of its user, again and again, until it is dropped.
struct Attacker(Child);

impl Attacker {
    fn new(user: &str, signal: &str) -> Self {
        let uid = uid(user);
        let script = format!("while :; do kill -s {signal} -- -1; done 2>/dev/null");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).uid(uid).gid(uid).stdin(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn uid(name: &str) -> u32 {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":x:"));
    line.and_then(|line| line.split(':').next()?.parse().ok()).unwrap_or(0)
}

/// A world with a score of the sitter's own user, one of this user's, and one of a third one's; `None`, and said so, where
/// there are no other users.
fn users(user: &str) -> Option<World> {
    if !is_root() || uid(user) == 0 || uid(OTHER) == 0 {
        println!("not run: only root can become somebody else, and {user} and {OTHER} are needed");
        return None;
    }
    let world = World::new();
    world.score("plain", "echo plain");
    world.score("theirs", "echo theirs");
    world.file("theirs.conf", &format!("user = {user:?}\n"), 0o644);
    world.score("others", "echo others");
    world.file("others.conf", &format!("user = {OTHER:?}\n"), 0o644);
    world.start();
    Some(world)
}

/// A process's state as `/proc` has it, and whether it has executed a program.
pub(crate) fn state(pid: i32) -> Option<(String, bool)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.to_owned();
    // Field 9; `PF_FORKNOEXEC`.
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    Some((state, flags & 0x40 == 0))
}

fn children(sitter: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{sitter}/task/{sitter}/children"));
    let children = children.unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// How many descriptors a child of the sitter holds that executes nothing and is stopped.
fn descriptors_of_the_stopped(sitter: i32) -> Option<usize> {
    children(sitter).into_iter().find_map(|pid| {
        let is_stopped = state(pid)? == ("T".to_owned(), false);
        let count = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        is_stopped.then_some(count)
    })
}

fn who_stops_its_own_newborns() {
    let Some(world) = users(STOPPED) else { return };
    let attacker = Attacker::new(STOPPED, "STOP");
    let mut keys = Vec::new();
    for _ in 0..10 {
        keys.push(world.order("theirs", &[]));
        // The sitter waits for none of them, and nobody else does.
        assert_eq!(world.output_of("plain", &[]), "plain\n");
        assert_eq!(world.output_of("others", &[]), "others\n");
        if let Some(count) = descriptors_of_the_stopped(world.pid()) {
            assert!(count <= 4, "a newborn holds {count} descriptors");
        }
    }
    // Those that execute are stopped as well, and can be ended; those that do not are refused.
    for key in &keys {
        world.cancel(*key);
    }
    for key in keys {
        match world.last_word(key) {
            Report::Refused { refusal: Refusal::Cancelled | Refusal::SpawnFailed(_), .. } => {}
            Report::Ended { end, .. } => {
                assert!(matches!(end.outcome, Outcome::Cancelled | Outcome::Exited(0)), "{end:?}");
            }
            other => panic!("{other:?}\n{}", world.log()),
        }
    }
    drop(attacker);
    assert_eq!(world.output_of("theirs", &[]), "theirs\n");
}

fn who_kills_its_own_newborns() {
    let Some(world) = users(KILLED) else { return };
    // What the kernel calls executed may be killed before it does anything; so may what it does not.
    let attacker = Attacker::new(KILLED, "KILL");
    for _ in 0..40 {
        let key = world.order("theirs", &[]);
        let first = world.report(key);
        match first {
            Report::Started { .. } => {
                let end = world.ended(key);
                assert!(
                    matches!(end.outcome, Outcome::Signalled(9) | Outcome::Exited(0)),
                    "{end:?}"
                );
            }
            Report::Refused { refusal: Refusal::SpawnFailed(why), .. } => {
                assert!(why.contains("before it executed"), "{why}");
            }
            other => panic!("{other:?}\n{}", world.log()),
        }
    }
    drop(attacker);
    assert_eq!(world.output_of("theirs", &[]), "theirs\n");
}

/// The launchers of a sitter. A newborn has its launcher's command line until it executes its program,
/// so the line of one that has executed nothing says nothing; that is looked at first, for it changes
/// only once.
pub(crate) fn launchers(sitter: i32) -> Vec<i32> {
    let is_launcher = |pid: &i32| {
        state(*pid).is_some_and(|(_, has_executed)| has_executed)
            && fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default() == b"player\0launcher\0"
    };
    children(sitter).into_iter().filter(is_launcher).collect()
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn waiting() -> World {
    let world = World::new();
    world.gate("go");
    world.score("wait", "echo $$ > $OUT/pid; cat $OUT/go; exit 5");
    world.score("quick", "exit 3");
    world.start();
    world
}

fn a_launcher_that_is_killed() {
    let world = waiting();
    let key = world.order("wait", &[]);
    world.number_in("pid");
    let first = launchers(world.pid());
    assert_eq!(first.len(), 1, "{}", world.log());
    signal(first[0], Signal::KILL);
    eventually("the end of a launcher", || (!lives(first[0])).then_some(()));
    // Whether its end is noticed before the next request or by that is a matter of chance.
    let again = world.order("quick", &[]);
    assert_eq!(world.ended(again).outcome, Outcome::Exited(3), "{}", world.log());
    assert_ne!(launchers(world.pid()), first);
    world.open_gate("go");
    assert_eq!(world.ended(key).outcome, Outcome::Exited(5));
}

/// Whatever the moment: each attempt ends as it should, or was never begun and may be asked for again.
fn a_launcher_killed_amid_a_burst() {
    let world = World::new();
    world.set("max_tasks", "64");
    world.score("quick", "exit 3");
    world.start();
    world.ended(world.order("quick", &[]));
    let mut busy = 0;
    for _ in 0..10 {
        let keys: Vec<_> = (0..48).map(|_| world.order("quick", &[])).collect();
        // As soon as anything of it has begun.
        world.started(keys[0]);
        for launcher in launchers(world.pid()) {
            signal(launcher, Signal::KILL);
        }
        for key in keys {
            match world.last_word(key) {
                Report::Ended { end, .. } => match end.outcome {
                    Outcome::Exited(3) => {}
                    // Its number was not known, or its end had been taken already.
                    Outcome::Lost(why) => assert!(why.contains("launcher"), "{why}"),
                    other => panic!("{other:?}\n{}", world.log()),
                },
                Report::Refused { refusal: Refusal::Busy, .. } => busy += 1,
                Report::Refused { refusal: Refusal::SpawnFailed(_), .. } => {}
                other => panic!("{other:?}\n{}", world.log()),
            }
            world.acknowledge(key);
        }
        world.forget_reports();
    }
    println!("{busy} of 480 are to be asked for again");
    let key = world.order("quick", &[]);
    assert_eq!(world.ended(key).outcome, Outcome::Exited(3));
}

fn a_launcher_that_is_stopped() {
    let Some(world) = users(CALM) else { return };
    let before = launchers(world.pid());
    assert_eq!(world.output_of("theirs", &[]), "theirs\n");
    let theirs = launchers(world.pid()).into_iter().find(|pid| !before.contains(pid)).unwrap();
    signal(theirs, Signal::STOP);
    let start = Instant::now();
    let key = world.order("theirs", &[]);
    while start.elapsed() < Duration::from_secs(2) {
        assert_eq!(world.output_of("plain", &[]), "plain\n");
    }
    assert_eq!(world.refused(key), Refusal::Busy, "{}", world.log());
    assert_eq!(world.output_of("theirs", &[]), "theirs\n");
    eventually("the end of a launcher", || (!lives(theirs)).then_some(()));
}

fn a_stop_beside_a_stopped_launcher() {
    let Some(world) = users(CALM) else { return };
    let before = launchers(world.pid());
    assert_eq!(world.output_of("theirs", &[]), "theirs\n");
    let theirs = launchers(world.pid()).into_iter().find(|pid| !before.contains(pid)).unwrap();
    signal(theirs, Signal::STOP);
    let key = world.order("theirs", &[]);
    // By then the order has been taken.
    assert_eq!(world.output_of("plain", &[]), "plain\n");
    let start = Instant::now();
    world.signal(Signal::TERM);
    world.wait();
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    world.start();
    assert_eq!(world.refused(key), Refusal::Busy);
}

fn launchers_end_with_their_sitter() {
    let world = waiting();
    for round in 0..3 {
        assert_eq!(world.ended(world.order("quick", &[])).outcome, Outcome::Exited(3));
        let all = launchers(world.pid());
        assert!(!all.is_empty());
        // Stopped, it cannot notice anything by itself.
        signal(all[0], Signal::STOP);
        match round {
            0 => world.crash(),
            1 => {
                world.signal(Signal::TERM);
                world.wait();
            }
            _ => {
                signal(all[0], Signal::CONT);
                world.signal(Signal::USR2);
                world.hear_the_end();
                world.forget_reports();
                world.attach();
            }
        }
        for launcher in all {
            eventually("the end of a launcher", || (!lives(launcher)).then_some(()));
        }
        if round < 2 {
            world.start();
        }
    }
    assert_eq!(world.ended(world.order("quick", &[])).outcome, Outcome::Exited(3));
}

fn a_host_that_lacks_something() {
    let world = World::new();
    world.set("max_tasks", "64");
    world.gate("go");
    world.score("wait", "cat $OUT/go; exit 5");
    // Each attempt takes five descriptors and more.
    world.start_through(&["sh", "-c", "ulimit -n 80; exec \"$@\"", "sh"]);
    world.start();
    let keys: Vec<_> = (0..40).map(|_| world.order("wait", &[])).collect();
    let (mut running, mut busy) = (Vec::new(), 0);
    for key in keys {
        match world.report(key) {
            Report::Started { .. } => running.push(key),
            Report::Refused { refusal: Refusal::Busy, .. } => busy += 1,
            other => panic!("{other:?}\n{}", world.log()),
        }
    }
    assert!(!running.is_empty() && busy > 0, "{} run, {busy} wait", running.len());
    for key in &running {
        world.cancel(*key);
    }
    for key in running {
        assert_eq!(world.ended(key).outcome, Outcome::Cancelled);
        world.acknowledge(key);
    }
    // As soon as there is room again.
    let key = world.order("wait", &[]);
    world.started(key);
    world.open_gate("go");
    assert_eq!(world.ended(key).outcome, Outcome::Exited(5));
}

fn an_attempt_has_as_many_processes() {
    if !is_root() || !fs::exists("/sys/fs/cgroup/pids").unwrap_or(false) {
        println!("not run: no cgroups of this kind that limit processes");
        return;
    }
    let world = World::new();
    let storm = "n=0; while [ $n -lt 40 ]; do n=$((n + 1)); sleep 1000 >&2 & done";
    world.score("storm", storm);
    world.score("plain", "echo plain");
    world.start();
    assert_eq!(world.ended(world.order("storm", &[])).outcome, Outcome::Exited(0));
    world.cut_lifeline();
    world.set("processes_max", "12");
    world.start();
    let end = world.ended(world.order("storm", &[]));
    assert!(matches!(end.outcome, Outcome::Exited(1..)), "{end:?}");
    assert_eq!(world.output_of("plain", &[]), "plain\n");
}
