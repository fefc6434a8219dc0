//! One job of a flow file.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_document::{Fields, Node, Problems, read_params};
use orchestra_model::{
    flow::{FlowSpec, JobSpec, Scope},
    names::{FlowName, JobName, ScoreName},
    params::Params,
};

use super::names;
use crate::flow::{limits::JobLimits, start::StartFlags};

/// What the command line changes of a flow file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// Replaces the flow's name.
    pub name: Option<FlowName>,
    /// Replaces when it begins.
    pub start: StartFlags,
    /// Parameters that every job gets, over the file's (`--set KEY=VALUE`).
    pub everywhere: BTreeMap<String, Secret>,
    /// Parameters that one job gets, over all others (`--set JOB/KEY=VALUE`).
    pub of_job: BTreeMap<JobName, BTreeMap<String, Secret>>,
}

/// A parameter's value: never shown, since it may be secret.
#[derive(Clone)]
pub(crate) struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Overrides {
    /// Notes jobs that `--set JOB/KEY=VALUE` names and that do not exist.
    pub(super) fn check_used<T>(&self, flow: Option<&(FlowSpec, T)>, problems: &mut Problems) {
        let Some((spec, _)) = flow else { return };
        let known: BTreeSet<&JobName> =
            spec.slots.iter().flat_map(|slot| &slot.jobs).map(|job| &job.name).collect();
        for name in self.of_job.keys().filter(|name| !known.contains(name)) {
            problems.add("", format_args!("--set {name}/…: no job of the flow is named {name}"));
        }
    }
}

/// Returns the name of each job: as given, else its score's, made unique by `-2`, `-3`, …
///
/// A name is `None` if neither is given as a valid text, which is told elsewhere.
pub(super) fn names(jobs: &[(usize, usize, &Node)]) -> Vec<Option<String>> {
    let given: Vec<Option<String>> = jobs.iter().map(|(_, _, node)| field(node, "name")).collect();
    let mut taken: BTreeSet<String> = given.iter().flatten().cloned().collect();
    // The next number of each score, so that ten thousand jobs of one score are named quickly.
    let mut next: BTreeMap<String, usize> = BTreeMap::new();
    let mut names = Vec::with_capacity(jobs.len());
    for (given, (_, _, node)) in given.into_iter().zip(jobs) {
        let name = given.or_else(|| {
            let score = field(node, "score")?;
            let number = next.entry(score.clone()).or_insert(1);
            Some(free_name(&score, number, &mut taken))
        });
        names.push(name);
    }
    names
}

/// Takes the first of `SCORE`, `SCORE-2`, `SCORE-3`, … from `number` on that is free.
fn free_name(score: &str, number: &mut usize, taken: &mut BTreeSet<String>) -> String {
    loop {
        let name = if *number == 1 { score.to_owned() } else { format!("{score}-{number}") };
        *number += 1;
        if taken.insert(name.clone()) {
            return name;
        }
    }
}

/// Returns a field of a job, if it is a text or a number.
fn field(node: &Node, name: &str) -> Option<String> {
    let Node::Map(fields) = node else { return None };
    fields.iter().find_map(|(key, value)| match value {
        Node::Text(text) if key == name => Some(text.clone()),
        Node::Whole(n) if key == name => Some(n.to_string()),
        _ => None,
    })
}

/// Reads one job; `None` if it is too wrong. All problems are noted in both cases.
pub(super) fn job(
    node: &Node,
    place: &str,
    name: Option<String>,
    overrides: &Overrides,
    problems: &mut Problems,
) -> Option<(JobSpec, Params)> {
    let mut fields = Fields::of(node, place, problems)?;
    let given_name = fields.parsed::<JobName>("name", problems);
    let score = fields.parsed::<ScoreName>("score", problems);
    require("score", node, &fields, problems);
    let name = given_name.or_else(|| JobName::new(&name?).ok());
    if name.is_none() && score.is_some() && !has(node, "name") {
        fields.note("name", "its default, made from the score's name, is too long", problems);
    }
    let targets = fields.host_set("targets", problems);
    require("targets", node, &fields, problems);
    let params = params(&mut fields, place, name.as_ref(), overrides, problems);
    let scope = fields.text("scope", problems).and_then(|word| match word {
        "all" => Some(Scope::All),
        "one" => Some(Scope::One),
        other => {
            let shown: String = other.chars().take(40).collect();
            fields.note("scope", format_args!("{shown:?}: it is all or one"), problems);
            None
        }
    });
    let limits = JobLimits::read(&mut fields, problems);
    fields.finish(names::JOB, problems);
    let job = limits.over(JobSpec::new(name?, score?, targets?));
    Some((JobSpec { scope: scope.unwrap_or_default(), ..job }, params?))
}

fn has(node: &Node, name: &str) -> bool {
    matches!(node, Node::Map(fields) if fields.iter().any(|(key, _)| key == name))
}

fn require(name: &str, node: &Node, fields: &Fields<'_>, problems: &mut Problems) {
    if !has(node, name) {
        fields.missing(name, problems);
    }
}

/// Returns the job's own parameters, overridden by those of the command line.
fn params(
    fields: &mut Fields<'_>,
    place: &str,
    name: Option<&JobName>,
    overrides: &Overrides,
    problems: &mut Problems,
) -> Option<Params> {
    let place = format!("{place}, params");
    let mut pairs = fields.param_values(&place, problems);
    let of_job = name.and_then(|name| overrides.of_job.get(name)).into_iter().flatten();
    for (key, value) in overrides.everywhere.iter().chain(of_job) {
        pairs.insert(key.clone(), value.0.clone());
    }
    read_params(pairs, &place, problems)
}
