//! Rules, each of which gives or denies some people some rights.

use std::{collections::BTreeSet, fmt, sync::Arc};

use orchestra_model::{AudienceName, names::RuleName, policy::Right};

use crate::{Reach, What};

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It gives rights.
    Allow,
    /// It denies rights, whatever other rules give.
    Deny,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Every audience.
    Everybody,
    /// These audiences.
    These(BTreeSet<AudienceName>),
}

impl Whom {
    /// Returns whether an audience is among them; `None` is one whom no rule names.
    pub fn has(&self, who: Option<&AudienceName>) -> bool {
        match self {
            Self::Everybody => true,
            Self::These(names) => who.is_some_and(|who| names.contains(who)),
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

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, which no other rule of the policy has.
    pub name: RuleName,
    /// What it does.
    pub effect: Effect,
    /// Whom it is about.
    pub who: Whom,
    /// Which rights.
    pub may: BTreeSet<Right>,
    /// On tasks of which scores.
    pub scores: Vec<Pattern>,
    /// On which services.
    pub services: Vec<Pattern>,
    /// On which bundles.
    pub bundles: Vec<Pattern>,
    /// On which hosts.
    pub hosts: Reach,
}

impl Rule {
    /// Returns whether it is about this right on this.
    pub(crate) fn concerns(&self, right: Right, what: &What<'_>) -> bool {
        let has_right = match (self.effect, what.is_of_others()) {
            // To do something to the flow of somebody else, both are needed, and each can be denied.
            (Effect::Allow, true) => {
                self.may.contains(&right) && self.may.contains(&Right::OthersFlows)
            }
            (Effect::Deny, true) => {
                self.may.contains(&right) || self.may.contains(&Right::OthersFlows)
            }
            (_, false) => self.may.contains(&right),
        };
        let is_one = |patterns: &[Pattern], name: &str| patterns.iter().any(|it| it.matches(name));
        has_right
            && match what {
                What::Conductor | What::Hosts => true,
                What::Score { score, .. } => is_one(&self.scores, score),
                What::Service(service) => is_one(&self.services, service),
                What::Bundle(bundle) => is_one(&self.bundles, bundle),
                What::ScoreOfService { service, score } => {
                    is_one(&self.services, service) && is_one(&self.scores, score)
                }
            }
    }
}
