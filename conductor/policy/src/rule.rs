//! Rules, each of which gives or denies some people some rights.

use std::collections::BTreeSet;

use orchestra_model::{
    AudienceName,
    names::RuleName,
    policy::{Pattern, Right},
};

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
