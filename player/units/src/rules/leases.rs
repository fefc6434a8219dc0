//! Leases: a unit whose service may never be alive twice runs only while its conductor renews its
//! lease.
//!
//! ```text
//!   asked for       until                    gone
//!      │  lease       │  grace of its stop     │
//!      ├──────────────┼────────────────────────┤
//!      a run begins,  it is told to end        nothing of it may be left,
//!      goes on        (lease ran out)          whatever it asked for
//! ```
//!
//! Leases are kept in memory alone. The driver knows which of them a sitter before it was given, and
//! says so before the first [`crate::Input::Woken`]. A run without a known lease ends at that moment.
//! After a reboot there is no lease, so no leased unit begins by itself.

use orchestra_model::{
    journal::{Contradiction, require},
    service::{Lease, RunEnd, UnitOrder},
};

use crate::{
    input::Leased,
    state::{Stage, Unit, UnitKey},
    units::Units,
};

/// SIGKILL, signal(7).
const KILL: i32 = 9;

impl Units {
    /// Returns the leases that units need: of each that has a run or is to begin one, what its last
    /// order says.
    pub fn needed_leases(&self) -> impl Iterator<Item = (&UnitKey, Lease)> {
        self.leased.iter().filter_map(|key| Some((key, needed(self.state.units().get(key)?)?)))
    }

    /// Notes whether a unit's last order asks for a lease.
    pub(super) fn note_need(&mut self, key: &UnitKey) {
        if self.state.units().get(key).is_some_and(is_leased) {
            self.leased.insert(key.clone());
        }
    }

    /// Checks that the units that are noted are those whose orders ask for a lease.
    pub(crate) fn audit_leases(&self) -> Result<(), Contradiction> {
        let leased = self.state.units().iter().filter(|(_, unit)| is_leased(unit));
        require(leased.map(|(key, _)| key).eq(&self.leased), || "leases are not noted".to_owned())
    }

    /// Returns the lease that a unit has, even one that has run out.
    pub fn lease_of(&self, unit: &UnitKey) -> Option<Leased> {
        self.tended.get(unit)?.lease
    }

    /// Takes a lease. It never shortens the one that a unit has.
    pub(super) fn note_leased(&mut self, key: &UnitKey, leased: Leased) {
        let Some(unit) = self.state.units().get(key) else { return };
        let of_order = unit.asked.instance.placement == leased.placement;
        if unit.asked.upkeep.lease().is_none() || !of_order {
            return;
        }
        let before = self.tended.get(key).and_then(|tended| tended.lease);
        let same = before.filter(|before| before.placement == leased.placement);
        let lease = same.map_or(leased, |before| Leased {
            until: before.until.max(leased.until),
            gone: before.gone.max(leased.gone),
            ..leased
        });
        self.tend(key).lease = Some(lease);
        self.follow(key);
    }

    /// Returns whether a run of this unit may begin now, as far as leases are concerned.
    pub(super) fn has_lease(&self, key: &UnitKey) -> bool {
        self.keeps_lease(key) && self.lapses_at(key).is_none_or(|until| self.at < until)
    }

    /// Returns whether a unit needs no lease, or has one of its placement that it has not lost. The
    /// answer changes with inputs alone and not with time.
    pub(super) fn keeps_lease(&self, key: &UnitKey) -> bool {
        let Some(unit) = self.state.units().get(key) else { return false };
        let lease = self.tended.get(key).and_then(|tended| tended.lease);
        let of_order = |lease: Leased| lease.placement == unit.asked.instance.placement;
        unit.asked.upkeep.lease().is_none() || lease.is_some_and(of_order)
    }

    /// Takes away the lease of a unit that waits, once it has run out.
    pub(super) fn lose_lease(&mut self, key: &UnitKey) {
        if self.lapses_at(key).is_some_and(|until| until <= self.at) {
            self.tend(key).lease = None;
        }
    }

    /// Returns when the lease of a unit's run runs out, and when nothing of the run may be left.
    /// Moments are of the units' clock (ms), 0 for a run without a lease. `None`: it needs none.
    pub(super) fn lease_ends(&self, key: &UnitKey) -> Option<(u64, u64)> {
        let unit = self.state.units().get(key)?;
        unit.asked.upkeep.lease()?;
        let lease = self.tended.get(key).and_then(|tended| tended.lease);
        let ends = |lease: Leased| (self.clock_at(lease.until), self.clock_at(lease.gone));
        Some(lease.map_or((0, 0), ends))
    }

    /// Returns when a unit that waits loses the lease that it has.
    pub(super) fn lapses_at(&self, key: &UnitKey) -> Option<u64> {
        let unit = self.state.units().get(key)?;
        unit.asked.upkeep.lease()?;
        let is_waiting = matches!(unit.status.stage, Stage::Waiting { .. });
        let lease = self.tended.get(key)?.lease.filter(|_| is_waiting)?;
        Some(self.clock_at(lease.until))
    }

    /// Returns why a run has really ended. While its sitter does not run, somebody else kills a run
    /// whose lease has run out.
    pub(super) fn blame_lease(&self, key: &UnitKey, cause: RunEnd) -> RunEnd {
        let ran_out = self.lease_ends(key).is_some_and(|(until, _)| until <= self.at);
        match cause {
            RunEnd::Signalled(KILL) | RunEnd::Unknown if ran_out => RunEnd::LeaseRanOut,
            cause => cause,
        }
    }

    /// Converts a moment of `CLOCK_BOOTTIME` (ms) to the units' clock.
    fn clock_at(&self, boot_ms: u64) -> u64 {
        self.state.clock().base.saturating_add(boot_ms)
    }
}

fn is_leased(unit: &Unit) -> bool {
    unit.asked.upkeep.lease().is_some()
}

/// Returns the lease that a unit needs, if it needs one.
fn needed(unit: &Unit) -> Option<Lease> {
    let UnitOrder { service, instance, upkeep, .. } = &*unit.asked;
    let is_concerned = matches!(unit.status.stage, Stage::Waiting { .. } | Stage::Running(_));
    let lease = upkeep.as_lease(service).filter(|_| is_concerned)?;
    Some(Lease { placement: instance.placement, ..lease })
}
