//! Sitters and agents come and go; scores do not notice.

use std::{fs, os::unix::net::UnixDatagram, time::Duration};

use orchestra_model::delivery::{AttemptKey, Outcome, PlayerSnapshot, Refusal};
use rustix::process::{Signal, kill_process};

use crate::{
    Test,
    world::{World, eventually, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_crash_of_the_sitter_is_not_noticed", a_crash_of_the_sitter_is_not_noticed),
    ("a_stop_leaves_scores_running", a_stop_leaves_scores_running),
    ("a_stop_amid_a_burst_leaves_all_of_it_running", a_stop_amid_a_burst),
    ("an_upgrade_amid_a_burst_loses_nothing", an_upgrade_amid_a_burst),
    ("a_stop_amid_an_upgrade_is_heard", a_stop_amid_an_upgrade),
    ("a_stop_waits_its_grace", a_stop_waits_its_grace),
    ("an_end_that_nobody_saw_is_lost", an_end_that_nobody_saw_is_lost),
    ("a_timeout_counts_on_through_a_crash", a_timeout_counts_on_through_a_crash),
    ("a_cancel_goes_on_after_a_crash", a_cancel_goes_on_after_a_crash),
    ("execution_in_place_keeps_children", execution_in_place_keeps_children),
    ("execution_in_place_under_load", execution_in_place_under_load),
    ("an_upgrade_that_cannot_start_changes_nothing", an_upgrade_that_cannot_start),
    ("an_agent_may_die", an_agent_may_die),
    ("an_agent_that_asks_and_does_not_read_is_replaced", an_agent_that_does_not_read),
    ("an_answer_is_given_after_a_crash", an_answer_is_given_after_a_crash),
    ("a_daemon_is_drained_by_the_next_sitter", a_daemon_is_drained_by_the_next_sitter),
    ("a_supervisor_hears_that_the_sitter_goes_on", a_supervisor_hears_that_the_sitter_goes_on),
];

const WAIT: &str = "echo before; echo $$ > $OUT/pid; cat $OUT/go; echo after; exit 5";

fn waiting() -> World {
    let world = World::new();
    world.gate("go");
    world.score("wait", WAIT);
    world.start();
    world
}

fn a_crash_of_the_sitter_is_not_noticed() {
    let world = World::new();
    world.gate("go");
    world.gate("end");
    let waits = "echo before; echo $$ > $OUT/pid; cat $OUT/go; echo after; cat $OUT/end; exit 5";
    world.score("wait", waits);
    world.start();
    let key = world.order("wait", &[]);
    let pid = world.number_in("pid");
    world.started(key);
    world.crash();
    let snapshot = world.start();
    assert_eq!(snapshot.live.len(), 1);
    assert!(snapshot.live[0].started_at.is_some());
    world.started(key);
    assert!(lives(pid));
    world.open_gate("go");
    // What is in a pipe when its attempt ends is lost if nobody has taken the pipe over by then.
    world.wait_kept("before\nafter\n");
    world.open_gate("end");
    let end = world.ended(key);
    assert_eq!(end.outcome, Outcome::Exited(5), "{}", world.log());
    assert_eq!(end.stdout.head, b"before\nafter\n");
    assert_eq!(end.started_at, snapshot.live[0].started_at);
}

fn a_stop_leaves_scores_running() {
    let world = waiting();
    let key = world.order("wait", &[]);
    let pid = world.number_in("pid");
    world.signal(Signal::TERM);
    world.wait();
    assert!(lives(pid));
    world.start();
    world.open_gate("go");
    assert_eq!(world.ended(key).outcome, Outcome::Exited(5), "{}", world.log());
}

/// So many orders, and a signal, for a sitter to find at once. It starts 16 of them in one turn.
fn burst(world: &World, orders: usize, signal: Signal) -> Vec<AttemptKey> {
    world.set("max_tasks", orders.to_string());
    world.score("wait", "exec sleep 1000");
    world.start();
    world.signal(Signal::STOP);
    let keys = (0..orders).map(|_| world.order("wait", &[])).collect();
    world.signal(signal);
    world.signal(Signal::CONT);
    keys
}

fn all_run(world: &World, snapshot: &PlayerSnapshot, keys: &[AttemptKey]) {
    let started = snapshot.live.iter().filter(|live| live.started_at.is_some());
    assert_eq!(started.count(), keys.len(), "{}", world.log());
    for key in keys {
        world.cancel(*key);
    }
    for key in keys {
        assert_eq!(world.ended(*key).outcome, Outcome::Cancelled, "{}", world.log());
    }
}

fn a_stop_amid_a_burst() {
    let world = World::new();
    let keys = burst(&world, 40, Signal::TERM);
    world.wait();
    let snapshot = world.start();
    all_run(&world, &snapshot, &keys);
}

fn an_upgrade_amid_a_burst() {
    let world = World::new();
    let keys = burst(&world, 40, Signal::USR2);
    world.hear_the_end();
    world.forget_reports();
    let snapshot = world.attach();
    all_run(&world, &snapshot, &keys);
}

/// While the last of the burst is started nobody asks what signals came, and then the program that
/// caught them is gone.
fn a_stop_amid_an_upgrade() {
    let world = World::new();
    let keys = burst(&world, 32, Signal::USR2);
    eventually("an upgrade", || world.log().contains("executing the sitter anew").then_some(()));
    world.signal(Signal::TERM);
    world.wait();
    let snapshot = world.start();
    all_run(&world, &snapshot, &keys);
}

fn a_stop_waits_its_grace() {
    let world = World::new();
    world.set("stop_grace", "\"1h\"");
    world.gate("go");
    world.score("wait", WAIT);
    world.start();
    let key = world.order("wait", &[]);
    world.number_in("pid");
    world.signal(Signal::TERM);
    eventually("a stop", || world.log().contains("asked to stop").then_some(()));
    assert_eq!(world.refused(world.order("wait", &[])), Refusal::Stopping);
    world.open_gate("go");
    assert_eq!(world.ended(key).outcome, Outcome::Exited(5));
    world.wait();
}

fn an_end_that_nobody_saw_is_lost() {
    let world = World::new();
    world.gate("go");
    world.score(
        "wait",
        "(setsid sleep 1000 & echo $! > $OUT/sleeper); echo said; echo $$ > $OUT/pid; cat $OUT/go",
    );
    world.start();
    let key = world.order("wait", &[]);
    let pid = world.number_in("pid");
    let sleeper = world.number_in("sleeper");
    world.started(key);
    world.wait_kept("said\n");
    world.crash();
    world.open_gate("go");
    // Gone, and reaped by whoever is the parent of orphans here.
    eventually("the end of the score", || {
        (!fs::exists(format!("/proc/{pid}")).unwrap()).then_some(())
    });
    world.start();
    let end = world.ended(key);
    assert!(matches!(end.outcome, Outcome::Lost(_)), "{:?}", end.outcome);
    assert_eq!(end.stdout.head, b"said\n");
    assert!(!lives(sleeper));
}

fn a_timeout_counts_on_through_a_crash() {
    let world = waiting();
    let key = world.order_for("wait", &[], Some(Duration::from_secs(5)));
    let pid = world.number_in("pid");
    world.started(key);
    world.crash();
    world.start();
    assert_eq!(world.ended(key).outcome, Outcome::TimedOut);
    assert!(!lives(pid));
}

fn a_cancel_goes_on_after_a_crash() {
    let world = World::new();
    world.set("kill_grace", "\"1h\"");
    world.score(
        "stubborn",
        "trap 'echo 1 > $OUT/termed' TERM; echo $$ > $OUT/pid; while :; do sleep 0.05; done",
    );
    world.start();
    let key = world.order("stubborn", &[]);
    let pid = world.number_in("pid");
    world.cancel(key);
    world.number_in("termed");
    world.crash();
    world.set("kill_grace", "\"100ms\"");
    world.start();
    assert_eq!(world.ended(key).outcome, Outcome::Cancelled);
    assert!(!lives(pid));
}

fn execution_in_place_keeps_children() {
    let world = waiting();
    let sitter = world.pid();
    let key = world.order("wait", &[]);
    world.number_in("pid");
    world.started(key);
    world.signal(Signal::USR2);
    world.hear_the_end();
    let snapshot = world.attach();
    assert_eq!(snapshot.live.len(), 1);
    assert_eq!(world.pid(), sitter);
    world.open_gate("go");
    let end = world.ended(key);
    assert_eq!(end.outcome, Outcome::Exited(5));
    assert_eq!(end.stdout.head, b"before\nafter\n");
    // And it holds the lock still.
    assert!(world.start_in_vain().contains("in use"));
    let open = fs::read_dir(format!("/proc/{sitter}/fd")).unwrap().count();
    assert!(open < 40, "{open} descriptors are open");
}

/// Whatever ends while the program changes, its true end is told.
fn execution_in_place_under_load() {
    let world = World::new();
    world.score("count", "seq 1 2000; exit $ORC_code");
    world.start();
    for round in 0..8 {
        let codes: Vec<u8> = (0..8).map(|n| round * 8 + n).collect();
        let keys: Vec<_> =
            codes.iter().map(|code| world.order("count", &[("code", &code.to_string())])).collect();
        for key in &keys {
            world.started(*key);
        }
        world.signal(Signal::USR2);
        world.hear_the_end();
        world.forget_reports();
        world.attach();
        for (key, code) in keys.into_iter().zip(codes) {
            let end = world.ended(key);
            assert_eq!(end.outcome, Outcome::Exited(code.into()), "{}", world.log());
            assert_eq!(end.stdout.bytes, 8_893);
            world.acknowledge(key);
        }
    }
}

fn an_upgrade_that_cannot_start() {
    let world = World::new();
    let program = world.path("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    // The sitter finds itself at this path, which then holds nothing that can be executed.
    let replace = format!("exec -a x {} \"$@\"", program.display());
    world.start_through(&["bash", "-c", &format!("shift; {replace}"), "bash"]);
    world.score("quick", "echo quick");
    world.start();
    fs::remove_file(&program).unwrap();
    fs::write(&program, "#!/nonexistent/interpreter\n").unwrap();
    world.signal(Signal::USR2);
    eventually("a word about it", || {
        world.log().contains("cannot execute the sitter anew").then_some(())
    });
    assert_eq!(world.output_of("quick", &[]), "quick\n");
}

fn an_agent_may_die() {
    let world = waiting();
    let key = world.order("wait", &[]);
    world.number_in("pid");
    world.started(key);
    world.signal(Signal::USR1);
    world.hear_the_end();
    assert_eq!(world.attach().live.len(), 1);
    kill_process(world.agent(), Signal::KILL).unwrap();
    world.hear_the_end();
    world.attach();
    world.open_gate("go");
    assert_eq!(world.ended(key).outcome, Outcome::Exited(5));
}

fn a_daemon_is_drained_by_the_next_sitter() {
    let world = World::new();
    world.score_that_leaves_a_daemon();
    world.start();
    world.output_of("leave", &[]);
    world.crash();
    world.start();
    world.open_gate("go");
    world.number_in("written");
    assert!(lives(world.number_in("daemon")));
}

fn an_answer_is_given_after_a_crash() {
    let world = World::new();
    world.gate("go");
    world.gate("end");
    world.score(
        "ask",
        "echo A=1; echo B=2; echo $$ > $OUT/pid; cat $OUT/go; echo A=3; cat $OUT/end",
    );
    world.file("ask.conf", "interface = \"pipe\"\n", 0o644);
    world.start();
    let key = world.order("ask", &[]);
    world.number_in("pid");
    world.started(key);
    world.crash();
    world.start();
    world.open_gate("go");
    world.wait_kept("A=1\nB=2\nA=3\n");
    world.open_gate("end");
    let end = world.ended(key);
    let response: Vec<(&str, &str)> =
        end.response.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(response, [("A", "3"), ("B", "2")]);
}

fn an_agent_that_does_not_read() {
    let world = World::new();
    world.score("wordy", "echo wordy");
    let conf = format!("description = {:?}\n", "x".repeat(60_000));
    world.file("wordy.conf", &conf, 0o644);
    world.start();
    world.ask_without_reading();
    world.attach();
    assert_eq!(world.output_of("wordy", &[]), "wordy\n");
    // For reading less than it asks for, or nothing: that depends on who is faster.
    world.logged("killing the agent");
}

fn a_supervisor_hears_that_the_sitter_goes_on() {
    let world = World::new();
    let path = world.path("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let socket = format!("NOTIFY_SOCKET={}", path.display());
    world.start_through(&["env", &socket, "WATCHDOG_USEC=300000"]);
    world.start();
    let hear = || {
        let mut word = [0; 32];
        let length = supervisor.recv(&mut word).unwrap();
        assert_eq!(&word[..length], b"WATCHDOG=1");
    };
    // Nothing else wakes it.
    (0..3).for_each(|_| hear());
    world.signal(Signal::USR2);
    world.hear_the_end();
    world.attach();
    supervisor.set_nonblocking(true).unwrap();
    while supervisor.recv(&mut [0; 32]).is_ok() {}
    supervisor.set_nonblocking(false).unwrap();
    (0..3).for_each(|_| hear());
}
