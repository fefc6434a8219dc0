//! A pretended host: processes that live whether or not a sitter does, a disk, clocks, and a memory
//! file system.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{Params, Timestamp, delivery::OrderNumber};
use orchestra_units::{BootId, Leased, Now, ProcessMark, RunId, UnitKey};

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) boot: BootId,
    pub(crate) boot_ms: u64,
    pub(crate) wall: u64,
    pub(crate) disk: Vec<u8>,
    /// Runs of which a process lives, and whether the main one does.
    pub(crate) processes: BTreeMap<(UnitKey, RunId), bool>,
    /// Every run that ever had a process, or may have.
    pub(crate) used: BTreeSet<(UnitKey, RunId)>,
    pub(crate) memory: BTreeMap<UnitKey, (OrderNumber, Params)>,
    /// The parameters that each run was given last.
    pub(crate) given: BTreeMap<(UnitKey, RunId), Params>,
    /// What was granted to each unit last, as its guard knows it.
    pub(crate) leases: BTreeMap<UnitKey, Leased>,
    pids: u32,
}

impl Host {
    pub(crate) fn new() -> Self {
        Host {
            boot: BootId([1; 16]),
            boot_ms: 1_000,
            wall: 1_700_000_000_000,
            disk: Vec::new(),
            processes: BTreeMap::new(),
            used: BTreeSet::new(),
            memory: BTreeMap::new(),
            given: BTreeMap::new(),
            leases: BTreeMap::new(),
            pids: 0,
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now { boot_ms: self.boot_ms, wall: Timestamp(self.wall) }
    }

    /// Makes the process of a run. No other run of its unit may have one.
    pub(crate) fn spawn(&mut self, unit: &UnitKey, run: RunId) -> ProcessMark {
        let lives = self.processes.keys().any(|(other, _)| other == unit);
        assert!(!lives, "two runs of {unit} live: {run:?} beside {:?}", self.processes);
        self.pids += 1;
        let mark = ProcessMark {
            pid: self.pids,
            start_ticks: self.boot_ms / 10,
            boot: self.boot,
            started_at: Timestamp(self.wall),
            boot_ms: self.boot_ms,
        };
        self.processes.insert((unit.clone(), run), true);
        mark
    }

    pub(crate) fn reboot(&mut self) {
        self.boot = BootId([self.boot.0[0].wrapping_add(1).max(1); 16]);
        self.boot_ms = 500;
        self.processes.clear();
        self.memory.clear();
        self.leases.clear();
    }
}
