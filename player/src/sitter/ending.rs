//! How a sitter ends: stopped, executed anew, or with everything that it has.
//!
//! What is known in memory alone (how a process exited whose output is still awaited, why one is
//! being killed) is settled first; everything else the next sitter finds for itself.

use std::{collections::BTreeSet, sync::Arc};

use orchestra_model::delivery::SpoolId;
use rustix::{
    fd::{AsFd, BorrowedFd},
    io::Errno,
};

use super::{
    Sitter,
    attempt::{Attempt, Phase},
    cgroup::{Cgroups, Leaf},
    clock::BootMillis,
    environment,
    hunt::{self, Trail},
    signals::Event,
    start::Newborn,
    upgrade,
};

/// How long the lifeline's end waits for the dead to be gone, in milliseconds.
const LAST_WAIT: u64 = 2_000;

impl Sitter {
    /// Whether it was asked to stop, and nothing is known in memory alone. What still runs is left
    /// to the next sitter. The agent ends with our end of the socket.
    pub(super) fn may_end(&mut self, now: BootMillis) -> bool {
        let due = self.stop_at.is_some_and(|at| self.attempts.is_empty() || now >= at);
        if !due {
            return false;
        }
        self.hurry(true);
        self.launchers.hurry(now);
        self.settle();
        let unfinished = |attempt: &Attempt| !matches!(attempt.phase, Phase::Running);
        let may = self.starts.is_empty()
            && !self.launchers.is_busy()
            && !self.attempts.values().any(unfinished);
        if may {
            tracing::info!(left_running = self.attempts.len(), "the player stops");
        }
        may
    }

    /// Settles what is known in memory alone; with `ends`, also what is being killed, without more
    /// grace.
    pub(super) fn hurry(&mut self, ends: bool) {
        let now = BootMillis::now();
        for attempt in self.attempts.values_mut() {
            attempt.hurry_output();
            if ends {
                attempt.hurry_end(now);
            }
        }
    }

    /// Becomes the program that has this one's path now, if it was asked to. While an attempt is
    /// being killed it waits: the reason for that is in memory alone.
    pub(super) fn try_upgrade(&mut self) {
        if !self.upgrade {
            return;
        }
        self.hurry(false);
        self.launchers.hurry(BootMillis::now());
        self.settle();
        let ready = self.attempts.values().all(|attempt| attempt.phase == Phase::Running);
        let starting = !self.starts.is_empty() || self.launchers.is_busy();
        let now = BootMillis::now();
        if !ready || starting || self.stop_at.is_some() {
            return self.launchers.go_on(&self.poller, now);
        }
        if self.spool.broken().or(self.keeping.engine.broken()).is_some() {
            tracing::error!("not executing the sitter anew: what it knows cannot be written");
            self.upgrade = false;
            return self.launchers.go_on(&self.poller, now);
        }
        // Launchers end with this program, but for those that hold pipes: what is in a pipe lasts as
        // long as somebody has it open, and its score may end in just this moment.
        if !self.launchers.hold(&self.poller, now) {
            return;
        }
        let lifeline = self.lifeline.as_ref().map(AsFd::as_fd);
        let keep: Vec<BorrowedFd<'_>> =
            [self.spool_dir.lock()].into_iter().chain(lifeline).collect();
        self.file_limit.restore();
        // The log's thread, and what it has not written, do not outlive this program.
        orchestra_daemon::log::flush();
        // One that came since signals were last taken would be gone with this program.
        let still = || !self.signals.has_come(Event::Stop);
        let error = upgrade::execute(&self.program, &keep, still);
        self.file_limit.raise_again();
        if let Some(error) = error {
            tracing::error!(%error, "cannot execute the sitter anew; going on as it is");
            self.upgrade = false;
        }
        self.launchers.go_on(&self.poller, BootMillis::now());
    }

    /// Whether the lifeline's other end is closed.
    pub(super) fn lifeline_is_over(&self) -> bool {
        let mut bytes = [0; 64];
        let read = |fd| rustix::io::read(fd, &mut bytes);
        match self.lifeline.as_ref().map(read) {
            Some(Ok(0)) => true,
            Some(Ok(_) | Err(Errno::AGAIN | Errno::INTR)) | None => false,
            Some(Err(_)) => true,
        }
    }

    /// Leaves nothing behind: no attempt, no daemon that one left, no agent, no cgroup.
    pub(super) fn kill_everything(&mut self) {
        tracing::info!("the lifeline ended; killing everything");
        self.agent.stop(&self.poller);
        for newborn in self.launchers.kill_all() {
            match newborn {
                Newborn::Attempt(expected) => {
                    self.left.extend(expected.clear_away(&self.spool_dir));
                }
                Newborn::Run(expected) => self.left.extend(expected.leaf),
                Newborn::Agent | Newborn::Prober(_) => {}
            }
        }
        let until = BootMillis::now().after(LAST_WAIT);
        let everything = Trail {
            marks: environment::marks_of_player(self.surroundings.spool),
            leader: None,
            orphans: false,
            spared: BTreeSet::new(),
        };
        let newborns = Trail::of_launchers(self.surroundings.spool);
        loop {
            let (spool, nobody) = (self.surroundings.spool, Arc::default());
            let mut left = everything.kill() + newborns.kill();
            for attempt in self.attempts.values_mut() {
                let trail = trail(attempt, spool, &nobody)();
                left += usize::from(!attempt.kill_now(&trail));
            }
            for run in self.keeping.runs.values().filter(|run| run.leaf.is_none()) {
                left += run.trail().kill();
            }
            self.left.extend(self.attempts.values().filter_map(|attempt| attempt.leaf.clone()));
            self.left.extend(self.cgroups.iter().flat_map(Cgroups::units));
            self.left.iter().for_each(Leaf::kill);
            // Whatever came loose from an attempt became our child, and so do its own children once
            // it is dead.
            left += hunt::kill_children();
            self.reap(BootMillis::now());
            self.sweep();
            let now = BootMillis::now();
            if (left == 0 && self.left.is_empty()) || now >= until {
                return;
            }
            // Nobody else is listened to any more; only the time passes.
            let nap = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            let _ = rustix::event::poll(&mut [], Some(&nap));
        }
    }
}

/// How an attempt's trail is described, should it be needed.
pub(super) fn trail(
    attempt: &Attempt,
    spool: SpoolId,
    spared: &Arc<BTreeSet<i32>>,
) -> impl Fn() -> Trail + use<> {
    let (key, alone, spared) = (attempt.key, attempt.alone, Arc::clone(spared));
    let leader = attempt.main.as_ref().map(|main| (main.pid, main.start_ticks));
    move || {
        let mut spared = BTreeSet::clone(&spared);
        if let Some((leader, _)) = leader {
            spared.remove(&leader);
        }
        Trail { marks: environment::marks(spool, key), leader, orphans: alone, spared }
    }
}
