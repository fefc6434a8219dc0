//! Vitals of hosts and units, as players told them, in memory alone.
//!
//! ```text
//! session: attached ──▶ table ── AskVitals ─▶ player        desk: read, look
//!          take(Vitals) ─▶ rings ◀──────────────────────────┘    │ somebody looks: AskVitals
//! ```
//!
//! Vitals do not pass the driver, and nothing is decided by them. A player can tell them only of
//! its own host and units. For a player that went away the last sample is told, with its age.

mod ring;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestra_flow::SessionId;
use orchestra_model::{
    HostName, HostSet, ServiceName, limits,
    vitals::{HostUsage, HostVitals, LOOKING_MS, TalliedUnit, UnitUsage, VitalsBatch},
};
use orchestra_proto::v1::{self, command::Kind};
use tokio::time::Instant;

use self::ring::{HostRing, UnitRing};
use crate::lines::Line;

/// The least time between two requests to a player because of looks, in milliseconds.
const LOOKS_AGAIN_MS: u64 = LOOKING_MS / 2;
/// A sample that is older than this when it comes counts as this old, in milliseconds: ten minutes.
const OLDEST_MS: u64 = 600_000;

/// A unit that was missing in its host's samples for so long has no run, in milliseconds: two
/// samples, and their possible delay.
const WITHOUT_RUN_MS: u64 = 25_000;

/// The vitals of all hosts.
#[derive(Clone, Debug)]
pub(crate) struct Vitals(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    /// Moments are in milliseconds since then.
    begin: Instant,
    hosts: HashMap<HostName, Known>,
}

/// What is known of a host.
#[derive(Debug, Default)]
struct Known {
    session: Option<SessionId>,
    /// The way to its player, if that takes samples.
    line: Option<Line>,
    /// When its player was last asked because of a look.
    looked: Option<u64>,
    /// The numbers that the session gave units.
    numbers: BTreeMap<u32, TalliedUnit>,
    host: Option<Box<HostRing>>,
    units: BTreeMap<ServiceName, Box<UnitRing>>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Table { begin: Instant::now(), hosts: HashMap::new() })))
    }
}

impl Vitals {
    /// Notes a player's session. If there is a `line`, the player takes samples, and is asked for
    /// them.
    pub(crate) fn attached(&self, host: &HostName, session: SessionId, line: Option<Line>) {
        if let Some(line) = &line {
            ask(line, 0);
        }
        let mut table = self.lock();
        let known = table.hosts.entry(host.clone()).or_default();
        (known.session, known.line, known.looked) = (Some(session), line, None);
        known.numbers.clear();
    }

    /// Notes that a session is over. `members` are the hosts of the fleet; nothing is kept of
    /// others.
    pub(crate) fn detached(&self, host: &HostName, session: SessionId, members: &HostSet) {
        let mut table = self.lock();
        let Some(known) = table.hosts.get_mut(host).filter(|known| known.session == Some(session))
        else {
            return;
        };
        (known.session, known.line) = (None, None);
        known.numbers.clear();
        if table.hosts.len() > members.len() {
            table.hosts.retain(|host, known| known.session.is_some() || members.contains(host));
        }
    }

    /// Takes samples of a player.
    pub(crate) fn take(&self, host: &HostName, session: SessionId, batch: VitalsBatch) {
        let mut table = self.lock();
        let now = table.now();
        let known = table.hosts.get_mut(host);
        if let Some(known) = known.filter(|known| known.session == Some(session)) {
            known.take(now, batch);
        }
    }

    /// Notes a look at these hosts: for a while their players tell each sample at once.
    pub(crate) fn look(&self, hosts: &[HostName]) {
        let mut table = self.lock();
        let now = table.now();
        for host in hosts {
            let Some(known) = table.hosts.get_mut(host) else { continue };
            let is_known = known.looked.is_some_and(|at| now < at + LOOKS_AGAIN_MS);
            if let Some(line) = known.line.as_ref().filter(|_| !is_known) {
                ask(line, LOOKING_MS);
                known.looked = Some(now);
            }
        }
    }

    /// Returns the vitals of these hosts, in their order, with those of their units if `units`.
    pub(crate) fn read(&self, hosts: &[HostName], units: bool) -> Vec<HostUsage> {
        let table = self.lock();
        let now = table.now();
        let nothing = Known::default();
        let known = |host| table.hosts.get(host).unwrap_or(&nothing);
        hosts.iter().map(|host| known(host).usage(host, now, units)).collect()
    }

    /// Returns the vitals of a service's unit on a host.
    pub(crate) fn of_unit(&self, host: &HostName, service: &ServiceName) -> Option<UnitUsage> {
        let table = self.lock();
        table.hosts.get(host)?.usage_of(service, table.now())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Milliseconds since a moment before the start, so that what was sampled before the start has a time.
    fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        elapsed.saturating_add(OLDEST_MS)
    }
}

impl Known {
    fn take(&mut self, now: u64, batch: VitalsBatch) {
        self.numbers.extend(batch.units.into_iter().map(|unit| (unit.number, unit)));
        for sample in batch.samples {
            let taken = now.saturating_sub(sample.age.0.min(OLDEST_MS));
            match &mut self.host {
                Some(ring) => ring.put(taken, sample.host),
                None => self.host = Some(Box::new(HostRing::new(taken, sample.host))),
            }
            for (number, vitals) in sample.units {
                // Samples of a number that was not told are ignored.
                let Some(unit) = self.numbers.get(&number) else { continue };
                if self.units.len() >= limits::UNITS && !self.units.contains_key(&unit.service) {
                    continue;
                }
                let new = || Box::new(UnitRing::new(unit));
                let ring = self.units.entry(unit.service.clone()).or_insert_with(new);
                ring.put(taken, unit, vitals);
            }
        }
        self.units.retain(|_, ring| ring.is_recent(now));
    }

    /// Returns what a unit uses; `None` if its player has told samples lately, but none of this
    /// unit: then the unit has no run.
    fn usage_of(&self, service: &ServiceName, now: u64) -> Option<UnitUsage> {
        let usage = self.units.get(service)?.usage(service, now)?;
        let (_, age) = self.host.as_ref()?.now(now);
        (usage.age.0 <= age.0 + WITHOUT_RUN_MS).then_some(usage)
    }

    fn usage(&self, host: &HostName, now: u64, units: bool) -> HostUsage {
        let ring = self.host.as_ref();
        let (vitals, age) = ring.map_or((HostVitals::default(), None), |ring| {
            let (vitals, age) = ring.now(now);
            (vitals, Some(age))
        });
        let [highest, highest_of_day] = ring.map(|ring| ring.highest(now)).unwrap_or_default();
        let units = self.units.keys().filter(|_| units);
        HostUsage {
            host: host.clone(),
            attached: self.session.is_some(),
            age,
            now: vitals,
            highest,
            highest_of_day,
            units: units.filter_map(|name| self.usage_of(name, now)).collect(),
        }
    }
}

fn ask(line: &Line, live_for: u64) {
    let live_for_ms = u32::try_from(live_for).unwrap_or(u32::MAX);
    line.outbox.command(line.header, Kind::AskVitals(v1::AskVitals { live_for_ms }));
}

#[cfg(test)]
mod tests;
