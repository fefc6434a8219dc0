//! Units on a host that has too little of something: space on the player's disk, processors.

use std::{
    fs,
    io::Write,
    time::{Duration, Instant},
};

use orchestra_model::{
    Millis,
    delivery::{AttemptKey, Outcome, Refusal, Report},
    service::{RestartRule, UnitState},
};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    Asked, ask, ends_well,
    health::{listen, probers, with_health},
    kill, known,
    leaving::may_mount,
    prepared, record,
};
use crate::{
    Test,
    world::{World, eventually, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_disk_may_be_full_at_each_write", a_disk_may_be_full_at_each_write),
    ("ten_seconds_without_a_processor", ten_seconds_without_a_processor),
];

/// How many pages of the disk are left at most: more than an attempt and a run take.
const PAGES: usize = 6;
const PAGE: usize = 4_096;

/// The space ends at another write each time, as one page more is left. A unit that runs runs on, an
/// attempt that cannot be written down is refused with the reason, and once there is space everything is
/// as wanted.
fn a_disk_may_be_full_at_each_write() {
    if !may_mount() {
        return;
    }
    let world = prepared();
    world.score("quick", "echo quick");
    let spool = world.path("spool");
    fs::create_dir(&spool).unwrap();
    let mount =
        format!("mount -t tmpfs -o size=512k,mode=0700 none {} && exec \"$@\"", spool.display());
    world.start_through(&["unshare", "-m", "sh", "-c", &mount, "sh"]);
    world.start();
    let restart = RestartRule { stable_after: Millis(0), ..RestartRule::default() };
    ends_well(&world, ask(&world, &Asked::with_restart(restart)));
    let fill = format!("/proc/{}/root{}/fill", world.pid(), spool.display());
    for pages in 0..=PAGES {
        leave(&fill, pages);
        let last = last_run(&world);
        let mut begun = Vec::new();
        while let Some(key) = begins(&world) {
            begun.push(key);
            assert!(begun.len() < 1_000, "{}", world.log());
        }
        assert!(lives(last), "{pages} pages: it runs on\n{}", world.log());
        kill(last);
        begun.extend(begins(&world));
        fs::remove_file(&fill).unwrap();
        let what = format!("the next run, after {pages} pages\n{}", world.log());
        eventually(&what, || (last_run(&world) != last && lives(last_run(&world))).then_some(()));
        begun.push(eventually("an attempt", || begins(&world)));
        for key in begun {
            assert_eq!(world.ended(key).outcome, Outcome::Exited(0), "{}", world.log());
            world.acknowledge(key);
        }
    }
    let runs = record(&world);
    assert!(runs.is_sorted_by_key(|line| line.run), "{runs:?}");
    assert_eq!(runs.iter().filter(|line| lives(line.pid)).count(), 1);
}

/// Orders an attempt. `None`: it was refused for want of space.
fn begins(world: &World) -> Option<AttemptKey> {
    let key = world.order("quick", &[]);
    match world.report(key) {
        Report::Started { .. } => Some(key),
        Report::Refused { refusal: Refusal::Spool(why), .. } => {
            assert!(why.contains("space"), "{why}");
            world.acknowledge(key);
            None
        }
        other => panic!("{other:?}\n{}", world.log()),
    }
}

fn last_run(world: &World) -> i32 {
    // A run is there before it has written its first line.
    eventually("the record of a run", || record(world).last().map(|line| line.pid))
}

/// Fills the disk but for so many pages.
fn leave(fill: &str, pages: usize) {
    let mut file = fs::File::create(fill).unwrap();
    while file.write_all(&[0; PAGE]).is_ok() {}
    let length = file.metadata().unwrap().len() as usize;
    file.set_len(length.saturating_sub(pages * PAGE) as u64).unwrap();
}

/// While nobody looks, nobody has failed: a sitter and its prober that had no processor for a hundred
/// probes' time find all units as they were.
fn ten_seconds_without_a_processor() {
    let world = prepared();
    world.start();
    let (listener, port) = listen(0);
    ends_well(&world, ask(&world, &with_health(port)));
    known(&world, 1);
    world.unit_reports();
    let prober = eventually("a prober", || probers(&world).first().copied());
    let all = [world.pid(), prober].map(|pid| Pid::from_raw(pid).unwrap());
    // The prober last, so that it is asked and does not answer.
    all.into_iter().for_each(|pid| kill_process(pid, Signal::STOP).unwrap());
    let stopped = Instant::now();
    eventually("the end of a bad time", || {
        (stopped.elapsed() >= Duration::from_secs(10)).then_some(())
    });
    all.into_iter().for_each(|pid| kill_process(pid, Signal::CONT).unwrap());
    // Whoever is asked again from then on answers.
    listener.set_nonblocking(true).unwrap();
    while listener.accept().is_ok() {}
    for _ in 0..5 {
        eventually("a probe", || listener.accept().ok());
    }
    drop(listener);
    let report = world.unit_report();
    assert_eq!(report.state, UnitState::Unhealthy, "and nothing was told before: {report:?}");
    assert_eq!((report.run.0, record(&world).len()), (1, 1));
}
