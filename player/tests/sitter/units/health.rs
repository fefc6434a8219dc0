//! What probers say of units, and what becomes of that when there is none.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::{net::UnixListener, process::CommandExt},
    process::{Command, ExitCode},
};

use orchestra_model::{
    Millis,
    delivery::Refusal,
    service::{HealthRule, Probe, ReadyRule, ReadySign, Target, UnitReport, UnitState, Upkeep},
};
use rustix::process::{Pid, Signal, kill_process};

use super::{Asked, RECORD, ask, ends_well, kill, prepared, record};
use crate::{
    Test,
    world::{World, eventually, is_root},
};

pub(crate) const TESTS: &[Test] = &[
    ("whoever_is_not_answered_is_told_to_be_unhealthy", whoever_is_not_answered),
    ("a_prober_that_is_killed_makes_nobody_unhealthy", a_prober_that_is_killed),
    ("a_prober_that_is_stopped_is_replaced", a_prober_that_is_stopped),
    ("a_run_is_ready_when_its_socket_answers", a_run_is_ready_when_its_socket_answers),
    ("a_socket_is_asked_as_the_user_of_its_unit", a_socket_is_asked_as_its_user),
    ("parameters_say_what_is_asked", parameters_say_what_is_asked),
    ("a_parameter_that_may_be_a_secret_is_asked_of_nobody", a_secret_is_asked_of_nobody),
];

/// Probed each 100 ms; two answers make a verdict.
pub(super) fn with_health(port: u16) -> Asked {
    let rule = HealthRule {
        every: Millis(100),
        timeout: Millis(100),
        fall: 2,
        rise: 2,
        ..HealthRule::new(Probe::Tcp(Target::Port(port)))
    };
    Asked { upkeep: Upkeep { health: Some(rule), ..Upkeep::default() }, ..Asked::default() }
}

pub(super) fn listen(port: u16) -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Waits until this is told.
pub(super) fn told(world: &World, state: UnitState) -> UnitReport {
    loop {
        let report = world.unit_report();
        if report.state == state {
            return report;
        }
    }
}

fn whoever_is_not_answered() {
    let world = prepared();
    world.start();
    let (listener, port) = listen(0);
    ends_well(&world, ask(&world, &with_health(port)));
    drop(listener);
    let sick = told(&world, UnitState::Unhealthy);
    assert_eq!((sick.run.0, sick.trouble.as_deref()), (1, Some("connection refused")));
    let (_listener, _) = listen(port);
    let well = told(&world, UnitState::Ready);
    assert_eq!((well.run.0, well.restarts, well.trouble), (1, 0, None));
    assert_eq!(record(&world).len(), 1);
}

/// What a service says that is asked by its parameters.
fn by_params(http: &str, port: u16) -> Asked {
    let sign = ReadySign::Probe(Probe::http(http).unwrap());
    let ready = ReadyRule { sign, ..ReadyRule::default() };
    let params = vec![("port", port.to_string()), ("name", "shop".to_owned())];
    Asked { params, upkeep: Upkeep { ready, ..Upkeep::default() }, ..Asked::default() }
}

fn parameters_say_what_is_asked() {
    let world = prepared();
    world.file("web.conf", "[params.port]\n[params.name]\n", 0o644);
    world.start();
    let (listener, port) = listen(0);
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 512];
        let length = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 204 well\r\n\r\n").unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    // Instance 3 of the service, on this player.
    ends_well(&world, ask(&world, &by_params("{port}/{name}/{ordinal}?on={player}&{none}", port)));
    let request = asked.join().unwrap();
    assert!(request.starts_with("GET /shop/3?on=db1.example.com&{none} HTTP/1.1\r\n"), "{request}");
}

fn a_secret_is_asked_of_nobody() {
    let world = prepared();
    world.file("web.conf", "[params.port]\nsensitive = true\n[params.name]\n", 0o644);
    world.start();
    let refused = |http: &str| match world.refused(ask(&world, &by_params(http, 8_080))) {
        Refusal::Parameters(why) => why,
        other => panic!("{other:?}"),
    };
    let why = refused("{port}/");
    assert!(why.contains("may be a secret") && !why.contains("8080"), "{why}");
    // What a secret stands in is one.
    let asked = Asked {
        params: vec![("port", "8080".into()), ("name", "{port}".into())],
        ..by_params("{name}/", 0)
    };
    let Refusal::Parameters(why) = world.refused(ask(&world, &asked)) else { panic!() };
    assert!(why.contains("{name} stands in ready") && !why.contains("8080"), "{why}");
    let why = refused("{name}/");
    assert!(why.contains("expected a port") && !why.contains("shop"), "{why}");
    assert_eq!(record(&world).len(), 0);
}

/// The numbers of all probers that were started.
pub(super) fn probers(world: &World) -> Vec<i32> {
    let log = world.log();
    let lines = log.lines().filter(|line| line.contains("started a prober"));
    let pid = |line: &str| line.split("pid=").nth(1)?.split_whitespace().next()?.parse().ok();
    lines.filter_map(pid).collect()
}

fn a_prober_that_is_killed() {
    let world = prepared();
    world.start();
    let (listener, port) = listen(0);
    ends_well(&world, ask(&world, &with_health(port)));
    world.unit_reports();
    for killed in 1..=3 {
        let what = format!("prober {killed}\n{}", world.log());
        let pid = eventually(&what, || probers(&world).get(killed - 1).copied());
        kill(pid);
    }
    eventually("the fourth prober", || probers(&world).get(3).copied());
    // What it says counts: it says what is so.
    drop(listener);
    let report = world.unit_report();
    assert_eq!(report.state, UnitState::Unhealthy, "and nothing was told before: {report:?}");
    assert_eq!(report.run.0, 1);
    // The verdict is the next sitter's too.
    world.crash();
    let snapshot = world.start();
    assert_eq!(snapshot.units.unwrap()[0].state, UnitState::Unhealthy);
    world.signal(Signal::USR2);
    world.hear_the_end();
    let _listener = listen(port);
    assert_eq!(world.attach().units.unwrap().len(), 1);
    told(&world, UnitState::Ready);
}

fn a_prober_that_is_stopped() {
    let world = prepared();
    world.start();
    let (listener, port) = listen(0);
    ends_well(&world, ask(&world, &with_health(port)));
    world.unit_reports();
    let pid = eventually("a prober", || probers(&world).first().copied());
    kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
    eventually("another prober", || probers(&world).get(1).copied());
    drop(listener);
    let report = world.unit_report();
    assert_eq!(report.state, UnitState::Unhealthy, "and nothing was told before: {report:?}");
}

/// Answers over HTTP at a socket in its run directory, for ever.
pub(crate) fn answer() -> ExitCode {
    let path = std::path::PathBuf::from(std::env::var_os("ORC_RUN_DIR").unwrap());
    let listener = UnixListener::bind(path.join("web.sock")).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 204 well\r\n\r\n");
    }
    ExitCode::SUCCESS
}

fn at_a_socket() -> Asked {
    let probe = Probe::http("unix:web.sock:/healthz").unwrap();
    let ready = ReadyRule { sign: ReadySign::Probe(probe), deadline: Millis::minutes(2) };
    Asked { upkeep: Upkeep { ready, ..Upkeep::default() }, ..Asked::default() }
}

fn answering() -> World {
    let world = World::new();
    world.gate("go");
    let us = std::env::current_exe().unwrap();
    world.score("web", &format!("{RECORD}\ncat $OUT/go; exec {us:?} answer"));
    world
}

fn a_run_is_ready_when_its_socket_answers() {
    let world = answering();
    world.start();
    let key = ask(&world, &at_a_socket());
    world.started(key);
    eventually("a prober", || probers(&world).first().copied());
    assert_eq!(world.unit_report().state, UnitState::Starting);
    world.open_gate("go");
    ends_well(&world, key);
    assert_eq!(record(&world).len(), 1);
}

fn a_socket_is_asked_as_its_user() {
    if !is_root() {
        return eprintln!("skipped: only root can become another user");
    }
    let world = answering();
    world.score("web", &format!("exec {:?} answer", std::env::current_exe().unwrap()));
    world.file("web.conf", "user = \"nobody\"\n", 0o644);
    for path in ["", "scores", "run"] {
        let path = world.path(path);
        let _ = std::fs::create_dir(&path);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    }
    world.start();
    ends_well(&world, ask(&world, &at_a_socket()));
    let pid = eventually("a prober", || probers(&world).first().copied());
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(!status.contains("\nUid:\t0\t0\t0\t0"), "{status}");
    // Nobody else of that user's gets at what it has: the kernel asks of who takes a descriptor what it
    // asks of who lists them.
    let uid = crate::newborns::uid("nobody");
    let mut look = Command::new("ls");
    look.arg(format!("/proc/{pid}/fd")).uid(uid).gid(uid);
    let seen = look.output().unwrap();
    assert!(!seen.status.success(), "{}", String::from_utf8_lossy(&seen.stdout));
}
