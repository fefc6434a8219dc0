//! How a sitter ends: it is stopped, it is executed anew, or it kills everything that it has.
//!
//! Before it ends, a sitter settles what it knows in memory alone: how a process exited whose
//! output is still awaited, and why an attempt is being killed. The next sitter finds everything
//! else by itself.

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

/// How long [`Sitter::kill_everything`] waits until all processes are gone, in milliseconds.
const LAST_WAIT: u64 = 2_000;

impl Sitter {
    /// Returns whether the sitter may end: it was asked to stop, and knows nothing in memory alone.
    /// What still runs is left to the next sitter. The agent ends when our end of its socket
    /// closes.
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
            self.end_checks();
            tracing::info!(left_running = self.attempts.len(), "the player stops");
        }
        may
    }

    /// Settles what is known in memory alone. With `ends`, attempts that are being killed get no
    /// further grace and are settled too.
    pub(super) fn hurry(&mut self, ends: bool) {
        let now = BootMillis::now();
        for attempt in self.attempts.values_mut() {
            attempt.hurry_output();
            if ends {
                attempt.hurry_end(now);
            }
        }
    }

    /// Executes the program that is at this program's path now, if the sitter was asked to. While
    /// an attempt is being killed this waits, because the reason for the kill is in memory alone.
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
        // Launchers end with this program, except those that were asked to hold. They keep pipes
        // open, because a pipe keeps its content only while some process has it open, and its score
        // may end just now.
        if !self.launchers.hold(&self.poller, now) {
            return;
        }
        let lifeline = self.lifeline.as_ref().map(AsFd::as_fd);
        let keep: Vec<BorrowedFd<'_>> =
            [self.spool_dir.lock()].into_iter().chain(lifeline).collect();
        self.file_limit.restore();
        // The thread of the log ends with this program, so it first has to write what it has.
        orchestra_daemon::log::flush();
        // A stop that came since signals were last taken would be lost with this program.
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

    /// Leaves nothing behind: no attempt, no daemon of an attempt, no agent, no cgroup.
    pub(super) fn kill_everything(&mut self) {
        tracing::info!("the lifeline ended; killing everything");
        self.agent.stop(&self.poller);
        for newborn in self.launchers.kill_all() {
            match newborn {
                Newborn::Attempt(expected) => {
                    self.left.extend(expected.clear_away(&self.spool_dir));
                }
                Newborn::Run(expected) => self.left.extend(expected.leaf),
                // Its cgroup is among those of units.
                Newborn::Check(_) | Newborn::Agent | Newborn::Prober(_) | Newborn::Guard => {}
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
            // A process that lost its parent became our child, and its own children do when it is
            // dead.
            left += hunt::kill_children();
            self.reap(BootMillis::now());
            self.sweep();
            let now = BootMillis::now();
            if (left == 0 && self.left.is_empty()) || now >= until {
                // Only now there is nothing left to guard.
                self.keeping.place.drop_book();
                return self.guarding.kill();
            }
            // Nothing else is listened to any more, so the loop only waits.
            let nap = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            let _ = rustix::event::poll(&mut [], Some(&nap));
        }
    }
}

/// Returns what makes an attempt's trail when it is needed.
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
