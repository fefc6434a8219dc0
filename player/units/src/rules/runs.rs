//! Runs: how one begins, what happens to it, how it is ended.

use std::sync::Arc;

use orchestra_model::{
    Millis,
    process::ProcessMark,
    score::ScoreHash,
    service::{Exhausted, ReadySign, RunEnd, Wanted},
};

use crate::{
    bounds,
    effect::Effect,
    input::RunEvent,
    rules::shortened,
    state::{Ending, Run, RunId, Signals, Stage, Status, UnitKey},
    units::Units,
};

impl Units {
    /// Returns whether a run is the unit's present one. What is told of an earlier run came late
    /// and is ignored.
    pub(super) fn is_present(&self, key: &UnitKey, run: RunId) -> bool {
        let status = self.state.units().get(key).map(|unit| &unit.status);
        status.is_some_and(|status| status.last == run && status.run().is_some())
    }

    /// Takes what happened to a unit's present run.
    pub(super) fn note_event(&mut self, key: &UnitKey, event: RunEvent) {
        let at = self.at;
        match event {
            RunEvent::Spawned { process, score } => self.note_spawned(key, process, score),
            RunEvent::NotSpawned { why, passing } => self.note_not_spawned(key, why, passing),
            RunEvent::Found => {
                let tended = self.tend(key);
                tended.is_found = true;
                // While it lives no other run was begun.
                tended.is_doubtful = false;
                tended.well = at;
            }
            RunEvent::MainEnded(cause) => self.note_main_ended(key, cause),
            RunEvent::OutOfMemory(exhausted) => self.note_out_of_memory(key, exhausted),
            RunEvent::Emptied => self.note_emptied(key),
            RunEvent::ReadyTold => self.note_ready(key),
            RunEvent::WatchdogTold => self.tend(key).well = at,
            RunEvent::WatchdogSet(silence) => {
                self.tend(key).well = at;
                let silence = Some(silence).filter(|silence| *silence > Millis(0));
                self.change_run(key, |run| run.watchdog = silence);
            }
            RunEvent::Extended(length) => self.extend(key, length),
            RunEvent::SignalSent { of, signal } => self.note_signal_sent(key, of, signal),
            RunEvent::NotReloaded { of } => self.note_not_reloaded(key, of),
            RunEvent::StoppingTold => {
                self.judge_watch(key);
                self.change_run(key, |run| {
                    run.stopping.get_or_insert(at);
                });
            }
        }
    }

    /// Notes that a unit's run has shown its sign that it is ready.
    pub(super) fn note_ready(&mut self, key: &UnitKey) {
        let at = self.at;
        self.change_run(key, |run| {
            run.ready.get_or_insert(at);
        });
    }

    /// Changes a unit's run, if it has one.
    pub(super) fn change_run(&mut self, key: &UnitKey, change: impl FnOnce(&mut Run)) {
        let Some(mut status) = self.status(key) else { return };
        if let Some(run) = status.run_mut() {
            change(run);
            self.record_status(key, status);
        }
    }

    fn note_spawned(&mut self, key: &UnitKey, process: ProcessMark, score: ScoreHash) {
        let at = self.at;
        let Some(unit) = self.state.units().get(key) else { return };
        let by_itself = unit.asked.upkeep.ready.sign == ReadySign::Started;
        if unit.status.run().is_some_and(|run| run.process.is_some()) {
            return;
        }
        let tended = self.tend(key);
        tended.is_found = true;
        tended.well = at;
        let is_linked = self.tend(key).linked_to.is_some();
        let Some(mut status) = self.status(key) else { return };
        // A link rests on what is told of another unit, which may not be durable.
        status.ahead = !is_linked;
        if let Some(run) = status.run_mut() {
            run.process = Some(process);
            run.score = Some(score);
            run.up = Some(at);
            if by_itself {
                run.ready = Some(at);
            }
            self.record_status(key, status);
            self.note_grounds(key);
        }
    }

    fn note_not_spawned(&mut self, key: &UnitKey, why: String, passing: bool) {
        let run = self.state.units().get(key).and_then(|unit| unit.status.run());
        // A run that is being killed is over only with `Emptied`.
        if run.is_none_or(|run| run.process.is_some() || run.ending.is_some()) {
            return;
        }
        let end = RunEnd::NotSpawned(shortened(why));
        self.set_ending(key, end);
        self.conclude(key, passing);
    }

    fn note_main_ended(&mut self, key: &UnitKey, cause: RunEnd) {
        self.judge_watch(key);
        self.set_ending(key, self.blame_lease(key, cause));
        self.kill(key);
    }

    fn note_out_of_memory(&mut self, key: &UnitKey, exhausted: Exhausted) {
        self.judge_watch(key);
        let at = self.at;
        self.change_run(key, |run| {
            // Such an end of the process has the same cause; the two were only told in the other
            // order.
            let by_itself = |end: &RunEnd| {
                matches!(end, RunEnd::Exited(_) | RunEnd::Signalled(_) | RunEnd::Unknown)
            };
            if run.ending.as_ref().is_none_or(|ending| by_itself(&ending.cause)) {
                let at = run.ending.as_ref().map_or(at, |ending| ending.at);
                run.ending = Some(Ending { cause: RunEnd::OutOfMemory(exhausted), at });
            }
        });
        self.kill(key);
    }

    fn note_emptied(&mut self, key: &UnitKey) {
        let run = self.state.units().get(key).and_then(|unit| unit.status.run());
        // While the process is being made the run cannot be empty.
        if run.is_none_or(|run| run.process.is_none() && run.ending.is_none()) {
            return;
        }
        self.judge_watch(key);
        self.set_ending(key, self.blame_lease(key, RunEnd::Unknown));
        self.conclude(key, false);
    }

    /// Notes why a run is over. The first cause stands.
    pub(super) fn set_ending(&mut self, key: &UnitKey, cause: RunEnd) {
        let at = self.at;
        self.change_run(key, |run| {
            run.ending.get_or_insert(Ending { cause, at });
        });
    }

    fn extend(&mut self, key: &UnitKey, length: Millis) {
        let until = self.at.saturating_add(length.0);
        self.change_run(key, |run| {
            if run.extended.is_none_or(|known| until > known) {
                run.extended = Some(until.saturating_add(bounds::EXTENSION_MS));
            }
        });
    }

    /// Ends a run that the unit's order does not want, or that is stale. While its process is being
    /// made the end has to wait, because it is not known yet what there is to end.
    pub(super) fn end_unwanted(&mut self, key: &UnitKey) {
        if let Some(cause) = self.unwanted(key)
            && !self.waits_for_linked(key)
        {
            self.set_ending(key, cause);
            if !self.lingers(key) {
                self.terminate(key);
            }
        }
    }

    /// Returns why a unit's run is to be ended: it is up and not as the unit's order wants it.
    pub(super) fn unwanted(&self, key: &UnitKey) -> Option<RunEnd> {
        let unit = self.state.units().get(key)?;
        let run = unit.status.run().filter(|run| run.is_up())?;
        match run.of == unit.order {
            false => Some(RunEnd::Asked),
            true => self.is_stale(key).then_some(RunEnd::Linked),
        }
    }

    /// Returns whether a unit's run goes on for a while although an order has ended it.
    pub(super) fn lingers(&self, key: &UnitKey) -> bool {
        let run = self.state.units().get(key).and_then(|unit| unit.status.run());
        let until = run.and_then(Run::lingers_until);
        let is_told = self.tended.get(key).is_some_and(|it| it.is_terminated || it.is_killed);
        until.is_some_and(|until| until > self.at) && !is_told
    }

    /// Sends a run its signal to end. What is left of it after its grace is killed.
    pub(super) fn end_gently(&mut self, key: &UnitKey, cause: RunEnd) {
        self.set_ending(key, cause);
        self.terminate(key);
    }

    pub(super) fn terminate(&mut self, key: &UnitKey) {
        let Some(unit) = self.state.units().get(key) else { return };
        let Some(run) = unit.status.run() else { return };
        let (signal, id, unit) = (run.stop.signal, unit.status.last, key.clone());
        if !std::mem::replace(&mut self.tend(key).is_terminated, true) {
            self.act(Effect::Terminate { unit, run: id, signal });
        }
    }

    /// Has everything that is left of a unit's run killed, once.
    pub(super) fn kill(&mut self, key: &UnitKey) {
        let Some(run) = self.state.units().get(key).map(|unit| unit.status.last) else { return };
        if !std::mem::replace(&mut self.tend(key).is_killed, true) {
            self.act(Effect::KillAll { unit: key.clone(), run });
        }
    }

    /// Begins the next run of a unit that waits for one, or forgets a unit that is to be gone.
    pub(super) fn begin_wanted(&mut self, key: &UnitKey) {
        let Some(unit) = self.state.units().get(key) else { return };
        match &unit.status.stage {
            Stage::Running(_) => {}
            _ if unit.asked.wanted == Wanted::Gone => self.forget(key),
            Stage::Waiting { until }
                if *until <= self.at && self.broken.is_none() && self.has_lease(key) =>
            {
                self.begin_run(key);
            }
            _ => {}
        }
    }

    /// Begins the next run of a unit. If the number of that run was spoken for on disk, its process
    /// is asked for at once: an early beginning, which waits for no disk. All else waits until the
    /// beginning itself is durable.
    fn begin_run(&mut self, key: &UnitKey) {
        let Some(unit) = self.state.units().get(key) else { return };
        let Some(order) = self.tended.get(key).and_then(|tended| tended.order.clone()) else {
            return;
        };
        let Some(beside) = self.beside(key).filter(|_| !self.waits_for_linked(key)) else { return };
        let tended = self.tended.get(key);
        let is_doubtful = tended.is_some_and(|tended| tended.is_doubtful);
        let before = if is_doubtful { unit.status.highest() } else { unit.status.last };
        let run = before.next(unit.asked.instance.placement);
        let early = tended.filter(|tended| {
            let is_alone = tended.linked_to.is_none();
            let is_next = run == unit.status.last.next(unit.status.last.placement);
            tended.is_ahead && is_alone && is_next
        });
        let early = early.map(|tended| tended.rests_on);
        let begun = Run::begin(unit.order, beside, unit.asked.upkeep.stop, self.at);
        let stage = Stage::Running(Box::new(begun));
        let status = Status { last: run, ahead: false, stage, ..unit.status.clone() };
        if self.record_status(key, status) {
            let tended = self.tend(key);
            tended.is_doubtful = false;
            (tended.is_found, tended.is_terminated, tended.is_killed) = (true, false, false);
            tended.signalling = Signals::default();
            let spawn = Effect::Spawn { unit: key.clone(), run, order: Arc::clone(&order) };
            match early {
                Some(grounds) => self.act_after(grounds, spawn),
                None => self.act(spawn),
            }
        }
    }
}
