//! What is kept running, by its own record: each run writes its numbers and its process to a file.

use std::{
    ffi::OsString,
    fs,
    io::Write,
    os::unix::net::UnixDatagram,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use orchestra_model::{
    AudienceName, JobName, Millis, Params, ScoreName, ServiceName,
    delivery::{AttemptKey, JobPart, Outcome, Refusal},
    service::{
        ReadyRule, ReadySign, RestartRule, RestartWhen, RunEnd, ServiceVersion, StopRule, UnitJob,
        UnitState, Upkeep, Wanted,
    },
};
use orchestra_proto::v1;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Test,
    world::{World, eventually, is_root, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("an_order_is_ok_when_its_unit_is_ready", an_order_is_ok_when_its_unit_is_ready),
    ("a_crash_is_followed_by_the_next_run", a_crash_is_followed_by_the_next_run),
    ("a_crash_is_followed_without_cgroups", a_crash_is_followed_without_cgroups),
    ("no_two_runs_are_there_at_once", no_two_runs_are_there_at_once),
    ("no_two_runs_are_there_at_once_without_cgroups", no_two_runs_without_cgroups),
    ("a_unit_lives_through_the_death_of_its_sitter", a_unit_lives_through_its_sitter),
    ("a_unit_that_dies_while_nobody_is_there_runs_again", a_unit_dies_while_nobody_is_there),
    ("a_unit_lives_through_an_upgrade", a_unit_lives_through_an_upgrade),
    ("an_agent_may_die_and_no_unit_notices", an_agent_may_die),
    ("a_stop_ends_a_unit_and_another_order_starts_it", a_stop_ends_a_unit),
    ("what_is_gone_leaves_nothing", what_is_gone_leaves_nothing),
    ("a_version_takes_the_place_of_another", a_version_takes_the_place_of_another),
    ("a_run_that_ignores_its_signal_is_killed", a_run_that_ignores_its_signal_is_killed),
    ("on_failure_and_never_are_kept_to", on_failure_and_never_are_kept_to),
    ("a_unit_gives_up_after_its_attempts", a_unit_gives_up_after_its_attempts),
    ("a_score_that_may_not_run_refuses_the_order", a_score_that_may_not_run),
    ("a_cancel_ends_the_watch_and_not_the_unit", a_cancel_ends_the_watch_and_not_the_unit),
    ("a_watch_goes_on_over_a_restart_of_the_sitter", a_watch_goes_on_over_a_restart),
    ("parameters_that_are_not_on_disk_come_again", parameters_that_are_not_on_disk_come_again),
    ("parameters_in_memory_outlive_a_sitter", parameters_in_memory_outlive_a_sitter),
    ("a_host_that_was_started_anew_begins_the_next_run", a_host_that_was_started_anew),
    ("a_full_disk_holds_runs_back_and_loses_none", a_full_disk_holds_runs_back),
    ("a_wiped_spool_ends_what_ran", a_wiped_spool_ends_what_ran),
    ("a_wiped_spool_ends_what_ran_without_cgroups", a_wiped_spool_without_cgroups),
    ("units_take_no_place_of_attempts", units_take_no_place_of_attempts),
    ("a_run_has_its_variables_and_no_other", a_run_has_its_variables_and_no_other),
    ("an_attempt_leaves_units_alone_without_cgroups", an_attempt_leaves_units_alone),
    ("a_unit_is_ready_when_it_says_so", a_unit_is_ready_when_it_says_so),
    ("a_unit_says_so_after_a_restart_of_the_sitter", a_unit_says_so_after_a_restart),
    ("a_unit_is_ready_at_a_newline", a_unit_is_ready_at_a_newline),
    ("a_unit_is_ready_at_a_newline_after_a_crash", a_unit_is_ready_at_a_newline_after_a_crash),
    ("nobody_else_speaks_for_a_unit", nobody_else_speaks_for_a_unit),
    ("nobody_else_speaks_for_a_unit_without_cgroups", nobody_else_without_cgroups),
    ("a_unit_that_is_never_ready_runs_again", a_unit_that_is_never_ready_runs_again),
    ("a_unit_that_is_silent_runs_again", a_unit_that_is_silent_runs_again),
    ("a_unit_that_never_stops_talking_keeps_nobody_busy", a_unit_that_never_stops_talking),
    ("what_runs_write_is_kept_over_them", what_runs_write_is_kept_over_them),
    ("a_unit_runs_as_the_user_of_its_score", a_unit_runs_as_the_user_of_its_score),
    ("from_an_end_to_the_next_run", from_an_end_to_the_next_run),
];

/// Writes a line for each run and stays.
const RECORD: &str = "echo $ORC_PLACEMENT $ORC_RUN $$ $PPID $ORC_VERSION >> $OUT/runs";

/// What is asked of the unit `web`.
#[derive(Clone)]
struct Asked {
    score: &'static str,
    version: u64,
    placement: u64,
    wanted: Wanted,
    params: Vec<(&'static str, String)>,
    upkeep: Upkeep,
    healthy_for: Millis,
    deadline: Millis,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            score: "web",
            version: 1,
            placement: 7,
            wanted: Wanted::Running,
            params: Vec::new(),
            upkeep: Upkeep::default(),
            healthy_for: Millis(0),
            deadline: Millis::seconds(60),
        }
    }
}

impl Asked {
    fn wanting(wanted: Wanted) -> Self {
        Self { wanted, ..Self::default() }
    }

    fn with_restart(restart: RestartRule) -> Self {
        Self { upkeep: Upkeep { restart, ..Upkeep::default() }, ..Self::default() }
    }
}

fn ask(world: &World, asked: &Asked) -> AttemptKey {
    let key = world.fresh_key();
    ask_again(world, asked, key);
    key
}

fn ask_again(world: &World, asked: &Asked, key: AttemptKey) {
    let unit = UnitJob {
        service: ServiceName::new("web").unwrap(),
        version: ServiceVersion(asked.version),
        wanted: asked.wanted,
        upkeep: asked.upkeep.clone(),
        healthy_for: asked.healthy_for,
        deadline: asked.deadline,
        instances: [].into(),
    };
    let part = JobPart {
        job: key.job,
        name: JobName::new("web").unwrap(),
        score: ScoreName::new(asked.score).unwrap(),
        audience: AudienceName::new("alice").unwrap(),
        params: Params::from_pairs(asked.params.clone()).unwrap(),
        unit: Some(unit.into()),
    };
    let body = v1::JobBody::from(&part);
    world.send_body(&body, None, key, key.job.flow.0, (3, asked.placement));
}

/// A line of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    placement: u64,
    run: u64,
    pid: i32,
    version: u64,
}

fn record(world: &World) -> Vec<Line> {
    let text = fs::read_to_string(world.out("runs")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let mut next = || words.next()?.parse::<u64>().ok();
        let (placement, run, pid, _, version) = (next()?, next()?, next()?, next()?, next()?);
        Some(Line { placement, run, pid: pid as i32, version })
    });
    lines.collect()
}

/// Waits for the run of this number.
fn run(world: &World, number: u64) -> Line {
    let what = format!("run {number}\n{}", world.log());
    eventually(&what, || record(world).into_iter().find(|line| line.run == number))
}

/// The same, and waits until the sitter has written down that it runs: before that the next sitter would
/// not know of its process, and end it.
fn known(world: &World, number: u64) -> Line {
    world.logged(&format!("started a run unit=web run={number} "));
    world.attach_again();
    run(world, number)
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

fn gone(pid: i32) {
    eventually("the end of a process", || (!lives(pid)).then_some(()));
}

fn ends_well(world: &World, key: AttemptKey) {
    let end = world.ended(key);
    assert_eq!(end.outcome, Outcome::Exited(0), "{:?}\n{}", end.response, world.log());
}

/// A world whose service stays.
fn prepared() -> World {
    let world = World::new();
    world.score("web", &format!("{RECORD}\nexec sleep 1000"));
    world
}

fn started() -> World {
    let world = prepared();
    world.start();
    world
}

fn without_cgroups(world: World) -> World {
    world.set("cgroup", "\"none\"");
    world
}

fn an_order_is_ok_when_its_unit_is_ready() {
    let world = started();
    let key = ask(&world, &Asked::default());
    world.started(key);
    ends_well(&world, key);
    // What is told of the unit comes before that.
    let told = world.unit_reports();
    let last = told.last().unwrap();
    assert_eq!((last.state, last.run.0, last.restarts), (UnitState::Ready, 1, 0));
    assert_eq!((last.instance.ordinal.0, last.instance.placement.0), (3, 7));
    assert!(lives(run(&world, 1).pid));
    let snapshot = world.attach_again();
    assert_eq!(snapshot.units.unwrap(), std::slice::from_ref(last));
    assert_eq!(snapshot.live, []);
}

fn follows_a_crash(world: &World) {
    world.start();
    ends_well(world, ask(world, &Asked::default()));
    let first = run(world, 1);
    kill(first.pid);
    let killed = Instant::now();
    let second = run(world, 2);
    let took = killed.elapsed();
    assert!(took < Duration::from_millis(400), "{took:?}\n{}", world.log());
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

fn a_unit_lives_through_its_sitter() {
    let world = started();
    ends_well(&world, ask(&world, &Asked::default()));
    let first = run(&world, 1);
    world.crash();
    let snapshot = world.start();
    let units = snapshot.units.unwrap();
    assert_eq!((units[0].state, units[0].run.0), (UnitState::Ready, 1));
    assert!(lives(first.pid));
    assert_eq!(record(&world).len(), 1);
    // Somebody else's child now, it is watched all the same.
    kill(first.pid);
    run(&world, 2);
    assert!(!lives(first.pid));
}

fn a_unit_dies_while_nobody_is_there() {
    let world = started();
    ends_well(&world, ask(&world, &Asked::default()));
    let first = run(&world, 1);
    world.crash();
    kill(first.pid);
    gone(first.pid);
    world.start();
    assert!(lives(run(&world, 2).pid));
    let units = world.attach_again().units.unwrap();
    // While nobody has reaped it the kernel tells how it ended.
    let end = units[0].last_end.as_ref().unwrap();
    assert!(matches!(end, RunEnd::Unknown | RunEnd::Signalled(9)), "{end}");
}

fn a_unit_lives_through_an_upgrade() {
    let world = started();
    ends_well(&world, ask(&world, &Asked::default()));
    let first = run(&world, 1);
    let sitter = world.pid();
    world.signal(Signal::USR2);
    world.hear_the_end();
    let snapshot = world.attach();
    assert_eq!((snapshot.units.unwrap()[0].run.0, world.pid()), (1, sitter));
    kill(first.pid);
    run(&world, 2);
    let report = eventually("a true end", || {
        let report = world.unit_report();
        (report.run.0 == 2).then_some(report)
    });
    assert_eq!(report.last_end, Some(RunEnd::Signalled(9)));
}

fn an_agent_may_die() {
    let world = started();
    ends_well(&world, ask(&world, &Asked::default()));
    let first = run(&world, 1);
    world.signal(Signal::USR1);
    world.hear_the_end();
    let snapshot = world.attach();
    assert_eq!(snapshot.units.unwrap()[0].state, UnitState::Ready);
    assert!(lives(first.pid) && record(&world).len() == 1);
}

fn a_stop_ends_a_unit() {
    let world = started();
    ends_well(&world, ask(&world, &Asked::default()));
    let first = run(&world, 1);
    ends_well(&world, ask(&world, &Asked::wanting(Wanted::Stopped)));
    assert!(!lives(first.pid));
    assert_eq!(world.unit_reports().last().unwrap().state, UnitState::Stopped);
    assert_eq!(world.attach_again().units.unwrap()[0].last_end, Some(RunEnd::Asked));
    world.crash();
    world.start();
    assert_eq!(record(&world).len(), 1, "what is stopped stays so");
    ends_well(&world, ask(&world, &Asked::default()));
    assert!(lives(run(&world, 2).pid));
    ends_well(&world, ask(&world, &Asked::wanting(Wanted::Restarted)));
    assert!(lives(run(&world, 3).pid));
}

fn what_is_gone_leaves_nothing() {
    let world = started();
    ends_well(&world, ask(&world, &Asked::default()));
    let first = run(&world, 1);
    assert_eq!((world.unit_places().len(), logs(&world)), (1, 1));
    ends_well(&world, ask(&world, &Asked::wanting(Wanted::Gone)));
    assert_eq!(world.unit_reports().last().unwrap().state, UnitState::Gone);
    assert!(!lives(first.pid));
    assert_eq!(world.attach_again().units.unwrap(), []);
    assert_eq!((world.unit_places().len(), logs(&world)), (0, 0));
}

fn logs(world: &World) -> usize {
    fs::read_dir(world.path("spool/logs")).map_or(0, Iterator::count)
}

fn a_version_takes_the_place_of_another() {
    let world = started();
    ends_well(&world, ask(&world, &Asked::default()));
    let first = run(&world, 1);
    // The same again needs no further run.
    ends_well(&world, ask(&world, &Asked::default()));
    assert_eq!(record(&world).len(), 1);
    ends_well(&world, ask(&world, &Asked { version: 2, ..Asked::default() }));
    let second = run(&world, 2);
    assert_eq!((second.version, lives(first.pid)), (2, false));
    ends_well(&world, ask(&world, &Asked { placement: 9, version: 2, ..Asked::default() }));
    let third = *record(&world).last().unwrap();
    assert_eq!((third.placement, third.run), (9, 1));
    let old = ask(&world, &Asked::default());
    assert!(matches!(world.refused(old), Refusal::Spool(why) if why.contains("placement")));
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

fn a_score_that_may_not_run() {
    let world = started();
    let unknown = ask(&world, &Asked { score: "none", ..Asked::default() });
    assert_eq!(world.refused(unknown), Refusal::UnknownScore);
    world.file("web.conf", "interface = \"pipe\"\n", 0o644);
    world.file("asks.conf", "[params.port]\nrequired = true\n", 0o644);
    world.score("asks", "exec sleep 1000");
    world.score("writable", "exec sleep 1000");
    world.file("writable", "#!/bin/sh\n", 0o777);
    world.signal(Signal::HUP);
    world.hear_of_a_scan();
    let refusal = |score| world.refused(ask(&world, &Asked { score, ..Asked::default() }));
    assert!(matches!(refusal("web"), Refusal::ScoreDisabled(why) if why.contains("pipe")));
    assert!(matches!(refusal("asks"), Refusal::Parameters(_)));
    assert!(matches!(refusal("writable"), Refusal::ScoreDisabled(_)));
    assert_eq!(world.attach_again().units.unwrap(), []);
}

fn a_cancel_ends_the_watch_and_not_the_unit() {
    let world = started();
    let asked = Asked { healthy_for: Millis::minutes(5), ..Asked::default() };
    let key = ask(&world, &Asked { deadline: Millis::minutes(10), ..asked });
    let first = run(&world, 1);
    world.cancel(key);
    assert_eq!(world.ended(key).outcome, Outcome::Cancelled);
    assert!(lives(first.pid));
    kill(first.pid);
    assert!(lives(run(&world, 2).pid));
    let late = ask(
        &world,
        &Asked {
            version: 2,
            healthy_for: Millis::minutes(5),
            deadline: Millis(300),
            ..Asked::default()
        },
    );
    assert_eq!(world.ended(late).outcome, Outcome::TimedOut);
    assert!(lives(run(&world, 3).pid));
}

fn a_watch_goes_on_over_a_restart() {
    let world = started();
    let key = ask(&world, &Asked { healthy_for: Millis::seconds(3), ..Asked::default() });
    world.started(key);
    known(&world, 1);
    world.crash();
    world.forget_reports();
    let snapshot = world.start();
    assert_eq!(snapshot.live.len(), 1);
    ends_well(&world, key);
    assert_eq!(record(&world).len(), 1);
}

fn parameters_that_are_not_on_disk_come_again() {
    let world = World::new();
    world.score("web", &format!("{RECORD}\necho $ORC_password > $OUT/password; exec sleep 1000"));
    world.file("web.conf", "[params.password]\nsensitive = true\n", 0o644);
    world.start();
    let params = vec![("password", "hunter2".to_owned())];
    let asked = Asked { params, ..Asked::default() };
    ends_well(&world, ask(&world, &asked));
    let first = run(&world, 1);
    for file in ["journal", "units"] {
        let bytes = fs::read(world.path("spool").join(file)).unwrap();
        assert!(!bytes.windows(7).any(|part| part == b"hunter2"), "{file}");
    }
    kill(first.pid);
    let second = known(&world, 2);
    world.crash();
    world.start();
    assert!(lives(second.pid));
    kill(second.pid);
    let is_in_memory = in_memory(&world.path("run"));
    if !is_in_memory {
        let report = eventually("a wait", || {
            let report = world.unit_report();
            (report.state == UnitState::AwaitingParams).then_some(report)
        });
        assert_eq!(report.run.0, 2);
        ends_well(&world, ask(&world, &asked));
    }
    run(&world, 3);
    eventually("the parameter", || {
        (fs::read_to_string(world.out("password")).ok()? == "hunter2\n").then_some(())
    });
}

fn parameters_in_memory_outlive_a_sitter() {
    if !in_memory(std::path::Path::new("/dev/shm")) {
        return println!("not run: there is no memory file system at /dev/shm");
    }
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = World::new();
    world.set("run_dir", format!("{:?}", place.path().join("run").to_str().unwrap()));
    world.score("web", &format!("{RECORD}\necho $ORC_password >> $OUT/password; exec sleep 1000"));
    world.file("web.conf", "[params.password]\nsensitive = true\n", 0o644);
    world.start();
    let params = vec![("password", "hunter2".to_owned())];
    ends_well(&world, ask(&world, &Asked { params, ..Asked::default() }));
    let first = run(&world, 1);
    world.crash();
    kill(first.pid);
    gone(first.pid);
    world.start();
    run(&world, 2);
    eventually("the parameter", || {
        (fs::read_to_string(world.out("password")).ok()? == "hunter2\nhunter2\n").then_some(())
    });
    let bytes = fs::read(world.path("spool/units")).unwrap();
    assert!(!bytes.windows(7).any(|part| part == b"hunter2"));
    ends_well(&world, ask(&world, &Asked::wanting(Wanted::Gone)));
}

/// Whether the sitter can be given a view of the host of its own.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["--mount", "true"]).status();
    let may = is_root() && tried.is_ok_and(|status| status.success());
    if !may {
        println!("not run: only root can mount");
    }
    may
}

/// What lives on is what a host that was started anew cannot have; it makes no second run beside the
/// next one either.
fn a_host_that_was_started_anew() {
    if !may_mount() {
        return;
    }
    let world = started();
    ends_well(&world, ask(&world, &Asked::default()));
    let first = run(&world, 1);
    world.crash();
    let id = world.path("boot_id");
    fs::write(&id, "11111111-2222-3333-4444-555555555555\n").unwrap();
    let mount =
        format!("mount --bind {} /proc/sys/kernel/random/boot_id && exec \"$@\"", id.display());
    world.start_through(&["unshare", "-m", "sh", "-c", &mount, "sh"]);
    world.start();
    // One that found another there is a run too, which could not be started.
    eventually("the next run", || {
        let last = *record(&world).last()?;
        (last.run > first.run).then_some(())
    });
    assert!(!lives(first.pid));
    let alive = record(&world).into_iter().filter(|line| lives(line.pid)).count();
    assert_eq!(alive, 1, "{}", world.log());
}

fn a_full_disk_holds_runs_back() {
    if !may_mount() {
        return;
    }
    let world = prepared();
    let spool = world.path("spool");
    fs::create_dir(&spool).unwrap();
    let mount =
        format!("mount -t tmpfs -o size=256k,mode=0700 none {} && exec \"$@\"", spool.display());
    world.start_through(&["unshare", "-m", "sh", "-c", &mount, "sh"]);
    world.start();
    let restart = RestartRule { stable_after: Millis(0), ..RestartRule::default() };
    ends_well(&world, ask(&world, &Asked::with_restart(restart)));
    let fill = format!("/proc/{}/root{}/fill", world.pid(), spool.display());
    let mut file = fs::File::create(&fill).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    // The last page may still have room for some.
    let said = || world.log().contains("cannot write the units' file");
    let mut runs = 1;
    while !said() {
        kill(run(&world, runs).pid);
        runs += 1;
        eventually("the next run, or a word", || {
            (said() || record(&world).len() as u64 == runs).then_some(())
        });
    }
    // One that lives is left alone; when it ends, no other begins.
    if let Some(last) = record(&world).last().filter(|last| lives(last.pid)) {
        kill(last.pid);
        gone(last.pid);
    }
    let before = record(&world);
    let refused = ask(&world, &Asked { version: 2, ..Asked::default() });
    assert!(matches!(world.refused(refused), Refusal::Spool(_)));
    fs::remove_file(&fill).unwrap();
    eventually("the next run", || {
        let now = record(&world);
        let last = *now.last()?;
        (now.len() > before.len() && lives(last.pid)).then_some(())
    });
    let now = record(&world);
    assert!(now.iter().map(|line| line.run).is_sorted_by(|a, b| a < b), "{now:?}");
    assert_eq!(now.iter().filter(|line| lives(line.pid)).count(), 1);
}

fn in_memory(path: &std::path::Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type as u64 == 0x0102_1994)
}

fn wiped(world: &World) {
    world.start();
    ends_well(world, ask(world, &Asked::default()));
    let first = run(world, 1);
    world.crash();
    assert!(lives(first.pid));
    fs::remove_dir_all(world.path("spool")).unwrap();
    let snapshot = world.start();
    assert_eq!(snapshot.units.unwrap(), []);
    assert!(!lives(first.pid), "{}", world.log());
}

fn a_wiped_spool_ends_what_ran() {
    wiped(&prepared());
}

fn a_wiped_spool_without_cgroups() {
    wiped(&without_cgroups(prepared()));
}

fn units_take_no_place_of_attempts() {
    let world = prepared();
    world.set("max_tasks", "1");
    world.score("quick", "echo quick");
    world.start();
    let asked = Asked { healthy_for: Millis::minutes(5), ..Asked::default() };
    let key = ask(&world, &Asked { deadline: Millis::minutes(10), ..asked });
    world.started(key);
    assert_eq!(world.output_of("quick", &[]), "quick\n");
}

fn a_run_has_its_variables_and_no_other() {
    let world = World::new();
    world.score("web", &format!("{RECORD}\nenv | sort > $OUT/env.new; stat -c '%a %u' $ORC_RUN_DIR >> $OUT/env.new; mv $OUT/env.new $OUT/env; exec sleep 1000"));
    world.start();
    ends_well(
        &world,
        ask(&world, &Asked { params: vec![("port", "80".to_owned())], ..Asked::default() }),
    );
    let text = eventually("an environment", || fs::read_to_string(world.out("env")).ok());
    let value =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    for (name, wanted) in [
        ("ORC_SERVICE", "web"),
        ("ORC_INSTANCE", "web/3"),
        ("ORC_ORDINAL", "3"),
        ("ORC_VERSION", "1"),
        ("ORC_PLACEMENT", "7"),
        ("ORC_RUN", "1"),
        ("ORC_SCORE", "web"),
        ("ORC_PLAYER", crate::world::PLAYER),
        ("ORC_AUDIENCE", "alice"),
        ("ORC_port", "80"),
    ] {
        assert_eq!(value(name), Some(wanted), "{name}: {text}");
    }
    for name in ["ORC_TASK", "ORC_ATTEMPT", "ORC_FLOW", "NOTIFY_SOCKET", "SECRET_OF_THE_SITTER"] {
        assert_eq!(value(name), None, "{name}: {text}");
    }
    assert!(value("ORC_RUN_DIR").is_some() && value("ORC_SPOOL").is_some(), "{text}");
    let own = format!("700 {}", rustix::process::geteuid().as_raw());
    assert_eq!(text.lines().last(), Some(own.as_str()));
}

fn an_attempt_leaves_units_alone() {
    let world = without_cgroups(World::new());
    // A child of the unit that nothing shows to be its.
    world.score(
        "web",
        &format!(
            "{RECORD}\n(setsid env -i sh -c 'echo $$ > '$OUT/scrubbed'; exec sleep 1000' &)\n\
             exec sleep 1000"
        ),
    );
    world.score("stubborn", "exec sleep 1000");
    world.start();
    ends_well(&world, ask(&world, &Asked::default()));
    let (first, scrubbed) = (run(&world, 1), world.number_in("scrubbed"));
    let key = world.order_for("stubborn", &[], Some(Duration::from_millis(200)));
    assert_eq!(world.ended(key).outcome, Outcome::TimedOut);
    assert!(lives(first.pid) && lives(scrubbed));
}

fn with_ready(sign: ReadySign, deadline: Millis) -> Asked {
    let upkeep = Upkeep { ready: ReadyRule { sign, deadline }, ..Upkeep::default() };
    Asked { upkeep, ..Asked::default() }
}

/// What a shell says to the socket of its unit, by a process that lives until it has been heard.
fn say_in_shell() -> String {
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
    thread::sleep(Duration::from_millis(patience));
    ExitCode::SUCCESS
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
fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
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
            "{RECORD}\n{say}\necho $NOTIFY_SOCKET > $OUT/new; mv $OUT/new $OUT/socket\n\
             cat $OUT/go; say READY=1; exec sleep 1000"
        ),
    );
    world.start();
    let key = ask(world, &with_ready(ReadySign::Notify, Millis::minutes(2)));
    let path = eventually("a socket", || fs::read_to_string(world.out("socket")).ok());
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
    world.score("quick", "echo quick");
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

fn what_runs_write_is_kept_over_them() {
    let world = World::new();
    world.score(
        "web",
        &format!("{RECORD}\necho out $ORC_RUN; echo err $ORC_RUN >&2; exec sleep 1000"),
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
        let directory = fs::read_dir(world.path("spool/logs")).unwrap().next().unwrap().unwrap();
        let files = fs::read_dir(directory.path()).unwrap().map(Result::unwrap);
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
        // The sitter has written down by then that it runs.
        thread::sleep(Duration::from_millis(25));
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
