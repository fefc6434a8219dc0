//! The end of a run: its first process ends, or the run is killed, until nothing of it is left.

use orchestra_model::service::RunEnd;
use orchestra_units::{RunEvent, RunId, UnitKey};
use rustix::process::Signal;

use super::{
    memory::id_of_alarm,
    run::{Run, run_end},
};
use crate::sitter::{
    Sitter,
    attempt::{End, Main},
    clock::BootMillis,
    poll::{Interest, Token},
};

impl Sitter {
    /// Takes the end of the child `pid`. Returns whether it was a run's first process.
    pub(in crate::sitter) fn run_child_ended(&mut self, pid: i32, wait_status: i32) -> bool {
        let is_main = |main: &Main| main.child && main.pid == pid && !main.gone;
        let mut runs = self.keeping.runs.iter_mut();
        let found = runs.find(|(_, run)| run.main.as_ref().is_some_and(is_main));
        let Some((id, run)) = found else { return false };
        if let Some(main) = &mut run.main {
            main.gone = true;
        }
        let id = *id;
        self.run_ended(id, run_end(wait_status));
        true
    }

    /// If the token is that of a run whose first process is not our child: that process ended.
    pub(in crate::sitter) fn foreign_run_ready(&mut self, token: Token) {
        if let Some(id) = id_of_alarm(token) {
            return self.memory_alarm(id);
        }
        let Some(run) = self.keeping.runs.get_mut(&token.0) else { return };
        let Some(main) = &mut run.main else { return };
        let end = match main.gone {
            // Its end was noticed already when it was killed.
            true => None,
            false => match main.ended_or_unknowable() {
                End::Later => {
                    let _ = self.poller.change(&main.pidfd, token, Interest::Hangup);
                    return;
                }
                End::Known(wait_status) => Some(run_end(wait_status)),
                End::Unknowable => Some(RunEnd::Unknown),
            },
        };
        main.gone = true;
        self.poller.remove(&main.pidfd);
        if let Some(end) = end {
            self.run_ended(token.0, end);
        }
    }

    /// Takes the end of a run's first process. If nothing else of the run is left, the next run can
    /// follow with the same write.
    pub(super) fn run_ended(&mut self, id: u64, end: RunEnd) {
        // It may have ended for want of memory.
        self.look_at_memory(id);
        let Some(run) = self.keeping.runs.get_mut(&id) else { return };
        tracing::info!(unit = %run.unit, run = %run.id.number, %end, "a run ended");
        let (unit, number) = (run.unit.clone(), run.id);
        let is_empty = run.leaf.is_some() && run.is_empty();
        self.keeping.tell(&unit, number, RunEvent::MainEnded(end));
        if is_empty {
            self.run_emptied(id);
        }
    }

    pub(super) fn terminate_run(&mut self, unit: &UnitKey, run: RunId, signal: i32) {
        let mut runs = self.keeping.runs.values();
        let found = runs.find(|it| it.unit == *unit && it.id == run);
        if let (Some(run), Some(signal)) = (found, Signal::from_named_raw(signal)) {
            run.signal(signal);
        }
    }

    /// Kills everything that is left of a run. Its first process may not be known.
    pub(super) fn kill_run(&mut self, unit: UnitKey, run: RunId) {
        let mut runs = self.keeping.runs.iter();
        let found = runs.find(|(_, it)| it.unit == unit && it.id == run).map(|(id, _)| *id);
        let id = match found {
            Some(id) => id,
            None if self.keeping.engine.runs().any(|(key, id, _)| *key == unit && id == run) => {
                let run = self.run_without_process(unit, run);
                self.watch_run(run)
            }
            // The run is over, and the engine was told.
            None => return,
        };
        self.kill_what_is_left(id, BootMillis::now());
    }

    fn kill_what_is_left(&mut self, id: u64, now: BootMillis) {
        let is_empty = self.keeping.runs.get_mut(&id).is_some_and(|run| run.kill(now));
        self.keeping.note_looks(id);
        if is_empty {
            self.run_emptied(id);
        }
    }

    /// Looks again at runs that are being killed.
    pub(super) fn look_after_runs(&mut self, now: BootMillis) {
        let is_due = |run: &Run| run.next_look().is_some_and(|at| now >= at);
        for id in self.keeping.restless_runs(is_due) {
            self.kill_what_is_left(id, now);
        }
    }

    /// Takes that nothing of a run is left.
    fn run_emptied(&mut self, id: u64) {
        let Some(run) = self.keeping.runs.remove(&id) else { return };
        self.keeping.restless.remove(&id);
        if let Some(main) = run.main.filter(|main| !main.child) {
            self.poller.remove(&main.pidfd);
        }
        // The launcher first empties its pipes into the log.
        if let Some(tap) = run.tap {
            self.launchers.forget(&self.poller, tap, BootMillis::now());
        }
        self.keeping.tell(&run.unit, run.id, RunEvent::Emptied);
    }

    /// Removes what a unit that is gone had on this host.
    pub(super) fn forget_unit(&mut self, unit: &UnitKey) {
        tracing::info!(%unit, "a unit is gone");
        if let Some(leaf) = self.leaf_of(unit).filter(|leaf| !leaf.remove()) {
            self.left.push(leaf);
        }
        self.left.extend(self.limiting_leaves(unit).into_iter().filter(|leaf| !leaf.remove()));
        self.keeping.place.forget(unit);
        self.keeping.unchecked.remove(unit);
        self.keeping.noted.remove(unit);
        let name = super::place::name_of(unit);
        super::secrets::forget(self.spool_dir.path(), &name);
        self.spool_dir.remove_log(&name);
    }
}
