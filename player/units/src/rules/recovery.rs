//! What a sitter does first with the units that the sitter before it has left.

use std::sync::Arc;

use orchestra_model::{process::BootId, service::RunEnd};

use crate::{
    effect::Effect,
    entry::Entry,
    input::Now,
    state::{Clock, UnitKey, Watch},
    units::{Tended, Units},
};

impl Units {
    pub(crate) fn go_on_from_disk(&mut self, now: Now, boot: BootId) {
        let clock = self.state.clock();
        let is_rebooted = clock.boot != boot;
        // No clock that can be trusted tells how much time passed between the last entry and the
        // new boot.
        if is_rebooted {
            let base = if clock.boot == BootId([0; 16]) { 0 } else { clock.last };
            let last = Clock { boot, base, last: clock.last }.at(now.boot_ms);
            self.record(Entry::Clock(Clock { boot, base, last }));
        }
        self.set_time(now);
        let units: Vec<UnitKey> = self.state.units().keys().cloned().collect();
        for key in &units {
            self.remember(key);
            self.go_on_with_run(key, is_rebooted);
        }
        for key in &units {
            self.follow(key);
        }
        let ended = |(key, watch): (_, &Watch)| Some((key, watch.order, watch.end.clone()?));
        let before: Vec<_> = self.watches().filter_map(ended).collect();
        for (key, order, end) in before {
            self.act(Effect::EndWatch { key, order, end });
        }
    }

    fn remember(&mut self, key: &UnitKey) {
        let Some(unit) = self.state.units().get(key) else { return };
        let order = unit.keeps_params.then(|| Arc::clone(&unit.asked));
        let (is_doubtful, well) = (unit.status.ahead, self.at);
        self.tended.insert(key.clone(), Tended { order, is_doubtful, well, ..Tended::default() });
        self.note_ties(key);
        self.take_for_told(key);
    }

    fn go_on_with_run(&mut self, key: &UnitKey, is_rebooted: bool) {
        let Some(unit) = self.state.units().get(key) else { return };
        let Some(run) = unit.status.run() else { return };
        let (id, process) = (unit.status.last, run.process);
        if is_rebooted {
            self.set_ending(key, RunEnd::HostRestarted);
            self.conclude(key, false);
            return;
        }
        let Some(process) = process else {
            self.set_ending(key, RunEnd::Unknown);
            return self.kill(key);
        };
        let ending = run.ending.as_ref().map(|ending| ending.cause.clone());
        self.act(Effect::Find { unit: key.clone(), run: id, process });
        match ending {
            None => {}
            // Whoever uses it has the rest of the time to leave.
            Some(_) if self.lingers(key) => {}
            // The run has its grace; `follow` kills what is left after that.
            Some(RunEnd::Asked | RunEnd::Linked | RunEnd::NeverReady | RunEnd::LeaseRanOut) => {
                self.terminate(key);
            }
            Some(_) => self.kill(key),
        }
    }
}
