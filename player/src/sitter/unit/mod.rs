//! Units: what is kept running. The engine ([`orchestra_units`]) decides. Here are its journal, the
//! processes of its runs, and how it works together with the spool.
//!
//! ```text
//! order ─▶ engine ─▶ file `units` ─▶ spool: an attempt that watches, and starts no process
//!             │ Spawn                    ▲ EndWatch
//!             ▼                          │
//!   launcher ─▶ run: process, cgroup leaf, run directory ─▶ MainEnded, Emptied ─▶ engine
//! ```
//!
//! What holds beside the engine's own rules:
//!
//! - The units' file is written before the spool's journal, so an attempt that the spool has
//!   accepted has its order on disk. An order that only the units' file has comes again, and
//!   changes nothing.
//! - A run is spawned only into an empty leaf, even if the run before it counts as gone.
//! - The names of a unit's leaf, marks and run directory contain no spool's id. So the sitter of a
//!   new spool finds what the wiped spool had kept running, and ends it.
//! - The end of a run, the write that follows it, and the next start wait for no timer. The next
//!   start waits for no write either if the run's number was spoken for on disk before.
//!
//! ```text
//! order     orders and watches: between engine and spool      run      one run's processes
//! spawn     from the engine's word to a process               place    directories in memory
//! end       what becomes of runs, until nothing is left       recover  what an earlier sitter left
//! tell      what a conductor is told                     hear     what a run says of itself
//! limits    what a run may have                          memory   when that was not enough
//! readings  who reads what runs write
//! probe     what is asked of a run, and by whom
//! checks    scores that are run for that            check    one of them
//! leases    what may run no longer than it is renewed
//! reload    signals, and parameters that a run reads again
//! state_dir what a service keeps on a disk       leftovers  directories of units that are gone
//! secrets   parameters that a service keeps on a disk
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use orchestra_model::{delivery::AttemptKey, service::Room};
use orchestra_units::{Effect, Input, Now, RunEvent, RunId, State, UnitKey, Units};

use super::{
    Sitter, clock,
    clock::BootMillis,
    journal::{Found, Journal},
};

mod check;
mod checks;
mod end;
mod hear;
mod leases;
mod leftovers;
mod limits;
mod memory;
mod order;
mod place;
mod probe;
mod readings;
mod recover;
mod reload;
mod run;
mod secrets;
mod spawn;
mod state_dir;
mod tell;

pub(in crate::sitter) use self::hear::Seen;
use self::{
    check::Check, leases::Leasing, order::Accepting, readings::Readings, spawn::Waiting,
    tell::Hearer,
};
pub(super) use self::{
    limits::leaves_beside,
    order::UnitCommand,
    place::{Place, only_ours},
    readings::OfLog,
    recover::{fresh_spool_id, open},
    run::Run,
    spawn::ExpectedRun,
};

/// The socket at which a unit's run is heard, in the unit's directory in memory.
pub(super) const NOTIFY: &str = "notify";

/// How long after a failed write of the units' file the next try is, in milliseconds.
const REWRITE_PAUSE: u64 = 1_000;

/// The units' engine, and all that it needs around it.
pub(super) struct Keeping {
    pub(super) engine: Units,
    /// How much of the host there is for units.
    pub(super) room: Room,
    journal: Journal<State>,
    /// When to replace a file that could not be written by a fresh one.
    rewrite_at: Option<BootMillis>,
    pub(super) place: Place,
    /// Orders that the engine has taken and the spool does not know yet.
    accepting: BTreeMap<AttemptKey, Accepting>,
    /// Attempts whose watch is over, with the numbers of their orders, until that is durable in the
    /// spool.
    settling: Vec<(AttemptKey, orchestra_model::delivery::OrderNumber)>,
    /// Runs that are to have a process, and whose launcher has not been asked.
    waiting: VecDeque<Waiting>,
    /// Runs that have or had processes, by id, which is also their token.
    pub(super) runs: BTreeMap<u64, Run>,
    /// The runs among them that have a moment of their own at which to be looked at. They are few,
    /// so that no turn of the loop looks through all runs.
    restless: BTreeSet<u64>,
    /// Checks, one of a unit at most.
    pub(super) checks: BTreeMap<UnitKey, Check>,
    /// What failed checks have had written into the logs of their units last, and when.
    noted: BTreeMap<UnitKey, (BootMillis, Vec<u8>)>,
    /// Why units could not be checked the last time, where that was told.
    unchecked: BTreeMap<UnitKey, String>,
    hearer: Option<Hearer>,
    leasing: Leasing,
    readings: Readings,
}

/// The moment of an input.
pub(super) fn now() -> Now {
    Now { boot_ms: BootMillis::now().0, wall: clock::wall() }
}

impl Keeping {
    /// Returns whether a unit's run lives or is about to. Then no attempt may claim orphans as its
    /// own.
    pub(super) fn is_anything_alive(&self) -> bool {
        !self.runs.is_empty() || self.engine.runs().next().is_some()
    }

    /// Tells the engine an event of a run.
    fn tell(&mut self, unit: &UnitKey, run: RunId, event: RunEvent) {
        self.engine.handle(now(), Input::Run { unit: unit.clone(), run, event });
    }

    /// Returns the next deadline of the units.
    pub(super) fn next_deadline(&self) -> Option<BootMillis> {
        let restless = self.restless.iter().filter_map(|id| self.runs.get(id));
        let looks = restless.flat_map(Run::next_looks);
        let wake = self.engine.next_wake().map(BootMillis);
        let checks = self.checks.values().filter_map(Check::next_deadline);
        // That moment has always come.
        let left = self.place.has_leftovers().then(BootMillis::default);
        let others = [wake, left, self.rewrite_at, self.leasing.next()].into_iter().flatten();
        looks.chain(checks).chain(others).min()
    }

    /// Notes whether a run has a moment at which to be looked at. Called whenever that may have
    /// changed.
    fn note_looks(&mut self, id: u64) {
        let is_restless = self.runs.get(&id).is_some_and(|run| run.next_looks().next().is_some());
        match is_restless {
            true => self.restless.insert(id),
            false => self.restless.remove(&id),
        };
    }

    /// Returns the restless runs for which this is so.
    fn restless_runs(&self, is_due: impl Fn(&Run) -> bool) -> Vec<u64> {
        let known = self.restless.iter().filter_map(|id| Some((*id, self.runs.get(id)?)));
        known.filter(|(_, run)| is_due(run)).map(|(id, _)| id).collect()
    }
}

impl Sitter {
    /// Makes durable what the engine wants durable, and performs its effects, until nothing more
    /// follows. Starts may have to wait for a launcher.
    pub(super) fn settle_units(&mut self) {
        let mut is_news = false;
        loop {
            // What rests on nothing new does not wait for the disk: the next run of a unit is made
            // while the end of the last one is being written. Where the spool was taken away, the
            // write makes it anew first.
            let may_go_ahead = self.keeping.engine.has_effect() && self.is_spool_whole();
            let mut idle = !may_go_ahead || !self.perform_all_for_units();
            self.commit_units();
            idle &= !self.perform_all_for_units();
            is_news |= !idle;
            if idle && self.keeping.engine.unwritten().is_empty() {
                break;
            }
        }
        if is_news {
            self.look_after_leases(BootMillis::now());
        }
        self.end_unasked_checks();
    }

    /// Performs the effects that wait for nothing. Returns whether there were any.
    fn perform_all_for_units(&mut self) -> bool {
        let mut any = false;
        while let Some(effect) = self.keeping.engine.poll_effect() {
            any = true;
            self.perform_for_units(effect);
        }
        self.spawn_waiting();
        any
    }

    fn perform_for_units(&mut self, effect: Effect) {
        match effect {
            Effect::Watching { key, .. } => self.accept(key),
            Effect::Spawn { unit, run, order } => self.will_spawn(unit, run, order),
            Effect::Find { unit, run, process } => self.find_run(&unit, run, process),
            Effect::Terminate { unit, run, signal } => self.terminate_run(&unit, run, signal),
            Effect::KillAll { unit, run } => self.kill_run(unit, run),
            told @ Effect::Signal { .. } => self.signal_run(told),
            Effect::EndWatch { key, order, end } => self.end_watch(key, order, end),
            Effect::Probe { unit, number, probe, timeout } => {
                self.probe_unit(unit, number, &probe, timeout);
            }
            Effect::Report { store, report } => self.tell_unit(store, report),
            Effect::Forget { unit } => self.forget_unit(&unit),
        }
    }

    /// One write for all that is unwritten.
    fn commit_units(&mut self) {
        if self.keeping.engine.unwritten().is_empty() {
            return;
        }
        if !self.is_spool_whole() {
            return self.rewrite_units();
        }
        let keeping = &mut self.keeping;
        let written = keeping.journal.append(keeping.engine.unwritten());
        let compacted = written.and_then(|()| {
            keeping.engine.written();
            match keeping.journal.should_compact(keeping.engine.state()) {
                true => keeping.journal.compact(keeping.engine.state()),
                false => Ok(()),
            }
        });
        if let Err(error) = compacted {
            self.units_failed(&error.to_string());
        }
    }

    /// Returns whether spool and units' file are where they were.
    fn is_spool_whole(&self) -> bool {
        self.units_are_whole() && self.spool_dir.is_whole()
    }

    fn units_failed(&mut self, why: &str) {
        tracing::error!(error = why, "cannot write the units' file; no run begins");
        self.keeping.engine.write_failed(why);
        self.keeping.rewrite_at = Some(BootMillis::now().after(REWRITE_PAUSE));
    }

    fn rewrite_units(&mut self) {
        match self.write_units_anew() {
            Ok(()) => {
                if self.keeping.rewrite_at.take().is_some() {
                    tracing::info!("the units' file can be written again");
                }
                self.keeping.engine.rewritten();
            }
            Err(error) => self.units_failed(&error),
        }
    }

    /// Writes a fresh file of all that is known of units. If the spool was taken away, it is made
    /// anew first.
    pub(super) fn write_units_anew(&mut self) -> Result<(), String> {
        let found = self.keeping.journal.look(self.spool_dir.path());
        self.make_spool_whole(found)?;
        let Keeping { journal, engine, .. } = &mut self.keeping;
        journal.rewrite(engine.state()).map_err(|error| error.to_string())
    }

    /// Moves the units' file to a spool that was made anew.
    pub(super) fn move_units(&mut self) -> std::io::Result<()> {
        self.keeping.journal.move_to(self.spool_dir.dir())
    }

    /// Returns whether the units' file is still where it was.
    pub(super) fn units_are_whole(&self) -> bool {
        self.keeping.journal.look(self.spool_dir.path()) == Found::Whole
    }

    /// Does what is due for units, after everything else of a turn.
    pub(super) fn tick_units(&mut self, now: BootMillis) {
        self.look_after_alarms(now);
        self.look_after_runs(now);
        self.look_after_checks(now);
        if self.keeping.rewrite_at.is_some_and(|at| now >= at) {
            self.rewrite_units();
        }
        if self.keeping.place.has_leftovers() {
            self.keeping.place.remove_leftovers();
        }
        if self.keeping.engine.next_wake().is_some_and(|at| now.0 >= at) {
            self.keeping.engine.handle(self::now(), Input::Woken);
        }
        self.tick_leases(now);
    }
}
