//! Services of which no instance may ever be alive twice, and the leases that see to it.
//!
//! ```text
//!   player   asks ─────────────────────┐ its own clock says when it asked
//!   conductor         grants ──────────┤ and remembers when it sent that
//!   player   asked + length: the run is told to end; + grace: nothing of it is left
//!   conductor         sent + (length + grace) · 103 % + 2 s: it may be replaced
//! ```
//!
//! A lease is counted from when the player asked for it, and the conductor can have answered only
//! later. So an answer that is late, however late, makes a lease shorter and never longer.

use crate::{
    names::ServiceName,
    service::{InvalidUpkeep, Placement},
    time::{Millis, Timestamp},
};

/// The shortest lease: a quarter of it passes between two renewals, and each has to travel both
/// ways.
pub const LEAST_LEASE: Millis = Millis::seconds(10);
/// The longest lease: a day.
pub const LONGEST_LEASE: Millis = Millis::minutes(24 * 60);

/// How much longer than a lease lasts its conductor waits, in percent. Two clocks that each run by up
/// to 1 % too slow or too fast differ by 1.01 / 0.99, so that 2 % would not be enough.
const DRIFT_PERCENT: u64 = 3;
/// How long it may take, in milliseconds, from the end of a lease with its grace until nothing of the
/// run is left. A guard looks once a second.
const REACTION_MS: u64 = 2_000;

/// That no instance of a service is ever alive twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtMostOne {
    /// A run ends when no renewal of its lease has come for so long. `None`: an instance is replaced
    /// on proof alone, which is its player's word or a person's.
    pub lease: Option<Millis>,
}

impl AtMostOne {
    pub(super) fn check(self) -> Result<(), InvalidUpkeep> {
        let wrong = |problem| Err(InvalidUpkeep { field: "at_most_one.lease", problem });
        match self.lease {
            Some(lease) if lease < LEAST_LEASE => wrong(
                "it is below 10s, so that a moment without the conductor would stop the service",
            ),
            Some(lease) if lease > LONGEST_LEASE => wrong(
                "it is above 24h; without a lease (at_most_one: true) an instance is replaced on \
                 proof alone",
            ),
            _ => Ok(()),
        }
    }
}

/// A lease of one unit, as its player asks for it and its conductor grants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The service.
    pub service: ServiceName,
    /// The assignment of its instance to the player. Another one has another lease.
    pub placement: Placement,
    /// How long after it was asked for a run is told to end.
    pub length: Millis,
    /// How long after that nothing of the run may be left: the grace of its stop.
    pub grace: Millis,
}

impl Lease {
    /// Returns how long after the conductor sent this lease no run under it can be alive, whatever the
    /// two clocks do as long as neither is off by more than 1 %.
    pub fn over_after(&self) -> Millis {
        let lasts = self.length.0.saturating_add(self.grace.0);
        let drift = lasts.saturating_mul(DRIFT_PERCENT).div_ceil(100);
        Millis(lasts.saturating_add(drift).saturating_add(REACTION_MS))
    }
}

/// Whether an instance may be replaced by another one elsewhere, and if not, what has to happen
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaceable {
    /// It may.
    Now,
    /// Its last lease is over at this moment of the conductor's clock. It may be given another one
    /// until then.
    At(Timestamp),
    /// Only on proof that nothing of it is alive: its player says so when it comes back, or a person
    /// declares it dead.
    OnProof,
}

/// What a player asks for, and what its conductor grants of it, in the same words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leases {
    /// When the player asked, by its own clock, in milliseconds since its host was started. The
    /// conductor gives it back and makes nothing of it.
    pub asked_at: u64,
    /// One of each unit.
    pub leases: Vec<Lease>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_over_for_its_conductor_after_it_is_for_its_player() {
        for (length, grace) in [(10_000, 0), (10_000, 30_000), (120_000, 0), (86_400_000, 600_000)]
        {
            let lease = Lease {
                service: ServiceName::new("web").unwrap(),
                placement: Placement(1),
                length: Millis(length),
                grace: Millis(grace),
            };
            // The player's clock is slow by 1 %, so that the lease lasts longer; the conductor's is fast.
            let lasts = (length + grace) as f64 / 0.99;
            let waited = lease.over_after().0 as f64 / 1.01;
            assert!(waited > lasts + 1_900.0, "{length} {grace}: {waited} {lasts}");
        }
    }

    #[test]
    fn a_lease_is_neither_too_short_nor_too_long() {
        let check = |lease| AtMostOne { lease }.check().map_err(|invalid| invalid.field);
        assert_eq!(check(None), Ok(()));
        assert_eq!((check(Some(LEAST_LEASE)), check(Some(LONGEST_LEASE))), (Ok(()), Ok(())));
        for wrong in [0, 9_999, LONGEST_LEASE.0 + 1] {
            assert_eq!(check(Some(Millis(wrong))), Err("at_most_one.lease"), "{wrong}");
        }
    }
}
