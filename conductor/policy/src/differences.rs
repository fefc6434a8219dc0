//! What somebody loses and gains if one policy follows another.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use orchestra_model::{
    AudienceName,
    policy::{Concern, Right},
};

use crate::{Pattern, Policy, Reach, What, Whom};

/// A character that no name has: a name with it is like every pattern that it has to be like, and
/// like no longer one.
const NO_NAME: char = '\u{1}';

/// Somebody of whom policies speak.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Affected {
    /// This audience.
    Named(AudienceName),
    /// Each audience that no rule names.
    Others,
}

impl Affected {
    fn name(&self) -> Option<&AudienceName> {
        match self {
            Self::Named(name) => Some(name),
            Self::Others => None,
        }
    }
}

impl fmt::Display for Affected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.pad(name.as_str()),
            Self::Others => f.pad("everybody else"),
        }
    }
}

/// What changes for somebody in one right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// For whom.
    pub who: Affected,
    /// In which right.
    pub right: Right,
    /// On which scores, services or bundles: a name, or `NAME*` for all others that begin so. Empty for a
    /// right that is about none of them.
    pub what: String,
    /// Whether it is about flows of others.
    pub is_of_others: bool,
    /// Where it is lost.
    pub lost: Reach,
    /// Where it is gained.
    pub gained: Reach,
}

/// Returns what changes if one policy follows another, by subject and right.
pub fn differences(before: &Policy, after: &Policy) -> Vec<Difference> {
    let both = || before.rules().iter().chain(after.rules());
    let mut affected: BTreeSet<Affected> = [Affected::Others].into();
    for rule in both() {
        if let Whom::These(names) = &rule.who {
            affected.extend(names.iter().cloned().map(Affected::Named));
        }
    }
    // Within one of these, all names are alike to every rule.
    let scores = alike(both().flat_map(|rule| &rule.scores));
    let services = alike(both().flat_map(|rule| &rule.services));
    let bundles = alike(both().flat_map(|rule| &rule.bundles));
    let mut found = Vec::new();
    for who in &affected {
        for right in Right::all().filter(|right| *right != Right::OthersFlows) {
            for (what, told) in asked(right, [&scores, &services, &bundles]) {
                let reach = |policy: &Policy| policy.reach(who.name(), right, &what);
                let (old, new) = (reach(before), reach(after));
                let (lost, gained) = (old.minus(&new), new.minus(&old));
                if !(lost.is_nowhere() && gained.is_nowhere()) {
                    let is_of_others = what.is_of_others();
                    let (who, what) = (who.clone(), told);
                    found.push(Difference { who, right, what, is_of_others, lost, gained });
                }
            }
        }
    }
    found
}

/// Returns a name for each set of names that are alike to these patterns, and how the set is told.
fn alike<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> BTreeMap<String, String> {
    let everything = Pattern::Beginning("".into());
    let patterns: BTreeSet<Pattern> = patterns.cloned().chain([everything]).collect();
    let named = |pattern: Pattern| match pattern {
        Pattern::Exactly(name) => (name.to_string(), name.to_string()),
        Pattern::Beginning(text) => (format!("{text}{NO_NAME}"), format!("{text}*")),
    };
    patterns.into_iter().map(named).collect()
}

/// Returns everything that a right can be asked about, with how that is told.
fn asked<'a>(
    right: Right,
    [scores, services, bundles]: [&'a BTreeMap<String, String>; 3],
) -> Vec<(What<'a>, String)> {
    let of_scores = || {
        scores.iter().flat_map(|(score, told)| {
            let of = |is_of_others| (What::Score { score, is_of_others }, told.clone());
            [of(false), of(true)]
        })
    };
    let of_services =
        || services.iter().map(|(name, told)| (What::Service(name.as_str()), told.clone()));
    match right.concern() {
        Concern::Conductor => vec![(What::Conductor, String::new())],
        Concern::Hosts => vec![(What::Hosts, String::new())],
        Concern::Scores => of_scores().collect(),
        Concern::Services => of_services().collect(),
        Concern::Bundles => {
            bundles.iter().map(|(name, told)| (What::Bundle(name), told.clone())).collect()
        }
        Concern::Output => of_scores().chain(of_services()).collect(),
        Concern::ScoresOfServices => {
            let of_service = |(service, told): (&'a String, &'a String)| {
                scores.iter().map(move |(score, of)| {
                    (What::ScoreOfService { service, score }, format!("{told} with score {of}"))
                })
            };
            services.iter().flat_map(of_service).collect()
        }
    }
}
