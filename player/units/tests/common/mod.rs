//! A pretended disk and clock, and short ways to say things.

#![allow(dead_code, reason = "each test program uses a part")]
#![expect(clippy::unwrap_used, reason = "test support")]

use orchestra_model::{
    Asker, ByteSize, FlowId, JobId, Millis, Params, ScoreName, ServiceName, Timestamp,
    delivery::{AttemptKey, OrderNumber, SpoolId, StoreId},
    score::ScoreHash,
    service::{
        HealthRule, Instance, Ordinal, Placement, Probe, ReadyRule, ReadySign, RestartRule, RunEnd,
        RunNumber, ServiceVersion, StopRule, Target, UnitOrder, UnitReport, UnitState, Upkeep,
        Wanted,
    },
};
use orchestra_units::{
    BootId, Capacity, Effect, Input, Now, Ordered, ProbeNumber, ProbeOutcome, ProcessMark,
    Rejection, RunEvent, RunId, Unit, UnitKey, Units, WatchEnd, journal,
};

pub(crate) const STORE: StoreId = StoreId([1; 16]);
/// What is installed as the score of units.
pub(crate) const SCORE: ScoreHash = ScoreHash([6; 32]);
pub(crate) const BOOT: BootId = BootId([4; 16]);
pub(crate) const CAPACITY: Capacity = Capacity { units: 8, memory: Some(ByteSize(4 << 30)) };

/// A service's name.
pub(crate) fn named(service: &str) -> ServiceName {
    ServiceName::new(service).unwrap()
}

/// Units over a pretended disk that never fails by itself, on a host that has been up for a while.
pub(crate) struct Rig {
    pub(crate) units: Units,
    pub(crate) disk: Vec<u8>,
    pub(crate) boot: BootId,
    pub(crate) boot_ms: u64,
    pub(crate) wall: u64,
    /// That of the next sitter.
    seed: u64,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let (boot_ms, wall) = (50_000, 1_700_000_000_000);
        let now = Now { boot_ms, wall: Timestamp(wall) };
        let units = Units::new(SpoolId([9; 16]), CAPACITY, 7, now, BOOT);
        let disk = journal::compacted(units.state());
        Rig { units, disk, boot: BOOT, boot_ms, wall, seed: 8 }
    }

    /// A unit that is up: its order and the effects that led there are over.
    pub(crate) fn up(order: Ordered) -> Self {
        let mut rig = Rig::new();
        let effects = rig.order(order);
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Spawn { .. })), "{effects:?}");
        rig.spawned();
        rig
    }

    pub(crate) fn now(&self) -> Now {
        Now { boot_ms: self.boot_ms, wall: Timestamp(self.wall) }
    }

    /// Takes an order, makes it durable, and gives what is to be done.
    pub(crate) fn order(&mut self, order: Ordered) -> Vec<Effect> {
        self.try_order(order).unwrap();
        self.commit();
        self.effects()
    }

    pub(crate) fn try_order(&mut self, order: Ordered) -> Result<(), Rejection> {
        let taken = self.units.order(self.now(), order);
        self.units.audit().unwrap();
        taken
    }

    /// Takes an input, makes it durable, and gives what is to be done.
    pub(crate) fn feed(&mut self, input: Input) -> Vec<Effect> {
        self.take(input);
        self.commit();
        self.effects()
    }

    pub(crate) fn take(&mut self, input: Input) {
        self.units.handle(self.now(), input);
        self.units.audit().unwrap();
    }

    /// Something happened to the unit's present run.
    pub(crate) fn told(&mut self, event: RunEvent) -> Vec<Effect> {
        let run = self.unit().status.last;
        self.told_of(run, event)
    }

    pub(crate) fn told_of(&mut self, run: RunId, event: RunEvent) -> Vec<Effect> {
        self.feed(Input::Run { unit: key(), run, event })
    }

    /// The answer to the last of these probes.
    pub(crate) fn probed(&mut self, number: u64, outcome: ProbeOutcome) -> Vec<Effect> {
        self.feed(Input::Probed { unit: key(), number: ProbeNumber(number), outcome })
    }

    pub(crate) fn spawned(&mut self) -> Vec<Effect> {
        let process = process(self.unit().status.last, self.boot, self.boot_ms);
        self.told(RunEvent::Spawned { process, score: SCORE })
    }

    /// The run's process exits, and nothing of it is left.
    pub(crate) fn ends(&mut self, end: RunEnd) -> Vec<Effect> {
        let mut effects = self.told(RunEvent::MainEnded(end));
        effects.extend(self.told(RunEvent::Emptied));
        effects
    }

    /// Lets time pass, waking the units whenever they ask for it.
    pub(crate) fn pass(&mut self, ms: u64) -> Vec<Effect> {
        let until = self.boot_ms + ms;
        let mut effects = Vec::new();
        let mut wakes = 0;
        while let Some(wake) = self.units.next_wake().filter(|wake| *wake <= until) {
            let passed = wake.saturating_sub(self.boot_ms);
            self.boot_ms += passed;
            self.wall += passed;
            effects.extend(self.feed(Input::Woken));
            wakes += 1;
            assert!(wakes < 10_000, "it never sleeps");
        }
        self.wall += until - self.boot_ms;
        self.boot_ms = until;
        effects
    }

    pub(crate) fn commit(&mut self) {
        let frame = journal::frame(self.disk.len() as u64, self.units.unwritten());
        self.disk.extend(frame);
        self.units.written();
        self.units.audit().unwrap();
    }

    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.units.poll_effect()).collect()
    }

    /// Everything but disk and processes is gone; the next sitter begins after so many ms.
    pub(crate) fn crash(&mut self, downtime: u64) -> Vec<Effect> {
        self.boot_ms += downtime;
        self.wall += downtime;
        let replayed = journal::replay(&self.disk).unwrap();
        self.disk.truncate(usize::try_from(replayed.valid_len).unwrap());
        let now = self.now();
        self.units = Units::recover(replayed.state, CAPACITY, self.seed, now, self.boot);
        self.seed += 1;
        self.units.audit().unwrap();
        self.commit();
        self.effects()
    }

    /// The host is started anew.
    pub(crate) fn reboot(&mut self) -> Vec<Effect> {
        self.boot = BootId([self.boot.0[0] + 1; 16]);
        self.boot_ms = 3_000;
        self.crash(0)
    }

    /// The attempt of this order has the end of its watch.
    pub(crate) fn settle(&mut self, n: u64) {
        self.feed(Input::WatchSettled { key: attempt(n), order: OrderNumber(n) });
    }

    pub(crate) fn unit(&self) -> &Unit {
        &self.units.state().units()[&key()]
    }

    pub(crate) fn report(&self) -> UnitReport {
        self.units.reports(STORE).next().unwrap()
    }

    pub(crate) fn state(&self) -> UnitState {
        self.report().state
    }

    pub(crate) fn run(&self) -> u64 {
        self.unit().status.last.number.0
    }
}

pub(crate) fn key() -> UnitKey {
    UnitKey { store: STORE, service: ServiceName::new("web").unwrap() }
}

pub(crate) fn attempt(n: u64) -> AttemptKey {
    AttemptKey { store: STORE, job: JobId { flow: FlowId(n), slot: 1, job: 1 }, attempt: 1 }
}

/// The order of this number, of the attempt of the same number, for version and placement 1.
pub(crate) fn order(n: u64, wanted: Wanted) -> Ordered {
    let unit = UnitOrder {
        service: key().service,
        version: ServiceVersion(1),
        instance: Instance { ordinal: Ordinal(3), placement: Placement(1) },
        wanted,
        score: ScoreName::new("run-web").unwrap(),
        score_hash: Some(SCORE),
        audience: Asker::from_word("alice").unwrap(),
        params: Params::from_pairs([("port", "80")]).unwrap(),
        upkeep: Upkeep::default(),
        healthy_for: Millis::seconds(10),
        deadline: Millis::minutes(10),
    };
    Ordered { key: attempt(n), order: OrderNumber(n), unit, keep_params: true }
}

pub(crate) fn running(n: u64) -> Ordered {
    order(n, Wanted::Running)
}

pub(crate) fn of_version(n: u64, version: u64) -> Ordered {
    let mut order = running(n);
    order.unit.version = ServiceVersion(version);
    order
}

pub(crate) fn with_restart(n: u64, restart: RestartRule) -> Ordered {
    let mut order = running(n);
    order.unit.upkeep.restart = restart;
    order
}

pub(crate) fn with_ready(n: u64, sign: ReadySign) -> Ordered {
    let mut order = running(n);
    order.unit.upkeep.ready = ReadyRule { sign, ..ReadyRule::default() };
    order
}

/// Probed each 10 s on port 80; unhealthy after 3 failures, healthy again after 2 successes.
pub(crate) fn with_health(n: u64) -> Ordered {
    let mut order = running(n);
    order.unit.upkeep.health = Some(HealthRule::new(Probe::Tcp(Target::Port(80))));
    order
}

/// The numbers of the probes that are asked for.
pub(crate) fn probes(effects: &[Effect]) -> Vec<u64> {
    let numbers = effects.iter().filter_map(|effect| match effect {
        Effect::Probe { number, .. } => Some(number.0),
        _ => None,
    });
    numbers.collect()
}

pub(crate) fn with_grace(n: u64, wanted: Wanted, grace: u64) -> Ordered {
    let mut order = order(n, wanted);
    order.unit.upkeep.stop = StopRule { grace: Millis(grace), ..StopRule::default() };
    order
}

pub(crate) fn with_linger(n: u64, wanted: Wanted, linger: u64) -> Ordered {
    let mut order = with_grace(n, wanted, 5_000);
    order.unit.upkeep.stop.linger = Millis(linger);
    order
}

pub(crate) fn run_id(number: u64) -> RunId {
    RunId { placement: Placement(1), number: RunNumber(number) }
}

pub(crate) fn process(run: RunId, boot: BootId, boot_ms: u64) -> ProcessMark {
    ProcessMark {
        pid: u32::try_from(100 * run.placement.0 + run.number.0).unwrap(),
        start_ticks: boot_ms / 10,
        boot,
        started_at: Timestamp(1_700_000_000_000),
        boot_ms,
    }
}

pub(crate) fn spawned_run(effects: &[Effect]) -> Option<u64> {
    let mut runs = effects.iter().filter_map(|effect| match effect {
        Effect::Spawn { run, .. } => Some(run.number.0),
        _ => None,
    });
    let run = runs.next();
    assert_eq!(runs.next(), None, "{effects:?}");
    run
}

pub(crate) fn watch_ends(effects: &[Effect]) -> Vec<(u64, WatchEnd)> {
    let ends = effects.iter().filter_map(|effect| match effect {
        Effect::EndWatch { key, end, .. } => Some((key.job.flow.0, end.clone())),
        _ => None,
    });
    ends.collect()
}

pub(crate) fn reports(effects: &[Effect]) -> Vec<UnitReport> {
    let reports = effects.iter().filter_map(|effect| match effect {
        Effect::Report { report, .. } => Some(report.clone()),
        _ => None,
    });
    reports.collect()
}

/// The effects in a word each, without reports.
pub(crate) fn words(effects: &[Effect]) -> Vec<String> {
    let word = |effect: &Effect| {
        Some(match effect {
            Effect::Watching { .. } => "watching".to_owned(),
            Effect::Spawn { run, .. } => format!("spawn {}", run.number),
            Effect::Find { run, .. } => format!("find {}", run.number),
            Effect::Terminate { run, signal, .. } => format!("signal {} {signal}", run.number),
            Effect::Signal { run, signal, reload, .. } => match reload {
                Some(order) => format!("reload {} v{} {signal}", run.number, order.version),
                None => format!("tell {} {signal}", run.number),
            },
            Effect::KillAll { run, .. } => format!("kill {}", run.number),
            Effect::EndWatch { key, end, .. } => match end {
                WatchEnd::Failed { failure, .. } => format!("{} {failure:?}", key.job.flow),
                end => format!("{} {end:?}", key.job.flow),
            },
            Effect::Probe { number, .. } => format!("probe {}", number.0),
            Effect::Report { .. } => return None,
            Effect::Forget { .. } => "forget".to_owned(),
        })
    };
    effects.iter().filter_map(word).collect()
}
