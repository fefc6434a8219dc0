//! The spool's directory, and a disk that is full.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use orchestra_model::delivery::{Outcome, Refusal, Report};

use crate::{
    Test,
    world::{World, eventually, is_root},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_spool_has_one_sitter", a_spool_has_one_sitter),
    ("a_spool_that_others_may_enter_stops_the_start", a_loose_spool_stops_the_start),
    ("a_damaged_journal_stops_the_start", a_damaged_journal_stops_the_start),
    ("a_full_disk_refuses_orders_and_tells_of_what_runs", a_full_disk),
    ("a_spool_that_is_taken_away_is_made_anew", a_spool_that_is_taken_away),
    ("output_whose_files_were_removed_is_unknown", output_whose_files_were_removed),
    ("a_spool_that_is_replaced_is_not_written_to", a_spool_that_is_replaced),
    ("an_end_is_kept_until_acknowledged", an_end_is_kept_until_acknowledged),
];

fn a_spool_has_one_sitter() {
    let world = World::new();
    world.start();
    let said = world.start_in_vain();
    assert!(said.contains("is in use by another player"), "{said}");
}

fn a_loose_spool_stops_the_start() {
    let world = World::new();
    fs::create_dir(world.path("spool")).unwrap();
    fs::set_permissions(world.path("spool"), fs::Permissions::from_mode(0o755)).unwrap();
    let said = world.start_in_vain();
    let mend = format!("mend it with: chmod 0700 {}", world.path("spool").display());
    assert!(said.contains(&mend), "{said}");
    fs::set_permissions(world.path("spool"), fs::Permissions::from_mode(0o700)).unwrap();
    world.start();
}

fn a_damaged_journal_stops_the_start() {
    let world = World::new();
    world.score("quick", "echo quick");
    world.start();
    world.output_of("quick", &[]);
    world.crash();
    let journal = world.path("spool/journal");
    let whole = fs::read(&journal).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(&journal, damaged).unwrap();
    let said = world.start_in_vain();
    assert!(said.contains("journal") && said.contains("damaged"), "{said}");
    // What a crash may leave at its end is no damage.
    let torn = &whole[..whole.len() - 3];
    fs::write(&journal, torn).unwrap();
    let settled = world.start().settled.len();
    assert!(settled <= 1, "{settled}");
}

fn a_full_disk() {
    let tried = Command::new("unshare").args(["--mount", "true"]).status();
    if !is_root() || !tried.is_ok_and(|status| status.success()) {
        println!("not run: only root can have disks of its own");
        return;
    }
    let world = World::new();
    world.gate("go");
    fs::create_dir(world.path("spool")).unwrap();
    // A small file system of the sitter's own, gone with it.
    let spool = world.path("spool");
    let mount =
        format!("mount -t tmpfs -o size=256k,mode=0700 none {} && exec \"$@\"", spool.display());
    world.start_through(&["unshare", "-m", "sh", "-c", &mount, "sh"]);
    world.score("wait", "echo 1 > $OUT/up; cat $OUT/go; echo waited");
    // The file system is full before the order of the next one comes.
    world.score(
        "fill",
        &format!("cd {}; cat /dev/zero > fill 2> /dev/null; echo filled", spool.display()),
    );
    world.score("free", &format!("rm {}/fill; echo freed", spool.display()));
    world.start();
    let wait = world.order("wait", &[]);
    world.number_in("up");
    let fill = world.ended(world.order("fill", &[]));
    assert_eq!(fill.outcome, Outcome::Exited(0));
    // The journal's last page may still have room for some.
    eventually("a refusal for want of space", || match world.last_word(world.order("fill", &[])) {
        Report::Refused { refusal: Refusal::Spool(why), .. } => {
            assert!(why.contains("No space left"), "{why}");
            Some(())
        }
        Report::Refused { refusal: Refusal::SpawnFailed(_), .. } | Report::Ended { .. } => None,
        other => panic!("{other:?}"),
    });
    // What runs ends, and that is told.
    world.open_gate("go");
    assert_eq!(world.ended(wait).outcome, Outcome::Exited(0));
    // Space comes back from outside of any order: through the sitter's view of the mount.
    fs::remove_file(format!("/proc/{}/root{}/fill", world.pid(), spool.display())).unwrap();
    eventually("orders are taken again", || match world.report(world.order("free", &[])) {
        Report::Refused { refusal: Refusal::Spool(_), .. } => None,
        Report::Started { .. } => Some(()),
        other => panic!("{other:?}"),
    });
}

fn a_spool_that_is_taken_away() {
    let spool = |world: &World| world.path("spool");
    let removed = |world: &World| fs::remove_dir_all(spool(world)).unwrap();
    let emptied = |world: &World| {
        for entry in fs::read_dir(spool(world)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
    };
    let moved = |world: &World| fs::rename(spool(world), world.path("old-spool")).unwrap();
    // As cleaners of temporary files do it, and as a slip of a shell does.
    let without_attempts =
        |world: &World| fs::remove_dir_all(spool(world).join("attempts")).unwrap();
    let unlocked = |world: &World| fs::remove_file(spool(world).join("lock")).unwrap();
    let cut = |world: &World| fs::write(spool(world).join("journal"), "").unwrap();
    let ways: [&dyn Fn(&World); 6] =
        [&removed, &emptied, &moved, &without_attempts, &unlocked, &cut];
    for (number, take_away) in ways.into_iter().enumerate() {
        let world = World::new();
        world.gate("go");
        world.score("quick", "echo quick");
        world.score("wait", "echo $$ > $OUT/pid; cat $OUT/go; echo waited; exit 5");
        let id = world.start().spool;
        let known = world.order("quick", &[]);
        world.ended(known);
        let running = world.order("wait", &[]);
        // After that the sitter has nothing to write until the gate opens.
        world.started(running);
        world.number_in("pid");
        take_away(&world);
        assert_eq!(world.output_of("quick", &[]), "quick\n", "way {number}");
        if number < 5 {
            world.logged("made the spool anew");
        }
        world.open_gate("go");
        assert_eq!(world.ended(running).outcome, Outcome::Exited(5), "way {number}");
        // What was known before is known to the next sitter.
        world.crash();
        let snapshot = world.start();
        assert_eq!(snapshot.spool, id, "way {number}");
        let settled: Vec<_> = snapshot.settled.iter().map(|settled| settled.key).collect();
        assert!(settled.contains(&known) && settled.contains(&running), "{settled:?}");
        world.repeat_order("quick", known);
        assert_eq!(world.ended(known).outcome, Outcome::Exited(0));
    }
}

fn output_whose_files_were_removed() {
    let attempts = |world: &World| world.path("spool/attempts");
    for while_it_runs in [true, false] {
        let world = World::new();
        world.gate("go");
        world.score("wait", "echo before; echo $$ > $OUT/pid; cat $OUT/go; echo after; exit 5");
        world.start();
        let running = world.order("wait", &[]);
        world.started(running);
        world.number_in("pid");
        if while_it_runs {
            fs::remove_dir_all(attempts(&world)).unwrap();
        } else {
            world.crash();
            fs::remove_dir_all(attempts(&world)).unwrap();
            world.start();
        }
        world.open_gate("go");
        let end = world.ended(running);
        for output in [&end.stdout, &end.stderr] {
            assert_eq!((&*output.head, &*output.tail), (&b""[..], &b""[..]));
        }
        assert!(end.stdout.truncated, "{:?}: it wrote something", end.stdout);
    }
}

fn a_spool_that_is_replaced() {
    let world = World::new();
    world.score("quick", "echo quick");
    let id = world.start().spool;
    fs::rename(world.path("spool"), world.path("old-spool")).unwrap();
    let other = b"the journal of somebody else";
    fs::create_dir(world.path("spool")).unwrap();
    fs::write(world.path("spool/journal"), other).unwrap();
    match world.refused(world.order("quick", &[])) {
        Refusal::Spool(why) => assert!(why.contains("another one lies there"), "{why}"),
        refusal => panic!("{refusal:?}"),
    }
    assert_eq!(fs::read(world.path("spool/journal")).unwrap(), other);
    fs::remove_dir_all(world.path("spool")).unwrap();
    eventually("orders are taken again", || match world.last_word(world.order("quick", &[])) {
        Report::Refused { refusal: Refusal::Spool(_), .. } => None,
        Report::Ended { .. } => Some(()),
        other => panic!("{other:?}"),
    });
    world.crash();
    assert_eq!(world.start().spool, id);
}

fn an_end_is_kept_until_acknowledged() {
    let world = World::new();
    world.score("quick", "echo quick");
    world.start();
    let key = world.order("quick", &[]);
    let end = world.ended(key);
    assert_eq!(world.attach_again().settled[0].key, key);
    assert_eq!(world.ended(key), end);
    world.crash();
    assert_eq!(world.start().settled[0].key, key);
    assert_eq!(world.ended(key), end);
    world.repeat_order("quick", key);
    assert_eq!(world.ended(key), end, "a duplicate is answered with what is known");
    world.acknowledge(key);
    assert!(world.attach_again().settled.is_empty());
    world.repeat_order("quick", key);
    assert_eq!(world.refused(key), Refusal::AlreadyAcknowledged);
    world.crash();
    let snapshot = world.start();
    assert_eq!((snapshot.settled.len(), snapshot.mark.0), (0, 1));
}
