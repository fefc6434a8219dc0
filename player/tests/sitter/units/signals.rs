//! What runs are told while they go on.

use std::{fs, os::unix::fs::MetadataExt};

use orchestra_model::{
    delivery::Refusal,
    service::{ReadyRule, ReadySign, ReloadRule, Upkeep, Wanted},
};

use super::{Asked, RECORD, ask, ends_well, gone, known, record, run};
use crate::{
    Test,
    world::{World, eventually, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_run_reads_its_parameters_again", a_run_reads_its_parameters_again),
    ("a_run_that_the_last_sitter_did_not_tell_is_told", a_run_is_told_by_the_next_sitter),
    ("secrets_that_would_lie_on_a_disk_are_not_read_again", secrets_on_a_disk),
    ("a_signal_is_for_the_first_process_of_a_run", a_signal_is_for_the_first_process),
    ("a_signal_that_ends_a_run_is_followed_by_another", a_signal_that_ends_a_run),
];

const HUP: i32 = 1;
const USR1: i32 = 10;
const TERM: i32 = 15;

/// What it says at a signal, and that it is ready once it can hear. Its child would die of any.
const HEARS: &str = r#"
tell() { echo "$1 $ORC_VERSION $ORC_port" >> $OUT/heard; }
trap '. "$ORC_PARAMS_FILE"; tell hup' HUP
trap 'tell usr1' USR1
sleep 1000 & echo $! > $OUT/child.new; mv $OUT/child.new $OUT/child
echo >&5
while :; do wait; done"#;

/// A world with a service that hears.
fn hearing() -> World {
    let world = World::new();
    world.score("web", &format!("{RECORD}{HEARS}"));
    world.file("web.conf", "[params.port]\n", 0o644);
    world.start();
    world
}

fn reloading(version: u64, port: &str) -> Asked {
    let sign = ReadySign::Fd(5);
    let ready = ReadyRule { sign, ..ReadyRule::default() };
    let reload = Some(ReloadRule { signal: HUP });
    let upkeep = Upkeep { ready, reload, ..Upkeep::default() };
    Asked { version, upkeep, params: vec![("port", port.to_owned())], ..Asked::default() }
}

fn heard(world: &World, line: &str) {
    eventually(&format!("{line}\n{}", world.log()), || {
        let text = fs::read_to_string(world.out("heard")).ok()?;
        text.lines().any(|it| it == line).then_some(())
    });
}

fn a_run_reads_its_parameters_again() {
    let world = hearing();
    ends_well(&world, ask(&world, &reloading(1, "80")));
    let first = run(&world, 1);
    let odd = "it's $HOME `x`";
    ends_well(&world, ask(&world, &reloading(2, odd)));
    heard(&world, &format!("hup 2 {odd}"));
    assert_eq!(world.unit_reports().last().unwrap().version.0, 2);
    assert!(record(&world).len() == 1 && lives(first.pid), "it is the same run");
    let given = format!("/proc/{}/environ", first.pid);
    let environment = String::from_utf8(fs::read(given).unwrap()).unwrap();
    let path = environment.split('\0').find_map(|it| it.strip_prefix("ORC_PARAMS_FILE=")).unwrap();
    let file = fs::metadata(path).unwrap();
    let own = rustix::process::geteuid().as_raw();
    assert_eq!((file.mode() & 0o7777, file.uid()), (0o600, own));
    // What is more than parameters takes a new run, which has them from the beginning.
    let mut other = reloading(3, "81");
    other.upkeep.stop.grace.0 += 1;
    ends_well(&world, ask(&world, &other));
    assert_eq!(run(&world, 2).version, 3);
    gone(first.pid);
    ends_well(&world, ask(&world, &Asked { wanted: Wanted::Gone, ..other }));
    assert_eq!(world.unit_places().len(), 0);
}

fn a_run_is_told_by_the_next_sitter() {
    let world = hearing();
    ends_well(&world, ask(&world, &reloading(1, "80")));
    let first = known(&world, 1);
    world.crash();
    world.start();
    ends_well(&world, ask(&world, &reloading(2, "81")));
    heard(&world, "hup 2 81");
    assert!(record(&world).len() == 1 && lives(first.pid));
}

fn secrets_on_a_disk() {
    let world = hearing();
    // Its parameters are not known to be anything but secrets.
    world.score("other", "exec sleep 1000");
    world.set("run_dir", format!("{:?}", world.path("run").to_str().unwrap()));
    world.signal(rustix::process::Signal::HUP);
    world.hear_of_a_scan();
    let key = ask(&world, &Asked { score: "other", ..reloading(1, "80") });
    let system = rustix::fs::statfs(world.path(".").as_path()).unwrap().f_type as u64;
    if system & 0xffff_ffff == 0x0102_1994 {
        eprintln!("SKIPPED: directories of tests lie in memory here");
        return;
    }
    let refused = world.refused(key);
    let is_told = |why: &str| why.contains("run_dir, which lies on a disk");
    assert!(matches!(&refused, Refusal::SpawnFailed(why) if is_told(why)), "{refused:?}");
    assert_eq!(world.unit_places(), Vec::<std::path::PathBuf>::new(), "it leaves nothing behind");
}

fn a_signal_is_for_the_first_process() {
    let world = hearing();
    ends_well(&world, ask(&world, &reloading(1, "80")));
    let child = world.number_in("child");
    let signal = |wanted| Asked { wanted, ..reloading(1, "80") };
    ends_well(&world, ask(&world, &signal(Wanted::Signalled(USR1))));
    heard(&world, "usr1 1 80");
    assert!(record(&world).len() == 1 && lives(child));
}

fn a_signal_that_ends_a_run() {
    let world = hearing();
    ends_well(&world, ask(&world, &reloading(1, "80")));
    let first = run(&world, 1);
    ends_well(
        &world,
        ask(&world, &Asked { wanted: Wanted::Signalled(TERM), ..reloading(1, "80") }),
    );
    gone(first.pid);
    let second = run(&world, 2);
    assert!(lives(second.pid));
    assert_eq!(record(&world).len(), 2, "the next one gets no signal");
}
