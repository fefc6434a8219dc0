//! A sitter that does what the engine asks, late, in any order, and not always; and all that happens to
//! it.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    ByteSize, Millis, Params,
    delivery::{AttemptKey, OrderNumber, SpoolId, StoreId},
    score::ScoreHash,
    service::{Exhausted, Placement, RunEnd, RunNumber, UnitOrder, UnitReport, UnitState},
};
use orchestra_units::{
    Capacity, Effect, Input, Leased, Ordered, ProbeNumber, ProbeOutcome, RunEvent, RunId, State,
    UnitKey, Units, WatchEnd, journal,
};

use crate::{
    Dice,
    host::Host,
    reference::{RefWatch, Reference},
};

mod disk;
mod heal;
mod orders;

const CAPACITY: Capacity = Capacity { units: 3, memory: Some(ByteSize(40 << 20)) };
const STORES: [StoreId; 2] = [StoreId([1; 16]), StoreId([2; 16])];
const WALLS: [u64; 4] = [0, 1_000, 1_700_000_000_000, u64::MAX];

/// What the sitter has yet to do.
#[derive(Clone, Debug, PartialEq)]
enum Work {
    Spawn(UnitKey, RunId),
    Kill(UnitKey, RunId),
    Find(UnitKey, RunId),
    Tell(UnitKey, RunId, RunEvent),
    Settle(AttemptKey, OrderNumber),
    Probe(UnitKey, ProbeNumber),
    /// Of this order; with the parameters that the run is to read before it.
    Signal(UnitKey, RunId, OrderNumber, i32, Option<Params>),
}

pub(crate) struct World {
    pub(crate) host: Host,
    dice: Dice,
    /// Nobody orders much here and little ends, so that what lasts for long is seen: health that turns
    /// again and again, and moments that are long ago.
    is_calm: bool,
    units: Units,
    reference: Reference,
    /// From this order on everything is whole.
    whole_from: Option<OrderNumber>,
    /// The reference and state as they are on disk, and as they are there if a write that failed has
    /// arrived.
    durable: (State, Reference),
    tried: Option<(State, Reference)>,
    work: Vec<Work>,
    /// Runs that were spawned, or may have been, by this sitter.
    asked: BTreeSet<(UnitKey, RunId)>,
    orders: u64,
    placements: u64,
    sent: Vec<Ordered>,
    /// What was told of each unit last.
    told: BTreeMap<UnitKey, UnitReport>,
    /// When the engine heard something last.
    heard: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut host = Host::new();
        let units = Units::new(SpoolId([9; 16]), CAPACITY, seed, host.now(), host.boot);
        host.disk = journal::compacted(units.state());
        let reference = Reference::default();
        let mut dice = Dice::new(seed);
        World {
            host,
            is_calm: dice.happens(30),
            dice,
            durable: (units.state().clone(), reference.clone()),
            units,
            reference,
            tried: None,
            whole_from: None,
            work: Vec::new(),
            asked: BTreeSet::new(),
            orders: 0,
            placements: 0,
            sent: Vec::new(),
            told: BTreeMap::new(),
            heard: 0,
        }
    }

    /// A few things happen, and then their batch is written, or not.
    pub(crate) fn step(&mut self) {
        let flaps = self.told.values().any(|report| report.flapping);
        if flaps && self.units.broken().is_none() && self.dice.happens(30) {
            return self.be_silent();
        }
        for _ in 0..=self.dice.below(3) {
            match self.dice.below(10) {
                0 | 1 if self.is_calm && self.dice.happens(85) => self.pass_time(),
                0 | 1 => self.send_order(),
                2 => self.pass_time(),
                3 | 4 => self.live_on(),
                5 if self.dice.happens(60) => self.renew(),
                5 => self.cancel(),
                _ => self.do_some_work(),
            }
        }
        self.wake_if_due();
        if self.dice.happens(50) {
            // What rests on what is on disk does not wait for the next batch.
            self.perform();
        }
        match self.dice.below(40) {
            0..=4 if self.is_calm && self.dice.happens(85) => self.write_if_whole(),
            0 | 1 => return self.crash(false),
            2 => return self.crash(true),
            3 => self.fail(),
            4 => self.rewrite(),
            _ => self.write_if_whole(),
        }
        self.units.audit().unwrap();
        self.perform();
        self.check_signals();
        self.check_gone();
        if self.dice.happens(if self.is_calm { 1 } else { 3 }) {
            // Everything is written and asked for, and the sitter dies before it has done it.
            self.crash(false);
        }
    }

    fn at(&self) -> u64 {
        self.units.state().clock().base + self.host.boot_ms
    }

    fn follow(&mut self, woken: bool) {
        self.units.audit().unwrap();
        self.reference.follow(&self.units, self.heard, woken);
    }

    fn handle(&mut self, input: Input) {
        let at = self.at();
        self.heard = at;
        match &input {
            Input::Run { unit, run, event } => self.reference.happened(unit, *run, event, at),
            Input::Unwatched { key } => {
                if let Some(RefWatch { end: end @ None, .. }) = self.reference.watches.get_mut(key)
                {
                    *end = Some(WatchEnd::Cancelled);
                }
            }
            Input::WatchSettled { key, order } => {
                if self.reference.watches.get(key).is_some_and(|watch| watch.order == order.0) {
                    self.reference.watches.remove(key);
                }
            }
            Input::ParamsFound { unit, order, .. } => {
                if let Some(unit) = self.reference.units.get_mut(unit) {
                    unit.has_params |= unit.order.order == *order;
                }
            }
            Input::Probed { unit, number, outcome } => {
                self.reference.probed(unit, *number, outcome, at);
            }
            Input::Leased { unit, lease } => {
                let base = self.units.state().clock().base;
                if let Some(unit) = self.reference.units.get_mut(unit) {
                    unit.leased((lease.placement, base + lease.until, base + lease.gone));
                }
            }
            Input::Woken => {}
        }
        let woken = input == Input::Woken;
        self.units.handle(self.host.now(), input);
        self.follow(woken);
    }

    fn tell(&mut self, unit: UnitKey, run: RunId, event: RunEvent) {
        self.handle(Input::Run { unit, run, event });
    }

    fn perform(&mut self) {
        while let Some(effect) = self.units.poll_effect() {
            match effect {
                Effect::Spawn { unit, run, order } => {
                    self.check_spawn(&unit, run, &order);
                    self.asked.insert((unit.clone(), run));
                    self.host.given.insert((unit.clone(), run), order.params.clone());
                    self.work.push(Work::Spawn(unit, run));
                }
                Effect::KillAll { unit, run } => self.work.push(Work::Kill(unit, run)),
                Effect::Find { unit, run, .. } => self.work.push(Work::Find(unit, run)),
                Effect::Terminate { unit, run, .. } => {
                    self.reference.check_left(&unit, &self.units, run, self.at());
                    self.terminate(&unit, run);
                }
                Effect::Signal { unit, run, of, signal, reload } => {
                    let rule = reload.as_ref().map(|order| order.upkeep.reload.unwrap().signal);
                    assert!(rule.is_none_or(|rule| rule == signal), "{unit}: {signal}");
                    let params = reload.map(|order| order.params.clone());
                    self.check_signal(&unit, run, (of, signal), params.as_ref());
                    self.work.push(Work::Signal(unit, run, of, signal, params));
                }
                Effect::EndWatch { key, order, end } => {
                    let is_whole = self.whole_from.is_some_and(|from| order >= from);
                    assert!(!is_whole || end == WatchEnd::Ready, "{key}: {end:?}");
                    self.work.push(Work::Settle(key, order));
                }
                Effect::Probe { unit, number, .. } => self.work.push(Work::Probe(unit, number)),
                Effect::Forget { unit } => drop(self.host.memory.remove(&unit)),
                Effect::Watching { key, order } => {
                    let known = self.durable.0.watches().get(&key);
                    let later = known.is_none_or(|watch| watch.order >= order);
                    assert!(later, "an order is accepted that is not on disk");
                }
                Effect::Report { store, report } => self.note_report(store, report),
            }
        }
    }

    fn note_report(&mut self, store: StoreId, report: UnitReport) {
        let unit = UnitKey { store, service: report.service.clone() };
        match report.state {
            UnitState::Gone => drop(self.told.remove(&unit)),
            // How old a run is changes without being told.
            _ => drop(self.told.insert(unit, UnitReport { run_age: None, ..report })),
        }
    }

    /// Whoever attaches is told of everything.
    fn attach(&mut self) {
        self.told.clear();
        for store in STORES {
            let reports: Vec<_> = self.units.reports(store).collect();
            reports.into_iter().for_each(|report| self.note_report(store, report));
        }
    }

    fn check_spawn(&mut self, unit: &UnitKey, run: RunId, order: &UnitOrder) {
        assert!(self.host.used.insert((unit.clone(), run)), "{unit}: {run:?} came twice");
        let durable = &self.durable.0.units()[unit].status;
        let is_begun = durable.last == run && durable.run().is_some();
        let follows = durable.ahead && durable.run().is_some_and(|before| before.process.is_some());
        let is_spoken_for = follows && durable.last.number.next() == run.number;
        let same = durable.last.placement == run.placement;
        assert!(is_begun || (is_spoken_for && same), "{unit}: {run:?} is on no disk");
        let outstanding = |work: &Work| matches!(work, Work::Spawn(other, _) if other == unit);
        assert!(!self.work.iter().any(outstanding), "{unit}: two are being spawned");
        assert!(!self.host.processes.keys().any(|(other, _)| other == unit), "{unit}: one lives");
        let sent = |sent: &&Ordered| {
            sent.unit.service == unit.service
                && sent.key.store == unit.store
                && sent.unit.params == order.params
                && sent.unit.version == order.version
        };
        assert!(self.sent.iter().any(|order| sent(&order)), "{unit}: nobody asked for {order:?}");
    }

    /// What a run is to be sent, and can take, is on its way; what it is to read, where that is known.
    fn check_signals(&self) {
        let units = self.reference.units.iter().filter(|_| self.units.broken().is_none());
        for (key, unit) in units {
            let Some(run) = unit.run.as_ref().filter(|run| run.can_hear(unit)) else { continue };
            for signal in &run.signals {
                let rule = unit.order.unit.upkeep.reload;
                let is_known = unit.has_params || rule.is_none_or(|rule| rule.signal != *signal);
                let is_it = |work: &Work| {
                    matches!(work, Work::Signal(of_unit, id, of, number, _)
                        if (of_unit, id, of.0, number) == (key, &run.id, run.of, signal))
                };
                assert_eq!(self.work.iter().any(is_it), is_known, "{key}: {signal} for {run:?}");
            }
        }
    }

    /// A run whose lease and grace are over is being killed.
    fn check_gone(&self) {
        let at = self.at();
        let runs = self.units.runs().filter(|_| self.units.broken().is_none());
        for (key, id, run) in runs.filter(|(_, _, run)| run.up.is_some()) {
            let unit = &self.reference.units[key];
            let is_over = unit.is_leased() && unit.lease.is_none_or(|(_, _, gone)| gone <= at);
            let is_killed = |work: &Work| match work {
                Work::Kill(of, run) => (of, *run) == (key, id),
                _ => false,
            };
            assert!(!is_over || self.work.iter().any(is_killed), "{key} is not killed: {run:?}");
        }
    }

    /// A run gets a signal once it has said that it can take one; that by which it reads its parameters,
    /// with those of the order.
    fn check_signal(
        &self,
        unit: &UnitKey,
        run: RunId,
        (of, signal): (OrderNumber, i32),
        params: Option<&Params>,
    ) {
        let order = self.sent.iter().find(|sent| sent.order == of).unwrap();
        let is_reload = order.unit.upkeep.reload.is_some_and(|rule| rule.signal == signal);
        assert_eq!(
            params,
            is_reload.then_some(&order.unit.params),
            "{unit}: {signal} by {order:?}"
        );
        // The unit may be gone by now: what is asked of its run finds nobody.
        let Some(known) = self.reference.units.get(unit) else { return };
        let runs = [&known.run, &known.over].into_iter().flatten();
        let was_ready = runs.filter(|it| it.id == run).all(|it| it.ready.is_some());
        assert!(was_ready, "{unit}: {run:?} gets a signal of {of:?} too early: {known:?}");
    }

    fn terminate(&mut self, unit: &UnitKey, run: RunId) {
        let heeds = self.dice.happens(60);
        if let Some(main) = self.host.processes.get_mut(&(unit.clone(), run))
            && heeds
            && std::mem::replace(main, false)
        {
            let end = RunEvent::MainEnded(RunEnd::Signalled(15));
            self.work.push(Work::Tell(unit.clone(), run, end));
        }
    }

    fn do_some_work(&mut self) {
        if !self.work.is_empty() {
            let index = self.dice.below(self.work.len() as u64);
            let work = self.work.remove(usize::try_from(index).unwrap());
            self.do_work(work, true);
        }
    }

    fn do_work(&mut self, work: Work, may_fail: bool) {
        match work {
            Work::Spawn(unit, run) => self.do_spawn(unit, run, may_fail),
            Work::Kill(unit, run) => {
                let killed = self.host.processes.remove(&(unit.clone(), run));
                // A run that followed it early, and of which this sitter knows nothing.
                self.host.processes.retain(|(other, _), _| *other != unit);
                if killed == Some(true) && self.dice.happens(50) {
                    self.tell(unit.clone(), run, RunEvent::MainEnded(RunEnd::Signalled(9)));
                }
                self.tell(unit, run, RunEvent::Emptied);
            }
            Work::Find(unit, run) => {
                let event = match self.host.processes.get(&(unit.clone(), run)) {
                    Some(true) => RunEvent::Found,
                    _ => RunEvent::MainEnded(RunEnd::Unknown),
                };
                self.tell(unit, run, event);
            }
            Work::Tell(unit, run, event) => self.tell(unit, run, event),
            Work::Settle(key, order) => self.handle(Input::WatchSettled { key, order }),
            Work::Probe(unit, number) => self.answer(unit, number, may_fail),
            Work::Signal(unit, run, of, signal, params) => {
                if params.is_some() && may_fail && self.dice.happens(15) {
                    return self.tell(unit, run, RunEvent::NotReloaded { of });
                }
                if let Some(params) = params {
                    self.host.given.insert((unit.clone(), run), params);
                }
                self.tell(unit, run, RunEvent::SignalSent { of, signal });
            }
        }
    }

    fn do_spawn(&mut self, unit: UnitKey, run: RunId, may_fail: bool) {
        if may_fail && self.dice.happens(15) {
            let passing = self.dice.happens(50);
            let why = "something is missing".to_owned();
            return self.tell(unit, run, RunEvent::NotSpawned { why, passing });
        }
        let process = self.host.spawn(&unit, run);
        // Somebody installs another one now and then.
        let score = ScoreHash([self.dice.below(3) as u8; 32]);
        self.tell(unit, run, RunEvent::Spawned { process, score });
    }

    /// Whoever asks has an answer, or none; at times it comes twice.
    fn answer(&mut self, unit: UnitKey, number: ProbeNumber, may_fail: bool) {
        // Of what is rare here more has to be seen.
        let outcome = match self.dice.below(if self.is_calm { 7 } else { 10 }) {
            _ if !may_fail => ProbeOutcome::Healthy,
            0..=2 => ProbeOutcome::Healthy,
            3 | 4 => ProbeOutcome::Unknown,
            _ => ProbeOutcome::Unhealthy("refused".to_owned()),
        };
        if may_fail && self.dice.happens(10) {
            self.work.push(Work::Probe(unit.clone(), number));
        }
        self.handle(Input::Probed { unit, number, outcome });
    }

    /// A renewal comes, of a unit that may not need it. It may be late, or of another placement.
    fn renew(&mut self) {
        let units: Vec<UnitKey> = self.units.state().units().keys().cloned().collect();
        for unit in units {
            let placement = self.units.state().units()[&unit].asked.instance.placement;
            let other = Placement(placement.0.saturating_sub(1));
            let placement = if self.dice.happens(10) { other } else { placement };
            let late = self.dice.one_of(&[0, 0, 2_000, 400_000]);
            let asked_at = self.host.boot_ms.saturating_sub(late);
            let until = asked_at + self.dice.one_of(&[10_000, 100_000]);
            let gone = until + self.dice.one_of(&[0, 1_000, 30_000]);
            let lease = Leased { placement, until, gone };
            self.host.leases.insert(unit.clone(), lease);
            self.handle(Input::Leased { unit, lease });
        }
    }

    /// Something happens in one of the processes.
    fn live_on(&mut self) {
        let runs: Vec<_> = self.host.processes.keys().cloned().collect();
        if runs.is_empty() {
            return;
        }
        let (unit, run) =
            runs[usize::try_from(self.dice.below(runs.len() as u64)).unwrap()].clone();
        let silence = Millis(self.dice.one_of(&[0, 500, 5_000]));
        let event = match self.dice.below(if self.is_calm { 11 } else { 16 }) {
            0..=3 => RunEvent::ReadyTold,
            4 => RunEvent::WatchdogSet(silence),
            5 => RunEvent::WatchdogTold,
            6 => RunEvent::Extended(Millis(self.dice.one_of(&[100, 30_000]))),
            7 => RunEvent::StoppingTold,
            8 => RunEvent::OutOfMemory(Exhausted::default()),
            9 => {
                // What is late, of another run.
                let number = RunNumber(run.number.0.wrapping_add(self.dice.one_of(&[1, u64::MAX])));
                let other = RunId { number, ..run };
                // This run may be one that began early, and that a crash made unknown. While it lives
                // nobody says that the run before it is empty.
                if self.units.runs().all(|(key, id, _)| (key, id) != (&unit, other)) {
                    self.tell(unit, other, RunEvent::Emptied);
                }
                return;
            }
            _ => {
                let end = self.dice.one_of(&[0, 0, 1, 7]);
                if self.host.processes.insert((unit.clone(), run), false) != Some(true) {
                    return;
                }
                let event = RunEvent::MainEnded(RunEnd::Exited(end));
                return self.work.push(Work::Tell(unit, run, event));
            }
        };
        // What a process says before its sitter knows of it is not heard.
        if self.asked_and_told(&unit, run) {
            self.tell(unit, run, event);
        }
    }

    fn asked_and_told(&self, unit: &UnitKey, run: RunId) -> bool {
        let status = self.units.state().units().get(unit).map(|unit| &unit.status);
        status.is_some_and(|it| it.last == run && it.run().is_some_and(|run| run.process.is_some()))
    }

    fn pass_time(&mut self) {
        let passed = match self.is_calm && !self.dice.happens(20) {
            // About as long as until the next probe.
            true => self.dice.one_of(&[1_000, 3_000, 7_000]),
            false => self.dice.one_of(&[1, 20, 150, 1_000, 3_000, 12_000, 70_000, 300_000]),
        };
        self.host.boot_ms += passed;
        self.host.wall = match self.dice.happens(10) {
            true => self.dice.one_of(&WALLS),
            false => self.host.wall.saturating_add(passed),
        };
    }

    /// Nothing but time comes for a while. Units that are told to flap are told to flap no more.
    fn be_silent(&mut self) {
        let until = self.host.boot_ms + 121_000;
        self.write();
        self.perform();
        while let Some(wake) = self.units.next_wake().filter(|wake| *wake <= until) {
            self.host.boot_ms = self.host.boot_ms.max(wake);
            self.handle(Input::Woken);
            self.write();
            self.perform();
        }
        self.host.boot_ms = until;
        let flapping = self.told.values().find(|report| report.flapping);
        assert_eq!(flapping, None, "told at {until}");
    }

    fn wake_if_due(&mut self) {
        if self.units.next_wake().is_some_and(|wake| wake <= self.host.boot_ms) {
            self.handle(Input::Woken);
        }
    }
}
