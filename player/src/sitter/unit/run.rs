//! One run of a unit: its processes, until nothing of them is left.

use std::collections::BTreeSet;

use orchestra_model::service::RunEnd;
use orchestra_units::{RunId, UnitKey};
use rustix::process::Signal;

use crate::sitter::{
    attempt::Main,
    cgroup::Leaf,
    clock::BootMillis,
    hunt::Trail,
    launcher::TapId,
    limits::OutOfMemoryAlarm,
    procfs::{self, Mark},
    vitals::RunMeter,
};

/// While a run is being killed: the first and the longest wait before a look whether anything is
/// left, in milliseconds.
const LOOK: (u64, u64) = (2, 500);

/// A run that has or had processes.
#[derive(Debug)]
pub(in crate::sitter) struct Run {
    pub(in crate::sitter) unit: UnitKey,
    pub(super) id: RunId,
    /// Its processes' cgroup.
    pub(in crate::sitter) leaf: Option<Leaf>,
    /// What marks its processes in their environments.
    pub(super) marks: Vec<Vec<u8>>,
    /// Its first process; `None` if it is not known whether there was one.
    pub(in crate::sitter) main: Option<Main>,
    /// The launcher's name for its streams.
    pub(super) tap: Option<TapId>,
    /// What it has said of itself.
    pub(super) heard: Heard,
    /// Tells when it is out of memory; `None` if that cannot be known.
    pub(super) alarm: Option<OutOfMemoryAlarm>,
    /// Measures what it uses.
    pub(in crate::sitter) meter: RunMeter,
    /// While it is being killed: when to look again, and the last wait, in milliseconds.
    pub(super) killing: Option<(BootMillis, u64)>,
}

/// When a run last said something that is recorded each time.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) watchdog_set: Option<BootMillis>,
    pub(super) extended: Option<BootMillis>,
    /// Whether it was logged that other processes spoke in its name.
    pub(super) others: bool,
}

impl Run {
    /// Returns whether this process belongs to the run. `seen` is what was seen in its leaf, after
    /// the process did what it is asked for.
    pub(super) fn has(&self, pid: i32, seen: &mut Option<BTreeSet<i32>>) -> bool {
        let is_main = self.main.as_ref().is_some_and(|main| !main.gone && main.pid == pid);
        is_main
            || match &self.leaf {
                Some(leaf) => seen
                    .get_or_insert_with(|| leaf.processes().into_iter().collect())
                    .contains(&pid),
                None => procfs::environment_has(pid, &self.marks) == Mark::There,
            }
    }

    pub(in crate::sitter) fn trail(&self) -> Trail {
        let leader = self.main.as_ref().map(|main| (main.pid, main.start_ticks));
        Trail { marks: self.marks.clone(), leader, orphans: false, spared: BTreeSet::new() }
    }

    /// Returns when to look whether anything is left.
    pub(super) fn next_look(&self) -> Option<BootMillis> {
        self.killing.map(|(at, _)| at)
    }

    /// Returns when to look at the count of its processes that were killed for want of memory.
    pub(super) fn next_look_at_memory(&self) -> Option<BootMillis> {
        self.alarm.as_ref()?.next_look()
    }

    pub(super) fn next_looks(&self) -> impl Iterator<Item = BootMillis> + use<> {
        [self.next_look(), self.next_look_at_memory()].into_iter().flatten()
    }

    /// Whether no process of it is left.
    pub(super) fn is_empty(&mut self) -> bool {
        let main_gone = self.main.as_mut().is_none_or(Main::is_gone);
        main_gone && self.leaf.as_ref().map_or_else(|| self.trail().is_gone(), Leaf::is_empty)
    }

    /// Sends a signal to all of its processes.
    pub(super) fn signal(&self, signal: Signal) {
        match &self.leaf {
            Some(leaf) => leaf.signal(signal),
            None => self.trail().signal(signal),
        }
    }

    /// Kills everything that is left of the run. Returns whether nothing is left.
    pub(super) fn kill(&mut self, now: BootMillis) -> bool {
        if self.is_empty() {
            return true;
        }
        if let Some(main) = &self.main {
            main.signal_group(Signal::KILL);
        }
        match &self.leaf {
            Some(leaf) => leaf.kill(),
            None => drop(self.trail().kill()),
        }
        let waited = self.killing.map_or(LOOK.0, |(_, waited)| (waited * 2).min(LOOK.1));
        self.killing = Some((now.after(waited), waited));
        self.is_empty()
    }
}

/// Returns how a run ended, by the wait status of its first process.
pub(super) fn run_end(wait_status: i32) -> RunEnd {
    match wait_status & 0x7f {
        0 => RunEnd::Exited(wait_status >> 8 & 0xff),
        signal => RunEnd::Signalled(signal),
    }
}
