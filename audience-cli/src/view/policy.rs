//! Who may do what.

use std::{collections::BTreeSet, io};

use orchestra_client::{AllowedHosts, PolicyDifference, PolicyRule, RightAnswer, WhoAmI};
use orchestra_model::{
    names::AudienceName,
    policy::{Right, Role},
};
use serde::Serialize;

use super::{Listing, Output, Page, Style, one_line};

/// Rules of the policy in force.
pub(crate) struct Rules;

impl Listing for Rules {
    type Item = PolicyRule;

    const NOUN: &'static str = "policy";

    fn json(&self, rule: &PolicyRule) -> impl Serialize {
        RuleDocument::from(rule.clone())
    }

    fn text(&self, rule: &PolicyRule, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let who = if rule.who.is_empty() { "everybody".to_owned() } else { rule.who.join(", ") };
        let effect = if rule.denies { "denies" } else { "allows" };
        writeln!(out, "{} {effect} {}", one_line(&rule.name), one_line(&who))?;
        write_rule(out, rule)
    }

    fn remark(&self, told: usize) -> Option<String> {
        let open = "the policy is open: every audience may do everything";
        (told == 0).then(|| open.to_owned())
    }
}

/// Writes what a rule is about, below who it is about.
fn write_rule(out: &mut dyn Page, rule: &PolicyRule) -> io::Result<()> {
    writeln!(out, "  {}", rights(&rule.may))?;
    for (what, names) in
        [("scores", &rule.scores), ("services", &rule.services), ("bundles", &rule.bundles)]
    {
        if !names.is_empty() {
            writeln!(out, "  {what}: {}", one_line(&names.join(" ")))?;
        }
    }
    writeln!(out, "  hosts: {}", one_line(&rule.hosts.to_string()))
}

/// Returns rights in few words: roles instead of all their rights.
fn rights(words: &[String]) -> String {
    let mut left: BTreeSet<&str> = words.iter().map(String::as_str).collect();
    let mut told = Vec::new();
    for role in Role::ALL.iter().rev() {
        let rights: BTreeSet<&str> = role.rights().map(Right::as_str).collect();
        if rights.is_subset(&left) {
            told.push(role.as_str());
            left = left.difference(&rights).copied().collect();
        }
    }
    told.extend(words.iter().map(String::as_str).filter(|word| left.contains(word)));
    one_line(&told.join(", "))
}

#[derive(Serialize)]
struct RuleDocument {
    name: String,
    deny: bool,
    /// `null`: everybody.
    who: Option<Vec<String>>,
    may: Vec<String>,
    scores: Vec<String>,
    services: Vec<String>,
    bundles: Vec<String>,
    hosts: ReachDocument,
}

impl From<PolicyRule> for RuleDocument {
    fn from(rule: PolicyRule) -> Self {
        let PolicyRule { name, denies: deny, who, may, scores, services, bundles, hosts } = rule;
        let who = Some(who).filter(|who| !who.is_empty());
        Self { name, deny, who, may, scores, services, bundles, hosts: hosts.into() }
    }
}

#[derive(Serialize)]
struct ReachDocument {
    all_but: bool,
    hosts: String,
    count: u32,
}

impl From<AllowedHosts> for ReachDocument {
    fn from(AllowedHosts { all_but, hosts, count }: AllowedHosts) -> Self {
        Self { all_but, hosts, count }
    }
}

impl Output for WhoAmI {
    fn noun(&self) -> &'static str {
        "whoami"
    }

    fn json(self) -> impl Serialize {
        #[derive(Serialize)]
        struct Document {
            name: String,
            open: bool,
            rules: Vec<RuleDocument>,
        }
        let rules = self.rules.into_iter().map(Into::into).collect();
        Document { name: self.name, open: self.is_open, rules }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        writeln!(out, "{}", one_line(&self.name))?;
        if self.is_open {
            return writeln!(out, "  everything: the policy is open");
        }
        for rule in &self.rules {
            let effect = if rule.denies { "denied" } else { "allowed" };
            writeln!(out, "{effect} by rule {}", one_line(&rule.name))?;
            write_rule(out, rule)?;
        }
        Ok(())
    }

    fn remark(&self) -> Option<String> {
        let is_nobody = !self.is_open && self.rules.is_empty();
        is_nobody.then(|| "no rule of the policy is about this audience".to_owned())
    }
}

/// Whether somebody may do something.
pub(crate) struct Answer {
    pub(crate) who: AudienceName,
    pub(crate) right: Right,
    pub(crate) answer: RightAnswer,
}

impl Output for Answer {
    fn noun(&self) -> &'static str {
        "right"
    }

    fn json(self) -> impl Serialize {
        #[derive(Serialize)]
        struct Document {
            who: AudienceName,
            right: &'static str,
            allowed: bool,
            why: Option<String>,
            reach: ReachDocument,
        }
        let Self { who, right, answer: RightAnswer { why_not: why, reach } } = self;
        Document { who, right: right.as_str(), allowed: why.is_none(), why, reach: reach.into() }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        match &self.answer.why_not {
            None => writeln!(out, "yes"),
            Some(why) if self.answer.reach.is_nowhere() => writeln!(out, "no: {}", one_line(why)),
            Some(why) => {
                let where_ = one_line(&self.answer.reach.to_string());
                writeln!(out, "no: {}\nallowed on: {where_}", one_line(why))
            }
        }
    }
}

/// What everybody would lose and gain.
pub(crate) struct Differences;

impl Listing for Differences {
    type Item = PolicyDifference;

    const NOUN: &'static str = "differences";

    fn json(&self, found: &PolicyDifference) -> impl Serialize {
        #[derive(Serialize)]
        struct Document<'a> {
            who: Option<&'a str>,
            right: &'a str,
            what: Option<&'a str>,
            of_others: bool,
            lost: ReachDocument,
            gained: ReachDocument,
        }
        Document {
            who: found.who.as_deref(),
            right: &found.right,
            what: Some(found.what.as_str()).filter(|what| !what.is_empty()),
            of_others: found.of_others,
            lost: found.lost.clone().into(),
            gained: found.gained.clone().into(),
        }
    }

    /// `alice loses submit deploy-* on w[3-4]`.
    fn text(&self, found: &PolicyDifference, out: &mut dyn Page, _: Style) -> io::Result<()> {
        let who = one_line(found.who.as_deref().unwrap_or("everybody else"));
        let mut what = one_line(&found.right);
        if !found.what.is_empty() {
            what = format!("{what} {}", one_line(&found.what));
        }
        if found.of_others {
            what.push_str(" in flows of others");
        }
        for (verb, reach) in [("loses", &found.lost), ("gains", &found.gained)] {
            if !reach.is_nowhere() {
                let place = if reach.all_but { "" } else { "on " };
                writeln!(out, "{who} {verb} {what} {place}{}", one_line(&reach.to_string()))?;
            }
        }
        Ok(())
    }

    fn remark(&self, told: usize) -> Option<String> {
        (told == 0).then(|| "nobody loses or gains anything".to_owned())
    }
}
