//! Runs that are out of memory: the kernel has killed a process of the run, so the run ends, and
//! that is its cause. While nothing happens nothing is looked at.

use orchestra_model::{ByteSize, service::Exhausted};
use orchestra_units::RunEvent;

use super::{place::name_of, run::Run};
use crate::sitter::{ALARMS, Sitter, clock::BootMillis, poll::Token};

/// Returns the id of the run whose alarm has this token, if it is one.
pub(super) fn id_of_alarm(token: Token) -> Option<u64> {
    token.0.checked_sub(ALARMS.0)
}

impl Sitter {
    /// Has the loop wait for the alarm of a run's memory.
    pub(super) fn watch_memory(&mut self, id: u64) {
        let Some(run) = self.keeping.runs.get_mut(&id) else { return };
        let Some(cgroups) = &self.cgroups else { return };
        let name = cgroups.leaf_name_of_unit(&name_of(&run.unit));
        let alarm = cgroups.limits().alarm(&name, run.leaf.as_ref()).and_then(|alarm| {
            if let Some(alarm) = &alarm {
                let (fd, interest) = alarm.waits_for();
                self.poller.add(fd, Token(ALARMS.0 + id), interest)?;
            }
            Ok(alarm)
        });
        match alarm {
            Ok(alarm) => run.alarm = alarm,
            Err(error) => {
                tracing::warn!(unit = %run.unit, %error, "cannot watch the memory of a run");
            }
        }
    }

    /// Takes that the alarm of a run has fired.
    pub(super) fn memory_alarm(&mut self, id: u64) {
        let run = self.keeping.runs.get_mut(&id);
        if let Some(alarm) = run.and_then(|run| run.alarm.as_mut()) {
            alarm.note_fired(BootMillis::now());
            self.look_at_memory(id);
        }
    }

    /// Looks again at runs whose alarm has fired when nothing had been killed yet.
    pub(super) fn look_after_alarms(&mut self, now: BootMillis) {
        let is_due = |run: &Run| run.next_look_at_memory().is_some_and(|at| now >= at);
        for id in self.keeping.restless_runs(is_due) {
            self.look_at_memory(id);
        }
    }

    /// Tells the units if something of a run was killed for want of memory.
    pub(super) fn look_at_memory(&mut self, id: u64) {
        let Some(run) = self.keeping.runs.get_mut(&id) else { return };
        let Some(alarm) = &mut run.alarm else { return };
        if alarm.killed() == 0 {
            alarm.looked(BootMillis::now());
            return self.keeping.note_looks(id);
        }
        let exhausted =
            Exhausted { limit: alarm.limit().map(ByteSize), peak: alarm.peak().map(ByteSize) };
        let (unit, number) = (run.unit.clone(), run.id);
        let peak_bytes = exhausted.peak.map_or(0, |peak| peak.0);
        tracing::warn!(%unit, run = %number.number, peak_bytes, "a run was out of memory");
        self.poller.remove(alarm.waits_for().0);
        run.alarm = None;
        self.keeping.note_looks(id);
        self.keeping.tell(&unit, number, RunEvent::OutOfMemory(exhausted));
    }
}
