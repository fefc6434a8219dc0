//! The restart matrix: what may happen to a run, by restart rule, by what its host goes through, and by
//! what the host has of cgroups. What is to come of it stands in `matrix.txt`.

#![expect(clippy::panic, reason = "a test says so by failing")]

mod common;
#[path = "common/ends.rs"]
mod ends;

use common::*;
use ends::spelled;
use orchestra_model::{
    Millis,
    service::{
        Exhausted, HealthRule, Probe, ReadySign, RestartWhen, RunEnd, Target, UnitState, Wanted,
    },
};
use orchestra_units::{Effect, Ordered, ProbeOutcome, RunEvent};

const OUTCOMES: &str = include_str!("matrix.txt");
const CGROUPS: [&str; 3] = ["v1", "v2", "none"];
const FAULTS: [&str; 12] = [
    "exit 0",
    "exit 1",
    "SIGKILL",
    "SIGSEGV",
    "OOM of child",
    "OOM of main",
    "hang",
    "never ready",
    "unhealthy",
    "stop ignored",
    "leaves a daemon",
    "no environment",
];
const RULES: [RestartWhen; 3] = [RestartWhen::Always, RestartWhen::OnFailure, RestartWhen::Never];

/// What the host goes through before it is seen what happened to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Alive,
    Killed,
    Upgraded,
    Rebooted,
}

const MEANWHILE: [Meanwhile; 4] =
    [Meanwhile::Alive, Meanwhile::Killed, Meanwhile::Upgraded, Meanwhile::Rebooted];

/// One cell, with what is to come of it.
#[derive(Clone, Copy, Debug)]
struct Cell {
    fault: &'static str,
    when: RestartWhen,
    meanwhile: Meanwhile,
    cgroup: &'static str,
    wanted: &'static str,
}

fn cells() -> Vec<Cell> {
    let lines = OUTCOMES.lines().filter(|line| !line.starts_with('#'));
    let of_line = |line: &'static str| {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let (fault, cgroups) = (columns[0], columns[1]);
        let mut cells = Vec::new();
        for (meanwhile, outcomes) in MEANWHILE.into_iter().zip(&columns[2..]) {
            for (when, wanted) in RULES.into_iter().zip(outcomes.split_whitespace()) {
                let of = |cgroup| Cell { fault, when, meanwhile, cgroup, wanted };
                cells.extend(cgroups.split(' ').map(of));
            }
        }
        cells
    };
    lines.flat_map(of_line).collect()
}

#[test]
fn every_cell_has_one_outcome() {
    let cells = cells();
    for fault in FAULTS {
        for (when, cgroup) in RULES.into_iter().flat_map(|when| CGROUPS.map(|it| (when, it))) {
            for meanwhile in MEANWHILE {
                let of = |cell: &&Cell| {
                    (cell.fault, cell.when, cell.meanwhile, cell.cgroup)
                        == (fault, when, meanwhile, cgroup)
                };
                assert_eq!(cells.iter().filter(of).count(), 1, "{fault} {when:?} {meanwhile:?}");
            }
        }
    }
    assert_eq!(cells.len(), FAULTS.len() * RULES.len() * MEANWHILE.len() * CGROUPS.len());
}

#[test]
fn every_cell_comes_out_as_it_is_written() {
    let play = |cell: &Cell| {
        let came = Play::of(*cell).outcome();
        (came != cell.wanted).then(|| format!("{cell:?}: {came}"))
    };
    let wrong: Vec<String> = cells().iter().filter_map(play).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A unit on a pretended host, whose first run meets with one thing.
struct Play {
    rig: Rig,
    cell: Cell,
    effects: Vec<Effect>,
    /// Whether the sitter knows the run since it was up.
    is_found: bool,
}

impl Play {
    fn of(cell: Cell) -> Self {
        let mut play =
            Self { rig: Rig::up(order_of(&cell)), cell, effects: Vec::new(), is_found: false };
        play.begins();
        if cell.meanwhile == Meanwhile::Rebooted {
            play.effects = play.rig.reboot();
        } else {
            play.is_found = play.meanwhile();
            play.happens(play.is_found);
        }
        play
    }

    /// What the run says before anything happens to it.
    fn begins(&mut self) {
        match self.cell.fault {
            "hang" => {
                self.rig.told(RunEvent::WatchdogSet(Millis(300)));
                self.rig.told(RunEvent::ReadyTold);
            }
            "stop ignored" => {
                let stop = with_grace(2, Wanted::Stopped, 1_000);
                assert!(words(&self.rig.order(stop)).contains(&"signal 1 15".to_owned()));
            }
            _ => {}
        }
    }

    /// Whether the main process is there when a sitter looks next.
    fn meanwhile(&mut self) -> bool {
        let lasts =
            matches!(self.cell.fault, "hang" | "never ready" | "unhealthy" | "stop ignored")
                || self.cell.fault == "OOM of child";
        match self.cell.meanwhile {
            Meanwhile::Killed => drop(self.rig.crash(100)),
            Meanwhile::Upgraded => drop(self.rig.crash(10)),
            Meanwhile::Alive | Meanwhile::Rebooted => return true,
        }
        let is_there = lasts || self.cell.meanwhile == Meanwhile::Upgraded;
        if is_there {
            self.rig.told(RunEvent::Found);
        }
        is_there
    }

    fn happens(&mut self, is_there: bool) {
        let known = |end| if is_there { end } else { RunEnd::Unknown };
        match self.cell.fault {
            "exit 0" => self.ends(known(RunEnd::Exited(0)), true),
            "exit 1" => self.ends(known(RunEnd::Exited(1)), true),
            "SIGKILL" => self.ends(known(RunEnd::Signalled(9)), true),
            "SIGSEGV" => self.ends(known(RunEnd::Signalled(11)), true),
            "OOM of child" if self.cell.cgroup == "none" => {}
            "OOM of child" => {
                self.out_of_memory();
                self.is_killed();
            }
            "OOM of main" => {
                if self.cell.cgroup != "none" {
                    self.out_of_memory();
                }
                self.ends(known(RunEnd::Signalled(9)), true);
            }
            "hang" => {
                self.pass(300);
                self.is_killed();
            }
            "never ready" => {
                let effects = self.rig.pass(5_000);
                assert_eq!(words(&effects).last().map(String::as_str), Some("signal 1 15"));
                self.ends(RunEnd::Signalled(15), true);
            }
            "unhealthy" => self.fails_its_probes(),
            "stop ignored" => {
                self.pass(1_000);
                self.is_killed();
            }
            "leaves a daemon" => self.ends(known(RunEnd::Exited(0)), false),
            "no environment" => self.ends(known(RunEnd::Exited(1)), false),
            other => panic!("{other}"),
        }
    }

    fn pass(&mut self, ms: u64) {
        self.effects = self.rig.pass(ms);
    }

    fn out_of_memory(&mut self) {
        self.effects = self.rig.told(RunEvent::OutOfMemory(Exhausted::default()));
    }

    /// The main process ends. Where others of the run are left, nothing follows before they are gone.
    fn ends(&mut self, end: RunEnd, alone: bool) {
        // A leaf says at once that it is empty; without one it has to be looked for.
        let at_once = alone && self.cell.cgroup != "none";
        self.effects.extend(self.rig.told(RunEvent::MainEnded(end)));
        if !at_once {
            assert!(words(&self.effects).contains(&"kill 1".to_owned()), "{:?}", self.effects);
            self.effects.extend(self.rig.pass(3_600_000));
            assert_eq!(self.rig.run(), 1, "something of the first run is left");
        }
        self.effects.extend(self.rig.told(RunEvent::Emptied));
    }

    /// What was to be killed is.
    fn is_killed(&mut self) {
        assert!(words(&self.effects).contains(&"kill 1".to_owned()), "{:?}", self.effects);
        self.ends(RunEnd::Signalled(9), false);
    }

    fn fails_its_probes(&mut self) {
        for _ in 0..3 {
            let effects = self.rig.pass(10_000);
            let number = probes(&effects)[0];
            self.rig.probed(number, ProbeOutcome::Unhealthy("connection refused".to_owned()));
        }
    }

    /// What has come of it, as the table spells it.
    fn outcome(mut self) -> String {
        let follows = spawned_run(&self.effects);
        // A sitter that does not find the run leaves a number out, which may have been used.
        let next = if self.is_found { 2 } else { 3 };
        if follows.is_some() {
            assert_eq!(follows, Some(next));
            self.rig.spawned();
            if self.rig.state() == UnitState::Starting {
                self.rig.told(RunEvent::ReadyTold);
            }
        }
        let report = self.rig.report();
        let follows = match (report.state, self.rig.run(), report.restarts) {
            (UnitState::Ready, run, 1) if run == next => "+",
            (UnitState::Ready, run, 0) if run == next => "*",
            (UnitState::Ready, 1, 0) => "~",
            (UnitState::Unhealthy, 1, 0) => "u",
            (UnitState::Ended, 1, 0) => ".",
            (UnitState::Stopped, 1, 0) => "x",
            other => panic!("{:?}: {other:?}", self.cell),
        };
        format!("{}{follows}", report.last_end.map_or("-".to_owned(), |end| spelled(&end)))
    }
}

fn order_of(cell: &Cell) -> Ordered {
    let mut order = match cell.fault {
        "hang" | "never ready" => with_ready(1, ReadySign::Notify),
        "stop ignored" => with_grace(1, Wanted::Running, 1_000),
        _ => running(1),
    };
    let upkeep = &mut order.unit.upkeep;
    upkeep.restart.when = cell.when;
    upkeep.ready.deadline = Millis(5_000);
    if cell.fault == "unhealthy" {
        upkeep.health = Some(HealthRule::new(Probe::Tcp(Target::Port(80))));
    }
    order
}
