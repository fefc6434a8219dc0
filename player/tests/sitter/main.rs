//! The sitter with real processes, real signals, a real spool on disk, and the test in the
//! agent's place.
//!
//! This program has many faces, because a sitter starts agent, launchers, prober and guard from its own file:
//! called with `--config` it is the sitter; with `launcher` one of its launchers; with `prober` its
//! prober; with `guard` its guard; with `agent` it hands its socket to the test that listens beside the
//! configuration; with `mover` it is what a score of `stuck.rs` executes; with `lurk` what a score of
//! `lurking.rs` leaves behind; with `say` what units say, with `answer` one that
//! answers probes, with `pour` one that writes what `flood.rs` reads, and with nothing, as a unit, one
//! that says when it began; with `measure` it tells what units cost; with anything else it runs tests,
//! several at a time, those whose names contain the argument. No test waits for time: each waits for
//! what must happen, and fails when it does not come.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test, although it has a `main` of its own"
)]
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "it is a runner of tests, too")]

use std::{
    env,
    ffi::OsString,
    io::{IoSlice, Read},
    mem::MaybeUninit,
    os::{fd::AsFd, unix::net::UnixStream},
    panic,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    thread,
};

use orchestra_daemon::{log, signals};
use orchestra_link::ipc::AGENT_DESCRIPTOR;
use player::{config::Config, sitter};
use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
};

mod adopting;
mod flood;
mod hung;
mod killing;
mod logs;
mod lurking;
mod measure;
mod newborns;
mod running;
mod scores;
mod spooling;
mod stuck;
mod units;
mod world;

type Test = (&'static str, fn());

const ALL: [(&str, &[Test]); 27] = [
    ("running", running::TESTS),
    ("scores", scores::TESTS),
    ("killing", killing::TESTS),
    ("spooling", spooling::TESTS),
    ("adopting", adopting::TESTS),
    ("newborns", newborns::TESTS),
    ("stuck", stuck::TESTS),
    ("units::orders", units::orders::TESTS),
    ("units::restarts", units::restarts::TESTS),
    ("units::leases", units::leases::TESTS),
    ("units::leaving", units::leaving::TESTS),
    ("units::ready", units::ready::TESTS),
    ("units::limits", units::limits::TESTS),
    ("units::given", units::given::TESTS),
    ("logs", logs::TESTS),
    ("flood", flood::TESTS),
    ("lurking", lurking::TESTS),
    ("units::health", units::health::TESTS),
    ("units::checks", units::checks::TESTS),
    ("units::drift", units::drift::TESTS),
    ("units::signals", units::signals::TESTS),
    ("units::process", units::process::TESTS),
    ("units::matrix", units::matrix::TESTS),
    ("units::cerebro", units::cerebro::TESTS),
    ("units::lessons", units::lessons::TESTS),
    ("units::starved", units::starved::TESTS),
    ("units::vitals", units::vitals::TESTS),
];

/// How many tests run at once. Most of them wait.
const AT_ONCE: usize = 6;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let path = |index: usize| arguments.get(index).map(PathBuf::from).unwrap_or_default();
    match arguments.first().and_then(|first| first.to_str()) {
        Some("--config") => be_sitter(&path(1), arguments.get(3)),
        Some("agent") => be_agent(&path(2)),
        Some("mover") => stuck::be_mover(),
        Some("lurk") => lurking::be_lurker(),
        Some("prober") => match player::prober::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}", orchestra_model::chain(&error));
                ExitCode::FAILURE
            }
        },
        Some("guard") => match player::guard::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}", orchestra_model::chain(&error));
                ExitCode::FAILURE
            }
        },
        Some("answer") => units::health::answer(),
        Some("pour") => flood::write(&arguments[1..]),
        Some("measure") => measure::run(&arguments[1..]),
        Some("say") => units::ready::say(&arguments[1..]),
        None if env::var_os("ORC_SERVICE").is_some() => units::restarts::be_service(),
        Some("launcher") => match sitter::launcher::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}", orchestra_model::chain(&error));
                ExitCode::FAILURE
            }
        },
        _ => run_tests(&arguments),
    }
}

fn be_sitter(config: &Path, lifeline: Option<&OsString>) -> ExitCode {
    let _log = sitter::start_log();
    signals::outlive_strays().unwrap();
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(error) => {
            log::say(orchestra_model::chain(&error));
            return ExitCode::FAILURE;
        }
    };
    let lifeline = lifeline.and_then(|number| number.to_str()?.parse().ok());
    match sitter::run(config, lifeline) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::say(orchestra_model::chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Hands the test its socket to the sitter, so that what the test says is there once it is said, and
/// lives until the test drops the connection on which it got that.
fn be_agent(config: &Path) -> ExitCode {
    // The socket that the sitter promises at this number.
    let of_ours = |ourselves| pidfd_getfd(ourselves, AGENT_DESCRIPTOR, PidfdGetfdFlags::empty());
    let ourselves = pidfd_open(getpid(), PidfdFlags::empty());
    let Ok(sitter) = ourselves.and_then(of_ours) else {
        return ExitCode::FAILURE;
    };
    let Ok(mut test) = UnixStream::connect(config.with_file_name("agent.sock")) else {
        return ExitCode::FAILURE;
    };
    let rights = [sitter.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&rights));
    let sent = sendmsg(&test, &[IoSlice::new(b"s")], &mut control, SendFlags::empty());
    // Nothing is said on it.
    let end = test.read(&mut [0]);
    if sent.is_ok() && end.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_tests(arguments: &[OsString]) -> ExitCode {
    let wanted: Vec<&str> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let named = |(of, tests): (&'static str, &'static [Test])| {
        tests.iter().map(move |(name, test)| (format!("{of}::{name}"), *test))
    };
    let mut tests: Vec<(String, fn())> = ALL.into_iter().flat_map(named).collect();
    let given = |flag: &str| wanted.contains(&flag);
    if given("--ignored") {
        // None is: runners ask for these in a call of its own.
        tests.clear();
    }
    if given("--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let exact = given("--exact");
    let parts: Vec<&str> = wanted.into_iter().filter(|word| !word.starts_with('-')).collect();
    let fits = |name: &str, part: &str| if exact { name == part } else { name.contains(part) };
    tests.retain(|(name, _)| parts.is_empty() || parts.iter().any(|part| fits(name, part)));
    let all = tests.len();
    println!("\nrunning {all} tests");
    let (queue, failed) = (Mutex::new(tests.into_iter()), Mutex::new(Vec::new()));
    let work = || {
        while let Some((name, test)) = { queue.lock().unwrap().next() } {
            let passed = panic::catch_unwind(test).is_ok();
            println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
            if !passed {
                failed.lock().unwrap().push(name);
            }
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    let passed = all - failed.len();
    println!("\ntest result: {verdict}. {passed} passed; {} failed; 0 ignored\n", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
