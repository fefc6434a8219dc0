//! What people write: players files, deployments, scores, flows. All of it by chance.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_model::{
    Deployment, Deployments, HostName, HostSet, JobName, Millis, Quantity, ScoreName, ServiceName,
    deployment::Constraint,
    flow::{FlowSpec, JobSpec, OnDoomed, Scope, SequenceOnFailure, SlotSpec, Stragglers},
    names::{AppName, DeploymentName, EnvType, EnvValue},
    score::ScoreSpec,
    service::{Instance, Ordinal, Placement, ServiceVersion, UnitJob, Upkeep, Wanted},
    tree::{Advance, Orphans, TreeShape, TreeSpec},
};

use super::units::SERVICES;
use crate::chance::Chance;

/// Everybody that may ever be a player.
pub(crate) fn everybody(chance: &mut Chance) -> Vec<HostName> {
    // Mostly few, so that they get in each other's way.
    let n = match chance.below(10) {
        0..6 => chance.between(2, 6),
        6..9 => chance.between(6, 12),
        _ => chance.between(12, 30),
    };
    let name = |n: usize| HostName::new(&format!("h{n}")).unwrap();
    (1..=n).map(name).collect()
}

/// The scores that a host has: all hosts nearly the same ones.
pub(crate) fn scores(chance: &mut Chance) -> BTreeMap<ScoreName, ScoreSpec> {
    let usual = ScoreSpec::default();
    let all = [
        ("work", 100, usual.clone()),
        ("look", 100, ScoreSpec { disruptive: false, ..usual.clone() }),
        ("single", 100, ScoreSpec { concurrency: Some(1), ..usual.clone() }),
        ("alone", 100, ScoreSpec { exclusive: true, ..usual.clone() }),
        ("rare", 60, usual.clone()),
        ("moody", 90, ScoreSpec { disruptive: chance.percent(50), ..usual }),
    ];
    let mut scores = BTreeMap::new();
    for (name, percent, spec) in all {
        if chance.percent(percent) {
            scores.insert(ScoreName::new(name).unwrap(), spec);
        }
    }
    scores
}

/// None, one or two deployments over these hosts.
pub(crate) fn deployments(chance: &mut Chance, hosts: &[HostName]) -> Deployments {
    let number = *chance.pick(&[0, 1, 1, 1, 2]).unwrap();
    loop {
        let all: Vec<Deployment> = (0..number).map(|n| deployment(chance, hosts, n)).collect();
        // A sequence may contradict itself, where apps overlap; then another one is thought up.
        if let Ok(deployments) = Deployments::new(all) {
            return deployments;
        }
    }
}

fn deployment(chance: &mut Chance, hosts: &[HostName], number: usize) -> Deployment {
    let names = ["back", "front", "store"];
    let apps = chance.between(1, 3);
    let overlap = chance.percent(20);
    let mut of_app: Vec<Vec<HostName>> = vec![Vec::new(); apps];
    for host in chance.some(hosts, 85) {
        of_app[chance.below(apps)].push(host.clone());
        if overlap && chance.percent(30) {
            of_app[chance.below(apps)].push(host.clone());
        }
    }
    let mut values: Vec<Vec<HostName>> = vec![Vec::new(); chance.between(1, 2)];
    let count = values.len();
    for host in hosts {
        values[chance.below(count)].push(host.clone());
    }
    let set = |hosts: Vec<HostName>| HostSet::from_names(hosts);
    let apps: BTreeMap<AppName, HostSet> = names
        .iter()
        .zip(of_app)
        .filter(|(_, hosts)| !hosts.is_empty())
        .map(|(name, hosts)| (AppName::new(name).unwrap(), set(hosts)))
        .collect();
    let values: BTreeMap<EnvValue, HostSet> = ["east", "west"]
        .iter()
        .zip(values)
        .filter(|(_, hosts)| !hosts.is_empty())
        .map(|(name, hosts)| (EnvValue::new(name).unwrap(), set(hosts)))
        .collect();
    let mut constraint = Constraint::default();
    for app in apps.keys() {
        if chance.percent(80) {
            constraint.concurrency.insert(app.clone(), limit(chance));
        }
    }
    if chance.percent(50) {
        let mut order: Vec<AppName> = apps.keys().cloned().collect();
        if chance.percent(30) {
            order.reverse();
        }
        constraint.sequence.push(order);
    }
    let env = EnvType::new("cluster").unwrap();
    Deployment {
        name: DeploymentName::new(&format!("d{number}")).unwrap(),
        apps,
        envs: BTreeMap::from([(env.clone(), values)]),
        constraints: BTreeMap::from([(env, constraint)]),
    }
}

pub(super) fn limit(chance: &mut Chance) -> Quantity {
    match chance.below(3) {
        0 => Quantity::Percent(*chance.pick(&[1, 25, 34, 50, 75]).unwrap()),
        _ => Quantity::Count(chance.between(1, 2) as u32),
    }
}

/// A flow over some of these hosts; with jobs about units where there are services.
pub(crate) fn flow(
    chance: &mut Chance,
    hosts: &[HostName],
    has_services: bool,
) -> (FlowSpec, Vec<Vec<HostSet>>) {
    let (mut slots, mut targets) = (Vec::new(), Vec::new());
    for slot in 0..*chance.pick(&[1, 1, 1, 2, 3]).unwrap() {
        let (mut jobs, mut sets) = (Vec::new(), Vec::new());
        for number in 0..*chance.pick(&[1, 1, 2, 3]).unwrap() {
            let (mut job, set) = job(chance, hosts, &format!("j{slot}{number}"));
            if has_services && chance.percent(35) {
                ask_of_units(chance, &mut job, &set);
            }
            job.tree = tree(chance, hosts, &job, &set);
            jobs.push(job);
            sets.push(set);
        }
        slots.push(SlotSpec { jobs });
        targets.push(sets);
    }
    (FlowSpec::new(slots), targets)
}

/// Now and then a tree.
fn tree(
    chance: &Chance,
    hosts: &[HostName],
    job: &JobSpec,
    targets: &HostSet,
) -> Option<Arc<TreeSpec>> {
    // By chances of its own, so that jobs without a tree are as they would be without trees.
    let mut chance = Chance::new(chance.clone().next());
    if job.unit.is_some() || job.scope == Scope::One || !chance.percent(30) {
        return None;
    }
    let others: Vec<HostName> =
        hosts.iter().filter(|host| !targets.contains(host)).cloned().collect();
    let root = chance.maybe(40, |chance| chance.pick(&others).map(ToString::to_string));
    Some(Arc::new(TreeSpec {
        branches: chance.between(1, 3) as u32,
        by: if chance.percent(35) { vec!["parity".into()] } else { Vec::new() },
        root: root.flatten(),
        advance: if chance.percent(20) { Advance::Generation } else { Advance::Host },
        orphans: *chance.pick(&[Orphans::Adopt, Orphans::Root, Orphans::Skip]).unwrap(),
    }))
}

/// The hosts of a job's tree, as a conductor would resolve them. The one label that hosts have here is
/// whether the number in their name is even.
pub(crate) fn shape(job: &JobSpec, targets: &HostSet) -> Option<TreeShape> {
    let tree = job.tree.as_deref()?;
    let root = tree.root.as_deref().map(|root| HostSet::parse_plain(root).unwrap());
    let root = root.unwrap_or_default();
    let is_even = |host: &&HostName| host.as_str().ends_with(['0', '2', '4', '6', '8']);
    let all = targets.union(&root);
    let (even, odd): (Vec<&HostName>, Vec<&HostName>) = all.iter().partition(is_even);
    let groups = [even, odd].into_iter().filter(|group| !group.is_empty());
    let groups = groups.map(|group| HostSet::from_names(group.into_iter().cloned()));
    let groups = if tree.by.is_empty() { Vec::new() } else { groups.collect() };
    Some(TreeShape { root, done: HostSet::default(), groups })
}

/// Makes a job one about the units of a service, on the same hosts.
fn ask_of_units(chance: &mut Chance, job: &mut JobSpec, hosts: &HostSet) {
    let wanted = *chance
        .pick(&[
            Wanted::Running,
            Wanted::Signalled(1),
            Wanted::Restarted,
            Wanted::Healthy,
            Wanted::Younger(Millis(1)),
            Wanted::Stopped,
            Wanted::Gone,
        ])
        .unwrap();
    let service = ServiceName::new(chance.pick(&SERVICES).unwrap()).unwrap();
    let instance = |(ordinal, _)| Instance { ordinal, placement: Placement(1) };
    job.unit = Some(Arc::new(UnitJob {
        service,
        version: ServiceVersion(1),
        wanted,
        upkeep: Upkeep::default(),
        healthy_for: Millis::seconds(10),
        deadline: Millis::seconds(60),
        score_hash: None,
        instances: (1..).map(Ordinal).zip(hosts).map(instance).collect(),
    }));
    if job.scope == Scope::One {
        (job.scope, job.success, job.max_failures) = (Scope::All, None, None);
    }
    (job.timeout, job.retries, job.retry_delay) = (None, 0, Millis(0));
}

fn job(chance: &mut Chance, hosts: &[HostName], name: &str) -> (JobSpec, HostSet) {
    let percent = *chance.pick(&[30, 60, 100]).unwrap();
    let mut some = chance.some(hosts, percent);
    if some.is_empty() {
        some.extend(chance.pick(hosts).cloned());
    }
    let n = some.len();
    let set = HostSet::from_names(some);
    let scores = [
        "work", "work", "work", "work", "work", "single", "alone", "look", "moody", "rare", "none",
    ];
    let score = ScoreName::new(chance.pick(&scores).unwrap()).unwrap();
    let scope = if chance.percent(15) { Scope::One } else { Scope::All };
    // Now and then more than there are: nobody may rely on that.
    let most = if chance.percent(3) { n + 1 } else { n };
    let quantity = |chance: &mut Chance, least: usize| match chance.percent(50) {
        true => Quantity::Count(chance.between(least, most) as u32),
        false => Quantity::Percent(chance.between(least, 100) as u8),
    };
    let seconds =
        |chance: &mut Chance, most: usize| Millis::seconds(chance.between(1, most) as u64);
    let retries = *chance.pick(&[0, 0, 0, 1, 2]).unwrap();
    let canary = chance.maybe(20, |chance| quantity(chance, 1)).filter(|_| scope == Scope::All);
    let has_thresholds = scope == Scope::All || chance.percent(5);
    let spec = JobSpec {
        scope,
        parallel: chance.maybe(60, |chance| quantity(chance, 1)).unwrap_or(Quantity::ALL),
        success: chance.maybe(50, |chance| quantity(chance, 0)).filter(|_| has_thresholds),
        max_failures: chance.maybe(30, |chance| quantity(chance, 0)).filter(|_| has_thresholds),
        timeout: chance.maybe(20, |chance| seconds(chance, 60)),
        give_up_after: chance.maybe(15, |chance| seconds(chance, 100)),
        stragglers: if chance.percent(60) { Stragglers::GiveUp } else { Stragglers::Wait },
        lost_after: chance.maybe(30, |chance| seconds(chance, 100)),
        retries,
        retry_delay: match retries {
            0 => Millis(0),
            _ => chance.maybe(50, |chance| seconds(chance, 30)).unwrap_or_default(),
        },
        quorum: chance.maybe(15, |chance| quantity(chance, 0)).unwrap_or(Quantity::Count(0)),
        bake: canary.and_then(|_| chance.maybe(60, |chance| seconds(chance, 60))),
        canary,
        on_doomed: if chance.percent(40) { OnDoomed::Cancel } else { OnDoomed::Finish },
        sequence_on_failure: match chance.percent(40) {
            true => SequenceOnFailure::Continue,
            false => SequenceOnFailure::Wait,
        },
        unthrottled: chance.percent(8),
        ..JobSpec::new(JobName::new(name).unwrap(), score, set.to_string())
    };
    (spec, set)
}
