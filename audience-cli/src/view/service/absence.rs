//! What becomes of instances whose players are away.

use orchestra_model::service::{InstanceAbsence, PlannedAbsence, Replacing, ReplacingWait};
use serde::Serialize;

use crate::view::{when, when_about};

/// `replaced at T unless it is back`, or whatever else becomes of it.
pub(super) fn told(replacing: &Replacing) -> String {
    match replacing {
        Replacing::At(at) => format!("replaced at {} unless it is back", when_about(*at)),
        Replacing::Waits(why) => format!("to be replaced, {}", in_the_way(*why)),
        Replacing::By(host) => format!("replaced on {host}, ended here when it is back"),
        Replacing::Never => "never replaced".to_owned(),
    }
}

pub(super) fn in_the_way(why: ReplacingWait) -> &'static str {
    match why {
        ReplacingWait::Starting => {
            "once players had their time to come back after the conductor's start"
        }
        ReplacingWait::Paused => "once the service is resumed",
        ReplacingWait::FleetDisrupted => "once fewer players of the fleet are away (orc brake)",
        ReplacingWait::ZoneDisrupted => {
            "one by one, because many players of its zone are away (orc brake)"
        }
        ReplacingWait::Rate => "10s after the one before",
        ReplacingWait::Proof => {
            "once its player is back, or it is declared dead (orc service declare-dead)"
        }
        ReplacingWait::Room => "once another player has room",
    }
}

/// What becomes of an instance whose player is away.
#[derive(Serialize)]
pub(super) struct OfReplacing<'a> {
    /// `at`, `waits`, `by` or `never`.
    state: &'static str,
    at: Option<String>,
    /// What is in the way.
    waits: Option<&'static str>,
    /// The player on which it is wanted instead.
    by: Option<&'a str>,
}

impl<'a> From<&'a Replacing> for OfReplacing<'a> {
    fn from(replacing: &'a Replacing) -> Self {
        let (state, at, waits, by) = match replacing {
            Replacing::At(at) => ("at", Some(when(*at)), None, None),
            Replacing::Waits(why) => ("waits", None, Some(why.as_str()), None),
            Replacing::By(host) => ("by", None, None, Some(host.as_str())),
            Replacing::Never => ("never", None, None, None),
        };
        Self { state, at, waits, by }
    }
}

/// That the player of an instance is away.
#[derive(Serialize)]
pub(super) struct OfAbsence<'a> {
    since: String,
    /// `null`: the service is not placed, or is not to run.
    replacing: Option<OfReplacing<'a>>,
}

impl<'a> From<&'a InstanceAbsence> for OfAbsence<'a> {
    fn from(absence: &'a InstanceAbsence) -> Self {
        Self {
            since: when(absence.since),
            replacing: absence.replacing.as_ref().map(OfReplacing::from),
        }
    }
}

/// Hosts whose players are away, in a plan.
#[derive(Serialize)]
pub(super) struct OfPlannedAbsence<'a> {
    hosts: String,
    count: usize,
    replacing: OfReplacing<'a>,
}

impl<'a> From<&'a PlannedAbsence> for OfPlannedAbsence<'a> {
    fn from(planned: &'a PlannedAbsence) -> Self {
        Self {
            hosts: planned.hosts.to_string(),
            count: planned.hosts.len(),
            replacing: (&planned.replacing).into(),
        }
    }
}
