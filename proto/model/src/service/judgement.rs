//! What the conductor makes of the health of units.

use crate::state::kebab_enum;

/// What follows from how units are. Players do not see it: the conductor acts by it. The default is
/// what a spec means that says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What is done for a unit that is unhealthy.
    pub on_unhealthy: OnUnhealthy,
}

kebab_enum!(
    /// What is done for a unit that is unhealthy.
    #[derive(Default)]
    OnUnhealthy {
        /// It is told, and counts as down.
        #[default]
        Report = "report",
        /// Its run is ended and another one begun, as the limits of its cells allow.
        Restart = "restart",
    }
);

impl Judgement {
    /// Whether something is done for units that are unhealthy.
    pub fn acts_on_health(&self) -> bool {
        self.on_unhealthy != OnUnhealthy::Report
    }
}
