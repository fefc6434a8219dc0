//! Rights: what a policy speaks of. Somebody has a right or has not; `conductor/policy` says which.

use std::{fmt, sync::Arc};

use crate::{audit::Verb, state::kebab_enum};

/// Something that somebody may do where a policy says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// To be told what there is, what goes on and why something waits.
    See,
    /// To read what attempts and runs of services print.
    ReadOutput,
    /// To read who did what.
    ReadAudit,
    /// To read who may do what.
    SeePolicy,
    /// To do to flows of others what one may do to one's own.
    OthersFlows,
    /// To ask for this.
    Do(Verb),
}

/// What a right is limited by, where a rule gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// By nothing: it is about the conductor as a whole.
    Conductor,
    /// By hosts.
    Hosts,
    /// By scores, and hosts: it is about tasks.
    Scores,
    /// By services, and hosts.
    Services,
    /// By services, the scores that they run, and hosts.
    ScoresOfServices,
    /// By bundles.
    Bundles,
    /// By scores or by services, and hosts: it is about what one of them prints.
    Output,
}

impl Right {
    /// Returns the right to ask for something; `None` for what only the conductor itself does. Who may
    /// submit a flow may have what is left of it done again, because that is a new flow.
    pub fn to(verb: Verb) -> Option<Self> {
        match verb {
            Verb::ServiceRepair => None,
            Verb::Retry => Some(Self::Do(Verb::Submit)),
            verb => Some(Self::Do(verb)),
        }
    }

    /// Returns every right, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        let others =
            [Self::See, Self::ReadOutput, Self::ReadAudit, Self::SeePolicy, Self::OthersFlows];
        let verbs = Verb::ALL.iter().copied().map(Self::Do);
        others.into_iter().chain(verbs.filter(|right| right.is_right()))
    }

    /// Returns whether somebody else than the conductor can have it.
    fn is_right(self) -> bool {
        match self {
            Self::Do(verb) => Self::to(verb) == Some(self),
            _ => true,
        }
    }

    /// Returns what a rule that gives it limits it by.
    pub fn concern(self) -> Concern {
        let verb = match self {
            Self::See => return Concern::Hosts,
            Self::ReadOutput => return Concern::Output,
            Self::ReadAudit | Self::SeePolicy => return Concern::Conductor,
            Self::OthersFlows => return Concern::Scores,
            Self::Do(verb) => verb,
        };
        match verb {
            Verb::Submit
            | Verb::Cancel
            | Verb::Abandon
            | Verb::Pause
            | Verb::Resume
            | Verb::Promote
            | Verb::Retry => Concern::Scores,
            Verb::Drain
            | Verb::Undrain
            | Verb::ReleaseHolds
            | Verb::ReleasePlayers
            | Verb::BrakeRelease => Concern::Hosts,
            Verb::Reload | Verb::Recover => Concern::Conductor,
            Verb::BundleRegister => Concern::Bundles,
            Verb::ServiceApply => Concern::ScoresOfServices,
            Verb::ServiceRestart
            | Verb::ServiceReload
            | Verb::ServiceSignal
            | Verb::ServiceScale
            | Verb::ServiceRebalance
            | Verb::ServiceStop
            | Verb::ServiceStart
            | Verb::ServiceRemove
            | Verb::ServicePause
            | Verb::ServiceResume
            | Verb::ServiceRevert
            | Verb::ServiceAdopt
            | Verb::ServiceStopStranger
            | Verb::ServiceDeclareDead
            | Verb::ServiceRepair => Concern::Services,
        }
    }

    /// Returns the word for it, in kebab-case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::See => "see",
            Self::ReadOutput => "read-output",
            Self::ReadAudit => "read-audit",
            Self::SeePolicy => "see-policy",
            Self::OthersFlows => "others-flows",
            Self::Do(verb) => verb.as_str(),
        }
    }

    /// Returns the right of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::all().find(|right| right.as_str() == word)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

kebab_enum!(
    /// Rights that are given together, under one word.
    Role {
        /// Sees, and changes nothing.
        Viewer = "viewer",
        /// A viewer who has flows done, reads what they print and changes them.
        Operator = "operator",
        /// An operator who changes flows of others too, players, services and bundles.
        Lead = "lead",
        /// Has every right.
        Admin = "admin",
    }
);

impl Role {
    /// Returns its rights.
    pub fn rights(self) -> impl Iterator<Item = Right> {
        Right::all().filter(move |right| self.has(*right))
    }

    fn has(self, right: Right) -> bool {
        match self {
            Self::Viewer => right == Right::See,
            Self::Operator => {
                let is_own = matches!(right.concern(), Concern::Scores | Concern::Output);
                right == Right::See || (is_own && right != Right::OthersFlows)
            }
            Self::Lead => right.concern() != Concern::Conductor,
            Self::Admin => true,
        }
    }
}

/// What a name has to be like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// It is this name.
    Exactly(Arc<str>),
    /// It begins so. Every name begins with the empty text.
    Beginning(Arc<str>),
}

impl Pattern {
    /// Reads a pattern: a name, or the beginning of names with `*` behind it. `None` if the text is
    /// empty, or has a `*` elsewhere.
    pub fn read(text: &str) -> Option<Self> {
        match text.strip_suffix('*') {
            _ if text.is_empty() => None,
            Some(beginning) if !beginning.contains('*') => Some(Self::Beginning(beginning.into())),
            None if !text.contains('*') => Some(Self::Exactly(text.into())),
            _ => None,
        }
    }

    /// Returns whether a name is like it.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exactly(exactly) => **exactly == *name,
            Self::Beginning(beginning) => name.starts_with(&**beginning),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(name) => f.write_str(name),
            Self::Beginning(beginning) => write!(f, "{beginning}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_right_has_a_word_of_its_own() {
        let words: BTreeSet<&str> = Right::all().map(Right::as_str).collect();
        assert_eq!(words.len(), Right::all().count());
        for right in Right::all() {
            assert_eq!(Right::from_word(right.as_str()), Some(right));
        }
        for word in ["retry", "service-repair", "Submit", ""] {
            assert_eq!(Right::from_word(word), None, "{word}");
        }
    }

    #[test]
    fn whoever_asks_for_something_needs_a_right() {
        for verb in Verb::ALL {
            let right = Right::to(*verb);
            assert_eq!(right.is_none(), *verb == Verb::ServiceRepair);
            assert!(right.is_none_or(|right| Right::all().any(|known| known == right)));
        }
    }

    #[test]
    fn roles_are_made_of_rights() {
        let rights = |role: Role| role.rights().collect::<BTreeSet<_>>();
        assert!(rights(Role::Operator).is_subset(&rights(Role::Lead)));
        assert!(rights(Role::Lead).is_subset(&rights(Role::Admin)));
        assert!(rights(Role::Viewer).is_subset(&rights(Role::Operator)));
        assert_eq!(rights(Role::Admin).len(), Right::all().count());
        let reload = Right::Do(Verb::Reload);
        assert!(!rights(Role::Lead).contains(&reload) && rights(Role::Admin).contains(&reload));
        assert!(!rights(Role::Operator).contains(&Right::OthersFlows));
    }
}
