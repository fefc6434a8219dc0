//! What units say of themselves, and who is believed.

use std::{
    ffi::OsString, fs, os::unix::net::UnixDatagram, process::ExitCode, thread, time::Duration,
    time::Instant,
};

use orchestra_model::{
    Millis,
    delivery::{AttemptKey, Outcome},
    service::{ReadyRule, ReadySign, RunEnd, UnitState, Upkeep},
};
use rustix::process::Signal;

use super::{Asked, RECORD, ask, ends_well, known, record, run, started, without_cgroups};
use crate::{
    Test,
    world::{World, is_root},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_unit_is_ready_when_it_says_so", a_unit_is_ready_when_it_says_so),
    ("a_unit_says_so_after_a_restart_of_the_sitter", a_unit_says_so_after_a_restart),
    ("a_unit_is_ready_at_a_newline", a_unit_is_ready_at_a_newline),
    ("a_unit_is_ready_at_a_newline_after_a_crash", a_unit_is_ready_at_a_newline_after_a_crash),
    ("nobody_else_speaks_for_a_unit", nobody_else_speaks_for_a_unit),
    ("nobody_else_speaks_for_a_unit_without_cgroups", nobody_else_without_cgroups),
    ("a_unit_that_is_never_ready_runs_again", a_unit_that_is_never_ready_runs_again),
    ("a_unit_that_is_silent_runs_again", a_unit_that_is_silent_runs_again),
    ("a_unit_that_never_stops_talking_keeps_nobody_busy", a_unit_that_never_stops_talking),
    ("a_unit_runs_as_the_user_of_its_score", a_unit_runs_as_the_user_of_its_score),
];

fn with_ready(sign: ReadySign, deadline: Millis) -> Asked {
    let upkeep = Upkeep { ready: ReadyRule { sign, deadline }, ..Upkeep::default() };
    Asked { upkeep, ..Asked::default() }
}

/// What a shell says to the socket of its unit, by a process that lives until it has been heard.
pub(super) fn say_in_shell() -> String {
    format!("say() {{ {:?} say \"$@\"; }}", std::env::current_exe().unwrap())
}

/// Says a word to the socket of its unit: once, and lives for so many milliseconds; or without end.
pub(crate) fn say(arguments: &[OsString]) -> ExitCode {
    let word = |index: usize| arguments.get(index).and_then(|word| word.to_str());
    let path = std::env::var_os("NOTIFY_SOCKET").unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    let text = word(0).unwrap_or_default();
    let forever = word(1) == Some("forever");
    for n in 0_u64.. {
        socket.send_to(text.replace('%', &n.to_string()).as_bytes(), &path).unwrap();
        if !forever {
            break;
        }
    }
    let patience = word(1).and_then(|ms| ms.parse().ok()).unwrap_or(2_000);
    thread::park_timeout(Duration::from_millis(patience));
    ExitCode::SUCCESS
}

fn a_unit_is_ready_when_it_says_so() {
    let world = World::new();
    let say = say_in_shell();
    world.gate("go");
    world.score("web", &format!("{RECORD}\n{say}\ncat $OUT/go; say READY=1; exec sleep 1000"));
    world.start();
    let key = ask(&world, &with_ready(ReadySign::Notify, Millis::minutes(2)));
    world.started(key);
    assert_eq!(world.unit_report().state, UnitState::Starting);
    world.open_gate("go");
    ends_well(&world, key);
    assert_eq!(world.unit_reports().last().unwrap().state, UnitState::Ready);
    assert_eq!(record(&world).len(), 1);
}

fn a_unit_says_so_after_a_restart() {
    let world = World::new();
    let say = say_in_shell();
    world.gate("go");
    world.score("web", &format!("{RECORD}\n{say}\ncat $OUT/go; say READY=1; exec sleep 1000"));
    world.start();
    let key = ask(&world, &with_ready(ReadySign::Notify, Millis::minutes(2)));
    world.started(key);
    known(&world, 1);
    world.crash();
    world.start();
    world.signal(Signal::USR2);
    world.hear_the_end();
    world.forget_reports();
    world.attach();
    world.open_gate("go");
    ends_well(&world, key);
    assert_eq!(record(&world).len(), 1);
}

/// The number is one that no shell uses by itself, and is not the first that is free.
fn at_a_newline(world: &World) -> AttemptKey {
    world.gate("go");
    world
        .score("web", &format!("{RECORD}\nprintf x >&5; cat $OUT/go; echo y >&5; exec sleep 1000"));
    world.start();
    let key = ask(world, &with_ready(ReadySign::Fd(5), Millis::minutes(2)));
    world.started(key);
    known(world, 1);
    key
}

fn a_unit_is_ready_at_a_newline() {
    let world = World::new();
    let key = at_a_newline(&world);
    world.open_gate("go");
    ends_well(&world, key);
    assert_eq!(world.unit_reports().last().unwrap().state, UnitState::Ready);
}

fn a_unit_is_ready_at_a_newline_after_a_crash() {
    let world = World::new();
    let key = at_a_newline(&world);
    world.crash();
    world.open_gate("go");
    world.forget_reports();
    world.start();
    ends_well(&world, key);
    assert_eq!(record(&world).len(), 1);
}

fn nobody_else(world: &World) {
    let say = say_in_shell();
    world.gate("go");
    world.score(
        "web",
        &format!(
            "{RECORD}\n{say}\necho $NOTIFY_SOCKET > $OUT/socket\n\
             cat $OUT/go; say READY=1; exec sleep 1000"
        ),
    );
    world.start();
    let key = ask(world, &with_ready(ReadySign::Notify, Millis::minutes(2)));
    let path = world.text_in("socket");
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    socket.send_to(b"READY=1", path.trim_end()).unwrap();
    world.logged("a process that is not the unit's speaks for it");
    assert_ne!(world.attach_again().units.unwrap()[0].state, UnitState::Ready);
    world.open_gate("go");
    ends_well(world, key);
}

fn nobody_else_speaks_for_a_unit() {
    nobody_else(&World::new());
}

fn nobody_else_without_cgroups() {
    nobody_else(&without_cgroups(World::new()));
}

fn a_unit_that_is_never_ready_runs_again() {
    let world = started();
    let key = ask(&world, &with_ready(ReadySign::Notify, Millis(200)));
    run(&world, 2);
    let report = loop {
        let report = world.unit_report();
        if report.run.0 >= 2 {
            break report;
        }
    };
    assert_eq!(report.last_end, Some(RunEnd::NeverReady));
    world.cancel(key);
    assert_eq!(world.ended(key).outcome, Outcome::Cancelled);
}

fn a_unit_that_is_silent_runs_again() {
    let world = World::new();
    let say = say_in_shell();
    world.score(
        "web",
        &format!("{RECORD}\n{say}\nsay 'READY=1\nWATCHDOG_USEC=300000' 200; exec sleep 1000"),
    );
    world.start();
    ask(&world, &with_ready(ReadySign::Notify, Millis::minutes(2)));
    run(&world, 2);
    let report = loop {
        let report = world.unit_report();
        if report.run.0 >= 2 {
            break report;
        }
    };
    assert_eq!(report.last_end, Some(RunEnd::Watchdog));
}

fn a_unit_that_never_stops_talking() {
    let world = World::new();
    let words = "READY=1\\nWATCHDOG=1\\nWATCHDOG_USEC=60000000\\nEXTEND_TIMEOUT_USEC=%%";
    let say = say_in_shell();
    world.score("web", &format!("{RECORD}\n{say}\nsay \"$(printf '{words}')\" forever"));
    // Some 40 attempts fit into the 2 s: what they cost the sitter is little on any machine.
    world.score("quick", "sleep 0.05; echo quick");
    world.start();
    ends_well(&world, ask(&world, &with_ready(ReadySign::Notify, Millis::minutes(2))));
    let cpu = || cpu_ms(world.pid());
    let (before, begin) = (cpu(), Instant::now());
    while begin.elapsed() < Duration::from_secs(2) {
        assert_eq!(world.output_of("quick", &[]), "quick\n");
    }
    let spent = cpu() - before;
    println!("a unit that never stops talking costs its sitter {spent} ms in 2 s, with attempts");
    assert!(spent < 1_000, "{spent} ms");
    assert_eq!(record(&world).len(), 1);
}

/// User and system time of a process, in milliseconds.
fn cpu_ms(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
    (ticks(11) + ticks(12)) * 10
}

fn a_unit_runs_as_the_user_of_its_score() {
    if !is_root() {
        return eprintln!("skipped: only root can become another user");
    }
    let world = World::new();
    let say = say_in_shell();
    world.score(
        "web",
        &format!(
            "{say}\ntouch $ORC_RUN_DIR/mine; [ -O $ORC_RUN_DIR ] && say \"READY=1\"; id -un; \
             exec sleep 1000"
        ),
    );
    world.file("web.conf", "user = \"nobody\"\n", 0o644);
    for path in ["", "scores", "run"] {
        let path = world.path(path);
        let _ = fs::create_dir(&path);
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    world.start();
    ends_well(&world, ask(&world, &with_ready(ReadySign::Notify, Millis::minutes(2))));
}
