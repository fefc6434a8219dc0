//! What a policy costs, over 18,000 players and a hundred rules:
//! `cargo run --release -p orchestra-policy --example cost`.
//!
//! A policy is asked once for each request and never for a task, so what it takes of a submission is
//! held against what the conductor takes for one, and what it adds to a list against a millisecond. The
//! best of several rounds counts: what else the machine does only makes a round longer.

#![expect(clippy::print_stdout, reason = "an example")]

use std::{
    collections::BTreeSet,
    hint::black_box,
    time::{Duration, Instant},
};

use orchestra_model::{
    AudienceName, HostSet,
    audit::Verb,
    names::RuleName,
    policy::{Pattern, Right, Role},
};
use orchestra_policy::{Effect, Policy, Reach, Rule, What, Whom};

const PLAYERS: usize = 18_000;
const RULES: usize = 100;
const ROUNDS: usize = 50;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let all = HostSet::parse_plain(&format!("h[1-{PLAYERS}]"))?;
    let tenth = HostSet::parse_plain(&format!("h[1-{}]", PLAYERS / 10))?;
    let one = HostSet::parse_plain("h7")?;
    let policy = policy(&all)?;
    let (wide, narrow) = (AudienceName::new("lead")?, AudienceName::new("team-7")?);
    println!("     time   case");
    let told = |case: &str, took: Duration| println!("{:>6} µs   {case}", took.as_micros());
    for (case, who, hosts) in [
        ("a submission to one host", &narrow, &one),
        ("a submission to 1,800 hosts, of who may use just these", &narrow, &tenth),
        ("a submission to 18,000 hosts", &wide, &all),
    ] {
        let (right, what) =
            (Right::Do(Verb::Submit), What::Score { score: "deploy-web", is_of_others: false });
        told(
            case,
            best(|| {
                let allowed = policy.allow(who, right, what, Some(hosts));
                assert!(allowed.is_ok(), "{allowed:?}");
                allowed
            }),
        );
    }
    for (case, who) in [
        ("a list of 18,000 players, for who sees a tenth of them", &narrow),
        ("the same, for who sees all of them", &wide),
    ] {
        let seen = || policy.reach(Some(who), Right::See, &What::Hosts).of(&all);
        println!("{:>9}   players are left of", seen().len());
        told(case, best(seen));
    }
    Ok(())
}

/// Returns the shortest of several rounds.
fn best<T>(round: impl Fn() -> T) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        black_box(round());
        begun.elapsed()
    });
    rounds.min().unwrap_or_default()
}

/// Ten teams with a tenth of the fleet each, a lead with all of it, and rules about others.
fn policy(all: &HostSet) -> Result<Policy, Box<dyn std::error::Error>> {
    let hosts: Vec<_> = all.iter().cloned().collect();
    let mut rules = Vec::with_capacity(RULES);
    for number in 0..RULES {
        let (who, role, reach) = match number {
            0 => ("lead".to_owned(), Role::Admin, Reach::everywhere()),
            _ => {
                // Team 7 has the first tenth.
                let from = (number + 3) % 10 * (PLAYERS / 10);
                let part = hosts.iter().skip(from).take(PLAYERS / 10).cloned();
                let hosts = HostSet::from_names(part);
                (format!("team-{number}"), Role::Operator, Reach::These(hosts))
            }
        };
        rules.push(Rule {
            name: RuleName::new(&format!("rule-{number}"))?,
            effect: Effect::Allow,
            who: Whom::These(BTreeSet::from([AudienceName::new(&who)?])),
            may: role.rights().collect(),
            scores: Pattern::read("deploy-*").into_iter().collect(),
            services: Pattern::read("*").into_iter().collect(),
            bundles: Pattern::read("*").into_iter().collect(),
            hosts: reach,
        });
    }
    Ok(Policy::Rules(rules))
}
