//! What an earlier sitter left: attempts that live, pipes that daemons still hold, empty cgroups.
//!
//! Nothing that was starting is run again. For each attempt that the journal shows as live, the
//! sitter looks for its first process. If that process still exists, it is watched to its end. If
//! not, its end can never be known: what else the attempt started is killed, and the attempt is
//! lost. Process numbers of another boot mean nothing.

use std::rc::Rc;

use orchestra_model::delivery::{AttemptKey, Outcome};
use orchestra_spool::{BootId, Live};
use rustix::fd::AsFd;

use super::{
    attempt::{Attempt, End, Main, Phase, Streams, Told, lost},
    cgroup::Cgroups,
    clock::BootMillis,
    launcher::{Account, Keep, Launchers, Orphan, Ready},
    poll::Poller,
    procfs,
    spool_dir::{SpoolDir, attempt_name},
    start::Newborn,
    stream,
};

const REBOOTED: &str = "the host was started anew while it ran";
const STARTING: &str = "the player ended while it was starting it";
const GONE: &str = "its process ended while no player was there to see how";

/// What is needed to adopt attempts.
pub(crate) struct Nursery<'a> {
    pub(crate) spool_dir: &'a SpoolDir,
    pub(crate) cgroups: Option<&'a Cgroups>,
    pub(crate) boot: BootId,
    pub(crate) output_max: u64,
    pub(crate) launchers: &'a mut Launchers<Newborn>,
    pub(crate) poller: &'a Poller,
    /// Whether launchers of the earlier sitter still have the pipes open.
    pub(crate) in_place: bool,
}

impl Nursery<'_> {
    /// Takes an attempt over. It may be over already, or is about to be ended.
    pub(crate) fn adopt(&mut self, key: AttemptKey, live: &Live, now: BootMillis) -> Attempt {
        let streams = self.streams(key, now);
        let leaf = match (self.cgroups, &live.plan.cgroup) {
            (Some(cgroups), Some(path)) => cgroups.find_leaf(path),
            _ => None,
        };
        let same_boot = live.process.is_none_or(|process| process.boot == self.boot);
        let main = live.process.filter(|_| same_boot).and_then(|process| {
            let pid = i32::try_from(process.pid).ok()?;
            let (pidfd, stat) = procfs::open(pid, process.start_ticks)?;
            let child = stat.parent.unsigned_abs() == std::process::id();
            Some(Main { pid, start_ticks: process.start_ticks, pidfd, child, gone: false })
        });
        let phase = match (&live.process, &main) {
            _ if !same_boot => {
                let outcome = Outcome::Lost(REBOOTED.to_owned());
                match streams.told {
                    Told::Account(_) => Phase::Over(outcome),
                    Told::Nothing | Told::Asked => Phase::Closing(outcome),
                }
            }
            (Some(_), Some(_)) => Phase::Running,
            (Some(_), None) => lost(GONE, now),
            (None, _) => lost(STARTING, now),
        };
        let mut attempt = Attempt {
            key,
            leaf,
            main,
            ours: false,
            alone: false,
            started_at: live.process.map(|process| process.started_at),
            deadline: BootMillis(live.deadline_boot_ms().unwrap_or(u64::MAX)),
            interface: live.plan.interface,
            streams,
            phase,
        };
        tracing::info!(attempt = %key, phase = ?attempt.phase, "adopted an attempt");
        // The process may be dead already and not reaped.
        let zombie = attempt.main.as_ref().is_some_and(Main::is_zombie);
        if zombie
            && let Some(main) = &mut attempt.main
            && let End::Known(wait_status) = main.ended_or_unknowable()
        {
            attempt.main_ended(wait_status, now);
        }
        attempt
    }

    /// Has the attempt's streams read on. If that cannot be, only what was kept so far is known.
    fn streams(&mut self, key: AttemptKey, now: BootMillis) -> Streams {
        let Ok(directory) = self.spool_dir.open_attempt(&attempt_name(key)) else {
            return Streams::gone();
        };
        let (directory, limit) = (Rc::new(directory), self.output_max);
        let owner = stream::owner_of_pipes(directory.as_fd());
        let unattended = !self.in_place;
        let orphan = Orphan {
            directory: &directory,
            keep: Keep::First(limit),
            ready: Ready::Unasked,
            discards: false,
            unattended,
        };
        let adopted = owner.map(|uid| self.launchers.adopt(self.poller, uid, orphan, now));
        let tap = match adopted {
            Some(Ok(tap)) => Some(tap),
            Some(Err(error)) => {
                let error = orchestra_model::chain(&error);
                tracing::error!(attempt = %key, error, "cannot have the output of an attempt read on");
                None
            }
            None => None,
        };
        let nothing = Told::Account(Account { over: true, written: None });
        let told = if tap.is_some() { Told::Nothing } else { nothing };
        Streams { tap, directory: Some(directory), limit, told, cut: false }
    }
}
