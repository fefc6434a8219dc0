//! What it costs to keep units running, as figures: `make bench-units`. In the build for releases they
//! are worth something; each is told beside a bare start, or other supervisors where they are installed
//! (`peers.rs`), of the same run. `measure peers` measures that part alone.

use std::{
    ffi::OsString,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use orchestra_model::{
    Millis,
    service::{HealthRule, Probe, RestartRule, Upkeep, Wanted},
};

use crate::{
    flood,
    units::{Asked, ask, ends_well, kill, restarts::monotonic},
    world::{World, eventually},
};

mod peers;

/// How often a bare process is started, and one young unit killed.
const KILLS: usize = 200;
/// How many units are killed at once, and how often.
const AT_ONCE: usize = 100;
const ROUNDS: usize = 5;
/// Other supervisors wait with whatever was up for less than a second.
const OLD: Duration = Duration::from_millis(1_100);
/// How often one of that age is killed.
const OLD_KILLS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(300);
/// How many units are idle, or probed.
const UNITS: usize = 1_000;
/// For how long they are looked at.
const LOOK: Duration = Duration::from_secs(30);

/// What can be measured, by the words that ask for it.
const PARTS: [(&str, fn()); 4] = [
    ("restarts", restarts),
    ("peers", peers::tell),
    ("flood", flood::a_log_loses_nothing),
    ("idle", idle_and_probed),
];

/// Measures the parts that are named, or all of them.
pub(crate) fn run(wanted: &[OsString]) -> ExitCode {
    if cfg!(debug_assertions) {
        println!("NOT a build for releases: the figures are larger than they are");
    }
    let known = |word: &OsString| PARTS.iter().any(|(name, _)| word == name);
    if let Some(unknown) = wanted.iter().find(|word| !known(word)) {
        let names = PARTS.map(|(name, _)| name).join(", ");
        println!("measure {}: expected one of {names}", unknown.display());
        return ExitCode::FAILURE;
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    PARTS.iter().filter(|(name, _)| is_wanted(name)).for_each(|(_, part)| part());
    ExitCode::SUCCESS
}

/// Times in nanoseconds, sorted.
pub(super) struct Times(Vec<u64>);

impl Times {
    pub(super) fn new(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// What so many in a hundred do not exceed, in milliseconds.
    pub(super) fn of(&self, percent: usize) -> f64 {
        self.0[(self.0.len() - 1) * percent / 100] as f64 / 1e6
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (half, most, count) = (self.of(50), self.of(99), self.0.len());
        write!(f, "p50 {half:.2} ms, p99 {most:.2} ms ({count} times)")
    }
}

/// What a run of the program has said: its process and when it began, by its number from 0.
pub(super) fn began(path: &Path, index: usize) -> Option<(i32, u64)> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().nth(index)?;
    let mut words = line.split(' ').skip(1).filter_map(|word| word.parse::<u64>().ok());
    let (pid, at) = (words.next()?, words.next()?);
    Some((pid as i32, at))
}

/// Other supervisors need more patience than a test has.
pub(super) fn wait_begun(path: &Path, index: usize) -> (i32, u64) {
    let asked = Instant::now();
    loop {
        if let Some(it) = began(path, index) {
            return it;
        }
        assert!(asked.elapsed() < PATIENCE, "run {index} of {}", path.display());
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// What a shell executes to become this program, as a unit that says when it began. It is the same for
/// whoever keeps it running.
pub(super) fn command(record: &str) -> String {
    let program = std::env::current_exe().unwrap();
    format!("env -i ORC_SERVICE=x ORC_RUN=1 ORC_record={record} {}", program.display())
}

fn bare_starts() -> Times {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record");
    let text = format!("exec {}", command(record.to_str().unwrap()));
    let one = |index: usize| {
        let asked = monotonic();
        let mut child = Command::new("/bin/sh").args(["-c", &text]).spawn().unwrap();
        let took = wait_begun(&record, index).1 - asked;
        child.kill().unwrap();
        child.wait().unwrap();
        took
    };
    Times::new((0..KILLS).map(one).collect())
}

/// A sitter with so many units of this program.
fn recording(units: usize) -> (World, Vec<PathBuf>) {
    let world = World::new();
    world.set("max_units", (units + 1).to_string());
    world.score("web", &format!("exec {}", command("$ORC_record")));
    world.start();
    let restart = RestartRule { stable_after: Millis(0), ..RestartRule::default() };
    let records: Vec<PathBuf> = (0..units).map(|n| world.out(&format!("began-{n}"))).collect();
    let order = |(n, path): (usize, &PathBuf)| {
        let params = vec![("record", path.to_str().unwrap().to_owned())];
        let service = format!("unit-{n}");
        ask(
            &world,
            &Asked { service: service.parse().unwrap(), params, ..Asked::with_restart(restart) },
        )
    };
    let keys: Vec<_> = records.iter().enumerate().map(order).collect();
    keys.into_iter().for_each(|key| ends_well(&world, key));
    (world, records)
}

/// What one restart takes, of runs that are as young as can be, beside a bare start.
fn restarts() {
    println!("a bare start, to its first word: {}", bare_starts());
    let ours = Ours::begin(1);
    let took = (0..KILLS).map(|index| {
        ours.is_settled(index);
        kill_one(&ours.records[0], index)
    });
    println!("from a kill to the next run's first word: {}", Times::new(took.collect()));
}

/// Units of a sitter, each of which says when a run of it began.
pub(super) struct Ours {
    pub(super) world: World,
    pub(super) records: Vec<PathBuf>,
}

impl Ours {
    pub(super) fn begin(units: usize) -> Self {
        let (world, records) = recording(units);
        Self { world, records }
    }

    /// Waits until the sitter has written down that this run of its only unit is there.
    pub(super) fn is_settled(&self, index: usize) {
        wait_begun(&self.records[0], index);
        self.world.logged(&format!("started a run unit=unit-0 run={} ", index + 1));
        self.world.attach_again();
    }
}

/// Kills the run of this number, from 0. How long until the first word of the next one, in
/// nanoseconds.
pub(super) fn kill_one(record: &Path, index: usize) -> u64 {
    let (pid, _) = wait_begun(record, index);
    let killed = monotonic();
    kill(pid);
    wait_begun(record, index + 1).1 - killed
}

/// Kills all runs of this number, from 0, at once. How long until the first word of the last one of
/// the next, in nanoseconds.
pub(super) fn kill_at_once(records: &[PathBuf], index: usize) -> u64 {
    let pids: Vec<i32> = records.iter().map(|path| wait_begun(path, index).0).collect();
    let killed = monotonic();
    pids.iter().copied().for_each(kill);
    let last = records.iter().map(|path| wait_begun(path, index + 1).1).max().unwrap();
    last - killed
}

/// A thousand units that do nothing: what they cost when nobody asks, and when each is probed.
fn idle_and_probed() {
    let world = World::new();
    world.set("max_units", (UNITS + 1).to_string());
    world.score("web", "exec sleep 100000");
    world.start();
    ends_well(&world, ask(&world, &Asked::default()));
    let before = private_kib(world.pid());
    let order = |upkeep: Upkeep, version: u64| {
        let asked = |n: usize| Asked {
            service: format!("unit-{n}").parse().unwrap(),
            version,
            upkeep: upkeep.clone(),
            ..Asked::default()
        };
        let keys: Vec<_> = (0..UNITS).map(|n| ask(&world, &asked(n))).collect();
        keys.into_iter().for_each(|key| ends_well(&world, key));
    };
    let begin = Instant::now();
    order(Upkeep::default(), 1);
    println!("{UNITS} units: ready after {:.1} s", begin.elapsed().as_secs_f64());
    let of_each = (private_kib(world.pid()) - before) as f64 / UNITS as f64;
    println!("memory of a sitter: {of_each:.1} KiB a unit, above {before} KiB");
    let children = || children_named(world.pid(), "launcher");
    let launchers = children().into_iter().map(|pid| private_kib(pid) as f64 / UNITS as f64);
    println!("memory of its launchers: {:.1} KiB a unit", launchers.sum::<f64>());
    let all = [vec![world.pid()], children()].concat();
    let (woken, _) = over_a_while(|| all.iter().map(|pid| switches(*pid)).sum::<u64>());
    println!("{UNITS} idle units: {woken:.2} wake-ups/s of sitter and launchers");

    let port = answers_http();
    let health = HealthRule::new(Probe::http(&format!("{port}/healthz")).unwrap());
    // The version is the same: what runs runs on.
    order(Upkeep { health: Some(health), ..Upkeep::default() }, 1);
    let prober = eventually("a prober", || children_named(world.pid(), "prober").pop());
    let cpu = || (processor_ns(world.pid()), processor_ns(prober));
    let (before, begin) = (cpu(), Instant::now());
    wait_for(LOOK);
    let (after, took) = (cpu(), begin.elapsed().as_nanos() as f64);
    let percent = |ns: u64| 100.0 * ns as f64 / took;
    println!(
        "{UNITS} HTTP probes each 10 s: sitter {:.2} %, prober {:.2} % of a core",
        percent(after.0 - before.0),
        percent(after.1 - before.1),
    );
    ends_well(&world, ask(&world, &Asked::wanting(Wanted::Gone)));
}

/// How much something grows in a second, and over how long that was seen.
fn over_a_while(count: impl Fn() -> u64) -> (f64, Duration) {
    let (before, begin) = (count(), Instant::now());
    wait_for(LOOK);
    let took = begin.elapsed();
    ((count() - before) as f64 / took.as_secs_f64(), took)
}

/// What is measured is a length of time.
pub(super) fn wait_for(length: Duration) {
    let until = Instant::now() + length;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

/// Answers every request at a port of this host, for as long as the program lives.
fn answers_http() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 204 well\r\n\r\n");
        }
    });
    port
}

/// Memory that a process shares with nobody, in KiB.
pub(super) fn private_kib(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let private = text.lines().filter(|line| line.starts_with("Private_"));
    private.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
}

/// Children of a process whose first argument is this.
fn children_named(parent: i32, argument: &str) -> Vec<i32> {
    let of = |pid: i32, name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
    let is_one = |pid: &i32| {
        of(*pid, "status").is_ok_and(|text| text.contains(&format!("PPid:\t{parent}\n")))
            && of(*pid, "cmdline").is_ok_and(|text| text.split('\0').nth(1) == Some(argument))
    };
    let names = fs::read_dir("/proc").unwrap().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_one).collect()
}

fn threads(pid: i32) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| task.path()).collect()
}

/// How often the threads of a process gave their processor up.
fn switches(pid: i32) -> u64 {
    let of_thread = |path: PathBuf| {
        let text = fs::read_to_string(path.join("status")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    threads(pid).into_iter().map(of_thread).sum()
}

/// How long the threads of a process had a processor, in nanoseconds.
fn processor_ns(pid: i32) -> u64 {
    let of_thread = |path: PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0)
    };
    threads(pid).into_iter().map(of_thread).sum()
}
