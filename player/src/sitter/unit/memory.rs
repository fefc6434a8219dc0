//! When the memory of a run was not enough: the kernel has killed something of it, and so the run ends,
//! with that for its cause. Nothing is looked at while nothing happens.

use orchestra_model::{ByteSize, service::Exhausted};
use orchestra_units::RunEvent;

use super::place::name_of;
use crate::sitter::{ALARMS, Sitter, clock::BootMillis, limits::OutOfMemoryAlarm, poll::Token};

/// Whose alarm a token is, if it is one.
pub(super) fn id_of_alarm(token: Token) -> Option<u64> {
    token.0.checked_sub(ALARMS.0)
}

impl Sitter {
    /// Has the loop told when the memory of a run was not enough.
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

    /// The alarm of a run has fired.
    pub(super) fn memory_alarm(&mut self, id: u64) {
        let run = self.keeping.runs.get_mut(&id);
        if let Some(alarm) = run.and_then(|run| run.alarm.as_mut()) {
            alarm.note_fired(BootMillis::now());
            self.look_at_memory(id);
        }
    }

    /// Looks again where an alarm has fired, and nothing had been killed yet.
    pub(super) fn look_after_alarms(&mut self, now: BootMillis) {
        let is_due = |at: BootMillis| now >= at;
        let runs = self.keeping.runs.iter();
        let due = runs.filter(|(_, run)| {
            run.alarm.as_ref().and_then(OutOfMemoryAlarm::next_look).is_some_and(is_due)
        });
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.look_at_memory(id);
        }
    }

    /// Tells the units if something of a run was killed for want of memory.
    pub(super) fn look_at_memory(&mut self, id: u64) {
        let Some(run) = self.keeping.runs.get_mut(&id) else { return };
        let Some(alarm) = &mut run.alarm else { return };
        if alarm.killed() == 0 {
            return alarm.looked(BootMillis::now());
        }
        let exhausted =
            Exhausted { limit: alarm.limit().map(ByteSize), peak: alarm.peak().map(ByteSize) };
        let (unit, number) = (run.unit.clone(), run.id);
        let peak_bytes = exhausted.peak.map_or(0, |peak| peak.0);
        tracing::warn!(%unit, run = %number.number, peak_bytes, "a run was out of memory");
        self.poller.remove(alarm.waits_for().0);
        run.alarm = None;
        self.keeping.tell(&unit, number, RunEvent::OutOfMemory(exhausted));
    }
}
