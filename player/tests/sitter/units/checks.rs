//! Units whose readiness and health a score tells: what it is told, what becomes of what it says, and
//! that nothing of it is left.

use std::fs;

use orchestra_model::{
    Millis, ScoreName,
    delivery::Refusal,
    service::{HealthRule, Probe, ReadyRule, ReadySign, UnitState, Upkeep},
};
use rustix::process::Signal;

use super::{
    Asked, RECORD, ask, ends_well, gone, health::told, kill, known, limits::can_limit, prepared,
    record, run, without_cgroups,
};
use crate::{
    Test,
    world::{World, eventually, is_root, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_check_tells_by_its_exit_code_how_a_run_is", a_check_tells_by_its_exit_code),
    ("a_check_is_told_what_its_run_is_told", a_check_is_told_what_its_run_is_told),
    ("a_check_runs_as_the_user_of_its_unit", a_check_runs_as_the_user_of_its_unit),
    ("a_check_that_takes_too_long_is_killed_with_what_it_made", || too_long(&with_checks())),
    ("so_it_is_without_cgroups", || too_long(&without_cgroups(with_checks()))),
    ("what_cannot_check_makes_nobody_unhealthy", what_cannot_check),
    ("a_check_that_can_be_none_is_refused_with_its_order", what_can_be_no_check),
    ("a_check_is_not_in_the_way_of_a_restart", || not_in_the_way(&with_checks())),
    ("nor_without_cgroups", || not_in_the_way(&without_cgroups(with_checks()))),
    ("a_sitter_that_is_killed_leaves_no_check_to_the_next", || killed(&with_checks())),
    ("nor_where_there_are_no_cgroups", || killed(&without_cgroups(with_checks()))),
    ("a_sitter_that_is_executed_anew_ends_its_checks", executed_anew),
    ("a_sitter_that_stops_ends_its_checks", stopped),
    ("processes_of_a_check_are_bounded_and_not_its_runs", processes_are_bounded),
];

const NOT_DISRUPTIVE: &str = "disruptive = false\n";
/// Says its number in `check`, and stays until it is killed; but once `well` is there it is content.
const HANG: &str = "test -e $OUT/well && exit 0; echo $$ > $OUT/check; exec sleep 1000";

fn with_checks() -> World {
    let world = prepared();
    world.file("check.conf", NOT_DISRUPTIVE, 0o644);
    world
}

fn check() -> Probe {
    Probe::Score(ScoreName::new("check").unwrap())
}

fn ready_by_check() -> Asked {
    let ready = ReadyRule { sign: ReadySign::Probe(check()), deadline: Millis::minutes(2) };
    Asked { upkeep: Upkeep { ready, ..Upkeep::default() }, ..Asked::default() }
}

/// Checked five times a second; two answers make a verdict.
fn checked() -> Asked {
    let often = Millis(200);
    let rule =
        HealthRule { every: often, timeout: often, fall: 2, rise: 2, ..HealthRule::new(check()) };
    Asked { upkeep: Upkeep { health: Some(rule), ..Upkeep::default() }, ..Asked::default() }
}

fn write(world: &World, name: &str) {
    fs::write(world.out(name), "").unwrap();
}

fn a_check_tells_by_its_exit_code() {
    let world = with_checks();
    let script =
        "test -e $OUT/well && exit 0; echo out; echo one >&2; echo 'db is down' >&2; exit 3";
    world.score("check", script);
    world.start();
    let mut asked = ready_by_check();
    let often = Millis::seconds(1);
    let rule = checked().upkeep.health;
    asked.upkeep.health = rule.map(|rule| HealthRule { every: often, timeout: often, ..rule });
    let key = ask(&world, &asked);
    world.started(key);
    assert_eq!(told(&world, UnitState::Starting).run.0, 1);
    write(&world, "well");
    ends_well(&world, key);
    fs::remove_file(world.out("well")).unwrap();
    let sick = told(&world, UnitState::Unhealthy);
    assert_eq!((sick.run.0, sick.trouble.as_deref()), (1, Some("check exited 3: db is down")));
    // What it wrote is in the unit's log, once: it says the same each time.
    let noted = "[check exited 3]\n[check] out\n[check] one\n[check] db is down\n";
    let log = world.logs()[0].join("err.1");
    let read = || fs::read_to_string(&log).ok().filter(|text| !text.is_empty());
    assert_eq!(eventually("what the check wrote", read), noted);
    write(&world, "well");
    let well = told(&world, UnitState::Ready);
    assert_eq!((well.run.0, well.restarts, well.trouble), (1, 0, None));
    assert_eq!(record(&world).len(), 1);
    assert_eq!(world.attempt_dirs(), 0);
}

fn a_check_is_told_what_its_run_is_told() {
    let world = with_checks();
    let conf = format!("{NOT_DISRUPTIVE}[params.port]\ntype = \"integer\"\n");
    world.file("check.conf", &conf, 0o644);
    let env = "env | grep -E '^(ORC|NOTIFY|LIMIT)' | grep -v -E '^ORC_(SPOOL|SCORE_DIR)=' | sort";
    world.score(
        "web",
        &format!("{RECORD}\n{env} > $OUT/new.env; mv $OUT/new.env $OUT/web.env\nexec sleep 1000"),
    );
    world.score("check", &format!("{env} > $OUT/new.check; mv $OUT/new.check $OUT/check.env"));
    world.start();
    let params = vec![("port", "8080".to_owned()), ("key", "secret".to_owned())];
    ends_well(&world, ask(&world, &Asked { params, ..ready_by_check() }));
    let told = world.text_in("web.env");
    let own = told.lines().filter(|line| *line != "ORC_key=secret");
    let own = own.map(|line| line.replace("ORC_SCORE=web", "ORC_SCORE=check"));
    let mut expected: Vec<String> = own.chain(["ORCHESTRA_CHECK=1".to_owned()]).collect();
    expected.sort();
    let mut check: Vec<String> = world.text_in("check.env").lines().map(str::to_owned).collect();
    check.sort();
    assert_eq!(check, expected);
    assert!(check.contains(&"ORC_RUN=1".to_owned()), "{check:?}");
}

fn a_check_runs_as_the_user_of_its_unit() {
    if !is_root() {
        return eprintln!("skipped: only root can become another user");
    }
    let world = with_checks();
    world.score("web", "exec sleep 1000");
    world.file("web.conf", "user = \"nobody\"\n", 0o644);
    world.score("check", "id -un >&2; test -w $ORC_RUN_DIR && test \"$(id -un)\" = nobody");
    for path in ["", "scores", "run", "out"] {
        let path = world.path(path);
        let _ = fs::create_dir(&path);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, mode).unwrap();
    }
    world.start();
    ends_well(&world, ask(&world, &ready_by_check()));
}

fn too_long(world: &World) {
    let script =
        "(setsid sh -c 'echo $$ > $OUT/child; exec sleep 1000') & echo $$ > $OUT/check; wait";
    world.score("check", script);
    world.start();
    ends_well(world, ask(world, &checked()));
    let sick = told(world, UnitState::Unhealthy);
    assert_eq!(sick.trouble.as_deref(), Some("check gave no answer within 200 ms"));
    let now = |name: &str| world.number_in(name);
    for name in ["check", "child"] {
        gone(now(name));
    }
    assert_eq!(record(world).len(), 1, "the run goes on");
    assert!(lives(run(world, 1).pid));
}

fn what_cannot_check() {
    let world = with_checks();
    world.score("check", "exit 0");
    world.start();
    ends_well(&world, ask(&world, &checked()));
    world.unit_reports();
    world.file("check.conf", "disruptive = perhaps\n", 0o644);
    world.signal(Signal::HUP);
    world.logged("a unit cannot be checked; it stays what it is unit=web score=check why=\"the score is disabled");
    fs::remove_file(world.path("scores").join("check")).unwrap();
    fs::remove_file(world.path("scores").join("check.conf")).unwrap();
    world.signal(Signal::HUP);
    world.logged("why=\"the player has no such score");
    world.file("check.conf", NOT_DISRUPTIVE, 0o644);
    world.score("check", "exit 1");
    world.signal(Signal::HUP);
    let report = world.unit_report();
    assert_eq!(report.state, UnitState::Unhealthy, "and nothing was told before: {report:?}");
    assert_eq!((report.run.0, report.trouble.as_deref()), (1, Some("check exited 1")));
}

fn what_can_be_no_check() {
    let world = prepared();
    world.start();
    let refused = |world: &World| match world.refused(ask(world, &ready_by_check())) {
        Refusal::ScoreDisabled(why) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&world), "its check check: the player has no such score");
    world.score("check", "exit 0");
    for (conf, why) in [
        ("", "a check changes nothing: its .conf has to say disruptive = false"),
        ("disruptive = false\n[params.port]\nrequired = true\n", "the score does not take these"),
    ] {
        world.file("check.conf", conf, 0o644);
        world.signal(Signal::HUP);
        eventually(why, || refused(&world).contains(why).then_some(()));
    }
    assert_eq!(record(&world), []);
}

fn not_in_the_way(world: &World) {
    world.score("check", HANG);
    world.start();
    let key = ask(world, &ready_by_check());
    let first = run(world, 1);
    let check = world.number_in("check");
    write(world, "well");
    kill(first.pid);
    ends_well(world, key);
    gone(check);
    assert_eq!(record(world).len(), 2);
    assert!(lives(run(world, 2).pid));
}

fn killed(world: &World) {
    world.score("check", HANG);
    world.start();
    let key = ask(world, &ready_by_check());
    known(world, 1);
    let check = world.number_in("check");
    world.crash();
    assert!(lives(check), "nobody has ended it yet");
    write(world, "well");
    world.start();
    gone(check);
    ends_well(world, key);
    assert_eq!(record(world).len(), 1, "it was not counted, and asked anew");
}

fn executed_anew() {
    let world = with_checks();
    world.score("check", HANG);
    world.start();
    let key = ask(&world, &ready_by_check());
    known(&world, 1);
    let check = world.number_in("check");
    world.signal(Signal::USR2);
    world.hear_the_end();
    write(&world, "well");
    world.attach();
    gone(check);
    ends_well(&world, key);
    assert_eq!(record(&world).len(), 1);
}

fn stopped() {
    let world = with_checks();
    world.score("check", HANG);
    world.start();
    ask(&world, &ready_by_check());
    let first = known(&world, 1);
    let check = world.number_in("check");
    world.signal(Signal::TERM);
    world.wait();
    gone(check);
    assert!(lives(first.pid), "runs are left to the next sitter");
    world.start();
}

fn processes_are_bounded() {
    let world = with_checks();
    // A shell that can make no more processes ends with 2.
    let forks = "(for n in $(seq 200); do sleep 1000 & done; true); echo $? > $OUT/forked";
    world.score("check", &format!("cat /proc/self/cgroup > $OUT/cgroups; {forks}; exit 0"));
    world.score("web", &format!("cat /proc/self/cgroup > $OUT/own\n{RECORD}\nexec sleep 1000"));
    world.start();
    ends_well(&world, ask(&world, &ready_by_check()));
    let leaves = |text: &str| {
        let names = text.lines().filter_map(|line| line.rsplit('/').next());
        let names = names.filter(|name| name.starts_with("orchestra-units-"));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let (own, of_check) = (leaves(&world.text_in("own")), leaves(&world.text_in("cgroups")));
    if own.is_empty() {
        return eprintln!("SKIPPED: this needs cgroups");
    }
    assert!(own.iter().all(|name| !name.ends_with("~check")), "{own:?}");
    assert!(!of_check.is_empty() && of_check.iter().all(|name| name.ends_with("~check")));
    if can_limit("pids") {
        assert_eq!(world.text_in("forked").trim(), "2");
    }
    assert!(lives(run(&world, 1).pid), "nothing of its run was in the way");
}
