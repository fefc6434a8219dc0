//! A sitter that does what the engine asks, late, in any order, and not always; and all that happens to
//! it.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    AudienceName, FlowId, JobId, Millis, Params, ScoreName, ServiceName,
    delivery::{AttemptKey, OrderNumber, SpoolId, StoreId},
    service::{
        Instance, Ordinal, Placement, ReadyRule, ReadySign, RestartRule, RestartWhen, RunEnd,
        RunNumber, ServiceVersion, StopRule, UnitOrder, UnitReport, UnitState, Upkeep, Wanted,
    },
};
use orchestra_units::{Effect, Input, Ordered, RunEvent, RunId, State, UnitKey, Units, journal};

use crate::{
    Dice,
    host::Host,
    reference::{RefWatch, Reference},
};

const CAPACITY: usize = 3;
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
}

pub(crate) struct World {
    pub(crate) host: Host,
    dice: Dice,
    units: Units,
    reference: Reference,
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
        World {
            host,
            dice: Dice(seed),
            durable: (units.state().clone(), reference.clone()),
            units,
            reference,
            tried: None,
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
        for _ in 0..=self.dice.below(3) {
            match self.dice.below(10) {
                0 | 1 => self.send_order(),
                2 => self.pass_time(),
                3 | 4 => self.live_on(),
                5 => self.cancel(),
                _ => self.do_some_work(),
            }
        }
        self.wake_if_due();
        match self.dice.below(40) {
            0 | 1 => return self.crash(false),
            2 => return self.crash(true),
            3 => self.fail(),
            4 => self.rewrite(),
            _ if self.units.broken().is_none() => self.write(),
            _ => {}
        }
        self.units.audit().unwrap();
        self.perform();
        if self.dice.happens(3) {
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
                    *end = Some(orchestra_units::WatchEnd::Cancelled);
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
            Input::Woken => {}
        }
        let woken = input == Input::Woken;
        self.units.handle(self.host.now(), input);
        self.follow(woken);
    }

    fn tell(&mut self, unit: UnitKey, run: RunId, event: RunEvent) {
        self.handle(Input::Run { unit, run, event });
    }

    fn write(&mut self) {
        let frame = journal::frame(self.host.disk.len() as u64, self.units.unwritten());
        self.host.disk.extend(frame);
        self.units.written();
        self.durable = (self.units.state().clone(), self.reference.clone());
    }

    fn rewrite(&mut self) {
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
    fn fail(&mut self) {
        if self.units.broken().is_none() {
            let frame = journal::frame(self.host.disk.len() as u64, self.units.unwritten());
            let kept = usize::try_from(self.dice.below(frame.len() as u64 + 1)).unwrap();
            let whole = kept == frame.len();
            self.tried = whole.then(|| (self.units.state().clone(), self.reference.clone()));
            self.host.disk.extend(&frame[..kept]);
        }
        let is_held = |(unit, run, _): &(&UnitKey, RunId, &orchestra_units::Run)| {
            !self.asked.contains(&((*unit).clone(), *run))
        };
        let known = |(unit, run, it): &(&UnitKey, RunId, &orchestra_units::Run)| {
            it.process.is_none() && it.ending.is_none() && is_held(&(*unit, *run, *it))
        };
        let unspawned: Vec<_> =
            self.units.runs().filter(known).map(|(unit, _, _)| unit.clone()).collect();
        self.reference.write_failed(&unspawned, self.heard);
        self.units.write_failed("no space left on device");
        for (key, watch) in self.units.watches() {
            let known = self.reference.watches.get_mut(&key).unwrap();
            if let Some(end @ orchestra_units::WatchEnd::Unwritten(_)) = &watch.end {
                known.end.get_or_insert(end.clone());
            }
        }
        self.follow(false);
    }

    /// The sitter dies, or the whole host does; part of a batch may have come to the disk.
    fn crash(&mut self, reboots: bool) {
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
        // The next crash may come before this is written.
        if self.dice.happens(80) {
            self.write();
            self.perform();
        }
    }

    fn perform(&mut self) {
        while let Some(effect) = self.units.poll_effect() {
            match effect {
                Effect::Spawn { unit, run, order } => {
                    self.check_spawn(&unit, run, &order);
                    self.asked.insert((unit.clone(), run));
                    self.work.push(Work::Spawn(unit, run));
                }
                Effect::KillAll { unit, run } => self.work.push(Work::Kill(unit, run)),
                Effect::Find { unit, run, .. } => self.work.push(Work::Find(unit, run)),
                Effect::Terminate { unit, run, .. } => self.terminate(&unit, run),
                Effect::EndWatch { key, order, .. } => self.work.push(Work::Settle(key, order)),
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
            _ => drop(self.told.insert(unit, report)),
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
        assert!(durable.last == run && durable.run().is_some(), "{unit}: {run:?} is on no disk");
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
        }
    }

    fn do_spawn(&mut self, unit: UnitKey, run: RunId, may_fail: bool) {
        if may_fail && self.dice.happens(15) {
            let passing = self.dice.happens(50);
            let why = "something is missing".to_owned();
            return self.tell(unit, run, RunEvent::NotSpawned { why, passing });
        }
        let mark = self.host.spawn(&unit, run);
        self.tell(unit, run, RunEvent::Spawned(mark));
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
        let event = match self.dice.below(16) {
            0..=3 => RunEvent::ReadyTold,
            4 => RunEvent::WatchdogSet(silence),
            5 => RunEvent::WatchdogTold,
            6 => RunEvent::Extended(Millis(self.dice.one_of(&[100, 30_000]))),
            7 => RunEvent::StoppingTold,
            8 => RunEvent::OutOfMemory,
            9 => {
                // What is late, of another run.
                let number = RunNumber(run.number.0.wrapping_add(self.dice.one_of(&[1, u64::MAX])));
                return self.tell(unit, RunId { number, ..run }, RunEvent::Emptied);
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
        let passed = self.dice.one_of(&[1, 20, 150, 1_000, 3_000, 12_000, 70_000]);
        self.host.boot_ms += passed;
        self.host.wall = match self.dice.happens(10) {
            true => self.dice.one_of(&WALLS),
            false => self.host.wall.saturating_add(passed),
        };
    }

    fn wake_if_due(&mut self) {
        if self.units.next_wake().is_some_and(|wake| wake <= self.host.boot_ms) {
            self.handle(Input::Woken);
        }
    }

    fn cancel(&mut self) {
        if let Some(order) = self.pick_sent() {
            self.handle(Input::Unwatched { key: order.key });
        }
    }

    fn pick_sent(&mut self) -> Option<Ordered> {
        let index = self.dice.below(self.sent.len() as u64);
        self.sent.get(usize::try_from(index).unwrap()).cloned()
    }

    /// A new order, or one that was sent before.
    fn send_order(&mut self) {
        let again = self.dice.happens(25).then(|| self.pick_sent()).flatten();
        let order = match again {
            Some(mut order) => {
                if self.dice.happens(20) {
                    // The same attempt by a further number.
                    self.orders += 1;
                    order.order = OrderNumber(self.orders);
                    self.sent.push(order.clone());
                }
                order
            }
            None => self.draw_order(),
        };
        self.give_order(&order);
    }

    fn give_order(&mut self, order: &Ordered) {
        let unit = UnitKey { store: order.key.store, service: order.unit.service.clone() };
        let takes = self.reference.takes(&unit, order, CAPACITY);
        let taken = self.units.order(self.host.now(), order.clone());
        self.heard = self.at();
        assert_eq!(taken.is_ok(), takes, "{taken:?} of {order:?} by {:?}", self.reference);
        if takes {
            if !order.keep_params {
                let kept = (order.order, order.unit.params.clone());
                self.host.memory.insert(unit.clone(), kept);
            }
            let at = self.at();
            self.reference.ordered(&unit, order, at);
        }
        self.follow(false);
    }

    fn draw_order(&mut self) -> Ordered {
        self.orders += 1;
        let dice = &mut self.dice;
        let store = dice.one_of(&STORES);
        let service = ServiceName::new(dice.one_of(&["web", "db"])).unwrap();
        if dice.happens(15) {
            self.placements += 1;
        }
        let fenced = if dice.happens(5) { 1 } else { 0 };
        let placement = Placement(1 + self.placements.saturating_sub(fenced));
        let (running, restarted) = (Wanted::Running, Wanted::Restarted);
        let wanted = [running, running, running, restarted, Wanted::Stopped, Wanted::Gone];
        let version = 1 + dice.below(2);
        let unit = UnitOrder {
            service,
            version: ServiceVersion(version),
            instance: Instance { ordinal: Ordinal(1), placement },
            wanted: dice.one_of(&wanted),
            score: ScoreName::new("run").unwrap(),
            audience: AudienceName::new("alice").unwrap(),
            params: Params::from_pairs([("v", version.to_string())]).unwrap(),
            upkeep: draw_upkeep(dice),
            healthy_for: Millis(dice.one_of(&[0, 1_000, 10_000])),
            deadline: Millis(dice.one_of(&[15_000, 120_000])),
        };
        let job = JobId { flow: FlowId(self.orders), slot: 1, job: 1 };
        let (key, order) = (AttemptKey { store, job, attempt: 1 }, OrderNumber(self.orders));
        let ordered = Ordered { key, order, unit, keep_params: self.dice.happens(60) };
        self.sent.push(ordered.clone());
        ordered
    }

    /// The world is whole again: what is wanted to run is ready in bounded steps, and then nobody is
    /// woken.
    pub(crate) fn heal(&mut self) {
        self.rewrite();
        self.perform();
        let units: Vec<UnitKey> = self.units.state().units().keys().cloned().collect();
        for unit in units {
            let known = self.units.state().units()[&unit].clone();
            self.orders += 1;
            let order = OrderNumber(self.orders);
            let job = JobId { flow: FlowId(self.orders), slot: 1, job: 1 };
            let key = AttemptKey { store: unit.store, job, attempt: 1 };
            let mut asked = (*known.asked).clone();
            asked.wanted = Wanted::Running;
            // What had ended before is told only now.
            asked.upkeep.restart = RestartRule::default();
            asked.upkeep.ready.deadline = Millis::minutes(5);
            asked.deadline = Millis::minutes(60);
            let ordered = Ordered { key, order, unit: asked, keep_params: true };
            self.sent.push(ordered.clone());
            self.give_order(&ordered);
        }
        for step in 0.. {
            assert!(step < 1_000, "it does not come to rest: {:?} {:?}", self.units, self.work);
            if !self.units.unwritten().is_empty() {
                self.write();
            }
            self.perform();
            if let Some(work) = self.work.pop() {
                self.do_work(work, false);
            } else if !self.say_ready() {
                let Some(wake) = self.units.next_wake() else { break };
                self.host.boot_ms = self.host.boot_ms.max(wake);
                self.handle(Input::Woken);
            }
        }
        for report in STORES.iter().flat_map(|store| self.units.reports(*store)) {
            assert_eq!(report.state, UnitState::Ready, "{report:?}");
        }
        let watches = self.units.state().watches();
        assert!(watches.is_empty(), "every attempt has the end of its watch: {watches:?}");
        let told = self.told.clone();
        self.attach();
        assert_eq!(told, self.told, "what was told last is how it is");
    }

    /// A process that has not said that it is ready says so, and wants no watchdog.
    fn say_ready(&mut self) -> bool {
        let quiet = |run: &orchestra_units::Run| {
            run.is_up() && (run.ready.is_none() || run.watchdog.is_some())
        };
        let found = self.units.runs().find(|(_, _, run)| quiet(run));
        let Some((unit, run)) = found.map(|(unit, run, _)| (unit.clone(), run)) else {
            return false;
        };
        self.tell(unit.clone(), run, RunEvent::ReadyTold);
        self.tell(unit, run, RunEvent::WatchdogSet(Millis(0)));
        true
    }
}

fn draw_upkeep(dice: &mut Dice) -> Upkeep {
    let when =
        [RestartWhen::Always, RestartWhen::Always, RestartWhen::OnFailure, RestartWhen::Never];
    let restart = RestartRule {
        when: dice.one_of(&when),
        first: Millis(dice.one_of(&[0, 0, 2_000])),
        max_delay: Millis(dice.one_of(&[150, 2_000, 60_000])),
        attempts: dice.one_of(&[None, None, Some(0), Some(1), Some(3)]),
        window: Millis(dice.one_of(&[5_000, 60_000])),
        stable_after: Millis(dice.one_of(&[1_000, 10_000])),
    };
    let sign = dice.one_of(&[ReadySign::Started, ReadySign::Notify, ReadySign::Fd(3)]);
    let ready = ReadyRule { sign, deadline: Millis(dice.one_of(&[4_000, 60_000])) };
    let stop = StopRule { signal: 15, grace: Millis(dice.one_of(&[0, 1_000, 30_000])) };
    Upkeep { restart, ready, stop }
}
