//! Which files are scores, and which are disabled and why.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use orchestra_link::ipc::{ToAgent, ToSitter};
use orchestra_model::{
    delivery::{PlayerSnapshot, Refusal},
    score::ScoreOffer,
};
use rustix::process::Signal;
use sha2::{Digest, Sha256};

use crate::{
    Test,
    world::{World, eventually, is_root},
};

pub(crate) const TESTS: &[Test] = &[
    ("an_interpreter_that_vanished_is_named", an_interpreter_that_vanished),
    ("each_bad_score_is_disabled_with_its_reason", each_bad_score_is_disabled),
    ("a_directory_that_others_can_write_disables_all", a_directory_that_others_can_write),
    ("a_conf_that_vanishes_lifts_no_limit", a_conf_that_vanishes),
    ("a_link_on_the_way_is_judged", a_link_on_the_way_is_judged),
    ("what_is_no_score_is_not_offered", what_is_no_score_is_not_offered),
    ("what_is_left_behind_keeps_no_score_from_starting", what_is_left_behind_keeps_no_score),
    ("a_name_cannot_leave_the_directory", a_name_cannot_leave_the_directory),
    ("parameters_are_checked_where_the_score_is", parameters_are_checked),
    ("nonsense_is_dropped", nonsense_is_dropped),
];

fn offer<'a>(offers: &'a [ScoreOffer], name: &str) -> &'a ScoreOffer {
    offers
        .iter()
        .find(|offer| offer.name.as_str() == name)
        .unwrap_or_else(|| panic!("{name}: {offers:?}"))
}

fn each_bad_score_is_disabled() {
    let world = World::new();
    world.score("good", "echo good");
    world.score("target", "echo $0 is a descriptor");
    symlink("target", world.path("scores/link")).unwrap();
    symlink("/bin/true", world.path("scores/outside")).unwrap();
    symlink("../scores/target", world.path("scores/out-and-in")).unwrap();
    symlink("nowhere", world.path("scores/dangling")).unwrap();
    symlink("/proc/self/exe", world.path("scores/magic")).unwrap();
    world.file("writable", "#!/bin/sh\n", 0o757);
    world.file("group-writable", "#!/bin/sh\n", 0o775);
    world.score("bad-conf", "echo never");
    world.file("bad-conf.conf", "timeout = 5\nunknown = 1\n", 0o644);
    world.score("lost-conf", "echo never");
    symlink("not-mounted", world.path("scores/lost-conf.conf")).unwrap();
    world.score("loose-conf", "echo never");
    world.file("loose-conf.conf", "", 0o666);
    world.file("forgotten", "#!/bin/sh\n", 0o644);
    world.file("forgotten.conf", "", 0o644);
    world.file("misspelt.conf", "", 0o644);
    world.file("windows", "#!/bin/sh\r\necho never\r\n", 0o755);
    world.file("unread", "#!/opt/none/python9\n", 0o755);
    fs::create_dir(world.path("scores/sub")).unwrap();
    fs::copy("/bin/true", world.path("scores/sub/inner")).unwrap();
    symlink("sub/inner", world.path("scores/deep")).unwrap();
    fs::create_dir(world.path("scores/loose")).unwrap();
    fs::copy("/bin/true", world.path("scores/loose/inner")).unwrap();
    fs::set_permissions(world.path("scores/loose"), fs::Permissions::from_mode(0o777)).unwrap();
    symlink("loose/inner", world.path("scores/deep-loose")).unwrap();
    if is_root() {
        world.file("foreign", "#!/bin/sh\n", 0o755);
        std::os::unix::fs::chown(world.path("scores/foreign"), Some(65_534), None).unwrap();
    }
    let offers = world.start().scores;
    let mut expected = vec![
        ("outside", "is a link that leaves its directory"),
        ("out-and-in", "is a link that leaves its directory"),
        ("magic", "is a link that leaves its directory"),
        ("dangling", "cannot be read: No such file"),
        ("writable", "can be written by its group or by everybody (mode 0757)"),
        ("group-writable", "can be written by its group or by everybody (mode 0775)"),
        ("bad-conf", "its .conf: line 1: timeout: "),
        ("lost-conf", "its .conf: is a link that leads nowhere"),
        ("loose-conf", "its .conf: can be written by its group"),
        ("forgotten", "has a .conf but is not executable"),
        ("deep-loose", "lies in loose, which can be written by"),
        ("misspelt", "there is no such file beside its .conf"),
        ("windows", "its first line (#!/bin/sh) ends with a carriage return"),
        ("unread", "its interpreter /opt/none/python9 is not there"),
    ];
    if is_root() {
        expected.push(("foreign", "belongs to user 65534, who is neither root nor"));
    }
    for (name, why) in expected {
        let reason = offer(&offers, name).spec.as_ref().unwrap_err();
        assert!(reason.starts_with(why), "{name}: {reason}");
        match world.refused(world.order(name, &[])) {
            Refusal::ScoreDisabled(told) => assert_eq!(&told, reason),
            other => panic!("{name}: {other:?}"),
        }
    }
    for name in ["good", "link", "deep"] {
        let offer = offer(&offers, name);
        assert!(offer.spec.is_ok() && offer.hash.is_some(), "{offer:?}");
        world.output_of(name, &[]);
    }
    assert_eq!(offer(&offers, "link").hash, offer(&offers, "target").hash);
    let own: [u8; 32] = Sha256::digest(fs::read(world.path("scores/good")).unwrap()).into();
    assert_eq!(offer(&offers, "good").hash.unwrap().0, own);
}

fn an_interpreter_that_vanished() {
    let world = World::new();
    let shell = world.path("shell");
    fs::copy("/bin/sh", &shell).unwrap();
    world.file("script", &format!("#!{}\necho script\n", shell.display()), 0o755);
    world.start();
    assert_eq!(world.output_of("script", &[]), "script\n");
    fs::remove_file(&shell).unwrap();
    match world.refused(world.order("script", &[])) {
        Refusal::SpawnFailed(why) => {
            let interpreter = format!("its interpreter is {}", shell.display());
            assert!(why.contains(&interpreter) && why.contains("No such file"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

fn a_directory_that_others_can_write() {
    let world = World::new();
    world.score("good", "echo good");
    fs::set_permissions(world.path("scores"), fs::Permissions::from_mode(0o777)).unwrap();
    let offers = world.start().scores;
    let reason = offer(&offers, "good").spec.as_ref().unwrap_err();
    assert!(reason.starts_with("its directory can be written by"), "{reason}");
}

fn a_link_on_the_way_is_judged() {
    let world = World::new();
    world.score("good", "echo good");
    fs::create_dir(world.path("theirs")).unwrap();
    fs::set_permissions(world.path("theirs"), fs::Permissions::from_mode(0o777)).unwrap();
    symlink("../scores", world.path("theirs/scores")).unwrap();
    world.set("scores_dir", format!("{:?}", world.path("theirs/scores").to_str().unwrap()));
    let offers = world.start().scores;
    let reason = offer(&offers, "good").spec.as_ref().unwrap_err();
    assert!(reason.starts_with("its directory lies in /"), "{reason}");
    assert!(reason.contains("/theirs, which can be written by"), "{reason}");
    match world.refused(world.order("good", &[])) {
        Refusal::ScoreDisabled(told) => assert_eq!(&told, reason),
        other => panic!("{other:?}"),
    }
}

fn what_is_left_behind_keeps_no_score() {
    let world = World::new();
    // The kernel executes no file that somebody has open for writing.
    let script = "if [ \"$ORC_evil\" ]; then\n\
                  chmod 755 /dev/fd/3; exec 9<>/dev/fd/3 || exit 4; chmod 555 /dev/fd/3\n\
                  sleep 1000 > /dev/null 2>&1 & echo $! > $OUT/left; fi; echo ran";
    world.score("server", script);
    world.start();
    assert_eq!(world.output_of("server", &[("evil", "1")]), "ran\n");
    let left = world.number_in("left");
    let held = fs::read_link(format!("/proc/{left}/fd/9")).unwrap();
    assert!(held.to_string_lossy().starts_with("/memfd:score"), "{held:?}");
    for _ in 0..3 {
        assert_eq!(world.output_of("server", &[]), "ran\n");
    }
    let left = rustix::process::Pid::from_raw(left).unwrap();
    rustix::process::kill_process(left, rustix::process::Signal::KILL).unwrap();
}

/// What is told after another scan.
pub(crate) fn rescan(world: &World) -> PlayerSnapshot {
    world.signal(Signal::HUP);
    eventually("a wish for a new session", || {
        matches!(world.hear(), ToAgent::Reattach { .. }).then_some(())
    });
    world.attach_again()
}

fn a_conf_that_vanishes() {
    let world = World::new();
    world.score("limited", "echo limited");
    world.file("limited.conf", "timeout = \"5s\"\n", 0o644);
    let why = |snapshot: PlayerSnapshot| snapshot.scores.first()?.spec.clone().err();
    assert_eq!(why(world.start()), None);
    let conf = world.path("scores/limited.conf");
    fs::remove_file(&conf).unwrap();
    // However often it is looked for.
    for _ in 0..2 {
        let why = why(rescan(&world)).unwrap_or_default();
        assert!(
            why.starts_with("its .conf: is gone or empty, with the limits that it set"),
            "{why}"
        );
    }
    let refused = world.refused(world.order("limited", &[]));
    assert!(matches!(refused, Refusal::ScoreDisabled(_)), "{refused:?}");
    world.file("limited.conf", "timeout = \"6s\"\n", 0o644);
    assert_eq!(why(rescan(&world)), None);
    assert_eq!(world.output_of("limited", &[]), "limited\n");
    // Emptied is as good as gone, and no restart says that it is meant.
    world.file("limited.conf", "\n", 0o644);
    let told = why(rescan(&world)).unwrap_or_default();
    assert!(told.starts_with("its .conf: is gone or empty"), "{told}");
    fs::remove_file(&conf).unwrap();
    fs::remove_file(world.path("scores/limited")).unwrap();
    rescan(&world);
    world.score("limited", "echo limited");
    world.crash();
    assert!(why(world.start()).is_some());
    // Somebody says so.
    world.file("limited.conf", "# It needs no limits.\n", 0o644);
    assert_eq!(why(rescan(&world)), None);
    assert_eq!(world.output_of("limited", &[]), "limited\n");
}

fn what_is_no_score_is_not_offered() {
    let world = World::new();
    for name in [".hidden", "backup~", "#lock#", "name with spaces", "x.conf", "ümlaut", "x.bak"] {
        world.file(name, "#!/bin/sh\n", 0o755);
    }
    world.file("README", "plain", 0o644);
    fs::create_dir(world.path("scores/directory")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o777);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, world.path("scores/fifo"), fifo, mode, 0).unwrap();
    world.score("x", "echo x");
    let offers = world.start().scores;
    let names: Vec<&str> = offers.iter().map(|offer| offer.name.as_str()).collect();
    // `x.conf` is the `.conf` of x, and a bad one.
    assert_eq!(names, ["x"]);
}

fn a_name_cannot_leave_the_directory() {
    let world = World::new();
    world.score("good", "echo good");
    fs::copy("/bin/true", world.path("evil")).unwrap();
    world.start();
    for name in ["../evil", "/bin/true", "..", ".", "", "good/../good", "good\0"] {
        world.order(name, &[]);
    }
    // All of them were dropped without a word; the order after them is news.
    assert_eq!(world.output_of("good", &[]), "good\n");
    world.logged("JobBody.score");
}

fn parameters_are_checked() {
    let world = World::new();
    world.score("strict", "echo $ORC_size");
    let conf = "[params.size]\ntype = \"integer\"\nrequired = true\nsensitive = true\n";
    world.file("strict.conf", conf, 0o644);
    world.start();
    for bad in [&[("size", "x42y")][..], &[], &[("size", "1"), ("other", "x42y")]] {
        match world.refused(world.order("strict", bad)) {
            Refusal::Parameters(why) => assert!(!why.contains("x42y"), "{why}"),
            other => panic!("{bad:?}: {other:?}"),
        }
    }
    assert_eq!(world.output_of("strict", &[("size", "42")]), "42\n");
    for bad in [("LD PRELOAD", "x"), ("SPOOL", "x"), ("a=b", "x"), ("nul", "a\0b")] {
        world.order("strict", &[bad, ("size", "1")]);
    }
    assert_eq!(world.output_of("strict", &[("size", "43")]), "43\n");
    assert!(!world.log().contains("x42y"));
}

fn nonsense_is_dropped() {
    let world = World::new();
    world.score("good", "echo good");
    world.start();
    for bytes in [&b""[..], b"\xff\xff\xff", b"\x0a\x03abc", &[0; 100]] {
        world.command_bytes(bytes.to_vec());
    }
    assert_eq!(world.output_of("good", &[]), "good\n");
    // An agent that speaks no frames is replaced.
    let session = orchestra_model::delivery::AgentSession(99);
    world.say(ToSitter::Closed { session });
    world.say_nonsense();
    world.hear_the_end();
    world.attach();
    assert_eq!(world.output_of("good", &[]), "good\n");
}
