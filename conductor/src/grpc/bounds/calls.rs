//! What each call of the audience may cost. Calls that are not in the table have the least bounds.

use orchestra_model::limits;

/// A call's bounds.
#[derive(Debug)]
pub(super) struct Call {
    /// Largest request, in bytes.
    pub(super) bytes: usize,
    /// The kind of its answer.
    pub(super) answer: Answers,
    /// Whether it expands host sets, or plans.
    pub(super) works: bool,
}

/// The kind of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// A few kilobytes.
    Small,
    /// Up to megabytes, page by page or at once.
    Large,
    /// A stream that lasts as long as a flow, or as its reader.
    Watch,
}

/// Bytes of names, numbers, and a reason.
const WORDS: usize = 64 << 10;
/// Bytes of names, numbers, a reason, and a host set.
const HOSTS: usize = limits::HOSTSET_BYTES + WORDS;
/// Bytes of a flow with its parameters.
const FLOW: usize = limits::MESSAGE_BYTES;

const SHORT: Call = Call { bytes: WORDS, answer: Answers::Small, works: false };
const ASKS: Call = Call { answer: Answers::Large, ..SHORT };
const CHANGES_HOSTS: Call = Call { bytes: HOSTS, answer: Answers::Small, works: true };
const ASKS_OF_HOSTS: Call = Call { answer: Answers::Large, ..CHANGES_HOSTS };
const SUBMITS: Call = Call { bytes: FLOW, ..CHANGES_HOSTS };
const PLANS: Call = Call { answer: Answers::Large, ..SUBMITS };
const WATCHES: Call = Call { answer: Answers::Watch, ..SHORT };

/// Every call of the audience.
pub(super) const TABLE: &[(&str, Call)] = &[
    ("Submit", SUBMITS),
    ("GetFlow", ASKS),
    ("ListTasks", ASKS),
    ("ListFailures", ASKS),
    ("ListFlows", ASKS),
    ("Watch", WATCHES),
    ("Plan", PLANS),
    ("Explain", ASKS),
    ("Pause", SHORT),
    ("Resume", SHORT),
    ("Promote", SHORT),
    ("Retry", SUBMITS),
    ("Cancel", SHORT),
    ("Drain", CHANGES_HOSTS),
    ("Undrain", CHANGES_HOSTS),
    ("ListLedger", ASKS),
    ("ReleaseHolds", CHANGES_HOSTS),
    ("ListDeployments", ASKS),
    ("ListPlayers", ASKS_OF_HOSTS),
    ("ListScores", ASKS_OF_HOSTS),
    ("ListPlaces", ASKS_OF_HOSTS),
    ("RegisterBundle", SHORT),
    ("ListBundles", ASKS),
    ("ListFetches", ASKS_OF_HOSTS),
    ("GetLogs", ASKS),
    ("Status", SHORT),
    ("Reload", SHORT),
    ("Recover", SHORT),
    ("PlanRecover", ASKS),
    ("ReleasePlayers", CHANGES_HOSTS),
    ("ResolveHosts", ASKS_OF_HOSTS),
    ("ListGroups", ASKS),
    ("ListAudit", ASKS),
    ("VerifyAudit", Call { works: true, ..SHORT }),
    ("WhoAmI", ASKS),
    ("ListPolicy", ASKS),
    ("CheckRight", ASKS_OF_HOSTS),
    ("DiffPolicy", PLANS),
    ("ApplyServices", SUBMITS),
    ("PlanServices", PLANS),
    ("ChangeService", CHANGES_HOSTS),
    ("ListStrangers", ASKS),
    ("ListZones", ASKS),
    ("ReleaseBrake", SHORT),
    ("ListServices", ASKS),
    ("ListVersions", ASKS),
    ("ReadLogs", WATCHES),
    ("FollowOutput", Call { bytes: HOSTS, works: true, ..WATCHES }),
    ("ListVitals", ASKS_OF_HOSTS),
];

impl Call {
    /// Returns the bounds of the call at a path.
    pub(super) fn at(path: &str) -> &'static Call {
        let name = path.rsplit('/').next().unwrap_or_default();
        TABLE.iter().find(|(known, _)| *known == name).map_or(&SHORT, |(_, call)| call)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use orchestra_certs::{Role, roles};

    use super::*;

    #[test]
    fn every_call_of_the_audience_has_its_bounds() {
        let audience = roles::TABLE.iter().filter(|(_, roles)| roles.contains(&Role::Audience));
        let paths: BTreeSet<&str> =
            audience.filter_map(|(path, _)| path.strip_prefix("/orchestra.v1.Audience/")).collect();
        let known: BTreeSet<&str> = TABLE.iter().map(|(name, _)| *name).collect();
        assert_eq!(known, paths);
        assert_eq!(known.len(), TABLE.len());
    }
}
