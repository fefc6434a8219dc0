//! Finding and killing what an attempt started, if it has no cgroup.
//!
//! A process belongs to an attempt if
//!
//! - it carries the attempt's marks in its environment, or
//! - it is in the session or process group of the attempt's first process, or
//! - it descends from a process that belongs to the attempt, or
//! - it lost its parent and became our child (the sitter adopts orphans), no other attempt has
//!   lived since this one started, and no earlier attempt left a daemon from which it could come.
//!
//! A process is not found if it removes its environment, leaves session and group, and loses its
//! parent while other attempts live. The manual says so.
//!
//! The kernel may give a number to another process at any time. So a process is signalled through a
//! pidfd, after a second look that it is the one that was meant.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use orchestra_model::delivery::SpoolId;
use rustix::process::{Signal, pidfd_send_signal};

use super::{
    environment,
    procfs::{self, Mark, Stat},
};

/// Longest time of a hunt that finds ever more processes. Then others have a turn.
const SPELL: Duration = Duration::from_millis(100);

/// The time between two looks: long enough that the second sees processes that were made during the
/// first.
const BETWEEN: Duration = Duration::from_millis(3);

/// What is known of an attempt's processes.
#[derive(Clone, Debug)]
pub(crate) struct Trail {
    /// What marks them in their environments.
    pub(crate) marks: Vec<Vec<u8>>,
    /// The number of the first process, which is also that of its session and group, and when it
    /// started; `None` if it is not known whether there was one.
    pub(crate) leader: Option<(i32, u64)>,
    /// Whether orphans of which nothing else is known belong to this attempt.
    pub(crate) orphans: bool,
    /// Processes that never belong to it: other attempts' first processes, and the agent.
    pub(crate) spared: BTreeSet<i32>,
}

impl Trail {
    /// Returns the trail of launchers of a spool's player, and of newborns that have executed
    /// nothing.
    pub(crate) fn of_launchers(spool: SpoolId) -> Self {
        let mark = environment::mark_of_launchers(spool).into_bytes();
        Self { marks: vec![mark], leader: None, orphans: false, spared: BTreeSet::new() }
    }

    /// Kills everything that belongs to the attempt, again and again while more is found, for a
    /// bounded time. Returns how many processes the last look found.
    pub(crate) fn kill(&self) -> usize {
        let until = Instant::now() + SPELL;
        let mut seen = BTreeSet::new();
        loop {
            let before = procfs::last_pid();
            let found = self.find();
            // A process that was signalled may still be dying at the next look.
            let news = found.iter().filter(|stat| seen.insert(stat.pid)).count();
            found.iter().for_each(kill);
            if news == 0 || Instant::now() >= until {
                return found.len();
            }
            self.chase(before, &mut seen, until);
        }
    }

    /// Sends a signal to everything that one look finds to belong to the attempt.
    pub(crate) fn signal(&self, signal: Signal) {
        self.find().iter().for_each(|stat| send(stat, signal));
    }

    /// Follows a chain in which each process starts the next one faster than all of `/proc` can be
    /// walked. Looks at new numbers alone, while there are any.
    fn chase(&self, mut newest: i32, seen: &mut BTreeSet<i32>, until: Instant) {
        while Instant::now() < until {
            let last = procfs::last_pid();
            // If it is equal, nothing is new. If it is lower, numbers begin again from below, so
            // all of `/proc` has to be walked.
            if last <= newest {
                return;
            }
            for stat in (newest + 1..=last).filter_map(Stat::of) {
                if !stat.zombie
                    && !self.spared.contains(&stat.pid)
                    && (seen.contains(&stat.parent) || self.is_marked(&stat))
                {
                    seen.insert(stat.pid);
                    kill(&stat);
                }
            }
            newest = last;
        }
    }

    /// Returns whether nothing of the attempt is left. While a process is just being executed it
    /// has no environment by which to know it, so the answer is no. A process that is made while we
    /// look may be missed, so this looks twice, and then at new numbers.
    pub(crate) fn is_gone(&self) -> bool {
        self.sees_nothing() && {
            thread::sleep(BETWEEN);
            self.sees_nothing()
        }
    }

    fn sees_nothing(&self) -> bool {
        let (until, mut newest) = (Instant::now() + SPELL, procfs::last_pid());
        let (ours, executing) = self.look();
        if !ours.is_empty() || executing {
            return false;
        }
        // The last process of a chain may have been made by one that has ended since, after we had
        // passed.
        while Instant::now() < until {
            let last = procfs::last_pid();
            let is_suspect = |stat: &Stat| {
                !stat.zombie
                    && !self.spared.contains(&stat.pid)
                    && self.mark(stat) != Mark::NotThere
            };
            let begins_anew = last < newest;
            if begins_anew || (newest + 1..=last).filter_map(Stat::of).any(|stat| is_suspect(&stat))
            {
                return false;
            }
            if last == newest {
                break;
            }
            newest = last;
        }
        true
    }

    /// Returns everything alive that belongs to the attempt.
    fn find(&self) -> Vec<Stat> {
        self.look().0
    }

    /// Returns everything alive that belongs to the attempt, and whether something else that may
    /// belong to it is just being executed.
    fn look(&self) -> (Vec<Stat>, bool) {
        let own = std::process::id() as i32;
        let since = self.leader.map_or(0, |(_, ticks)| ticks);
        let mut others = procfs::all().unwrap_or_default();
        others.retain(|stat| !stat.zombie && stat.pid != own && !self.spared.contains(&stat.pid));
        let elders = others.iter().any(|stat| stat.parent == own && stat.start_ticks < since);
        others.retain(|stat| stat.start_ticks >= since);
        let adopted = |stat: &Stat| self.orphans && !elders && stat.parent == own;
        let (mut ours, mut executing) = (Vec::new(), BTreeSet::new());
        loop {
            // A parent may come after its children, because numbers begin again from below.
            let parents: BTreeSet<i32> = ours.iter().map(|stat: &Stat| stat.pid).collect();
            let first = ours.is_empty();
            let belongs = |stat: &mut Stat| match first {
                true => match self.mark(stat) {
                    Mark::There => true,
                    Mark::NotThere => adopted(stat) && !self.is_anothers(stat),
                    Mark::NotYet => {
                        executing.insert(stat.pid);
                        false
                    }
                },
                false => parents.contains(&stat.parent),
            };
            let more: Vec<Stat> = others.extract_if(.., belongs).collect();
            if more.is_empty() {
                let executing = others.iter().any(|stat| executing.contains(&stat.pid));
                return (ours, executing);
            }
            ours.extend(more);
        }
    }

    fn is_marked(&self, stat: &Stat) -> bool {
        self.mark(stat) == Mark::There
    }

    fn mark(&self, stat: &Stat) -> Mark {
        let of_leader = self.leader.is_some_and(|(leader, _)| {
            stat.pid == leader || stat.session == leader || stat.group == leader
        });
        if of_leader { Mark::There } else { procfs::environment_has(stat.pid, &self.marks) }
    }

    /// Returns whether a process that does not belong to this attempt carries the mark of this
    /// player. Then it belongs to another attempt.
    fn is_anothers(&self, stat: &Stat) -> bool {
        let player = self.marks.get(..1).unwrap_or_default();
        procfs::environment_has(stat.pid, player) == Mark::There
    }
}

/// Kills every child of this process. Returns how many there were.
pub(crate) fn kill_children() -> usize {
    let own = std::process::id() as i32;
    let mut children = procfs::all().unwrap_or_default();
    children.retain(|stat| !stat.zombie && stat.parent == own);
    children.iter().for_each(kill);
    children.len()
}

fn kill(stat: &Stat) {
    send(stat, Signal::KILL);
}

fn send(stat: &Stat, signal: Signal) {
    if let Some((pidfd, _)) = procfs::open(stat.pid, stat.start_ticks) {
        let _ = pidfd_send_signal(&pidfd, signal);
    }
}
