//! Timeouts, cancels, and what survives what.

use std::{
    fs,
    time::{Duration, Instant},
};

use orchestra_model::delivery::{AttemptEnd, Outcome, Refusal, Report};
use rustix::process::Signal;

use crate::{
    Test,
    world::{World, eventually, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_timeout_kills_what_ignores_term", a_timeout_kills_what_ignores_term),
    ("a_timeout_kills_without_cgroups", a_timeout_kills_without_cgroups),
    ("a_grandchild_in_its_own_session_is_killed", a_grandchild_is_killed_by_cgroup),
    ("a_grandchild_is_killed_without_cgroups", a_grandchild_is_killed_by_its_marks),
    ("a_scrubbed_orphan_is_killed_without_cgroups", a_scrubbed_orphan_is_killed),
    ("a_fork_storm_is_killed_without_cgroups", a_fork_storm_is_killed),
    ("what_handles_term_may_finish", what_handles_term_may_finish),
    ("a_child_may_finish_after_its_parent", a_child_may_finish_after_its_parent),
    ("a_daemon_left_on_purpose_lives_on", a_daemon_left_on_purpose_lives_on),
    ("a_daemon_lives_on_without_cgroups", a_daemon_lives_on_without_cgroups),
    ("a_true_end_beats_a_cancel", a_true_end_beats_a_cancel),
    ("a_cancel_may_come_before_its_order", a_cancel_may_come_before_its_order),
    ("a_cancel_finds_what_waits_for_its_start", a_cancel_finds_what_waits_for_its_start),
    ("a_job_may_ask_for_less_time_only", a_job_may_ask_for_less_time_only),
    ("the_lifeline_ends_everything", the_lifeline_ends_everything),
    ("the_lifeline_ends_everything_without_cgroups", the_lifeline_without_cgroups),
];

/// Longest that an end may take that has a grace of 1 s.
const PROMISED: Duration = Duration::from_millis(2_000);
const SOON: Option<Duration> = Some(Duration::from_millis(300));

fn without_cgroups() -> World {
    let world = World::new();
    world.set("cgroup", "\"none\"");
    world
}

fn times_out(world: &World) {
    world.score(
        "stubborn",
        "trap '' TERM; echo $$ > $OUT/pid; echo before; while :; do sleep 1000; done",
    );
    world.start();
    let begin = Instant::now();
    // Until then the shell is to have read its first two commands.
    let timeout = Duration::from_secs(2);
    let key = world.order_for("stubborn", &[], Some(timeout));
    let end = world.ended(key);
    let took = begin.elapsed();
    assert_eq!(end.outcome, Outcome::TimedOut);
    assert_eq!(end.stdout.head, b"before\n");
    assert!(took >= timeout + Duration::from_secs(1), "it had its grace: {took:?}");
    assert!(took < timeout + PROMISED + Duration::from_secs(2), "{took:?}");
    assert!(!lives(world.number_in("pid")));
}

fn a_timeout_kills_what_ignores_term() {
    times_out(&World::new());
}

fn a_timeout_kills_without_cgroups() {
    times_out(&without_cgroups());
}

/// Its own session, ignores TERM, holds the pipes, its parent gone, still marked.
fn grandchild(world: &World) {
    world.score(
        "family",
        "(setsid sh -c 'trap \"\" TERM; echo $$ > $OUT/grandchild; while :; do sleep 1000; done' &)\n\
         while [ ! -s $OUT/grandchild ]; do sleep 0.01; done; sleep 1000",
    );
    world.file("family.conf", "timeout = \"1h\"\n", 0o644);
    world.start();
    let key = world.order("family", &[]);
    world.number_in("grandchild");
    world.cancel(key);
    assert_eq!(world.ended(key).outcome, Outcome::Cancelled);
    assert!(!lives(world.number_in("grandchild")));
}

fn a_grandchild_is_killed_by_cgroup() {
    grandchild(&World::new());
}

fn a_grandchild_is_killed_by_its_marks() {
    grandchild(&without_cgroups());
}

fn a_scrubbed_orphan_is_killed() {
    let world = without_cgroups();
    world.score(
        "scrub",
        "(setsid env -i sh -c \"echo \\$\\$ > $OUT/scrubbed; exec sleep 1000\" &)\n\
         while [ ! -s $OUT/scrubbed ]; do sleep 0.01; done; sleep 1000",
    );
    world.start();
    let key = world.order("scrub", &[]);
    let orphan = world.number_in("scrubbed");
    world.cancel(key);
    assert_eq!(world.ended(key).outcome, Outcome::Cancelled);
    assert!(!lives(orphan));
}

fn a_fork_storm_is_killed() {
    let world = without_cgroups();
    // Each leaves its session and forks the next one; there is always a new one.
    world.score(
        "storm",
        "cat > $OUT/next <<'X'\nsleep 0.02 & setsid sh $OUT/next & wait %1; exit\nX\n\
         echo 1 > $OUT/up; sh $OUT/next; sleep 1000",
    );
    world.start();
    let key = world.order("storm", &[("mark", "stormy-petrel")]);
    world.number_in("up");
    world.cancel(key);
    assert_eq!(world.ended(key).outcome, Outcome::Cancelled);
    let marked = |pid: &i32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.windows(13).any(|window| window == b"stormy-petrel") && lives(*pid)
    };
    let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    assert_eq!(all.filter(marked).collect::<Vec<i32>>(), Vec::<i32>::new());
}

fn what_handles_term_may_finish() {
    let world = World::new();
    world.score(
        "polite",
        "trap 'echo cleaned; exit 0' TERM; echo $$ > $OUT/up; while :; do sleep 0.05; done",
    );
    world.start();
    let key = world.order("polite", &[]);
    world.number_in("up");
    world.cancel(key);
    let end = world.ended(key);
    assert_eq!(end.outcome, Outcome::Cancelled);
    assert_eq!(end.stdout.head, b"cleaned\n");
}

fn a_child_may_finish_after_its_parent() {
    for world in [World::new(), without_cgroups()] {
        world.set("kill_grace", "\"20s\"");
        world.score(
            "parent",
            "sh -c 'trap \"sleep 0.3; echo 1 > $OUT/finished; exit\" TERM\n\
             echo 1 > $OUT/up; while :; do sleep 0.05; done' & wait",
        );
        world.start();
        let key = world.order("parent", &[]);
        world.number_in("up");
        let begin = Instant::now();
        world.cancel(key);
        assert_eq!(world.ended(key).outcome, Outcome::Cancelled);
        assert!(begin.elapsed() < Duration::from_secs(10), "the end waits for nobody");
        assert!(fs::exists(world.out("finished")).unwrap());
    }
}

/// It goes on, and is not stopped by a pipe that nobody reads.
fn leaves_a_daemon(world: &World) {
    world.gate("go");
    world.score(
        "restart",
        "(setsid sh -c 'echo $$ > $OUT/daemon; cat $OUT/go; head -c 300000 /dev/zero\n\
         echo 1 > $OUT/written; exec sleep 1000' &)\n\
         while [ ! -s $OUT/daemon ]; do sleep 0.01; done; echo restarted",
    );
    let spool = world.start().spool;
    let key = world.order("restart", &[]);
    let end = world.ended(key);
    assert_eq!(end.outcome, Outcome::Exited(0));
    assert_eq!(end.stdout.head, b"restarted\n");
    let daemon = world.number_in("daemon");
    assert!(lives(daemon));
    world.acknowledge(key);
    world.open_gate("go");
    world.number_in("written");
    // Another attempt that is killed is not its attempt.
    world.score("other", "sleep 1000");
    world.signal(rustix::process::Signal::HUP);
    world.hear();
    world.attach_again();
    let other = world.order_for("other", &[], SOON);
    assert_eq!(world.ended(other).outcome, Outcome::TimedOut);
    assert!(lives(daemon));
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(daemon).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    eventually("empty attempts", || (world.attempt_dirs() == 0).then_some(()));
    // A process lets go of its pipes before it leaves its cgroup: what was not empty at that
    // moment goes with the next attempt.
    let last = world.order_for("other", &[], SOON);
    assert_eq!(world.ended(last).outcome, Outcome::TimedOut);
    world.acknowledge(last);
    eventually("no cgroup", || world.cgroups(spool).is_empty().then_some(()));
}

fn a_daemon_left_on_purpose_lives_on() {
    leaves_a_daemon(&World::new());
}

fn a_daemon_lives_on_without_cgroups() {
    leaves_a_daemon(&without_cgroups());
}

fn a_true_end_beats_a_cancel() {
    let world = World::new();
    world.score("quick", "exit 3");
    world.start();
    let key = world.order("quick", &[]);
    assert_eq!(world.ended(key).outcome, Outcome::Exited(3));
    world.cancel(key);
    assert_eq!(world.ended(key).outcome, Outcome::Exited(3), "it is repeated");
    // Both in the same breath, again and again: whatever came first, it is one of the two.
    for _ in 0..20 {
        let key = world.order("quick", &[]);
        world.cancel(key);
        match world.last_word(key) {
            Report::Ended { end: AttemptEnd { outcome: Outcome::Exited(3), .. }, .. } => {}
            Report::Ended { end: AttemptEnd { outcome: Outcome::Cancelled, .. }, .. } => {}
            Report::Refused { refusal: Refusal::Cancelled, .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

fn a_cancel_may_come_before_its_order() {
    let world = World::new();
    world.score("never", "echo 1 > $OUT/ran");
    world.start();
    let next = orchestra_model::delivery::AttemptKey {
        store: crate::world::STORE,
        job: orchestra_model::JobId { flow: orchestra_model::FlowId(1), slot: 1, job: 2 },
        attempt: 1,
    };
    world.cancel(next);
    assert_eq!(world.refused(next), Refusal::Cancelled);
    let key = world.order("never", &[]);
    assert_eq!(key, next);
    assert_eq!(world.refused(key), Refusal::Cancelled);
    assert!(!fs::exists(world.out("ran")).unwrap());
}

/// More than are started in one turn of the sitter: most cancels come while they wait.
fn a_cancel_finds_what_waits_for_its_start() {
    let world = World::new();
    world.set("max_tasks", "40");
    world.score("wait", "exec sleep 1000");
    world.start();
    world.signal(Signal::STOP);
    let keys: Vec<_> = (0..40).map(|_| world.order("wait", &[])).collect();
    world.signal(Signal::CONT);
    for key in &keys {
        world.cancel(*key);
    }
    for key in keys {
        match world.last_word(key) {
            Report::Ended { end, .. } => assert_eq!(end.outcome, Outcome::Cancelled),
            // It came before the order was on disk.
            Report::Refused { refusal, .. } => assert_eq!(refusal, Refusal::Cancelled),
            other => panic!("{other:?}"),
        }
    }
    eventually("empty attempts", || (world.attempt_dirs() == 0).then_some(()));
}

fn a_job_may_ask_for_less_time_only() {
    let world = World::new();
    world.score("short", "sleep 1000");
    world.file("short.conf", "timeout = \"200ms\"\n", 0o644);
    world.start();
    let key = world.order_for("short", &[], Some(Duration::from_secs(3_600)));
    assert_eq!(world.ended(key).outcome, Outcome::TimedOut);
}

fn ends_everything(world: &World) {
    world.score("stay", "trap '' TERM; echo $$ > $OUT/stay; while :; do sleep 1000; done");
    world.score(
        "leave",
        "(setsid sh -c 'echo $$ > $OUT/left; exec sleep 1000' > /dev/null 2>&1 &)\n\
         (setsid env -i OUT=$OUT sh -c 'echo $$ > $OUT/bare; exec sleep 1000' > /dev/null 2>&1 &)\n\
         while [ ! -s $OUT/left ] || [ ! -s $OUT/bare ]; do sleep 0.01; done",
    );
    let spool = world.start().spool;
    let stay = world.order("stay", &[]);
    world.started(stay);
    world.output_of("leave", &[]);
    // The last one carries nothing by which it could be known.
    let pids = ["stay", "left", "bare"].map(|name| world.number_in(name));
    assert!(pids.into_iter().all(lives));
    world.cut_lifeline();
    assert!(!pids.into_iter().any(lives), "{}", world.log());
    assert_eq!(world.cgroups(spool).len(), 0, "{}", world.log());
    world.hear_the_end();
}

fn the_lifeline_ends_everything() {
    ends_everything(&World::new());
}

fn the_lifeline_without_cgroups() {
    ends_everything(&without_cgroups());
}
