//! What the sitter tells of what its host and its units use; and what that costs.

use std::fs;

use orchestra_model::{
    ByteSize, ServiceName,
    service::{MilliCores, Resources, Upkeep},
    vitals::{UnitVitals, VitalsBatch},
};
use orchestra_proto::v1::{self, command::Kind};

use super::{
    Asked, RECORD, ask, ends_well,
    limits::{can_limit, limited},
    prepared, without_cgroups,
};
use crate::{Test, newborns::launchers, world::World};

pub(crate) const TESTS: &[Test] = &[
    ("what_a_busy_run_uses_and_what_holds_it_back_is_told", what_a_busy_run_uses),
    ("without_cgroups_processes_are_looked_at", without_cgroups_processes_are_looked_at),
    ("who_is_not_asked_tells_nothing_and_ends_with_the_session", who_is_not_asked),
    ("units_that_do_nothing_wake_the_sitter_for_a_sample_alone", units_that_do_nothing),
    ("memory_that_the_host_does_not_have_is_not_reserved", memory_is_not_reserved),
];

/// As long as somebody is taken to look.
const LIVE: u32 = 60_000;

fn look(world: &World, live_for_ms: u32) {
    world.say_command(Kind::AskVitals(v1::AskVitals { live_for_ms }));
}

/// Waits for a sample in which the time of processors of the unit `web` is known.
fn used(world: &World) -> (VitalsBatch, UnitVitals) {
    loop {
        let batch = world.vitals();
        let samples = batch.samples.iter().flat_map(|sample| &sample.units);
        let known = samples.map(|(_, vitals)| *vitals).find(|vitals| vitals.cpu.is_some());
        if let Some(known) = known {
            return (batch, known);
        }
    }
}

fn what_a_busy_run_uses() {
    if !can_limit("cpu") || !can_limit("memory") || !can_limit("pids") {
        return;
    }
    let world = World::new();
    world.score("web", &format!("{RECORD}\nwhile :; do :; done"));
    world.start();
    let (cpu, memory) = (Some(MilliCores(200)), Some(ByteSize(64 << 20)));
    let resources = Resources { cpu, memory, processes: Some(50), ..Resources::NONE };
    ends_well(&world, ask(&world, &limited(resources)));
    look(&world, LIVE);
    let first = world.vitals();
    let [unit] = &first.units[..] else { panic!("{first:?}") };
    assert_eq!((unit.service.as_str(), unit.ordinal.0, unit.number), ("web", 3, 1));
    assert_eq!((unit.memory_limit, unit.cpu_limit), (memory, cpu));
    let (batch, used) = used(&world);
    assert!(batch.units.is_empty(), "it is told once: {batch:?}");
    let host = batch.samples[0].host;
    assert!(host.memory.is_some() && host.cores.is_some() && host.disk.is_some(), "{host:?}");
    assert!(host.cpu.is_some(), "since the first sample: {host:?}");
    println!("{used:?}");
    // It never has more than its limit, and less on a machine with other things to do.
    assert!(used.cpu.is_some_and(|cpu| (20..=250).contains(&cpu.0)), "{used:?}");
    assert!(used.throttled.is_some(), "{used:?}");
    let size = |size: Option<ByteSize>| size.map_or(0, |size| size.0);
    assert!(size(used.memory) > 0 && size(used.memory) <= size(used.memory_peak), "{used:?}");
    assert!(size(used.memory_peak) <= size(memory), "{used:?}");
    assert_eq!(used.processes, Some(1));
}

fn without_cgroups_processes_are_looked_at() {
    let world = without_cgroups(World::new());
    world.score("web", &format!("{RECORD}\nsleep 1000 &\nwhile :; do :; done"));
    world.start();
    ends_well(&world, ask(&world, &Asked::default()));
    look(&world, LIVE);
    let (_, used) = used(&world);
    println!("{used:?}");
    assert!(used.cpu.is_some_and(|cpu| cpu.0 > 20), "{used:?}");
    assert!(used.memory.is_some_and(|memory| memory.0 > 0), "{used:?}");
    assert_eq!((used.processes, used.memory_peak, used.throttled), (Some(2), None, None));
}

fn who_is_not_asked() {
    let world = prepared();
    world.start();
    ends_well(&world, ask(&world, &Asked::default()));
    look(&world, LIVE);
    assert_eq!(world.vitals().units.len(), 1);
    // The next session has heard of nothing, and has not asked.
    world.attach_again();
    ends_well(&world, ask(&world, &Asked { version: 2, ..Asked::default() }));
    assert_eq!(world.vitals_until_now(), []);
    look(&world, LIVE);
    assert_eq!(world.vitals().units.len(), 1, "units are told anew");
}

/// Orders the unit of another service, with the score `web`.
fn ask_of(world: &World, service: &str) {
    let asked = Asked { service: ServiceName::new(service).unwrap(), ..Asked::default() };
    ends_well(world, ask(world, &asked));
}

/// How often a process gave up the processor because it had nothing to do, all of its threads together.
fn waits(pid: i32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let status = threads.filter_map(|it| fs::read_to_string(it.path().join("status")).ok());
    let of = |text: String| {
        let mut lines = text.lines();
        lines.find_map(|it| it.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok())
    };
    status.map(|text| of(text).unwrap_or(0_u64)).sum()
}

fn units_that_do_nothing() {
    const UNITS: usize = 50;
    const SAMPLES: u64 = 2;
    /// A wait for each sample, and what a lock of the kernel or a write to our socket may add.
    const MOST: u64 = 10 * SAMPLES;
    let world = World::new();
    world.set("max_units", UNITS.to_string());
    world.score("web", "exec sleep 1000");
    world.start();
    for n in 0..UNITS {
        ask_of(&world, &format!("web-{n}"));
    }
    look(&world, LIVE);
    while world.vitals().samples.iter().all(|sample| sample.units.len() < UNITS) {}
    let launchers = launchers(world.pid());
    assert!(!launchers.is_empty());
    let all = || {
        let of_launchers: u64 = launchers.iter().map(|pid| waits(*pid)).sum();
        (waits(world.pid()), of_launchers)
    };
    // The first sample comes when it is asked for, and the next one by the beat.
    world.vitals();
    let before = all();
    for _ in 0..SAMPLES {
        assert_eq!(world.vitals().samples.len(), 1);
    }
    let (sitter, launchers) = (all().0 - before.0, all().1 - before.1);
    println!("{UNITS} units, {SAMPLES} samples: sitter {sitter} waits, launchers {launchers}");
    assert!(sitter <= MOST && launchers == 0, "{sitter} and {launchers}\n{}", world.log());
}

fn memory_is_not_reserved() {
    let world = prepared();
    world.start();
    let reserve = Some(ByteSize(1 << 50));
    let resources = Resources { reserve, ..Resources::NONE };
    let upkeep = |resources| Upkeep { resources: Some(resources), ..Upkeep::default() };
    if can_limit("memory") {
        let key = ask(&world, &Asked { upkeep: upkeep(resources), ..Asked::default() });
        let refusal = world.refused(key).to_string();
        let told = "the player cannot grant the service's resources: 1048576GiB of memory is to be \
                    reserved; the host has ";
        assert!(refusal.starts_with(told), "{refusal}");
        assert!(refusal.contains("0B is reserved for other services"), "{refusal}");
    }
    let loose = upkeep(Resources { enforced: false, ..resources });
    ends_well(&world, ask(&world, &Asked { upkeep: loose, ..Asked::default() }));
    world.logged("more memory is reserved than the host has unit=web reserved=1048576GiB");
}
