//! What the conductor makes of the health of units.

use std::fmt;

use crate::{names::HostName, quantity::Quantity, state::kebab_enum, time::Timestamp};

/// What follows from how units are. Players do not see it: the conductor acts by it. The default is
/// what a spec means that says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What is done for a unit that is unhealthy.
    pub on_unhealthy: OnUnhealthy,
    /// If so many of its units turn unhealthy together, and at least two, nothing is done for that:
    /// rather suspect what is asked, or whoever asks, than restart everything. A share is of the units
    /// that were ready. `None`: however many turn, each is believed.
    pub panic: Option<Quantity>,
}

kebab_enum!(
    /// What is done for a unit that is unhealthy.
    #[derive(Default)]
    OnUnhealthy {
        /// It is told, and counts as down.
        #[default]
        Report = "report",
        /// Nobody is to use it, unless too many are unhealthy together.
        Withdraw = "withdraw",
        /// Its run is ended and another one begun, as the limits of its cells allow.
        Restart = "restart",
    }
);

impl Default for Judgement {
    fn default() -> Self {
        Self { on_unhealthy: OnUnhealthy::Report, panic: Some(Quantity::Percent(50)) }
    }
}

impl Judgement {
    /// Whether something follows from a unit's being unhealthy.
    pub fn acts_on_health(&self) -> bool {
        self.on_unhealthy != OnUnhealthy::Report
    }

    /// How many of `total` units have to turn unhealthy together to be suspicious; `None`: no number
    /// is.
    pub fn panic_at(&self, total: u32) -> Option<u32> {
        let panic = self.panic.filter(|_| self.acts_on_health())?;
        let count = match panic {
            Quantity::Count(count) => count,
            share @ Quantity::Percent(_) => share.threshold_of(total),
        };
        Some(count.max(2))
    }
}

/// How the health of a service is judged. Part of its record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Set while its health is not believed.
    pub suspicion: Option<Suspicion>,
    /// Units that turned unhealthy before this moment rouse no suspicion: one has ended since.
    pub trusted: Timestamp,
}

/// That so many units of a service turned unhealthy together that it is not believed: a brake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// Since when.
    pub at: Timestamp,
    /// How many.
    pub failed: u32,
    /// Of how many that were ready before.
    pub of: u32,
    /// The unit that was restarted last to find out whether that helps, and when.
    pub tried: Option<(HostName, Timestamp)>,
}

/// `7 of 10 checks failed together`
impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} checks failed together", self.failed, self.of)
    }
}
