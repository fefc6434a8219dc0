//! What a run may have of its host, with real cgroups. These tests need root and the controllers that
//! they are about, of v1 or v2; a machine without them is told, and passes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use orchestra_model::{
    ByteSize, Millis,
    delivery::{Outcome, Refusal},
    service::{Exhausted, MilliCores, Resources, RunEnd, UnitState, Upkeep, Wanted},
};

use super::{
    Asked, Line, RECORD, ask, ends_well, gone, kill, known, prepared, run, without_cgroups,
};
use crate::{
    Test,
    world::{World, eventually, is_root},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_run_without_memory_is_followed_by_the_next", a_run_without_memory),
    ("a_child_without_memory_ends_the_run", a_child_without_memory),
    ("a_rollout_fails_when_memory_is_not_enough", a_rollout_fails),
    ("memory_is_watched_by_the_next_sitter", memory_is_watched_by_the_next_sitter),
    ("memory_that_was_not_enough_while_nobody_was_there", memory_while_nobody_was_there),
    ("a_run_makes_no_more_processes_than_it_may", a_run_makes_no_more_processes),
    ("a_run_has_no_more_of_processors_than_it_may", a_run_has_no_more_of_processors),
    ("limits_change_with_the_version_and_go_with_the_unit", limits_change_with_the_version),
    ("limits_that_cannot_be_kept_refuse_the_order", limits_that_cannot_be_kept),
    ("limits_that_need_not_be_kept_are_told_once", limits_that_need_not_be_kept),
];

/// Enough for a shell, and little for what eats.
pub(super) const LITTLE: Resources =
    Resources { memory: Some(ByteSize(32 << 20)), ..Resources::NONE };
/// Holds all that it has read, which never ends.
pub(super) const EATS: &str = "tail /dev/zero";

pub(super) fn limited(resources: Resources) -> Asked {
    let upkeep = Upkeep { resources: Some(resources), ..Upkeep::default() };
    Asked { upkeep, ..Asked::default() }
}

/// Whether this machine can show it. `false` is told.
pub(super) fn can_limit(controller: &str) -> bool {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let v1 = own.lines().filter_map(|line| line.split(':').nth(1));
    let has_v1 = v1.flat_map(|names| names.split(',')).any(|name| name == controller);
    // The kernel may have it and nobody have mounted it.
    let is_mounted = Path::new("/sys/fs/cgroup").join(controller).is_dir();
    let can = is_root() && has_v1 && is_mounted;
    if !can {
        eprintln!("SKIPPED: this needs root and the controller {controller} of cgroup v1");
    }
    can
}

/// The leaf of a controller that a process is in.
fn leaf_of(pid: i32, controller: &str) -> PathBuf {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let of_it = |line: &&str| {
        let names = line.split(':').nth(1).unwrap_or_default();
        names.split(',').any(|name| name == controller)
    };
    let line = cgroups.lines().find(of_it).unwrap();
    PathBuf::from(format!("/sys/fs/cgroup/{controller}{}", line.split(':').nth(2).unwrap()))
}

pub(super) fn read(leaf: &Path, file: &str) -> String {
    fs::read_to_string(leaf.join(file)).unwrap().trim().to_owned()
}

/// A run was out of [`LITTLE`] memory: limit and peak are told.
fn assert_had_little(end: Option<&RunEnd>) {
    let Some(&RunEnd::OutOfMemory(Exhausted { limit, peak })) = end else { panic!("{end:?}") };
    let most = LITTLE.memory.unwrap();
    assert_eq!(limit, Some(most));
    assert!(peak.is_some_and(|peak| peak.0 > most.0 / 2 && peak <= most), "{peak:?}");
}

/// Waits until the second run is ready, and tells how the first one ended.
fn first_end(world: &World) -> (u32, RunEnd) {
    loop {
        let report = world.unit_report();
        if report.run.0 == 2 && report.state == UnitState::Ready {
            return (report.restarts, report.last_end.unwrap());
        }
    }
}

/// Waits for the second run. The first one has gone, and was out of [`LITTLE`] memory.
fn assert_first_had_little(world: &World, first: Line) {
    run(world, 2);
    gone(first.pid);
    let (restarts, end) = first_end(world);
    assert_eq!(restarts, 1);
    assert_had_little(Some(&end));
}

fn a_run_without_memory() {
    if !can_limit("memory") {
        return;
    }
    let world = World::new();
    world.score("web", &format!("{RECORD}\n[ $ORC_RUN -gt 1 ] || exec {EATS}\nexec sleep 1000"));
    world.start();
    ends_well(&world, ask(&world, &limited(LITTLE)));
    let first = run(&world, 1);
    assert_first_had_little(&world, first);
    world.logged("a run was out of memory unit=web run=1 peak_bytes=");
}

/// The main process lives through the death of its child, and would answer its probes: half a service,
/// which nobody would know of. The run is ended as a whole, its end is told as what it is, and the next
/// one follows.
fn a_child_without_memory() {
    if !can_limit("memory") {
        return;
    }
    let world = World::new();
    let eats = format!("[ $ORC_RUN -gt 1 ] || {EATS} > /dev/null");
    world.score("web", &format!("{RECORD}\n{eats}\nexec sleep 1000"));
    world.start();
    ends_well(&world, ask(&world, &limited(LITTLE)));
    let first = run(&world, 1);
    assert_first_had_little(&world, first);
}

fn a_rollout_fails() {
    if !can_limit("memory") {
        return;
    }
    let world = World::new();
    world.score("web", &format!("{RECORD}\n{EATS} > /dev/null\nexec sleep 1000"));
    world.start();
    let asked = Asked { healthy_for: Millis::seconds(50), ..limited(LITTLE) };
    let end = world.ended(ask(&world, &asked));
    assert_eq!(end.outcome, Outcome::Exited(1), "{:?}\n{}", end.response, world.log());
    let cause = &end.response["cause"];
    assert!(cause.starts_with("out of memory: it had 3"), "{cause}");
    assert!(cause.ends_with("iB, with a limit of 32MiB"), "{cause}");
}

/// A score whose first run eats when the gate `eat` is opened, in a child, and says whom.
fn eats_when_asked(world: &World) {
    world.gate("eat");
    let eater = format!("sh -c 'echo $$ > $OUT/eater; exec {EATS}' > /dev/null");
    world.score(
        "web",
        &format!(
            "{RECORD}\nif [ $ORC_RUN = 1 ]; then read x < $OUT/eat; {eater}; fi\nexec sleep 1000"
        ),
    );
}

fn memory_is_watched_by_the_next_sitter() {
    if !can_limit("memory") {
        return;
    }
    let world = World::new();
    eats_when_asked(&world);
    world.start();
    ends_well(&world, ask(&world, &limited(LITTLE)));
    let first = known(&world, 1);
    world.crash();
    world.start();
    world.open_gate("eat");
    assert_first_had_little(&world, first);
}

fn memory_while_nobody_was_there() {
    if !can_limit("memory") {
        return;
    }
    let world = World::new();
    eats_when_asked(&world);
    world.start();
    ends_well(&world, ask(&world, &limited(LITTLE)));
    let first = known(&world, 1);
    world.crash();
    world.open_gate("eat");
    let eater = world.number_in("eater");
    gone(eater);
    world.start();
    run(&world, 2);
    gone(first.pid);
    let units = world.attach_again().units.unwrap();
    assert_had_little(units[0].last_end.as_ref());
}

/// Fifty are asked for where twenty may be.
fn a_run_makes_no_more_processes() {
    if !can_limit("pids") {
        return;
    }
    let world = World::new();
    world.gate("go");
    let bomb = "i=0; while [ $i -lt 50 ]; do sleep 1000 & i=$((i + 1)); done";
    world.score(
        "web",
        &format!("{RECORD}\n({bomb}) 2> /dev/null\necho $? > $OUT/bomb\nread x < $OUT/go"),
    );
    world.score("other", "echo well");
    world.start();
    let resources = Resources { processes: Some(20), ..Resources::NONE };
    ends_well(&world, ask(&world, &limited(resources)));
    let first = run(&world, 1);
    assert_ne!(world.number_in("bomb"), 0, "all fifty were made");
    let leaf = leaf_of(first.pid, "pids");
    let current: u32 = read(&leaf, "pids.current").parse().unwrap();
    assert!((15..=20).contains(&current), "{current}");
    assert_ne!(read(&leaf, "pids.events"), "max 0");
    // Neither the sitter nor anything else that it starts is hindered.
    assert_eq!(world.output_of("other", &[]), "well\n");
    kill(first.pid);
    run(&world, 2);
}

/// Processor time that a process has used, in milliseconds.
fn cpu_ms(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks * 1_000 / rustix::param::clock_ticks_per_second()
}

/// A fifth of a processor: never much more in two seconds, and once about as much, for the machine has
/// other work.
fn a_run_has_no_more_of_processors() {
    if !can_limit("cpu") {
        return;
    }
    let world = World::new();
    world.score("web", &format!("{RECORD}\nwhile :; do :; done"));
    world.start();
    let resources = Resources { cpu: Some(MilliCores(200)), ..Resources::NONE };
    ends_well(&world, ask(&world, &limited(resources)));
    let first = run(&world, 1);
    assert_eq!(read(&leaf_of(first.pid, "cpu"), "cpu.cfs_quota_us"), "20000");
    let (mut since, mut used) = (Instant::now(), cpu_ms(first.pid));
    eventually("a fifth of a processor", || {
        let (took, now) = (since.elapsed(), cpu_ms(first.pid));
        if took < Duration::from_secs(2) {
            return None;
        }
        let percent = (now - used) * 100 / took.as_millis() as u64;
        (since, used) = (Instant::now(), now);
        assert!(percent <= 35, "{percent} %");
        (percent >= 10).then_some(())
    });
    assert!(!read(&leaf_of(first.pid, "cpu"), "cpu.stat").contains("nr_throttled 0\n"));
}

fn limits_change_with_the_version() {
    if !can_limit("pids") || !can_limit("memory") {
        return;
    }
    let world = prepared();
    world.start();
    let most = |processes| Resources { processes: Some(processes), ..LITTLE };
    ends_well(&world, ask(&world, &limited(most(20))));
    let first = run(&world, 1);
    let leaf = leaf_of(first.pid, "pids");
    let memory = leaf_of(first.pid, "memory");
    assert_eq!(read(&leaf, "pids.max"), "20");
    assert_eq!(read(&memory, "memory.limit_in_bytes"), (32 << 20).to_string());
    ends_well(&world, ask(&world, &Asked { version: 2, ..limited(most(30)) }));
    let second = run(&world, 2);
    assert_eq!(read(&leaf_of(second.pid, "pids"), "pids.max"), "30");
    // Without a word of limits it has none.
    ends_well(&world, ask(&world, &Asked { version: 3, ..Asked::default() }));
    assert_ne!(leaf_of(run(&world, 3).pid, "pids"), leaf);
    assert!(!leaf.exists() && !memory.exists());
    ends_well(&world, ask(&world, &Asked { version: 4, ..limited(most(30)) }));
    run(&world, 4);
    assert!(leaf.exists() && memory.exists());
    ends_well(&world, ask(&world, &Asked { version: 4, ..Asked::wanting(Wanted::Gone) }));
    eventually("the end of the leaves", || (!leaf.exists() && !memory.exists()).then_some(()));
}

fn limits_that_cannot_be_kept() {
    let world = without_cgroups(prepared());
    world.start();
    let key = ask(&world, &limited(Resources { cpu: Some(MilliCores(200)), ..LITTLE }));
    let Refusal::Limits(why) = world.refused(key) else { panic!("{}", world.log()) };
    assert!(why.contains("the controllers it takes: memory, cpu. "), "{why}");
    assert!(why.contains("resources.enforced: false"), "{why}");
    // What was asked for after that is not hindered.
    ends_well(&world, ask(&world, &Asked::default()));
}

fn limits_that_need_not_be_kept() {
    let world = without_cgroups(prepared());
    world.start();
    ends_well(&world, ask(&world, &limited(Resources { enforced: false, ..LITTLE })));
    let first = run(&world, 1);
    kill(first.pid);
    run(&world, 2);
    let said = "not all limits of a unit are kept unit=web";
    world.logged(said);
    assert_eq!(world.log().matches(said).count(), 1, "{}", world.log());
}
