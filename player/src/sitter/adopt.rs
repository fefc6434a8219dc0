//! What an earlier sitter left: attempts that live, pipes that daemons still hold, empty cgroups.
//!
//! Nothing that was starting is run again. What the journal shows as live is looked for: a first
//! process that is still the same one is watched to its end; where there is none any more, how it
//! ended can never be known: what else the attempt started is killed, and the attempt is lost.
//! Process numbers of another boot say nothing.

use orchestra_model::delivery::{AttemptKey, Outcome};
use orchestra_spool::{BootId, Live};

use super::{
    attempt::{Attempt, End, Main, Phase, lost, reopen_taps},
    cgroup::Cgroups,
    clock::BootMillis,
    procfs,
    spool_dir::{SpoolDir, attempt_name},
};

const REBOOTED: &str = "the host was started anew while it ran";
const STARTING: &str = "the player ended while it was starting it";
const GONE: &str = "its process ended while no player was there to see how";

/// Where attempts are adopted from.
#[derive(Clone, Copy)]
pub(crate) struct Nursery<'a> {
    pub(crate) spool_dir: &'a SpoolDir,
    pub(crate) cgroups: Option<&'a Cgroups>,
    pub(crate) boot: BootId,
    pub(crate) output_max: u64,
}

impl Nursery<'_> {
    /// Takes an attempt over. It may be over already, or about to be ended.
    pub(crate) fn adopt(&self, key: AttemptKey, live: &Live, now: BootMillis) -> Attempt {
        let dir = self.spool_dir.open_attempt(&attempt_name(key)).ok();
        let streams = reopen_taps(dir, self.output_max);
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
            _ if !same_boot => Phase::Over(Outcome::Lost(REBOOTED.to_owned())),
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
        // It may be dead already and wait to be asked how.
        let zombie = attempt.main.as_ref().is_some_and(Main::is_zombie);
        if zombie
            && let Some(main) = &mut attempt.main
            && let End::Known(wait_status) = main.ended_or_unknowable()
        {
            attempt.main_ended(wait_status, now);
        }
        attempt
    }
}
