//! Sitters, agents, disks and hosts come and go; units do not notice, or are ended for good.

use std::{fs, io::Write, os::unix::fs::PermissionsExt as _, process::Command};

use orchestra_model::{
    Millis,
    delivery::{Outcome, Refusal},
    service::{RestartRule, RunEnd, UnitState, Upkeep, Wanted},
};
use rustix::process::Signal;

use super::{
    Asked, RECORD, ask, ends_well, gone, kill, known, prepared, record, run, started,
    without_cgroups,
};
use crate::{
    Test,
    world::{World, eventually, is_root, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_unit_lives_through_the_death_of_its_sitter", a_unit_lives_through_its_sitter),
    ("a_unit_that_dies_while_nobody_is_there_runs_again", a_unit_dies_while_nobody_is_there),
    ("a_unit_lives_through_an_upgrade", a_unit_lives_through_an_upgrade),
    ("an_agent_may_die_and_no_unit_notices", an_agent_may_die),
    ("a_watch_goes_on_over_a_restart_of_the_sitter", a_watch_goes_on_over_a_restart),
    ("parameters_that_are_not_on_disk_come_again", parameters_that_are_not_on_disk_come_again),
    ("parameters_in_memory_outlive_a_sitter", parameters_in_memory_outlive_a_sitter),
    ("a_host_that_was_started_anew_begins_the_next_run", a_host_that_was_started_anew),
    ("secrets_outlive_the_host_only_if_the_service_says_so", secrets_outlive_the_host),
    ("a_full_disk_holds_runs_back_and_loses_none", a_full_disk_holds_runs_back),
    ("what_is_mounted_over_a_run_directory_is_not_asked", what_is_mounted_over_a_run_directory),
    ("a_units_file_that_is_gone_ends_what_ran_and_what_watched", a_units_file_that_is_gone),
    ("a_wiped_spool_ends_what_ran", a_wiped_spool_ends_what_ran),
    ("a_wiped_spool_ends_what_ran_without_cgroups", a_wiped_spool_without_cgroups),
];

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
pub(super) fn may_mount() -> bool {
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
    started_anew(&world, 1);
    // One that found another there is a run too, which could not be started.
    eventually("the next run", || {
        let last = *record(&world).last()?;
        (last.run > first.run).then_some(())
    });
    assert!(!lives(first.pid));
    let alive = record(&world).into_iter().filter(|line| lives(line.pid)).count();
    assert_eq!(alive, 1, "{}", world.log());
}

/// The next sitter finds another boot of its host, of this number, whose memory is empty.
fn started_anew(world: &World, boot: u8) {
    let _ = fs::remove_dir_all(world.path("run"));
    let id = world.path("boot_id");
    fs::write(&id, format!("{boot}1111111-2222-3333-4444-555555555555\n")).unwrap();
    let mount =
        format!("mount --bind {} /proc/sys/kernel/random/boot_id && exec \"$@\"", id.display());
    world.start_through(&["unshare", "-m", "sh", "-c", &mount, "sh"]);
    world.start();
}

/// The files of a spool that have this text in them.
fn files_with(directory: &std::path::Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), text));
        } else if kind.is_file()
            && fs::read(entry.path())
                .is_ok_and(|bytes| bytes.windows(text.len()).any(|it| it == text.as_bytes()))
        {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found
}

fn secrets_outlive_the_host() {
    if !may_mount() {
        return;
    }
    let world = World::new();
    world.score("web", &format!("{RECORD}\necho $ORC_password >> $OUT/password; exec sleep 1000"));
    world.file("web.conf", "[params.password]\nsensitive = true\n", 0o644);
    world.start();
    let asked = |version, keep_secrets, wanted| Asked {
        version,
        params: vec![("password", "hunter2".to_owned())],
        upkeep: Upkeep { keep_secrets, ..Upkeep::default() },
        ..Asked::wanting(wanted)
    };
    let on_disk = || files_with(&world.path("spool"), "hunter2").len();
    let said = || fs::read_to_string(world.out("password")).unwrap_or_default();
    ends_well(&world, ask(&world, &asked(1, true, Wanted::Running)));
    known(&world, 1);
    assert_eq!(on_disk(), 1);
    let secrets = world.path("spool/secrets");
    let file = fs::read_dir(&secrets).unwrap().next().unwrap().unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    world.crash();
    started_anew(&world, 1);
    eventually("the next run, with its secret", || (said() == "hunter2\nhunter2\n").then_some(()));
    // It goes with a stop, comes with the next order, and goes with a version that keeps none.
    for (version, keeps, wanted, left) in [
        (1, true, Wanted::Stopped, 0),
        (1, true, Wanted::Running, 1),
        (2, false, Wanted::Running, 0),
        (3, true, Wanted::Running, 1),
        (3, true, Wanted::Gone, 0),
        (4, false, Wanted::Running, 0),
    ] {
        ends_well(&world, ask(&world, &asked(version, keeps, wanted)));
        assert_eq!(on_disk(), left, "version {version}, {wanted:?}");
    }
    // What no unit keeps is erased, whoever left it.
    fs::write(secrets.join("0-other"), "hunter2").unwrap();
    world.crash();
    started_anew(&world, 2);
    let unit = eventually("a wait for the conductor", || {
        let unit = world.attach_again().units?.pop()?;
        (unit.state == UnitState::AwaitingParams).then_some(unit)
    });
    assert_eq!((unit.version.0, on_disk()), (4, 0));
}

/// What a unit's user mounts over its run directory may answer when it likes: the sitter does not ask.
fn what_is_mounted_over_a_run_directory() {
    if !may_mount() {
        return;
    }
    let world = World::new();
    world.start_through(&["unshare", "-m"]);
    world.score("web", &format!("{RECORD}\nmount -t tmpfs none $ORC_RUN_DIR; exec sleep 1000"));
    world.start();
    ends_well(&world, ask(&world, &Asked::default()));
    let view = format!("/proc/{}/mounts", world.pid());
    eventually("a mount", || fs::read_to_string(&view).ok()?.contains("/run/").then_some(()));
    kill(run(&world, 1).pid);
    world.logged("cannot make its run directory: Invalid cross-device link");
    ends_well(&world, ask(&world, &Asked::wanting(Wanted::Gone)));
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

fn a_units_file_that_is_gone() {
    let world = started();
    let asked = Asked { healthy_for: Millis::minutes(5), ..Asked::default() };
    let key = ask(&world, &Asked { deadline: Millis::minutes(10), ..asked.clone() });
    world.started(key);
    let first = known(&world, 1);
    world.crash();
    world.forget_reports();
    fs::remove_file(world.path("spool/units")).unwrap();
    let snapshot = world.start();
    assert_eq!(snapshot.units.unwrap(), []);
    let end = world.ended(key);
    assert!(matches!(end.outcome, Outcome::Lost(_)), "{:?}", end.outcome);
    assert!(!lives(first.pid));
    // A further order finds nothing that stands against it.
    ends_well(&world, ask(&world, &Asked { placement: 8, ..Asked::default() }));
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
