//! Standard output and error that nobody can write, or that nobody reads: a daemon outlives its log,
//! and a tool ends as it would have ended.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    io::ioctl_fionbio,
    process::{Pid, Resource, Rlimit, Signal, prlimit},
};

use crate::harness::{Daemon, Fleet, Streams, eventually, is_alive};

/// A pipe without a reader.
fn unread() -> OwnedFd {
    io::pipe().unwrap().1.into()
}

fn full() -> OwnedFd {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// Kills both daemons, and starts them with other standard streams.
fn restart(fleet: &Fleet, streams: impl Fn() -> Streams) {
    let sitter = &fleet.player("p1").sitter;
    for daemon in [&fleet.conductor, sitter] {
        daemon.lead(streams());
    }
    sitter.kill();
    fleet.crash_conductor();
    fleet.start_players();
}

/// Has both daemons, and the agent, log a lot, and sees to it that none of them minds.
fn goes_on(fleet: &Fleet) {
    let player = fleet.player("p1");
    let pids = || [fleet.conductor.pid(), player.sitter.pid(), player.agent()];
    let before = pids();
    for daemon in [&fleet.conductor, &player.sitter] {
        daemon.signal(Signal::HUP);
    }
    fleet.run(&["hello", "-w", "p1"]);
    fleet.orc(&["conductor", "reload"]).exits(0);
    assert_eq!(pids(), before);
    player.kill_agent();
    player.agent_other_than(Some(before[2]));
    fleet.wait_attached(&["p1"]);
    fleet.run(&["hello", "-w", "p1"]);
    assert!(fleet.conductor.is_running() && player.sitter.is_running());
}

#[test]
fn daemons_outlive_a_log_that_is_full() {
    let fleet = Fleet::new("p1").start();
    restart(&fleet, || Streams::Script("exec \"$@\" 2> /dev/full"));
    goes_on(&fleet);
}

#[test]
fn daemons_outlive_a_log_whose_reader_is_gone() {
    let fleet = Fleet::new("p1").start();
    restart(&fleet, || Streams::Log(unread()));
    goes_on(&fleet);
}

#[test]
fn no_descriptor_lands_on_a_standard_stream_that_was_closed() {
    let fleet = Fleet::new("p1").start();
    let player = fleet.player("p1");
    // Where the conductor listens is read from its standard output.
    fleet.conductor.lead(Streams::Script("exec \"$@\" <&- 2>&-"));
    player.sitter.lead(Streams::Script("exec \"$@\" <&- >&- 2>&-"));
    player.sitter.kill();
    fleet.crash_conductor();
    fleet.start_players();
    let leads_to = |pid: i32, fd: u32| fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
    for fd in 0..3 {
        for pid in [player.sitter.pid(), player.agent()] {
            assert_eq!(leads_to(pid, fd), Path::new("/dev/null"), "{fd}");
        }
    }
    for fd in [0, 2] {
        assert_eq!(leads_to(fleet.conductor.pid(), fd), Path::new("/dev/null"), "{fd}");
    }
    goes_on(&fleet);
    // And after an execution in place, which starts the agent anew.
    let agent = player.agent();
    player.sitter.signal(Signal::USR2);
    eventually("the agent before to end", || (!is_alive(agent)).then_some(()));
    fleet.wait_attached(&["p1"]);
    goes_on(&fleet);
    for fd in 0..3 {
        assert_eq!(leads_to(player.sitter.pid(), fd), Path::new("/dev/null"), "{fd}");
    }
}

#[test]
fn a_log_that_nobody_reads_delays_nobody() {
    let fleet = Fleet::new("p1").start();
    let (mut reader, writer) = io::pipe().unwrap();
    // Full, so that the first line is one too many.
    ioctl_fionbio(&writer, true).unwrap();
    while rustix::io::write(&writer, &[b'x'; 4_096]).is_ok() {}
    ioctl_fionbio(&writer, false).unwrap();
    restart(&fleet, || Streams::Log(writer.try_clone().unwrap().into()));
    goes_on(&fleet);
    // Not even a stop waits for a reader.
    let sitter = &fleet.player("p1").sitter;
    assert!(sitter.stop().success());
    assert!(fleet.conductor.stop().success());
    fleet.start_conductor();
    fleet.start_players();

    // One that comes back finds what there was room for.
    ioctl_fionbio(&reader, true).unwrap();
    let mut told = Vec::new();
    let flow = fleet.run(&["hello", "-w", "p1"]).to_string();
    eventually("the log to be told", || {
        // Until there is nothing more at the moment.
        let _ = reader.read_to_end(&mut told);
        let told = String::from_utf8_lossy(&told);
        (told.contains("conductor started") && told.contains(&format!("flow={flow} ")))
            .then_some(())
    });
}

#[test]
fn once_a_log_can_be_written_again_it_says_what_is_missing() {
    let fleet = Fleet::new("p1").start();
    let sitter = &fleet.player("p1").sitter;
    // The log is as large as a file may be; the spool is smaller, and goes on.
    let mut log = OpenOptions::new().append(true).open(sitter.log_file()).unwrap();
    log.write_all(&[b'\n'; 200_000]).unwrap();
    let limited = limit_files(sitter, Some(fs::metadata(sitter.log_file()).unwrap().len()));
    fleet.run(&["hello", "-w", "p1"]);
    let unheard = "an attempt ended";
    assert!(!sitter.log().contains(unheard));
    limit_files(sitter, limited);
    fleet.rescan();
    eventually("the log to say what is missing", || {
        let log = sitter.log();
        let (_, after) = log.split_once(" WARN lines of this log were lost lines=")?;
        let (notice, after) = after.split_once('\n')?;
        assert!(notice.contains("File too large"), "{notice}");
        after.contains("scanned the scores").then_some(())
    });
    assert!(sitter.is_running());
}

/// Limits how large the files of a daemon may become; the limit before.
fn limit_files(daemon: &Daemon, bytes: Option<u64>) -> Option<u64> {
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Pid::from_raw(daemon.pid()), Resource::Fsize, limit).unwrap().current
}

#[test]
fn a_tool_whose_reader_went_away_has_done_its_work() {
    let fleet = Fleet::new("p1").start();
    fleet.run(&["hello", "-w", "p1"]);
    let ca: PathBuf = fleet.dir().join("ca/ca.pem");
    let ca = ca.display().to_string();
    for (program, arguments) in [
        ("orc", &["flows"][..]),
        ("orc", &["players", "--json"]),
        ("orc", &["--help"]),
        ("getstatus", &["last"]),
        ("submitjob", &["--version"]),
        ("orchestra-certs", &["--help"]),
        ("orchestra-certs", &["show", &ca]),
        ("conductor", &["--help"]),
        ("player", &["--version"]),
    ] {
        let ran = fleet.tool(program, arguments).out(unread()).run().exits(0);
        assert_eq!(ran.err, "", "{ran}");
        // What could not be told is a failure.
        let ran = fleet.tool(program, arguments).out(full()).run().exits(1);
        assert!(!ran.err.contains("panicked"), "{ran}");
    }
}

#[test]
fn a_tool_that_cannot_complain_ends_with_the_code_that_it_owes() {
    let fleet = Fleet::new("p1").start();
    for (program, arguments) in [
        ("orc", &["wait", "999"][..]),
        ("orc", &["frobnicate"]),
        ("submitjob", &["hello", "-w", "nobody"]),
        ("getstatus", &["999"]),
        ("orchestra-certs", &["show", "/nonexistent"]),
        ("orchestra-certs", &["frobnicate"]),
        ("conductor", &["--frobnicate"]),
        ("conductor", &["--config-dir", "/nonexistent"]),
        ("player", &["--frobnicate"]),
        ("player", &["--config", "/nonexistent"]),
    ] {
        let owed = fleet.tool(program, arguments).run().code().unwrap();
        assert_ne!(owed, 0, "{program} {arguments:?}");
        for err in [full(), unread()] {
            fleet.tool(program, arguments).err(err).run().exits(owed);
        }
    }
}
