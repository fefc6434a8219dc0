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

/// While it is being killed: the first wait before looking whether anything is left, and the longest,
/// in milliseconds.
const LOOK: (u64, u64) = (2, 500);

/// A run that has or had processes.
#[derive(Debug)]
pub(in crate::sitter) struct Run {
    pub(in crate::sitter) unit: UnitKey,
    pub(super) id: RunId,
    /// Its processes' cgroup.
    pub(in crate::sitter) leaf: Option<Leaf>,
    /// What their environments hold.
    pub(super) marks: Vec<Vec<u8>>,
    /// Its first process; `None` where it is not known that there was one.
    pub(in crate::sitter) main: Option<Main>,
    /// What its launcher calls its streams.
    pub(super) tap: Option<TapId>,
    /// What it has said of itself.
    pub(super) heard: Heard,
    /// Tells when its memory was not enough; `None` where that is not known.
    pub(super) alarm: Option<OutOfMemoryAlarm>,
    /// What it was seen to use.
    pub(in crate::sitter) meter: RunMeter,
    /// It is being killed: when to look again, and how long the last wait was, in milliseconds.
    pub(super) killing: Option<(BootMillis, u64)>,
}

/// What a run has said: when it last asked for something that is written down each time.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) watchdog_set: Option<BootMillis>,
    pub(super) extended: Option<BootMillis>,
    /// Others have spoken for it, which was told.
    pub(super) others: bool,
}

impl Run {
    /// Whether this process is one of its own.
    pub(super) fn has(&self, pid: i32) -> bool {
        let is_main = self.main.as_ref().is_some_and(|main| !main.gone && main.pid == pid);
        is_main
            || match &self.leaf {
                Some(leaf) => leaf.has(pid),
                None => procfs::environment_has(pid, &self.marks) == Mark::There,
            }
    }

    pub(in crate::sitter) fn trail(&self) -> Trail {
        let leader = self.main.as_ref().map(|main| (main.pid, main.start_ticks));
        Trail { marks: self.marks.clone(), leader, orphans: false, spared: BTreeSet::new() }
    }

    /// When to look whether anything is left.
    pub(super) fn next_look(&self) -> Option<BootMillis> {
        self.killing.map(|(at, _)| at)
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

    /// Kills whatever is left of it. Whether nothing is.
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

/// How a run ended, of what `wait` says of its first process.
pub(super) fn run_end(wait_status: i32) -> RunEnd {
    match wait_status & 0x7f {
        0 => RunEnd::Exited(wait_status >> 8 & 0xff),
        signal => RunEnd::Signalled(signal),
    }
}
