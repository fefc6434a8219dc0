//! Who may do what, as messages of the protocol.

use orchestra_model::{AudienceName, BundleName, HostSet, policy::Right};
use orchestra_policy::{Affected, Difference, Effect, Pattern, Reach, Rule, Whom};
use orchestra_proto::v1;

use super::{
    answers::{Encoded, shortened},
    pages::cut,
    requests::{score, service},
};
use crate::{
    declined::{Declined, Ground},
    desk::{ListedRules, RightAnswer, RightQuestion},
};

pub(super) fn rules(listed: ListedRules) -> v1::PolicyPage {
    let ListedRules { is_open: open, rules } = listed;
    v1::PolicyPage { open, rules: rules.iter().map(rule).collect() }
}

pub(super) fn rule_pages(listed: ListedRules) -> Encoded<v1::PolicyPage> {
    let ListedRules { is_open: open, rules } = listed;
    let mut pages: Vec<_> = cut(rules.iter().map(rule))
        .into_iter()
        .map(|rules| v1::PolicyPage { open, rules })
        .collect();
    if pages.is_empty() {
        pages.push(v1::PolicyPage { open, rules: Vec::new() });
    }
    Ok(pages)
}

fn rule(rule: &Rule) -> v1::PolicyRule {
    let patterns = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect();
    v1::PolicyRule {
        name: rule.name.to_string(),
        deny: rule.effect == Effect::Deny,
        who: match &rule.who {
            Whom::Everybody => Vec::new(),
            Whom::These(names) => names.iter().map(ToString::to_string).collect(),
        },
        may: rule.may.iter().map(ToString::to_string).collect(),
        scores: patterns(&rule.scores),
        services: patterns(&rule.services),
        bundles: patterns(&rule.bundles),
        hosts: Some(reach(&rule.hosts)),
    }
}

fn reach(reach: &Reach) -> v1::Reach {
    let told = |all_but: bool, hosts: &HostSet| v1::Reach {
        all_but,
        hosts: shortened(&hosts.to_string()),
        count: u32::try_from(hosts.len()).unwrap_or(u32::MAX),
    };
    match reach {
        Reach::These(hosts) => told(false, hosts),
        Reach::AllBut(hosts) => told(true, hosts),
    }
}

/// Reads a question about a right.
pub(super) fn right_question(request: v1::CheckRightRequest) -> Result<RightQuestion, Declined> {
    let who = AudienceName::new(&request.who).map_err(|error| Declined::invalid(&error))?;
    let right = Right::from_word(&request.right).ok_or_else(|| {
        let words: Vec<&str> = Right::all().map(Right::as_str).collect();
        let asked: String = request.right.chars().take(60).collect();
        let why = format!("no right is called {asked:?}; there are {}", words.join(", "));
        Declined::new(Ground::Invalid, why)
    })?;
    let named = Some(request.service).filter(|name| !name.is_empty());
    let bundle = Some(request.bundle).filter(|name| !name.is_empty());
    Ok(RightQuestion {
        who,
        right,
        score: score(&request.score)?,
        service: named.map(|name| service(&name)).transpose()?,
        bundle: bundle
            .map(|name| BundleName::new(&name))
            .transpose()
            .map_err(|error| Declined::invalid(&error))?,
        is_of_others: request.of_others,
        hosts: Some(request.hosts).filter(|hosts| !hosts.is_empty()),
    })
}

pub(super) fn right(answer: &RightAnswer) -> v1::CheckRightResponse {
    v1::CheckRightResponse {
        allowed: answer.why_not.is_none(),
        why: answer.why_not.as_deref().map(shortened).unwrap_or_default(),
        reach: Some(reach(&answer.reach)),
    }
}

pub(super) fn difference_pages(found: Vec<Difference>) -> Encoded<v1::PolicyDifferencePage> {
    let pages = cut(found.into_iter().map(difference)).into_iter();
    Ok(pages.map(|differences| v1::PolicyDifferencePage { differences }).collect())
}

fn difference(found: Difference) -> v1::PolicyDifference {
    let Difference { who, right, what, is_of_others: of_others, lost, gained } = found;
    v1::PolicyDifference {
        who: match who {
            Affected::Named(name) => name.to_string(),
            Affected::Others => String::new(),
        },
        right: right.to_string(),
        what,
        of_others,
        lost: Some(reach(&lost)),
        gained: Some(reach(&gained)),
    }
}
