//! Vitals: what the host and the units use, sampled while a conductor wants to know.
//!
//! ```text
//! AskVitals ─▶ schedule: due ─▶ round: host, then runs, so many a turn ─▶ gathered ─▶ Vitals
//!                 ▲                                                          │
//!                 └────────────── sampled: the next one, or send ◀───────────┘
//! ```
//!
//! Vitals are not durable, and nothing is decided by them. While nobody asks, nothing wakes the
//! sitter for them. A round over many runs is spread over turns of the loop, so that it does not
//! delay ends.

mod host;
mod schedule;
mod unit;

use std::collections::BTreeMap;

use orchestra_model::{
    Millis,
    delivery::{AgentSession, StoreId},
    limits,
    vitals::{HostVitals, TalliedUnit, UnitVitals, VitalsBatch, VitalsSample},
};
use orchestra_units::UnitKey;

pub(crate) use self::schedule::Beat;
use self::{host::HostMeter, schedule::Schedule, unit::Whose};
pub(super) use self::{host::host_memory, unit::RunMeter};
use super::{Sitter, clock::BootMillis};

/// Most runs that are looked at in one turn of the loop: a few milliseconds at most.
const RUNS_A_TURN: usize = 32;
/// Longest time between two looks of which a rate is told, in milliseconds.
const LONG_AGO_MS: u64 = 60_000;

/// The time between two looks, in milliseconds: not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Elapsed(u64);

impl Elapsed {
    /// Returns `None` if no time passed, or more than `most`.
    fn between(before: BootMillis, now: BootMillis, most: u64) -> Option<Self> {
        let ms = now.0.checked_sub(before.0)?;
        (1..=most).contains(&ms).then_some(Self(ms))
    }
}

/// The sampling of vitals.
pub(super) struct Vitals {
    schedule: Schedule,
    host: HostMeter,
    /// The store whose units are told.
    store: Option<StoreId>,
    numbers: Numbers,
    round: Option<Round>,
    /// Complete samples that are not sent yet.
    gathered: Vec<Taken>,
}

/// A sample, and when it was taken.
struct Taken {
    at: BootMillis,
    host: HostVitals,
    units: Vec<(u32, UnitVitals)>,
}

/// A sample that is being taken.
struct Round {
    taken: Taken,
    /// The id of the next run to look at.
    next: u64,
}

/// The numbers of units in a session.
#[derive(Default)]
struct Numbers {
    known: BTreeMap<UnitKey, TalliedUnit>,
    /// Units that are new, or have changed, since the last message.
    news: BTreeMap<u32, TalliedUnit>,
}

impl Numbers {
    /// Returns the number of a unit; `None` if no number is free until the next message.
    fn number_of(&mut self, key: &UnitKey, is: impl FnOnce(u32) -> TalliedUnit) -> Option<u32> {
        let number = match self.known.get(key) {
            Some(known) => known.number,
            None => u32::try_from(self.known.len() + 1).ok()?,
        };
        if number as usize > limits::UNITS {
            return None;
        }
        let unit = is(number);
        if self.known.get(key) != Some(&unit) {
            self.known.insert(key.clone(), unit.clone());
            self.news.insert(number, unit);
        }
        Some(number)
    }

    /// Takes out what the session was not told yet.
    fn take_news(&mut self) -> Vec<TalliedUnit> {
        std::mem::take(&mut self.news).into_values().collect()
    }

    /// Begins to give numbers anew if half of them are taken, but not while samples wait that use
    /// the old ones.
    fn forget_old(&mut self) {
        if self.known.len() > limits::UNITS / 2 {
            self.known.clear();
        }
    }
}

impl Vitals {
    /// Returns vitals that are not sampled, because nobody has asked yet.
    pub(super) fn new(beat: Beat) -> Self {
        Self {
            schedule: Schedule::new(beat),
            host: HostMeter::default(),
            store: None,
            numbers: Numbers::default(),
            round: None,
            gathered: Vec::new(),
        }
    }

    /// Returns when something is to be done.
    pub(super) fn next_deadline(&self) -> Option<BootMillis> {
        match self.round {
            Some(_) => Some(BootMillis::default()),
            None => self.schedule.due(),
        }
    }

    /// Stops sampling, because the session is over.
    pub(super) fn end(&mut self) {
        self.schedule.end();
        (self.store, self.numbers, self.round) = (None, Numbers::default(), None);
        self.gathered.clear();
    }

    fn take_batch(&mut self, now: BootMillis) -> VitalsBatch {
        let sample = |Taken { at, host, units }| {
            let age = Millis(now.0.saturating_sub(at.0));
            VitalsSample { age, host, units }
        };
        let samples = std::mem::take(&mut self.gathered).into_iter().map(sample).collect();
        let units = self.numbers.take_news();
        if self.round.is_none() {
            self.numbers.forget_old();
        }
        VitalsBatch { units, samples }
    }
}

impl Sitter {
    /// Takes that a conductor asks for vitals, and for `live_for` milliseconds wants each sample at
    /// once.
    pub(super) fn hear_of_vitals(&mut self, store: StoreId, live_for: u64) {
        let Some(session) = self.agent.session() else { return };
        let now = BootMillis::now();
        self.vitals.store = Some(store);
        if self.vitals.schedule.ask(now, live_for) {
            self.send_vitals(session, now);
        }
    }

    /// Takes a sample that is due, or goes on with one, after everything else of a turn.
    pub(super) fn sample(&mut self, now: BootMillis) {
        if self.vitals.round.is_none() {
            if self.vitals.schedule.due().is_none_or(|at| now < at) {
                return;
            }
            let host = self.vitals.host.sample(self.spool_dir.path(), now);
            let taken = Taken { at: now, host, units: Vec::new() };
            self.vitals.round = Some(Round { taken, next: 0 });
        }
        let Some(mut round) = self.vitals.round.take() else { return };
        if self.sample_runs(&mut round, now) {
            self.vitals.round = Some(round);
            return;
        }
        self.vitals.gathered.push(round.taken);
        if self.vitals.schedule.sampled(now)
            && let Some(session) = self.agent.session()
        {
            self.send_vitals(session, now);
        }
    }

    /// Looks at the next runs. Returns whether there are more.
    fn sample_runs(&mut self, round: &mut Round, now: BootMillis) -> bool {
        let ids: Vec<u64> =
            self.keeping.runs.range(round.next..).map(|(id, _)| *id).take(RUNS_A_TURN).collect();
        for id in &ids {
            round.taken.units.extend(self.sample_run(*id, now));
        }
        match ids.last() {
            Some(last) if ids.len() == RUNS_A_TURN => {
                round.next = last + 1;
                true
            }
            _ => false,
        }
    }

    /// Returns what a run uses, under the number of its unit; `None` if the run is another store's,
    /// or no number is free.
    fn sample_run(&mut self, id: u64, now: BootMillis) -> Option<(u32, UnitVitals)> {
        let run = self.keeping.runs.get_mut(&id)?;
        if self.vitals.store != Some(run.unit.store) {
            return None;
        }
        let asked = &self.keeping.engine.state().units().get(&run.unit)?.asked;
        let number = self.vitals.numbers.number_of(&run.unit, |number| TalliedUnit {
            number,
            service: run.unit.service.clone(),
            ordinal: asked.instance.ordinal,
            memory_limit: asked.upkeep.resources.and_then(|resources| resources.memory),
            cpu_limit: asked.upkeep.resources.and_then(|resources| resources.cpu),
        })?;
        let main = run.main.as_ref().filter(|main| !main.gone).map(|main| main.pid);
        let whose = Whose { leaf: run.leaf.as_ref(), main };
        let cgroups = self.cgroups.as_ref();
        let beside = || super::unit::leaves_beside(cgroups, &run.unit);
        Some((number, run.meter.sample(&whose, beside, now)))
    }

    fn send_vitals(&mut self, session: AgentSession, now: BootMillis) {
        let batch = self.vitals.take_batch(now);
        self.agent.report_vitals(session, batch);
    }
}
