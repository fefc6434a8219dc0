//! What a policy allows, told as stories and compared with a reference.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::collections::BTreeSet;

use orchestra_model::{
    AudienceName, HostSet,
    audit::Verb,
    chance::Chance,
    policy::{Concern, Right, Role},
};
use orchestra_policy::{
    Affected, Difference, Effect, Pattern, Policy, Reach, Rule, What, Whom, differences,
};

const SUBMIT: Right = Right::Do(Verb::Submit);
const CANCEL: Right = Right::Do(Verb::Cancel);
const DRAIN: Right = Right::Do(Verb::Drain);
const APPLY: Right = Right::Do(Verb::ServiceApply);
const RELOAD: Right = Right::Do(Verb::Reload);

fn who(name: &str) -> AudienceName {
    AudienceName::new(name).unwrap()
}

fn hosts(text: &str) -> HostSet {
    match text {
        "" => HostSet::default(),
        text => HostSet::parse_plain(text).unwrap(),
    }
}

/// A rule that lets `who` do `may` on what matches `what`, on these hosts; `*` is everywhere.
fn rule(name: &str, who: &str, may: impl IntoIterator<Item = Right>, what: &str, on: &str) -> Rule {
    let patterns: Vec<Pattern> = what.split_whitespace().filter_map(Pattern::read).collect();
    let names = who.split_whitespace().map(|name| AudienceName::new(name).unwrap());
    Rule {
        name: name.parse().unwrap(),
        effect: Effect::Allow,
        who: if who == "*" { Whom::Everybody } else { Whom::These(names.collect()) },
        may: may.into_iter().collect(),
        scores: patterns.clone(),
        services: patterns.clone(),
        bundles: patterns,
        hosts: if on == "*" { Reach::everywhere() } else { Reach::These(hosts(on)) },
    }
}

fn deny(rule: Rule) -> Rule {
    Rule { effect: Effect::Deny, ..rule }
}

fn score(score: &str) -> What<'_> {
    What::Score { score, is_of_others: false }
}

fn of_others(score: &str) -> What<'_> {
    What::Score { score, is_of_others: true }
}

/// What is said to somebody who asks.
fn said(policy: &Policy, name: &str, right: Right, what: What<'_>, on: Option<&str>) -> String {
    let on = on.map(hosts);
    match policy.check(&who(name), right, what, on.as_ref()) {
        Ok(()) => "yes".to_owned(),
        Err(denial) => denial.to_string(),
    }
}

#[test]
fn what_no_rule_gives_is_refused() {
    let policy = Policy::Rules(vec![rule("web", "alice", [SUBMIT], "deploy", "w[1-3]")]);
    let submit = |name, score, on| said(&policy, name, SUBMIT, score, Some(on));
    assert_eq!(submit("alice", score("deploy"), "w[1-2]"), "yes");
    assert_eq!(
        submit("alice", score("deploy"), "w[2-5],x"),
        "alice may not submit deploy on w[4-5],x: rule web allows it on other hosts"
    );
    assert_eq!(
        submit("alice", score("deploy2"), "w1"),
        "alice may not submit deploy2 on w1: no rule allows it"
    );
    assert_eq!(
        submit("bob", score("deploy"), "w1"),
        "bob may not submit deploy on w1: no rule allows it"
    );
    assert_eq!(
        said(&policy, "alice", RELOAD, What::Conductor, None),
        "alice may not reload: no rule allows it"
    );
    assert_eq!(
        said(&policy, "alice", DRAIN, What::Hosts, Some("w1")),
        "alice may not drain on w1: no rule allows it"
    );
}

#[test]
fn rules_add_up_and_one_that_denies_wins_wherever_it_stands() {
    let rules = vec![
        deny(rule("calm", "*", [SUBMIT], "reboot", "db[1-2]")),
        rule("all", "alice", [SUBMIT], "*", "w[1-9]"),
        rule("more", "alice bob", [SUBMIT], "re*", "db[1-9]"),
    ];
    for rules in [rules.clone(), rules.into_iter().rev().collect()] {
        let policy = Policy::Rules(rules);
        let submit = |score_, on| said(&policy, "alice", SUBMIT, score(score_), Some(on));
        assert_eq!(submit("reboot", "w1,db3"), "yes");
        assert_eq!(
            submit("reboot", "w1,db[1-3]"),
            "alice may not submit reboot on db[1-2]: rule calm denies it"
        );
        assert_eq!(submit("restart", "w1,db[1-3]"), "yes");
    }
}

#[test]
fn a_flow_of_somebody_else_needs_a_right_of_its_own_from_the_same_rule() {
    let others = Right::OthersFlows;
    let policy = Policy::Rules(vec![
        rule("own", "alice", [CANCEL], "*", "*"),
        rule("web", "alice", [CANCEL, others], "*", "w1"),
        deny(rule("keep", "bob", [others], "*", "*")),
        rule("bob", "bob", [CANCEL, others], "*", "*"),
    ]);
    assert_eq!(said(&policy, "alice", CANCEL, score("x"), Some("w[1-2]")), "yes");
    assert_eq!(said(&policy, "alice", CANCEL, of_others("x"), Some("w1")), "yes");
    assert_eq!(
        said(&policy, "alice", CANCEL, of_others("x"), Some("w[1-2]")),
        "alice may not cancel x in a flow of somebody else on w2: rule web allows it on other hosts"
    );
    assert_eq!(said(&policy, "bob", CANCEL, score("x"), Some("w1")), "yes");
    assert_eq!(
        said(&policy, "bob", CANCEL, of_others("x"), Some("w1")),
        "bob may not cancel x in a flow of somebody else on w1: rule keep denies it"
    );
}

#[test]
fn a_service_is_applied_with_a_score_that_one_may_apply() {
    let mut one = rule("web", "alice", [APPLY], "run-web", "w[1-3]");
    one.services = vec![Pattern::read("web-*").unwrap()];
    let policy = Policy::Rules(vec![one]);
    let apply = |service, score| {
        said(&policy, "alice", APPLY, What::ScoreOfService { service, score }, Some("w1"))
    };
    assert_eq!(apply("web-shop", "run-web"), "yes");
    assert_eq!(
        apply("web-shop", "run-db"),
        "alice may not service-apply web-shop with score run-db on w1: no rule allows it"
    );
    assert_ne!(apply("db", "run-web"), "yes");
}

#[test]
fn who_has_a_right_nowhere_has_none_on_no_host() {
    let nowhere = Policy::Rules(vec![rule("x", "alice", [DRAIN], "", "")]);
    assert_ne!(said(&nowhere, "alice", DRAIN, What::Hosts, Some("")), "yes");
    assert_ne!(said(&nowhere, "alice", DRAIN, What::Hosts, None), "yes");
    assert_eq!(said(&Policy::Open, "anybody", DRAIN, What::Hosts, Some("w1")), "yes");
    assert_ne!(said(&Policy::Rules(Vec::new()), "alice", DRAIN, What::Hosts, None), "yes");
}

#[test]
fn patterns_are_names_or_their_beginnings() {
    for wrong in ["", "a*b", "**", "*a"] {
        assert_eq!(Pattern::read(wrong), None, "{wrong:?}");
    }
    let like = |pattern, name| Pattern::read(pattern).unwrap().matches(name);
    assert!(like("*", "x") && like("deploy-*", "deploy-") && like("a", "a"));
    assert!(!like("deploy-*", "my-deploy-x") && !like("deploy-*", "deploy"));
    assert!(!like("a", "ab") && !like("a", "A"));
}

#[test]
fn what_changes_is_told_by_whom_and_where() {
    let viewer: Vec<Right> = Role::Viewer.rights().collect();
    let before = Policy::Rules(vec![
        rule("see", "*", viewer.clone(), "", "*"),
        rule("web", "alice", [SUBMIT], "deploy-*", "w[1-4]"),
    ]);
    let after = Policy::Rules(vec![
        rule("see", "alice", viewer, "", "*"),
        rule("web", "alice", [SUBMIT], "deploy-*", "w[1-4]"),
        deny(rule("one", "*", [SUBMIT], "deploy-all", "w[3-9]")),
    ]);
    let told = |found: Vec<Difference>| -> Vec<String> {
        let line = |it: Difference| {
            let others = if it.is_of_others { " of others" } else { "" };
            let Difference { who, right, what, lost, gained, .. } = it;
            format!("{who}: {right} {what}{others}: -{lost} +{gained}")
        };
        found.into_iter().map(line).collect()
    };
    assert_eq!(
        told(differences(&before, &after)),
        [
            "alice: submit deploy-all: -w[3-4] +nowhere",
            "everybody else: see : -everywhere +nowhere"
        ]
    );
    assert_eq!(differences(&after, &after), []);
    let closed = differences(&Policy::Open, &Policy::Rules(Vec::new()));
    let count = Right::all().count();
    assert!(closed.len() >= count - 1 && closed.iter().all(|it| it.who == Affected::Others));
}

/// Draws a number below `n`.
fn below(chance: &mut Chance, n: u64) -> u64 {
    chance.up_to(n - 1)
}

/// Draws some of these.
fn some<T: Copy>(chance: &mut Chance, of: &[T]) -> Vec<T> {
    of.iter().copied().filter(|_| below(chance, 2) == 0).collect()
}

const NAMES: [&str; 3] = ["alice", "bob", "eve"];
const PATTERNS: [&str; 5] = ["a", "ab", "a*", "*", "b"];
const WORDS: [&str; 4] = ["a", "ab", "b", "c"];
const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
const REGISTER: Right = Right::Do(Verb::BundleRegister);
const RIGHTS: [Right; 7] =
    [SUBMIT, CANCEL, Right::OthersFlows, APPLY, DRAIN, Right::ReadOutput, REGISTER];

fn random_policy(chance: &mut Chance) -> Policy {
    let count = below(chance, 5);
    let rules = (0..count).map(|number| {
        let who = match below(chance, 4) {
            0 => "*".to_owned(),
            _ => some(chance, &NAMES[..2]).join(" "),
        };
        let on = match below(chance, 4) {
            0 => "*".to_owned(),
            _ => some(chance, &HOSTS[..2]).join(","),
        };
        let what = some(chance, &PATTERNS).join(" ");
        let one = rule(&format!("r{number}"), &who, some(chance, &RIGHTS), &what, &on);
        let services = some(chance, &PATTERNS).into_iter().filter_map(Pattern::read).collect();
        let one = Rule { services, ..one };
        if below(chance, 3) == 0 { deny(one) } else { one }
    });
    Policy::Rules(rules.collect())
}

/// Whether one host is allowed, by reading rule after rule.
fn is_allowed(policy: &Policy, name: &str, right: Right, what: &What<'_>, host: &str) -> bool {
    let like = |patterns: &[Pattern], word: &str| patterns.iter().any(|it| it.matches(word));
    let (mut given, mut denied) = (false, false);
    for rule in policy.rules() {
        let is_about_what = match what {
            What::Conductor | What::Hosts => true,
            What::Score { score, .. } => like(&rule.scores, score),
            What::Service(service) => like(&rule.services, service),
            What::Bundle(bundle) => like(&rule.bundles, bundle),
            What::ScoreOfService { service, score } => {
                like(&rule.services, service) && like(&rule.scores, score)
            }
        };
        let is_there = matches!(what, What::Bundle(_)) || !rule.hosts.of(&hosts(host)).is_empty();
        let is_here = rule.who.has(Some(&who(name))) && is_about_what && is_there;
        let has = |right| is_here && rule.may.contains(&right);
        let of_others = matches!(what, What::Score { is_of_others: true, .. });
        match rule.effect {
            Effect::Allow => given |= has(right) && (!of_others || has(Right::OthersFlows)),
            Effect::Deny => denied |= has(right) || (of_others && has(Right::OthersFlows)),
        }
    }
    given && !denied
}

fn everything(right: Right) -> Vec<What<'static>> {
    let own = WORDS.map(score);
    let others = WORDS.map(of_others);
    let services = WORDS.map(What::Service);
    match right.concern() {
        Concern::Hosts => vec![What::Hosts],
        Concern::Scores => own.into_iter().chain(others).collect(),
        Concern::Output => own.into_iter().chain(others).chain(services).collect(),
        Concern::ScoresOfServices => {
            let pair = |service| WORDS.map(|score| What::ScoreOfService { service, score });
            WORDS.into_iter().flat_map(pair).collect()
        }
        Concern::Services => services.into(),
        Concern::Bundles => WORDS.map(What::Bundle).into(),
        Concern::Conductor => vec![What::Conductor],
    }
}

/// A set of hosts is allowed if each of them is, whoever asks for whatever, and a difference between
/// two policies is what the reference says differs.
#[test]
fn whatever_the_rules_each_host_is_judged_as_if_alone() {
    let chance = &mut Chance::new(7);
    for _ in 0..400 {
        let (policy, next) = (random_policy(chance), random_policy(chance));
        let found = differences(&policy, &next);
        let mut changed = BTreeSet::new();
        for name in NAMES {
            for right in RIGHTS.into_iter().filter(|right| *right != Right::OthersFlows) {
                for what in everything(right) {
                    let allowed = |policy: &Policy| -> Vec<bool> {
                        HOSTS.map(|host| is_allowed(policy, name, right, &what, host)).into()
                    };
                    let now = allowed(&policy);
                    let some = some(chance, &HOSTS);
                    let expected = some.iter().all(|host| {
                        HOSTS.iter().zip(&now).any(|(known, allowed)| known == host && *allowed)
                    });
                    let asked = hosts(&some.join(","));
                    let checked = policy.check(&who(name), right, what, Some(&asked));
                    if !some.is_empty() {
                        assert_eq!(checked.is_ok(), expected, "{name} {right}{what}: {policy:?}");
                    }
                    if let Err(denial) = checked
                        && let Some(missing) = denial.hosts
                    {
                        assert!(missing.iter().all(|host| {
                            !is_allowed(&policy, name, right, &what, host.as_str())
                        }));
                    }
                    if now != allowed(&next) {
                        changed.insert((name, right));
                    }
                }
            }
        }
        let told: BTreeSet<_> = found.iter().map(|it| (it.who.to_string(), it.right)).collect();
        for (name, right) in changed {
            let is_named = told.contains(&(name.to_owned(), right));
            let is_other = told.contains(&("everybody else".to_owned(), right));
            assert!(is_named || is_other, "{name} {right} changed: {found:?}");
        }
    }
}
