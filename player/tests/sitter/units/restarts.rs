//! From the end of a run to the next one.

use std::{
    fs, io::Write, process::Command, process::ExitCode, thread, time::Duration, time::Instant,
};

use orchestra_model::{
    Millis,
    delivery::Outcome,
    service::{RestartRule, RestartWhen, RunEnd, StopRule, UnitState, Upkeep, Wanted},
};

use super::{Asked, RECORD, ask, ends_well, kill, known, prepared, record, run, without_cgroups};
use crate::{
    Test,
    world::{World, eventually, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_crash_is_followed_by_the_next_run", a_crash_is_followed_by_the_next_run),
    ("a_crash_is_followed_without_cgroups", a_crash_is_followed_without_cgroups),
    ("no_two_runs_are_there_at_once", no_two_runs_are_there_at_once),
    ("no_two_runs_are_there_at_once_without_cgroups", no_two_runs_without_cgroups),
    ("a_run_that_ignores_its_signal_is_killed", a_run_that_ignores_its_signal_is_killed),
    ("on_failure_and_never_are_kept_to", on_failure_and_never_are_kept_to),
    ("a_unit_gives_up_after_its_attempts", a_unit_gives_up_after_its_attempts),
    ("what_runs_write_is_kept_over_them", what_runs_write_is_kept_over_them),
    ("from_an_end_to_the_next_run", from_an_end_to_the_next_run),
];

fn follows_a_crash(world: &World) {
    world.start();
    ends_well(world, ask(world, &Asked::default()));
    let first = run(world, 1);
    kill(first.pid);
    let killed = Instant::now();
    let second = run(world, 2);
    let took = killed.elapsed();
    // No timer is in the way; what else runs on the host may be.
    assert!(took < Duration::from_secs(10), "{took:?}\n{}", world.log());
    assert_eq!(second.placement, first.placement);
    let report = loop {
        let report = world.unit_report();
        if report.run.0 == 2 && report.state == UnitState::Ready {
            break report;
        }
    };
    assert_eq!((report.restarts, report.last_end), (1, Some(RunEnd::Signalled(9))));
}

fn a_crash_is_followed_by_the_next_run() {
    follows_a_crash(&prepared());
}

fn a_crash_is_followed_without_cgroups() {
    follows_a_crash(&without_cgroups(prepared()));
}

/// The main process ends and leaves a child in a session of its own that ignores TERM.
fn leaves_children(world: &World) {
    world.score(
        "web",
        &format!(
            "{RECORD}\ntouch $OUT/children; (setsid sh -c 'trap \"\" TERM; echo $$ >> $OUT/children; \
             while :; do sleep 1000; done' &)\n\
             while [ $(wc -l < $OUT/children) -lt $ORC_RUN ]; do sleep 0.01; done 2>/dev/null\n\
             [ -z \"$(cat $OUT/children | head -n -1 | xargs -r ps -o pid= -p)\" ] || \
             echo $ORC_RUN >> $OUT/overlaps\n\
             [ $ORC_RUN -lt 5 ] || exec sleep 1000"
        ),
    );
    world.start();
    ends_well(world, ask(world, &Asked::default()));
    run(world, 5);
    eventually("five children", || {
        let children = fs::read_to_string(world.out("children")).ok()?;
        (children.lines().count() == 5).then_some(())
    });
    assert!(!world.out("overlaps").exists());
    let children = fs::read_to_string(world.out("children")).unwrap();
    let alive = children.lines().filter(|pid| lives(pid.parse().unwrap())).count();
    assert_eq!(alive, 1, "{}", world.log());
}

fn no_two_runs_are_there_at_once() {
    leaves_children(&World::new());
}

fn no_two_runs_without_cgroups() {
    leaves_children(&without_cgroups(World::new()));
}

fn a_run_that_ignores_its_signal_is_killed() {
    let world = World::new();
    world.score("web", &format!("{RECORD}\ntrap '' TERM; while :; do sleep 1000; done"));
    world.start();
    let stop = StopRule { grace: Millis(200), ..StopRule::default() };
    let upkeep = Upkeep { stop, ..Upkeep::default() };
    ends_well(&world, ask(&world, &Asked { upkeep: upkeep.clone(), ..Asked::default() }));
    let first = run(&world, 1);
    ends_well(&world, ask(&world, &Asked { upkeep, ..Asked::wanting(Wanted::Stopped) }));
    assert!(!lives(first.pid));
}

fn on_failure_and_never_are_kept_to() {
    let world = World::new();
    world.score("web", &format!("{RECORD}\nread code < $OUT/code\nexit $code"));
    world.gate("code");
    world.start();
    let rule = |when| RestartRule { when, ..RestartRule::default() };
    ends_well(&world, ask(&world, &Asked::with_restart(rule(RestartWhen::OnFailure))));
    run(&world, 1);
    fs::write(world.out("code"), "3\n").unwrap();
    run(&world, 2);
    fs::write(world.out("code"), "0\n").unwrap();
    let ended = eventually("an end", || {
        let report = world.unit_report();
        (report.state == UnitState::Ended).then_some(report)
    });
    assert_eq!((ended.last_end, ended.restarts), (Some(RunEnd::Exited(0)), 1));
    let asked = Asked { version: 2, ..Asked::with_restart(rule(RestartWhen::Never)) };
    let patient = Asked { healthy_for: Millis::seconds(60), ..asked };
    let key = ask(&world, &patient);
    run(&world, 3);
    fs::write(world.out("code"), "4\n").unwrap();
    let end = world.ended(key);
    assert_eq!(end.outcome, Outcome::Exited(1));
    assert_eq!(end.response["cause"], "exited 4");
    assert!(end.response["failure"].contains("restart.when"), "{:?}", end.response);
    assert_eq!(record(&world).len(), 3);
}

fn a_unit_gives_up_after_its_attempts() {
    let world = World::new();
    world.score("web", &format!("{RECORD}\nexit 9"));
    world.start();
    let rule = RestartRule { attempts: Some(2), ..RestartRule::default() };
    let asked = Asked { healthy_for: Millis::seconds(30), ..Asked::with_restart(rule) };
    let end = world.ended(ask(&world, &asked));
    assert_eq!(end.outcome, Outcome::Exited(1), "{}", world.log());
    assert_eq!(end.response["cause"], "exited 9");
    assert!(end.response["failure"].contains("restart.attempts"), "{:?}", end.response);
    assert_eq!(world.unit_reports().last().unwrap().state, UnitState::GaveUp);
    assert_eq!(record(&world).len(), 3);
}

/// Says when it began, by the clock that the test has too, and stays.
pub(crate) fn be_service() -> ExitCode {
    let began = monotonic();
    let line = format!("{} {} {began}\n", std::env::var("ORC_RUN").unwrap(), std::process::id());
    let path = std::env::var_os("ORC_record").unwrap();
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(line.as_bytes()).unwrap();
    loop {
        thread::park();
    }
}

/// In nanoseconds.
pub(crate) fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn what_runs_write_is_kept_over_them() {
    let world = World::new();
    world.score(
        "web",
        // On record once it has written, because it is killed then.
        &format!("echo out $ORC_RUN; echo err $ORC_RUN >&2\n{RECORD}\nexec sleep 1000"),
    );
    world.start();
    ends_well(&world, ask(&world, &Asked::default()));
    kill(run(&world, 1).pid);
    let second = known(&world, 2);
    world.crash();
    world.start();
    kill(second.pid);
    run(&world, 3);
    let read = |stem: &str| {
        let files = fs::read_dir(&world.logs()[0]).unwrap().map(Result::unwrap);
        let named = files.filter(|file| file.file_name().to_str().unwrap().starts_with(stem));
        let mut paths: Vec<_> = named.map(|file| file.path()).collect();
        paths.sort();
        paths.into_iter().map(|path| fs::read_to_string(path).unwrap()).collect::<String>()
    };
    for stem in ["out", "err"] {
        let wanted = format!("{stem} 1\n{stem} 2\n{stem} 3\n");
        eventually("what was written", || (read(&format!("{stem}.")) == wanted).then_some(()));
    }
}

/// Measures from the kill of a run to the first word of the next one, each run durable before it begins,
/// beside a bare start of the same program.
fn from_an_end_to_the_next_run() {
    const RUNS: usize = 200;
    let world = World::new();
    let program = std::env::current_exe().unwrap();
    fs::copy(&program, world.path("scores").join("web")).unwrap();
    world.start();
    let restart = RestartRule { stable_after: Millis(0), ..RestartRule::default() };
    let path = world.out("began");
    let params = vec![("record", path.to_str().unwrap().to_owned())];
    ends_well(&world, ask(&world, &Asked { params, ..Asked::with_restart(restart) }));
    let began = |path: &std::path::Path, index: usize| {
        eventually("a run", || {
            let text = fs::read_to_string(path).ok()?;
            let line = text.lines().nth(index)?;
            let mut words = line.split(' ').filter_map(|word| word.parse::<u64>().ok());
            let (_, pid, at) = (words.next()?, words.next()?, words.next()?);
            Some((pid as i32, at))
        })
    };
    let mut took = Vec::new();
    for index in 0..RUNS {
        let (pid, _) = began(&path, index);
        // Until the sitter has written down that it runs.
        world.logged(&format!("started a run unit=web run={} ", index + 1));
        world.attach_again();
        let killed = monotonic();
        kill(pid);
        took.push(began(&path, index + 1).1 - killed);
        assert!(!lives(pid), "two at once");
    }
    let half = took.len() / 2;
    let median = *took.select_nth_unstable(half).1;
    assert!(median < 100_000_000, "{median} ns");
    let bare = world.out("bare");
    let mut bare_took = Vec::new();
    for index in 0..RUNS {
        let mut command = Command::new(&program);
        command.env_clear().env("ORC_SERVICE", "x").env("ORC_RUN", "1").env("ORC_record", &bare);
        let asked = monotonic();
        let mut child = command.spawn().unwrap();
        bare_took.push(began(&bare, index).1 - asked);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let of = |took: &mut Vec<u64>, percent: usize| {
        took.sort_unstable();
        took[took.len() * percent / 100] as f64 / 1e6
    };
    println!(
        "from a kill to the next run's first word, {RUNS} times: p50 {:.2} ms, p99 {:.2} ms; \
         a bare start: p50 {:.2} ms, p99 {:.2} ms",
        of(&mut took, 50),
        of(&mut took, 99),
        of(&mut bare_took, 50),
        of(&mut bare_took, 99),
    );
}
