//! Signals and limits that were meant for somebody else: no daemon ends, and no score inherits them.

use std::{fs, process::Command};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::harness::{Daemon, Fleet, Streams, eventually};

/// Every signal whose default ends a process, but for those that ask for the end (INT, QUIT, ABRT,
/// KILL, TERM) and those that tell of a fault of the program itself.
const STRAYS: [i32; 12] = [1, 10, 12, 13, 14, 16, 24, 25, 26, 27, 29, 30];

/// Sends each of them, and those without names, to a process, which finds all of them at once: it
/// handles one upon the other, on one stack.
fn send_strays(pid: i32, but_for: &[i32]) {
    let numbers = STRAYS.into_iter().chain(34..=64).filter(|number| !but_for.contains(number));
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    let numbers = numbers.join(" ");
    let script = format!(
        "kill -STOP {pid} && for n in {numbers}; do kill -\"$n\" {pid} || exit; done && kill -CONT {pid}"
    );
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success(), "{pid}");
}

#[test]
fn daemons_outlive_every_signal_that_does_not_ask_for_their_end() {
    let fleet = Fleet::new("p1").start();
    let player = fleet.player("p1");
    let pids = || [fleet.conductor.pid(), player.sitter.pid(), player.agent()];
    let before = pids();
    let [conductor, sitter, agent] = before;
    // Which of its threads handles them is chance.
    for _ in 0..20 {
        send_strays(conductor, &[]);
        send_strays(agent, &[]);
    }
    fleet.run(&["hello", "-w", "p1"]);
    // It is asked for another agent by USR1, and executes itself anew on USR2.
    send_strays(sitter, &[Signal::USR1.as_raw()]);
    eventually("the execution in place", || {
        (player.sitter.log().matches("the player is up").count() == 2).then_some(())
    });
    send_strays(sitter, &[Signal::USR1.as_raw(), Signal::USR2.as_raw()]);
    fleet.wait_attached(&["p1"]);
    fleet.run(&["hello", "-w", "p1"]);
    assert_eq!([fleet.conductor.pid(), player.sitter.pid()], before[..2]);
    assert!(fleet.conductor.is_running() && player.sitter.is_running());
}

#[test]
fn scores_begin_with_every_signal_at_its_default_and_none_blocked() {
    let fleet = Fleet::new("p1").start();
    let player = fleet.player("p1");
    player.sitter.kill();
    player.sitter.lead(Streams::Script("exec env --ignore-signal --block-signal \"$@\""));
    fleet.start_players();
    let body = "#!/bin/sh\nexec grep -E '^Sig(Ign|Blk|Pnd)' /proc/self/status\n";
    fleet.score("signals", body, "");
    fleet.rescan();
    let none = "0".repeat(16);
    let expected: String =
        ["Pnd", "Blk", "Ign"].map(|name| format!("Sig{name}:\t{none}\n")).concat();
    for _ in 0..2 {
        let flow = eventually("the score to run", || {
            let ran = fleet.submitjob(&["signals", "-w", "p1", "--wait"]);
            (ran.code() == Some(0)).then(|| ran.id())
        });
        let told = fleet.orc(&["logs", &format!("{flow}@p1")]).exits(0);
        assert_eq!(told.out, expected);
        // Ignored signals are outlived as well, and the execution in place inherits neither.
        send_strays(player.sitter.pid(), &[Signal::USR1.as_raw()]);
    }
    // What asks for the end still does.
    assert!(player.sitter.stop().success());
}

/// Limits how large the files of a daemon may become, for as long as it lives or until it is lifted.
fn limit_files(daemon: &Daemon, bytes: Option<u64>) {
    limit_files_of(daemon.pid(), bytes);
}

fn limit_files_of(pid: i32, bytes: Option<u64>) {
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Pid::from_raw(pid), Resource::Fsize, limit).unwrap();
}

/// The launchers of a sitter, which write down what scores say.
fn launchers(sitter: &Daemon) -> Vec<i32> {
    let pid = sitter.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    let is_launcher = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline"));
        words.is_ok_and(|words| words == b"player\0launcher\0")
    };
    children.filter(is_launcher).collect()
}

#[test]
fn a_store_that_may_not_grow_is_a_full_disk() {
    let fleet = Fleet::new("p1").start();
    let (conductor, state) = (&fleet.conductor, fleet.dir().join("conductor/state"));
    let before = fleet.run(&["hello", "-w", "p1"]);
    let pid = conductor.pid();
    let log = fs::metadata(state.join("orchestra.db-wal")).unwrap().len();
    limit_files(conductor, Some(log + 20_000));
    let mut late = Vec::new();
    eventually("the status to tell of the limit", || {
        late.push(fleet.tool("submitjob", &["work", "seconds=0", "-w", "p1"]).start());
        let status = fleet.orc(&["conductor", "status"]);
        status.out.contains("RLIMIT_FSIZE").then_some(())
    });
    limit_files(conductor, None);
    let mut answered = Vec::new();
    for running in late {
        let ran = running.wait();
        match ran.code() {
            Some(0) => answered.push(ran.id()),
            // Held: it is taken once there is space, and whoever asks again gets its flow.
            Some(12) => {
                let request = ran.err.split("(request ").nth(1).unwrap().split(')').next().unwrap();
                answered.push(eventually("the held flow to be taken", || {
                    let ran = fleet.submitjob(&["--request-id", request]);
                    (ran.code() == Some(0)).then(|| ran.id())
                }));
            }
            // Refused: nothing was changed.
            _ => {}
        }
    }
    assert!(!answered.is_empty());
    for flow in answered {
        fleet.wait_flow(flow).exits(0);
    }
    fleet.getstatus(&[&before.to_string()]).exits(0);
    fleet.run(&["hello", "-w", "p1"]);
    assert_eq!(conductor.pid(), pid);
    assert!(conductor.is_running(), "{}", conductor.log_tail());
    fleet.record.nothing_started_twice();
}

#[test]
fn a_spool_that_may_not_grow_is_a_full_disk() {
    let fleet = Fleet::new("p1").start();
    fleet.score("talk", "#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x\n", "");
    fleet.rescan();
    let sitter = &fleet.player("p1").sitter;
    let talk = || fleet.submitjob(&["talk", "-w", "p1", "--wait"]);
    eventually("the score to be known", || (talk().code() == Some(0)).then_some(()));
    // Room for the journal, and not for what is said.
    limit_files(sitter, Some(100_000));
    let launchers = launchers(sitter);
    assert!(!launchers.is_empty(), "{}", sitter.log_tail());
    launchers.into_iter().for_each(|pid| limit_files_of(pid, Some(100_000)));
    let flow = talk().exits(0).id();
    let told = fleet.orc(&["logs", &format!("{flow}@p1")]).exits(0);
    assert!(told.out.starts_with("xxx"), "{told}");

    // Not even for the journal.
    let running = fleet.submitjob(&["work", "seconds=1", "-w", "p1"]).exits(0).id();
    fleet.wait_state(running, "running");
    limit_files(sitter, Some(10));
    let refused = fleet.submitjob(&["work", "seconds=0", "-w", "p1", "--wait"]).exits(2).id();
    let task = fleet.task(refused);
    assert_eq!(task["state"], "refused", "{task}");
    assert!(task["detail"].as_str().unwrap().contains("File too large"), "{task}");
    fleet.wait_flow(running).exits(0);
    limit_files(sitter, None);
    eventually("the player to take work again", || {
        let ran = fleet.submitjob(&["work", "seconds=0", "-w", "p1", "--wait"]);
        (ran.code() == Some(0)).then_some(())
    });
    assert!(sitter.is_running(), "{}", sitter.log_tail());
    fleet.record.nothing_started_twice();
}

#[test]
fn limits_that_will_be_felt_are_told_at_the_start() {
    let fleet = Fleet::new("p1").start();
    let player = fleet.player("p1");
    let script = "ulimit -f 100000; ulimit -t 100000; exec \"$@\"";
    for daemon in [&fleet.conductor, &player.sitter] {
        daemon.lead(Streams::Script(script));
    }
    player.sitter.kill();
    fleet.crash_conductor();
    fleet.start_players();
    for daemon in [&fleet.conductor, &player.sitter] {
        for told in ["RLIMIT_FSIZE", "after 100000 s of processor time (RLIMIT_CPU)"] {
            eventually(told, || daemon.log().contains(told).then_some(()));
        }
    }
    fleet.run(&["hello", "-w", "p1"]);
}

/// To open a store, SQLite makes an index beside its log.
#[test]
fn a_conductor_without_space_for_its_start_says_so_and_starts_once_there_is() {
    let fleet = Fleet::new("p1").start();
    let before = fleet.run(&["hello", "-w", "p1"]);
    assert!(fleet.conductor.stop().success());
    // In blocks of 512 bytes: the log may be written, and an index has 32 KiB.
    fleet.conductor.lead(Streams::Script("ulimit -f 48; exec \"$@\""));
    fleet.conductor.start();
    assert_eq!(fleet.conductor.wait().code(), Some(1));
    let log = fleet.conductor.log_tail();
    assert!(log.contains("there is no space to open the store"), "{log}");
    assert!(log.contains("make space and start it again"), "{log}");
    fleet.conductor.lead(Streams::Files);
    fleet.start_conductor();
    fleet.getstatus(&[&before.to_string()]).exits(0);
}
