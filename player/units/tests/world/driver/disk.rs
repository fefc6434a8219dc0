//! The disk: what is written to it, what is not, and what a sitter finds there that comes next.

use orchestra_units::{Input, Run, RunId, State, UnitKey, Units, WatchEnd, journal};

use super::{CAPACITY, WALLS, Work, World};

impl World {
    pub(super) fn write(&mut self) {
        let frame = journal::frame(self.host.disk.len() as u64, self.units.unwritten());
        self.host.disk.extend(frame);
        self.units.written();
        self.durable = (self.units.state().clone(), self.reference.clone());
    }

    pub(super) fn write_if_whole(&mut self) {
        if self.units.broken().is_none() {
            self.write();
        }
    }

    pub(super) fn rewrite(&mut self) {
        self.host.disk = journal::compacted(self.units.state());
        self.reference.broken = false;
        self.units.rewritten();
        self.tried = None;
        // What begins now is in the next batch.
        self.durable.0 = journal::replay(&self.host.disk).unwrap().state;
        self.durable.1 = self.reference.clone();
        self.follow(false);
        self.write();
    }

    /// The disk is full: part of the frame may have come to it.
    pub(super) fn fail(&mut self) {
        if self.units.broken().is_none() {
            let frame = journal::frame(self.host.disk.len() as u64, self.units.unwritten());
            let kept = usize::try_from(self.dice.below(frame.len() as u64 + 1)).unwrap();
            let whole = kept == frame.len();
            self.tried = whole.then(|| (self.units.state().clone(), self.reference.clone()));
            self.host.disk.extend(&frame[..kept]);
        }
        let is_held = |(unit, run, _): &(&UnitKey, RunId, &Run)| {
            !self.asked.contains(&((*unit).clone(), *run))
        };
        let known = |(unit, run, it): &(&UnitKey, RunId, &Run)| {
            it.process.is_none() && it.ending.is_none() && is_held(&(*unit, *run, *it))
        };
        let unspawned: Vec<_> =
            self.units.runs().filter(known).map(|(unit, _, _)| unit.clone()).collect();
        self.reference.write_failed(&unspawned, self.heard);
        self.units.write_failed("no space left on device");
        for (key, watch) in self.units.watches() {
            let known = self.reference.watches.get_mut(&key).unwrap();
            if let Some(end @ WatchEnd::Unwritten(_)) = &watch.end {
                known.end.get_or_insert(end.clone());
            }
        }
        self.follow(false);
    }

    /// The sitter dies, or the whole host does; part of a batch may have come to the disk.
    pub(super) fn crash(&mut self, reboots: bool) {
        if self.units.broken().is_none() {
            let frame = journal::frame(self.host.disk.len() as u64, self.units.unwritten());
            let kept = usize::try_from(self.dice.below(frame.len() as u64 + 1)).unwrap();
            let whole = kept == frame.len();
            self.tried = whole.then(|| (self.units.state().clone(), self.reference.clone()));
            self.host.disk.extend(&frame[..kept]);
        }
        self.finish_spawns();
        if reboots {
            self.host.reboot();
            self.host.wall = self.dice.one_of(&WALLS);
        } else {
            self.host.boot_ms += self.dice.one_of(&[0, 10, 2_000, 40_000]);
            if self.dice.happens(20) {
                self.host.memory.clear();
            }
        }
        let replayed = journal::replay(&self.host.disk).unwrap();
        let (state, reference) = self.tried.take().unwrap_or_else(|| self.durable.clone());
        assert_eq!(replayed.state, state);
        self.host.disk.truncate(usize::try_from(replayed.valid_len).unwrap());
        self.reference = reference;
        self.durable = (state, self.reference.clone());
        self.begin_sitter(replayed.state);
    }

    /// Spawns that were asked for may have been done.
    fn finish_spawns(&mut self) {
        for work in std::mem::take(&mut self.work) {
            if let Work::Spawn(unit, run) = work
                && self.dice.happens(50)
            {
                self.host.spawn(&unit, run);
            }
        }
        self.asked.clear();
    }

    fn begin_sitter(&mut self, state: State) {
        let (seed, now, boot) = (self.dice.below(u64::MAX), self.host.now(), self.host.boot);
        // A sitter before this one may have died before it had noted the boot.
        let rebooted = state.clock().boot != boot;
        self.units = Units::recover(state, CAPACITY, seed, now, boot);
        let at = self.at();
        self.heard = at;
        self.reference.recovered(rebooted, at);
        self.follow(false);
        self.attach();
        for (unit, (order, params)) in self.host.memory.clone() {
            self.handle(Input::ParamsFound { unit, order, params });
        }
        for (unit, lease) in self.host.leases.clone() {
            self.handle(Input::Leased { unit, lease });
        }
        // The next crash may come before this is written.
        if self.dice.happens(80) {
            self.write();
            self.perform();
        }
    }
}
