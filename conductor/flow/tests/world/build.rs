//! Short ways to say what a flow is like.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_flow::{Input, ReplyId, ReplyTo, Submission};
use orchestra_model::{
    Asker, Deployment, Deployments, HostName, HostSet, JobName, Millis, Quantity, ScoreName,
    ServiceName,
    deployment::Constraint,
    flow::{FlowSpec, JobSpec, OnDoomed, Scope, SequenceOnFailure, SlotSpec, Stragglers},
    names::{AppName, DeploymentName, EnvType, EnvValue},
    service::{
        Instance, Ordinal, Placement, ServiceVersion, UnitJob, Unready, UnwellUnit, Upkeep, Wanted,
    },
    tree::{Advance, Orphans, TreeShape, TreeSpec},
};

pub fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub fn hosts(expression: &str) -> HostSet {
    HostSet::parse_plain(expression).unwrap()
}

/// That this flow was submitted by somebody who does not wait for the answer.
pub fn submitted(submission: Submission) -> Input {
    let reply = ReplyTo::new(ReplyId(0));
    Input::FlowSubmitted { reply, submission: Box::new(submission) }
}

pub fn audience() -> Asker {
    Asker::from_word("alice").unwrap()
}

/// A job of score `work` named like its targets, to be refined.
pub fn job(targets: &str) -> JobSpec {
    let name: String = targets.chars().filter(char::is_ascii_alphanumeric).collect();
    let score = ScoreName::new("work").unwrap();
    JobSpec::new(JobName::new(&name).unwrap(), score, targets)
}

/// Short ways to say what a job is like.
pub trait JobExt {
    fn named(self, name: &str) -> Self;
    fn score(self, score: &str) -> Self;
    fn parallel(self, n: u32) -> Self;
    fn success(self, n: u32) -> Self;
    fn max_failures(self, n: u32) -> Self;
    fn retries(self, n: u32) -> Self;
    fn one_of(self) -> Self;
    fn wait_for_stragglers(self) -> Self;
    fn give_up_after(self, seconds: u64) -> Self;
    fn lost_after(self, seconds: u64) -> Self;
    fn retry_delay(self, seconds: u64) -> Self;
    fn quorum(self, n: u32) -> Self;
    fn canary(self, n: u32) -> Self;
    fn bake(self, seconds: u64) -> Self;
    fn cancel_on_doomed(self) -> Self;
    fn continue_on_failure(self) -> Self;
    fn unthrottled(self) -> Self;
    fn timeout(self, seconds: u64) -> Self;
    fn tree(self, branches: u32) -> Self;
    fn rooted(self, root: &str) -> Self;
    fn grouped(self, groups: &[&str]) -> Self;
    fn by_generation(self) -> Self;
    fn orphans(self, orphans: Orphans) -> Self;
    fn unit(self, service: &str, wanted: Wanted) -> Self;
}

impl JobExt for JobSpec {
    fn named(self, name: &str) -> Self {
        Self { name: JobName::new(name).unwrap(), ..self }
    }
    fn score(self, score: &str) -> Self {
        Self { score: ScoreName::new(score).unwrap(), ..self }
    }
    fn parallel(self, n: u32) -> Self {
        Self { parallel: Quantity::Count(n), ..self }
    }
    fn success(self, n: u32) -> Self {
        Self { success: Some(Quantity::Count(n)), ..self }
    }
    fn max_failures(self, n: u32) -> Self {
        Self { max_failures: Some(Quantity::Count(n)), ..self }
    }
    fn retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }
    fn one_of(self) -> Self {
        Self { scope: Scope::One, ..self }
    }
    fn wait_for_stragglers(self) -> Self {
        Self { stragglers: Stragglers::Wait, ..self }
    }
    fn give_up_after(self, seconds: u64) -> Self {
        Self { give_up_after: Some(Millis::seconds(seconds)), ..self }
    }
    fn lost_after(self, seconds: u64) -> Self {
        Self { lost_after: Some(Millis::seconds(seconds)), ..self }
    }
    fn retry_delay(self, seconds: u64) -> Self {
        Self { retry_delay: Millis::seconds(seconds), ..self }
    }
    fn quorum(self, n: u32) -> Self {
        Self { quorum: Quantity::Count(n), ..self }
    }
    fn canary(self, n: u32) -> Self {
        Self { canary: Some(Quantity::Count(n)), ..self }
    }
    fn bake(self, seconds: u64) -> Self {
        Self { bake: Some(Millis::seconds(seconds)), ..self }
    }
    fn cancel_on_doomed(self) -> Self {
        Self { on_doomed: OnDoomed::Cancel, ..self }
    }
    fn continue_on_failure(self) -> Self {
        Self { sequence_on_failure: SequenceOnFailure::Continue, ..self }
    }
    fn unthrottled(self) -> Self {
        Self { unthrottled: true, ..self }
    }
    fn timeout(self, seconds: u64) -> Self {
        Self { timeout: Some(Millis::seconds(seconds)), ..self }
    }
    fn tree(self, branches: u32) -> Self {
        with_tree(self, |tree| tree.branches = branches)
    }
    fn rooted(self, root: &str) -> Self {
        with_tree(self, |tree| tree.root = Some(root.to_owned()))
    }
    fn grouped(self, groups: &[&str]) -> Self {
        with_tree(self, |tree| tree.by = groups.iter().map(|group| Arc::from(*group)).collect())
    }
    fn by_generation(self) -> Self {
        with_tree(self, |tree| tree.advance = Advance::Generation)
    }
    fn orphans(self, orphans: Orphans) -> Self {
        with_tree(self, |tree| tree.orphans = orphans)
    }
    fn unit(self, name: &str, wanted: Wanted) -> Self {
        let instance = |(ordinal, _)| Instance { ordinal, placement: Placement(1) };
        let unit = UnitJob {
            service: service(name),
            version: ServiceVersion(1),
            wanted,
            upkeep: Upkeep::default(),
            healthy_for: Millis::seconds(10),
            deadline: Millis::seconds(60),
            score_hash: None,
            instances: (1..).map(Ordinal).zip(&hosts(&self.targets)).map(instance).collect(),
        };
        Self { unit: Some(Arc::new(unit)), ..self }
    }
}

fn with_tree(job: JobSpec, change: impl FnOnce(&mut TreeSpec)) -> JobSpec {
    let mut tree = job.tree.as_deref().cloned().unwrap_or_default();
    change(&mut tree);
    JobSpec { tree: Some(Arc::new(tree)), ..job }
}

/// The hosts of each tree of a flow. Here a label is the host set of those that have it.
pub fn shapes(spec: &FlowSpec) -> BTreeMap<(u16, u16), TreeShape> {
    let mut shapes = BTreeMap::new();
    for (slot, jobs) in (1..).zip(&spec.slots) {
        for (number, job) in (1..).zip(&jobs.jobs) {
            let Some(tree) = &job.tree else { continue };
            let shape = TreeShape {
                root: tree.root.as_deref().map(hosts).unwrap_or_default(),
                groups: tree.by.iter().map(|group| hosts(group)).collect(),
                ..TreeShape::default()
            };
            shapes.insert((slot, number), shape);
        }
    }
    shapes
}

pub fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

/// A unit that is not well.
pub fn unwell(name: &str, unready: Unready) -> UnwellUnit {
    UnwellUnit { service: service(name), unready }
}

/// One deployment, of apps with their hosts, in environments of the type `cluster`: so many hosts of
/// each app at once in each, where there is a number, and the apps of `sequence` one after another.
pub fn deployment(
    apps: &[(&str, &str, Option<Quantity>)],
    clusters: &[(&str, &str)],
    sequence: &[&str],
) -> Arc<Deployments> {
    deployments([named_deployment("site", apps, clusters, sequence)])
}

/// All that hold at one time.
pub fn deployments(all: impl IntoIterator<Item = Deployment>) -> Arc<Deployments> {
    Arc::new(Deployments::new(all).unwrap())
}

/// A deployment of this name, to be one of several.
pub fn named_deployment(
    name: &str,
    apps: &[(&str, &str, Option<Quantity>)],
    clusters: &[(&str, &str)],
    sequence: &[&str],
) -> Deployment {
    let app = |name: &str| AppName::new(name).unwrap();
    let limits = apps.iter().filter_map(|(name, _, most)| Some((app(name), (*most)?)));
    let order: Vec<AppName> = sequence.iter().map(|name| app(name)).collect();
    let constraint = Constraint {
        concurrency: limits.collect(),
        sequence: if order.is_empty() { Vec::new() } else { vec![order] },
    };
    let cluster = EnvType::new("cluster").unwrap();
    let values = clusters.iter().map(|(name, set)| (EnvValue::new(name).unwrap(), hosts(set)));
    Deployment {
        name: DeploymentName::new(name).unwrap(),
        apps: apps.iter().map(|(name, set, _)| (app(name), hosts(set))).collect(),
        envs: BTreeMap::from([(cluster.clone(), values.collect())]),
        constraints: BTreeMap::from([(cluster, constraint)]),
    }
}

pub fn flow(slots: impl IntoIterator<Item = Vec<JobSpec>>) -> FlowSpec {
    FlowSpec::new(slots.into_iter().map(|jobs| SlotSpec { jobs }).collect())
}
