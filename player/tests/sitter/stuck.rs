//! A score that writes from memory which does not answer holds its pipe's lock, and whoever reads the
//! pipe waits for it, whatever was asked for: that is the launcher of its user, and nobody else. The
//! sitter goes on, other users do, and so does that user before long.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use orchestra_model::delivery::{AttemptEnd, AttemptKey, Outcome, Output, Refusal, Report};
use rustix::process::Signal;

use crate::{
    Test,
    hung::{Hung, Readers},
    newborns::{launchers, signal, state, uid},
    world::{World, eventually, is_root, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("memory_that_does_not_answer_delays_its_user_alone", memory_that_does_not_answer),
    ("what_a_neighbour_writes_is_read_on", what_a_neighbour_writes),
    ("an_attempt_that_cannot_be_killed_is_settled_as_cut", an_attempt_that_cannot_be_killed),
    ("a_launcher_that_is_stopped_delays_accounts_within_bounds", a_launcher_that_is_stopped),
    ("an_end_of_output_may_be_told_before_the_start", an_end_before_the_start),
    ("a_launcher_killed_amid_output_loses_none", a_launcher_killed_amid_output),
    ("a_sitter_killed_amid_output_loses_none", a_sitter_killed_amid_output),
    ("an_upgrade_amid_output_loses_none", an_upgrade_amid_output),
    ("what_lingers_is_read_by_the_next_launcher", what_lingers_is_read_on),
    ("a_stop_beside_memory_that_does_not_answer", a_stop_beside_memory),
    ("an_upgrade_beside_memory_that_does_not_answer", an_upgrade_beside_memory),
];

/// Whose memory does not answer, and somebody else; no other test signals their processes.
const STUCK: &str = "games";
const OTHER: &str = "mail";

/// Longest that something takes which waits for nobody, on a machine that does other things too.
const PROMPT: Duration = Duration::from_secs(5);
/// Longest that somebody may be waited for who is stuck: `SLOW` and twice `LOOK` of launchers, and as
/// much again as a busy machine may take.
const BOUND: Duration = Duration::from_secs(20);
/// How long somebody is stuck whom only the watch over launchers finds: it looks once in `WATCH` and
/// then at the next moment of `Beat`, 15 s at most; it kills what its next look, 10 s later, finds unmoved.
const WATCHED: Duration = Duration::from_secs(25 + 10);

/// Is a score: moves the file that its parameter names into its standard output.
pub(crate) fn be_mover() -> ! {
    let path = std::env::var_os("ORC_file").unwrap();
    let file = fs::File::open(path).unwrap();
    let flags = rustix::pipe::SpliceFlags::empty();
    let moved = rustix::pipe::splice(&file, None, std::io::stdout(), None, 1 << 16, flags);
    panic!("the file answered: {moved:?}");
}

/// A world with the mover and two small scores of its user, and scores of others.
fn stuck(readers: Readers) -> Option<(World, Hung)> {
    if !is_root() || uid(STUCK) == 0 || uid(OTHER) == 0 {
        println!("not run: only root can become somebody else, and {STUCK} and {OTHER} are needed");
        return None;
    }
    let world = World::new();
    let hung = Hung::mount(&world.path("hung"), readers)?;
    // A user's way to that file, and to where it writes.
    for (name, mode) in [("", 0o711), ("out", 0o777)] {
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::copy(std::env::current_exe().unwrap(), world.out("program")).unwrap();
    // It gets stuck once its first line is kept: its launcher reads nothing from then on. Something else
    // writes as well, so that there is always something to read.
    world.gate("kept");
    world.score("mover", "echo before; cat $OUT/kept; yes & exec $OUT/program mover");
    world.score("theirs", "echo theirs");
    for name in ["mover", "theirs"] {
        world.file(&format!("{name}.conf"), &format!("user = {STUCK:?}\n"), 0o644);
    }
    world.score("others", "echo others");
    world.file("others.conf", &format!("user = {OTHER:?}\n"), 0o644);
    world.score("plain", "echo plain; exit $ORC_code");
    world.start();
    // Everybody's launcher is there.
    assert_eq!(world.output_of("plain", &[("code", "0")]), "plain\n");
    assert_eq!(world.output_of("others", &[]), "others\n");
    let before = launchers(world.pid());
    assert_eq!(world.output_of("theirs", &[]), "theirs\n");
    let theirs = launchers(world.pid()).into_iter().find(|pid| !before.contains(pid)).unwrap();
    fs::write(world.out("launcher"), theirs.to_string()).unwrap();
    Some((world, hung))
}

/// Has the mover wait for the file while it holds the lock of its pipe, and its launcher wait for it.
fn get_stuck(world: &World, hung: &Hung, timeout: Option<Duration>) -> AttemptKey {
    let file = hung.file();
    let key = world.order_for("mover", &[("file", file.to_str().unwrap())], timeout);
    world.started(key);
    world.wait_kept("before\n");
    world.open_gate("kept");
    eventually("a wait for the file", || hung.is_read().then_some(()));
    // It does if there is something to read, and if it comes to its end, because it closes the pipe.
    let launcher = world.number_in("launcher");
    let mut looks = 0;
    eventually("a launcher that waits", || {
        looks += 1;
        if looks == 50 {
            signal(launcher, Signal::KILL);
        }
        threads(launcher)
            .any(|thread| state(thread).is_some_and(|(state, _)| state == "D"))
            .then_some(())
    });
    key
}

fn threads(pid: i32) -> impl Iterator<Item = i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok())
}

/// What waits for nobody comes promptly.
fn others_go_on(world: &World) {
    let start = Instant::now();
    assert_eq!(world.output_of("others", &[]), "others\n");
    assert_eq!(world.output_of("plain", &[("code", "0")]), "plain\n");
    assert!(start.elapsed() < PROMPT, "{:?}\n{}", start.elapsed(), world.log());
}

/// It ended, with its output or with a word that some is missing; or it is to be asked for again.
fn assert_settled(world: &World, key: AttemptKey) {
    match world.last_word(key) {
        Report::Ended { end: AttemptEnd { outcome: Outcome::Exited(0), stdout, .. }, .. } => {
            assert!(stdout.head == b"theirs\n" || stdout.truncated, "{stdout:?}");
        }
        Report::Refused { refusal: Refusal::Busy, .. } => {}
        other => panic!("{other:?}\n{}", world.log()),
    }
}

fn memory_that_does_not_answer() {
    let Some((world, hung)) = stuck(Readers::Killable) else { return };
    let start = Instant::now();
    let timeout = Duration::from_secs(20);
    let key = get_stuck(&world, &hung, Some(timeout));
    for _ in 0..10 {
        others_go_on(&world);
    }
    // Its user's next one is started, and nobody reads what it writes, until another launcher takes the
    // place of the one that is stuck, although the first attempt still writes. Or it is refused, if the
    // launcher was about to end.
    let next = world.order("theirs", &[]);
    others_go_on(&world);
    assert_settled(&world, next);
    assert_eq!(world.output_of("theirs", &[]), "theirs\n");
    assert!(start.elapsed() < timeout, "{:?}", start.elapsed());
    others_go_on(&world);
    let end = world.ended(key);
    assert_eq!(end.outcome, Outcome::TimedOut);
    assert!(end.stdout.head.starts_with(b"before\ny\ny\n"), "{}", world.log());
    assert!(start.elapsed() < timeout + Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(world.output_of("theirs", &[]), "theirs\n");
    // Nothing is left that waits.
    world.acknowledge(key);
    eventually("empty attempts", || (world.attempt_dirs() == 0).then_some(()));
    let start = Instant::now();
    world.signal(Signal::TERM);
    world.wait();
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
}

/// It runs as the same user, has written before, and is not asked for anything.
fn what_a_neighbour_writes() {
    let Some((world, hung)) = stuck(Readers::Killable) else { return };
    world.gate("go");
    world.score(
        "neighbour",
        "echo here; echo $$ > $OUT/neighbour; cat $OUT/go; head -c 300000 /dev/zero; echo 1 > $OUT/written",
    );
    world.file("neighbour.conf", &format!("user = {STUCK:?}\n"), 0o644);
    world.signal(Signal::HUP);
    world.hear();
    world.attach_again();
    let neighbour = world.order("neighbour", &[]);
    world.number_in("neighbour");
    let key = get_stuck(&world, &hung, None);
    let start = Instant::now();
    world.open_gate("go");
    world.number_in("written");
    assert!(start.elapsed() < WATCHED, "{:?}", start.elapsed());
    let end = world.ended(neighbour);
    assert_eq!((end.outcome, end.stdout.bytes), (Outcome::Exited(0), 300_005));
    world.cancel(key);
    assert_eq!(world.ended(key).outcome, Outcome::Cancelled);
}

/// Not even KILL ends it, so what it wrote can never be known for certain.
fn an_attempt_that_cannot_be_killed() {
    let Some((world, hung)) = stuck(Readers::Unkillable) else { return };
    let key = get_stuck(&world, &hung, None);
    let start = Instant::now();
    world.cancel(key);
    others_go_on(&world);
    let end = world.ended(key);
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    assert_eq!(end.outcome, Outcome::Cancelled);
    assert!(end.stdout.head.starts_with(b"before\n") && end.stdout.truncated);
    assert_eq!(world.output_of("theirs", &[]), "theirs\n");
    world.acknowledge(key);
    eventually("empty attempts", || (world.attempt_dirs() == 0).then_some(()));
    // It is still there, and keeps nobody from anything.
    for signal in [Signal::USR2, Signal::TERM] {
        let start = Instant::now();
        world.signal(signal);
        if signal == Signal::USR2 {
            world.hear_the_end();
            world.attach();
            assert_eq!(world.output_of("theirs", &[]), "theirs\n");
        } else {
            world.wait();
        }
        assert!(start.elapsed() < PROMPT, "{signal:?}: {:?}", start.elapsed());
    }
}

/// As a launcher that is stuck, but for what it is stuck with: it ends when it is killed.
fn a_launcher_that_is_stopped() {
    let world = World::new();
    world.gate("go");
    world.score("wait", "echo before; cat $OUT/go; echo after");
    world.score("quick", "echo quick");
    world.start();
    let key = world.order("wait", &[]);
    eventually("some output", || (kept(&world) > 0).then_some(()));
    let launchers = launchers(world.pid());
    assert_eq!(launchers.len(), 1, "{}", world.log());
    signal(launchers[0], Signal::STOP);
    let is_stopped = |thread| state(thread).is_some_and(|(state, _)| state == "T");
    eventually("a stop", || threads(launchers[0]).all(is_stopped).then_some(()));
    let start = Instant::now();
    world.open_gate("go");
    let end = world.ended(key);
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    // What was in the pipe is gone, for nobody else has it open; that something is missing is told.
    assert_eq!(end.outcome, Outcome::Exited(0));
    assert_eq!((&end.stdout.head[..], end.stdout.truncated), (&b"before\n"[..], true));
    eventually("the end of a launcher", || (!lives(launchers[0])).then_some(()));
    assert_eq!(world.output_of("quick", &[]), "quick\n");
}

/// A launcher tells of starts when it has no more to do, and at once of pipes that are at their end.
fn an_end_before_the_start() {
    let world = World::new();
    world.set("max_tasks", "64");
    fs::copy("/bin/true", world.path("scores/quick")).unwrap();
    world.start();
    for _ in 0..4 {
        let keys: Vec<_> = (0..48).map(|_| world.order("quick", &[])).collect();
        for key in keys {
            let end = world.ended(key);
            assert_eq!(end.outcome, Outcome::Exited(0));
            // Of one of which that was missed nobody would know what it wrote.
            assert!(!end.stdout.truncated && !end.stderr.truncated, "{}", world.log());
            world.acknowledge(key);
        }
    }
}

/// A score that writes its lines for as long as it is let.
fn talking(world: &World) -> AttemptKey {
    world.score(
        "talk",
        "n=0; while [ ! -e $OUT/enough ]; do n=$((n + 1)); echo line $n; done; echo $n > $OUT/count",
    );
    world.start();
    let key = world.order("talk", &[]);
    world.started(key);
    key
}

/// Waits until so many more bytes were kept.
fn more_is_kept(world: &World) {
    let before = kept(world);
    eventually("more output", || (kept(world) > before + 20_000).then_some(()));
}

/// How many bytes are kept of the standard output of the only attempt.
fn kept(world: &World) -> u64 {
    let mut dirs = fs::read_dir(world.path("spool/attempts")).unwrap().flatten();
    let sizes = dirs.find_map(|dir| fs::metadata(dir.path().join("stdout")).ok());
    sizes.map_or(0, |file| file.len())
}

/// Has it come to its end: every line is there, once.
fn all_was_said(world: &World, key: AttemptKey) {
    fs::write(world.out("enough"), "").unwrap();
    let count = world.number_in("count");
    let end = world.ended(key);
    assert_eq!(end.outcome, Outcome::Exited(0), "{}", world.log());
    let bytes: usize = (1..=count).map(|n| format!("line {n}\n").len()).sum();
    assert_eq!(end.stdout.bytes, bytes as u64, "{}", world.log());
    let last = format!("line {}\nline {count}\n", count - 1);
    let Output { head, tail, .. } = end.stdout;
    assert!(head.starts_with(b"line 1\nline 2\n"));
    assert!([head, tail].concat().ends_with(last.as_bytes()));
}

fn a_launcher_killed_amid_output() {
    let world = World::new();
    let key = talking(&world);
    for _ in 0..5 {
        more_is_kept(&world);
        for launcher in launchers(world.pid()) {
            signal(launcher, Signal::KILL);
        }
    }
    more_is_kept(&world);
    all_was_said(&world, key);
}

fn a_sitter_killed_amid_output() {
    let world = World::new();
    let key = talking(&world);
    for _ in 0..5 {
        more_is_kept(&world);
        world.crash();
        world.start();
    }
    more_is_kept(&world);
    all_was_said(&world, key);
}

fn an_upgrade_amid_output() {
    let world = World::new();
    let key = talking(&world);
    for _ in 0..5 {
        more_is_kept(&world);
        world.signal(Signal::USR2);
        world.hear_the_end();
        world.forget_reports();
        world.attach();
    }
    more_is_kept(&world);
    all_was_said(&world, key);
}

/// A daemon that was left goes on although the launcher that read what it says is gone.
fn what_lingers_is_read_on() {
    let world = World::new();
    world.score_that_leaves_a_daemon();
    world.start();
    let key = world.order("leave", &[]);
    assert_eq!(world.ended(key).outcome, Outcome::Exited(0));
    for launcher in launchers(world.pid()) {
        signal(launcher, Signal::KILL);
    }
    world.open_gate("go");
    world.number_in("written");
    signal(world.number_in("daemon"), Signal::KILL);
    eventually("empty attempts", || (world.attempt_dirs() == 0).then_some(()));
}

fn a_stop_beside_memory() {
    let Some((world, hung)) = stuck(Readers::Killable) else { return };
    let key = get_stuck(&world, &hung, None);
    let next = world.order("theirs", &[]);
    others_go_on(&world);
    let start = Instant::now();
    world.signal(Signal::TERM);
    world.wait();
    assert!(start.elapsed() < PROMPT, "{:?}\n{}", start.elapsed(), world.log());
    // The next sitter takes it over, and can end it.
    world.start();
    others_go_on(&world);
    assert_settled(&world, next);
    let start = Instant::now();
    world.cancel(key);
    let end = world.ended(key);
    assert_eq!(end.outcome, Outcome::Cancelled);
    assert!(end.stdout.head.starts_with(b"before\n"));
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
    assert_eq!(world.output_of("theirs", &[]), "theirs\n");
}

fn an_upgrade_beside_memory() {
    let Some((world, hung)) = stuck(Readers::Killable) else { return };
    let key = get_stuck(&world, &hung, None);
    let start = Instant::now();
    world.signal(Signal::USR2);
    world.hear_the_end();
    world.forget_reports();
    world.attach();
    assert!(start.elapsed() < PROMPT, "{:?}\n{}", start.elapsed(), world.log());
    others_go_on(&world);
    world.cancel(key);
    assert_eq!(world.ended(key).outcome, Outcome::Cancelled);
    assert_eq!(world.output_of("theirs", &[]), "theirs\n");
    let start = Instant::now();
    world.cut_lifeline();
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
    world.start();
}
