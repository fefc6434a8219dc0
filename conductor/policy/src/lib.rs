//! Who may do what: a pure function, and the words of its refusals.
//!
//! A policy is a list of rules, whose order means nothing. Something is allowed on a host where some
//! rule gives it and none denies it. What no rule gives is refused. So a question about hosts is
//! answered by one set, the [`Reach`] of a right, and a request is allowed if all its hosts are in
//! it:
//!
//! ```text
//!   rules that give it: ∪ of their hosts ──┐
//!                                          ├─ minus ─▶ reach ─▶ hosts that are missing ─▶ refused
//!   rules that deny it: ∪ of their hosts ──┘
//! ```
//!
//! A rule that denies what is done by services and their scores denies it if it is about both: to
//! deny a score wherever it runs, a rule names all services.

mod differences;
mod reach;
mod rule;

use std::{collections::BTreeSet, fmt};

pub use orchestra_model::policy::Pattern;
use orchestra_model::{AudienceName, HostSet, names::RuleName, policy::Right};

pub use self::{
    differences::{Affected, Difference, differences},
    reach::Reach,
    rule::{Effect, Rule, Whom},
};

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Every audience may do everything.
    Open,
    /// What these rules say, and nothing else.
    Rules(Vec<Rule>),
}

/// What something is done to, beside hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// The conductor as a whole.
    Conductor,
    /// Hosts.
    Hosts,
    /// Tasks of a score, in a flow of one's own or of somebody else.
    Score {
        /// The score.
        score: &'a str,
        /// Whether the flow is somebody else's.
        is_of_others: bool,
    },
    /// A service.
    Service(&'a str),
    /// A bundle.
    Bundle(&'a str),
    /// A service that runs this score.
    ScoreOfService {
        /// The service.
        service: &'a str,
        /// The score.
        score: &'a str,
    },
}

impl What<'_> {
    /// Returns whether it is done on hosts.
    pub fn is_of_hosts(&self) -> bool {
        !matches!(self, Self::Conductor | Self::Bundle(_))
    }

    fn is_of_others(&self) -> bool {
        matches!(self, Self::Score { is_of_others: true, .. })
    }
}

/// Behind the name of a right.
impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conductor | Self::Hosts => Ok(()),
            Self::Score { score, is_of_others: false } => write!(f, " {score}"),
            Self::Score { score, is_of_others: true } => {
                write!(f, " {score} in a flow of somebody else")
            }
            Self::Service(name) | Self::Bundle(name) => write!(f, " {name}"),
            Self::ScoreOfService { service, score } => write!(f, " {service} with score {score}"),
        }
    }
}

/// Under what a request is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// Every audience may do everything.
    Open,
    /// These rules give it, each on some of its hosts.
    Rules(BTreeSet<RuleName>),
}

/// Under no rule, as far as nothing was asked.
impl Default for Allowance {
    fn default() -> Self {
        Self::Rules(BTreeSet::new())
    }
}

impl Allowance {
    /// Returns under what two requests are allowed together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Rules(mut rules), Self::Rules(others)) => {
                rules.extend(others);
                Self::Rules(rules)
            }
            _ => Self::Open,
        }
    }
}

/// Names of rules; `(open)`, which no rule is called, where there are none.
impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Most rules that are named.
        const MOST: usize = 20;
        let Self::Rules(rules) = self else { return f.write_str("(open)") };
        for (at, rule) in rules.iter().take(MOST).enumerate() {
            write!(f, "{}{rule}", if at == 0 { "" } else { ", " })?;
        }
        match rules.len().saturating_sub(MOST) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A request that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Who asked.
    pub who: AudienceName,
    /// For what.
    pub right: Right,
    what: String,
    /// Those of its hosts on which it is not allowed; `None` if it is about none.
    pub hosts: Option<HostSet>,
    /// Why.
    pub why: Why,
}

/// Why a request is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// This rule denies it.
    Denied(RuleName),
    /// No rule gives it there, and this one elsewhere.
    Elsewhere(RuleName),
    /// No rule gives it.
    Nobody,
}

impl std::error::Error for Denial {}

impl Denial {
    /// Returns the rule that denies it, if one does.
    pub fn rule(&self) -> Option<&RuleName> {
        match &self.why {
            Why::Denied(rule) => Some(rule),
            Why::Elsewhere(_) | Why::Nobody => None,
        }
    }

    /// Returns what is told to somebody who may know of these hosts: others are not named.
    pub fn told_to(&self, known: &Reach) -> String {
        let Self { who, right, what, hosts, why } = self;
        let on = hosts.as_ref().map(|hosts| (known.of(hosts), !known.missing(hosts).is_empty()));
        let on = match on {
            None => String::new(),
            Some((named, _)) if named.is_empty() => " on hosts that you may not know of".to_owned(),
            Some((named, true)) => format!(" on {named} and on hosts that you may not know of"),
            Some((named, false)) => format!(" on {named}"),
        };
        format!("{who} may not {right}{what}{on}{why}")
    }

    /// Returns what may not be done and why, without the hosts.
    pub fn shortly(&self) -> String {
        format!("may not {}{}{}", self.right, self.what, self.why)
    }
}

/// Behind what it is about.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(rule) => write!(f, ": rule {rule} denies it"),
            Self::Elsewhere(rule) => write!(f, ": rule {rule} allows it on other hosts"),
            Self::Nobody => f.write_str(": no rule allows it"),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, right, what, hosts, why } = self;
        write!(f, "{who} may not {right}{what}")?;
        if let Some(hosts) = hosts {
            write!(f, " on {hosts}")?;
        }
        why.fmt(f)
    }
}

/// Nobody may do anything.
impl Default for Policy {
    fn default() -> Self {
        Self::Rules(Vec::new())
    }
}

impl Policy {
    /// Returns whether an audience may do something on hosts, of which none may be missing; `None` if
    /// it is not about hosts. The rules that decided are told if it may not.
    pub fn check(
        &self,
        who: &AudienceName,
        right: Right,
        what: What<'_>,
        hosts: Option<&HostSet>,
    ) -> Result<(), Denial> {
        let reach = self.reach(Some(who), right, &what);
        let missing = match hosts {
            Some(hosts) => reach.missing(hosts),
            None => HostSet::default(),
        };
        let is_allowed = match hosts {
            Some(hosts) => missing.is_empty() && !(hosts.is_empty() && reach.is_nowhere()),
            None => !reach.is_nowhere(),
        };
        if is_allowed {
            return Ok(());
        }
        let why = self.why_not(who, right, &what, hosts.map(|_| &missing));
        let hosts = hosts.map(|_| missing).filter(|missing| !missing.is_empty());
        Err(Denial { who: who.clone(), right, what: what.to_string(), hosts, why })
    }

    /// Checks as [`Policy::check`] does, and returns under what a request is allowed.
    pub fn allow(
        &self,
        who: &AudienceName,
        right: Right,
        what: What<'_>,
        hosts: Option<&HostSet>,
    ) -> Result<Allowance, Denial> {
        self.check(who, right, what, hosts)?;
        Ok(self.allowance(who, right, &what, hosts))
    }

    /// Returns the rules that give an audience something on any of these hosts, of a request that is
    /// allowed.
    fn allowance(
        &self,
        who: &AudienceName,
        right: Right,
        what: &What<'_>,
        hosts: Option<&HostSet>,
    ) -> Allowance {
        let Self::Rules(rules) = self else { return Allowance::Open };
        let is_there = |rule: &&Rule| match hosts {
            Some(hosts) if what.is_of_hosts() && !hosts.is_empty() => {
                !rule.hosts.of(hosts).is_empty()
            }
            _ => true,
        };
        let gives = |rule: &&Rule| {
            rule.effect == Effect::Allow && rule.who.has(Some(who)) && rule.concerns(right, what)
        };
        let names = rules.iter().filter(gives).filter(is_there).map(|rule| rule.name.clone());
        Allowance::Rules(names.collect())
    }

    /// Returns on which hosts an audience may do something; `None` is an audience whom no rule
    /// names.
    pub fn reach(&self, who: Option<&AudienceName>, right: Right, what: &What<'_>) -> Reach {
        let Self::Rules(rules) = self else { return Reach::everywhere() };
        // What is about no hosts is not limited by the hosts that its rule has for others.
        let (is_of_hosts, everywhere) = (what.is_of_hosts(), Reach::everywhere());
        let of = |effect| {
            let of = move |rule: &&Rule| rule.effect == effect && rule.who.has(who);
            let concerned = rules.iter().filter(of).filter(|rule| rule.concerns(right, what));
            concerned.map(|rule| if is_of_hosts { &rule.hosts } else { &everywhere })
        };
        let join = |reach: Reach, hosts: &Reach| match reach.is_everywhere() {
            true => reach,
            false => reach.union(hosts),
        };
        let given = of(Effect::Allow).fold(Reach::nowhere(), join);
        of(Effect::Deny).fold(given, |reach, hosts| reach.minus(hosts))
    }

    /// Returns the hosts of which an audience may know that there are such: those on which some rule
    /// gives them something.
    pub fn known_to(&self, who: &AudienceName) -> Reach {
        let Self::Rules(rules) = self else { return Reach::everywhere() };
        let given = rules.iter().filter(|rule| rule.effect == Effect::Allow);
        let theirs = given.filter(|rule| rule.who.has(Some(who)));
        theirs.fold(Reach::nowhere(), |known, rule| match known.is_everywhere() {
            true => known,
            false => known.union(&rule.hosts),
        })
    }

    /// Returns the rules that are about an audience.
    pub fn rules_of(&self, who: &AudienceName) -> impl Iterator<Item = &Rule> {
        self.rules().iter().filter(|rule| rule.who.has(Some(who)))
    }

    /// Returns whether every audience may do everything.
    pub fn is_open(&self) -> bool {
        *self == Self::Open
    }

    /// Returns its rules. An open policy has none.
    pub fn rules(&self) -> &[Rule] {
        match self {
            Self::Open => &[],
            Self::Rules(rules) => rules,
        }
    }

    /// Returns why somebody may not do something on any of these hosts.
    fn why_not(
        &self,
        who: &AudienceName,
        right: Right,
        what: &What<'_>,
        hosts: Option<&HostSet>,
    ) -> Why {
        let concerned = |effect| {
            let of = move |rule: &&Rule| rule.effect == effect && rule.who.has(Some(who));
            self.rules().iter().filter(of).filter(|rule| rule.concerns(right, what))
        };
        let is_there = |rule: &&Rule| match hosts {
            Some(hosts) if !hosts.is_empty() => !rule.hosts.of(hosts).is_empty(),
            _ => true,
        };
        if let Some(rule) = concerned(Effect::Deny).find(is_there) {
            return Why::Denied(rule.name.clone());
        }
        match concerned(Effect::Allow).find(|rule| !rule.hosts.is_nowhere()) {
            Some(rule) => Why::Elsewhere(rule.name.clone()),
            None => Why::Nobody,
        }
    }
}
