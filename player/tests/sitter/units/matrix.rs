//! The restart matrix with real processes: each pair of its values, by the record that runs write of
//! themselves. Each fault is a test, which plays its rows of `matrix.txt` at once.
//!
//! Where the host has a controller in cgroup v1 alone, a leaf of v2 has its limit beside it in v1; that
//! controllers of v2 are used where there are such is tested on pretended trees (`limits/tests.rs` of
//! the sitter), and said here.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use orchestra_model::{
    ByteSize, Millis,
    service::{
        HealthRule, Probe, ReadyRule, ReadySign, Resources, RestartRule, RestartWhen, StopRule,
        Target, UnitReport, UnitState, Upkeep, Wanted,
    },
};
use rustix::process::{Pid, Signal, kill_process};

#[path = "../../../units/tests/common/ends.rs"]
mod ends;

use ends::spelled;

use super::{
    Asked, RECORD, ask, gone, health::listen, known, ready::say_in_shell, record, without_cgroups,
};
use crate::{
    Test,
    world::{World, eventually, is_root, lives},
};

pub(crate) const TESTS: &[Test] = &[
    ("each_pair_of_values_is_in_a_row", each_pair_of_values_is_in_a_row),
    ("a_run_that_exits_well", || plays("exit 0")),
    ("a_run_that_exits_badly", || plays("exit 1")),
    ("a_run_that_is_killed", || plays("SIGKILL")),
    ("a_run_that_breaks", || plays("SIGSEGV")),
    ("a_run_whose_child_is_out_of_memory", || plays("OOM of child")),
    ("a_run_that_is_out_of_memory", || plays("OOM of main")),
    ("a_run_that_hangs", || plays("hang")),
    ("a_run_that_is_never_ready", || plays("never ready")),
    ("a_run_that_turns_unhealthy", || plays("unhealthy")),
    ("a_run_that_ignores_its_stop", || plays("stop ignored")),
    ("a_run_that_leaves_a_daemon", || plays("leaves a daemon")),
    ("a_run_that_clears_its_environment", || plays("no environment")),
];

const ROWS: &str = include_str!("matrix.txt");
const OUTCOMES: &str = include_str!("../../../units/tests/matrix.txt");
const MEANWHILE: [&str; 4] = ["alive", "killed", "upgraded", "rebooted"];
const RULES: [&str; 3] = ["always", "on-failure", "never"];
const MIB: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    fault: &'static str,
    meanwhile: &'static str,
    rule: &'static str,
    cgroups: &'static str,
}

fn columns(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('|').map(str::trim).collect())
}

fn rows() -> Vec<Row> {
    let row = |columns: Vec<&'static str>| Row {
        fault: columns[0],
        meanwhile: columns[1],
        rule: columns[2],
        cgroups: columns[3],
    };
    columns(ROWS).map(row).collect()
}

fn each_pair_of_values_is_in_a_row() {
    let rows: Vec<[&str; 4]> =
        rows().into_iter().map(|it| [it.fault, it.meanwhile, it.rule, it.cgroups]).collect();
    let values =
        |of: usize| rows.iter().map(|row| row[of]).collect::<std::collections::BTreeSet<_>>();
    assert_eq!([0, 1, 2, 3].map(|of| values(of).len()), [12, 4, 3, 3]);
    for (first, second) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
        for (one, other) in values(first)
            .into_iter()
            .flat_map(|one| values(second).into_iter().map(move |other| (one, other)))
        {
            let has = |row: &[&str; 4]| (row[first], row[second]) == (one, other);
            assert!(rows.iter().any(has), "{one} with {other}");
        }
    }
}

/// What is to come of a row: what ended the first run, and what follows.
fn wanted(row: Row) -> (&'static str, char) {
    let of_row = |columns: &Vec<&'static str>| {
        columns[0] == row.fault && columns[1].split(' ').any(|it| it == row.cgroups)
    };
    let columns = columns(OUTCOMES).find(of_row).unwrap();
    let place = |all: &[&str], it| all.iter().position(|one| *one == it).unwrap();
    let outcomes = columns[2 + place(&MEANWHILE, row.meanwhile)];
    let outcome = outcomes.split_whitespace().nth(place(&RULES, row.rule)).unwrap();
    let end = outcome.len() - 1;
    (&outcome[..end], outcome[end..].chars().next().unwrap())
}

fn plays(fault: &'static str) {
    if !is_root() {
        return eprintln!("SKIPPED: only root can show a sitter another host");
    }
    if !unified().join("cgroup.controllers").exists() {
        return eprintln!("SKIPPED: this needs cgroup v2 beside v1");
    }
    let controllers = fs::read_to_string(unified().join("cgroup.controllers")).unwrap();
    if fault.starts_with("OOM") && !controllers.contains("memory") {
        eprintln!("NOT TESTED: memory limited by cgroup v2, which has no such controller here");
    }
    let rows: Vec<Row> = rows().into_iter().filter(|row| row.fault == fault).collect();
    let failed = thread::scope(|scope| {
        let played: Vec<_> =
            rows.into_iter().map(|row| (row, scope.spawn(move || play(row)))).collect();
        let failed = played.into_iter().filter_map(|(row, it)| it.join().err().map(|_| row));
        failed.collect::<Vec<_>>()
    });
    assert_eq!(failed, []);
}

/// Where cgroup v2 is mounted: beside v1, or alone.
fn unified() -> PathBuf {
    let beside = PathBuf::from("/sys/fs/cgroup/unified");
    if beside.is_dir() { beside } else { PathBuf::from("/sys/fs/cgroup") }
}

fn play(row: Row) {
    let mut play = Play::begin(row);
    let first = known(&play.world, 1);
    play.prepare();
    match row.meanwhile {
        "alive" => play.happens(),
        "killed" => {
            play.world.crash();
            play.happens();
            play.wait_for_it(first.pid);
            play.world.start();
        }
        "upgraded" => {
            play.world.signal(Signal::USR2);
            play.world.hear_the_end();
            play.world.attach();
            play.happens();
        }
        _ => play.reboot(),
    }
    play.judge(first.pid);
}

/// A sitter whose unit meets with a row's fault.
struct Play {
    world: World,
    row: Row,
    /// Answers the probes of a unit that is to turn unhealthy.
    listener: Option<std::net::TcpListener>,
    upkeep: Upkeep,
    // After the world: its processes are in it.
    bounds: Option<Bounds>,
}

impl Play {
    fn begin(row: Row) -> Self {
        let world = World::new();
        let bounds = (row.cgroups == "none" && row.fault.starts_with("OOM")).then(Bounds::new);
        let world = if row.cgroups == "none" { without_cgroups(world) } else { world };
        let (listener, port) = listen(0);
        let mut play =
            Self { world, row, listener: Some(listener), upkeep: upkeep(row, port), bounds };
        play.see(&[]);
        play.world.gate("go");
        play.world.score("web", &script(row));
        play.world.start();
        let key = ask(&play.world, &play.asked(Wanted::Running));
        play.world.started(key);
        play
    }

    fn asked(&self, wanted: Wanted) -> Asked {
        let upkeep = self.upkeep.clone();
        Asked { upkeep, deadline: Millis::minutes(10), ..Asked::wanting(wanted) }
    }

    /// Has the next sitter see the host as the row wants it, and what is said beside that.
    fn see(&mut self, further: &[String]) {
        let mut words: Vec<String> = further.to_vec();
        if self.row.cgroups == "v1" {
            words.push(format!("umount -l {}", unified().display()));
        }
        if let Some(Bounds(dir)) = &self.bounds {
            words.push(format!("echo $$ > {}", dir.join("cgroup.procs").display()));
        }
        words.push("exec \"$@\"".to_owned());
        self.world.start_through(&["unshare", "-m", "sh", "-c", &words.join(" && "), "sh"]);
    }

    fn unit(&self) -> UnitReport {
        let mut units = self.world.attach_again().units.unwrap();
        assert_eq!(units.len(), 1);
        units.remove(0)
    }

    /// What comes before what happens.
    fn prepare(&self) {
        // On a slow host what is to come may have come by then.
        let is_ready = || {
            let unit = self.unit();
            (unit.state == UnitState::Ready || unit.last_end.is_some()).then_some(())
        };
        match self.row.fault {
            "hang" | "unhealthy" => eventually("a run that is ready", is_ready),
            "stop ignored" => {
                let key = ask(&self.world, &self.asked(Wanted::Stopped));
                self.world.started(key);
            }
            _ => {}
        }
    }

    fn happens(&mut self) {
        match self.row.fault {
            "hang" | "never ready" | "stop ignored" => {}
            "unhealthy" => self.listener = None,
            _ => self.world.open_gate("go"),
        }
    }

    /// Whether the last sitter knows the run: it made it, or found it alive.
    fn is_found_again(&self) -> bool {
        let lasts = ["hang", "never ready", "stop ignored", "unhealthy", "OOM of child"];
        match self.row.meanwhile {
            "rebooted" => false,
            "killed" => lasts.contains(&self.row.fault),
            _ => true,
        }
    }

    /// While nobody looks it happens all the same.
    fn wait_for_it(&self, main: i32) {
        match self.row.fault {
            "hang" | "never ready" | "stop ignored" | "unhealthy" => {}
            "OOM of child" => gone(self.world.number_in("eater")),
            _ => reaped(main),
        }
    }

    /// Nothing lives through that but what is on disk.
    fn reboot(&mut self) {
        self.world.crash();
        eventually("nothing to live", || {
            let living = self.carry_our_path();
            for pid in living.iter().filter_map(|pid| Pid::from_raw(*pid)) {
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::KILL);
            }
            living.iter().copied().for_each(reaped);
            living.is_empty().then_some(())
        });
        let id = self.world.path("boot_id");
        fs::write(&id, "11111111-2222-3333-4444-555555555555\n").unwrap();
        self.see(&[format!("mount --bind {} /proc/sys/kernel/random/boot_id", id.display())]);
        self.world.start();
    }

    /// All processes with this world's directory in their environment: launchers, agent, and whatever
    /// runs have begun.
    fn carry_our_path(&self) -> Vec<i32> {
        let path = self.world.path("");
        let carries = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let path = path.as_os_str().as_encoded_bytes();
            environment.windows(path.len()).any(|bytes| bytes == path)
        };
        let names = fs::read_dir("/proc").unwrap().flatten();
        let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(carries).collect()
    }

    /// All processes that ever said that they are the unit's.
    fn left(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.world.out("left")).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    fn judge(&self, first: i32) {
        let (row, (cause, follows)) = (self.row, wanted(self.row));
        if follows == '~' {
            gone(self.world.number_in("eater"));
        }
        let unit = eventually(&format!("{row:?}: {cause}{follows}"), || {
            let unit = self.unit();
            let reached = match follows {
                '+' | '*' => unit.state == UnitState::Ready && unit.run.0 >= 2,
                '.' => unit.state == UnitState::Ended,
                'x' => unit.state == UnitState::Stopped,
                '~' => unit.state == UnitState::Ready,
                _ => unit.state == UnitState::Unhealthy,
            };
            reached.then_some(unit)
        });
        let log = || format!("{row:?}\n{unit:?}\n{}", self.world.log());
        let (runs, restarts) = match follows {
            '+' => (2, 1),
            '*' => (2, 0),
            _ => (1, 0),
        };
        // A sitter that does not find the run leaves a number out, which may have been used.
        let left_out = u64::from(runs == 2 && !self.is_found_again());
        assert_eq!((unit.run.0, unit.restarts), (runs + left_out, restarts), "{}", log());
        let came = unit.last_end.as_ref().map_or("-".to_owned(), spelled);
        assert_eq!(came, cause, "{}", log());
        // A process is there before it has written anything.
        let lines = eventually(&format!("its record: {}", log()), || {
            Some(record(&self.world)).filter(|lines| lines.len() as u64 >= runs)
        });
        assert_eq!(lines.len() as u64, runs, "{}", log());
        assert!(!self.world.out("doubled").exists(), "two runs at once: {}", log());
        let stays = match follows {
            '+' | '*' => Some(lines[1].pid),
            '~' | 'u' => Some(first),
            _ => None,
        };
        let alive = self.left().into_iter().filter(|pid| lives(*pid));
        assert_eq!(alive.collect::<Vec<_>>(), Vec::from_iter(stays), "{}", log());
    }
}

/// A cgroup with little memory around a sitter that makes none of its own: as a container has it.
struct Bounds(PathBuf);

impl Bounds {
    fn new() -> Self {
        static MADE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.split_once(":memory:")).map_or("", |it| it.1);
        let name = format!("orchestra-test-bounds-{}-{number}", std::process::id());
        let dir = Path::new("/sys/fs/cgroup/memory").join(own.trim_start_matches('/')).join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("memory.limit_in_bytes"), (192 * MIB).to_string()).unwrap();
        Self(dir)
    }
}

impl Drop for Bounds {
    fn drop(&mut self) {
        eventually("the end of a cgroup", || fs::remove_dir(&self.0).ok());
    }
}

/// Waits until the host's first process has reaped one that its parent left: as long as it has not, the
/// kernel would tell the next sitter how that process ended.
fn reaped(pid: i32) {
    let is_there = || Path::new(&format!("/proc/{pid}")).exists();
    eventually("a process to be reaped", || (!is_there()).then_some(()));
}

fn upkeep(row: Row, port: u16) -> Upkeep {
    let when = match row.rule {
        "always" => RestartWhen::Always,
        "on-failure" => RestartWhen::OnFailure,
        _ => RestartWhen::Never,
    };
    let speaks = matches!(row.fault, "hang" | "never ready");
    let sign = if speaks { ReadySign::Notify } else { ReadySign::Started };
    let limited = row.fault.starts_with("OOM") && row.cgroups != "none";
    let memory = Resources { memory: Some(ByteSize(32 * MIB)), ..Resources::NONE };
    let health = HealthRule {
        every: Millis(100),
        timeout: Millis(100),
        fall: 2,
        ..HealthRule::new(Probe::Tcp(Target::Port(port)))
    };
    Upkeep {
        restart: RestartRule { when, ..RestartRule::default() },
        ready: ReadyRule { sign, deadline: patience(row, 4_000) },
        stop: StopRule { grace: patience(row, 1_000), ..StopRule::default() },
        resources: limited.then_some(memory),
        health: (row.fault == "unhealthy").then_some(health),
        ..Upkeep::default()
    }
}

/// How long something may take (ms) before the sitter acts. What a reboot is to cut short takes longer.
fn patience(row: Row, ms: u64) -> Millis {
    if row.meanwhile == "rebooted" { Millis::minutes(2) } else { Millis(ms) }
}

/// Each run says who it is, and whether something of one before it still lives. The first one does what
/// the fault says, the others are well. Who speaks is there for as long as anybody may ask who it was.
fn script(row: Row) -> String {
    let lives = "case $(sed -n 's/^State:[[:space:]]*\\(.\\).*/\\1/p' /proc/$pid/status 2> /dev/null) \
                 in ''|Z|X) ;; *) echo $ORC_RUN $pid >> $OUT/doubled;; esac";
    let begin = format!(
        "touch $OUT/left; for pid in $(cat $OUT/left); do {lives}; done\necho $$ >> $OUT/left\n{}\n\
         says() {{ say \"$1\" 60000 & }}",
        say_in_shell()
    );
    let speaks = matches!(row.fault, "hang" | "never ready");
    let well = if speaks { "says READY=1; exec sleep 1000" } else { "exec sleep 1000" };
    format!("{begin}\n{RECORD}\n[ $ORC_RUN = 1 ] || {{ {well}; }}\n{}", what_the_first_does(row))
}

fn what_the_first_does(row: Row) -> String {
    let micros = patience(row, 2_000).0 * 1_000;
    let waits = "read x < $OUT/go";
    match row.fault {
        "exit 0" => format!("{waits}; exit 0"),
        "exit 1" => format!("{waits}; exit 1"),
        "SIGKILL" => format!("{waits}; kill -9 $$"),
        "SIGSEGV" => format!("{waits}; ulimit -c 0; kill -SEGV $$"),
        "OOM of child" => format!(
            "{waits}; sh -c 'echo $$ >> $OUT/left; echo $$ > $OUT/eater; exec tail /dev/zero' \
             > /dev/null\nexec sleep 1000"
        ),
        "OOM of main" => format!("{waits}; exec tail /dev/zero > /dev/null"),
        "hang" => format!("says 'READY=1\nWATCHDOG_USEC={micros}'; exec sleep 1000"),
        "never ready" | "unhealthy" => "exec sleep 1000".to_owned(),
        "stop ignored" => "trap '' TERM; exec sleep 1000".to_owned(),
        // In a session of its own, its parent gone, without a descriptor of the unit's.
        "leaves a daemon" => format!(
            "(setsid sh -c 'trap \"\" TERM HUP; exec < /dev/null > /dev/null 2>&1; \
             echo $$ >> $OUT/left; sleep 1000 & echo $! >> $OUT/left; wait' &)\n\
             until [ $(wc -l < $OUT/left) -ge 3 ]; do :; done\n{waits}; exit 0"
        ),
        // In the unit's own session, and otherwise without anything of its.
        "no environment" => format!(
            "{waits}; exec env -i OUT=$OUT sh -c 'sleep 1000 > /dev/null 2>&1 & \
             echo $! >> $OUT/left; exit 1'"
        ),
        other => panic!("{other}"),
    }
}
