//! The hosts of each tree of a submission: its root, and the groups that labels make.

use std::collections::BTreeMap;

use orchestra_flow::Rejection;
use orchestra_model::{
    HostName, HostSet,
    flow::{FlowSpec, JobSpec},
    hostset::{InvalidHostSet, Unknown},
    tree::{TreeShape, TreeSpec},
};

use crate::{
    declined::Declined,
    desk::{
        hosts::View,
        refusal::{invalid_hosts, rejected},
    },
    fleet::Fleet,
};

/// The trees of a submission, by slot and job, both counted from 1.
pub(crate) type Shapes = BTreeMap<(u16, u16), TreeShape>;

/// Resolves the tree of each job that has one. Unknown hosts of a root are refused, whatever
/// becomes of unknown targets: nobody could be served by them.
pub(super) fn resolve(
    spec: &FlowSpec,
    targets: &[Vec<HostSet>],
    fleet: &Fleet,
    view: &View<'_>,
) -> Result<Shapes, Declined> {
    let mut shapes = Shapes::new();
    for (place, job, hosts) in jobs(spec, targets) {
        let Some(tree) = &job.tree else { continue };
        let root = match &tree.root {
            None => HostSet::default(),
            Some(root) => {
                HostSet::resolve(root, view, Unknown::Refused)
                    .map_err(|error| view.explain(wrong_root(job, error)))?
                    .hosts
            }
        };
        let shape = TreeShape { root, ..TreeShape::default() };
        shapes.insert(place, grouped(tree, hosts, shape, fleet));
    }
    Ok(shapes)
}

/// Groups the hosts of trees whose other hosts are known already.
pub(crate) fn group(
    spec: &FlowSpec,
    targets: &[Vec<HostSet>],
    mut shapes: Shapes,
    fleet: &Fleet,
) -> Shapes {
    for (place, job, hosts) in jobs(spec, targets) {
        if let Some(tree) = &job.tree {
            let shape = shapes.remove(&place).unwrap_or_default();
            shapes.insert(place, grouped(tree, hosts, shape, fleet));
        }
    }
    shapes
}

/// The jobs of a flow with their places and hosts.
fn jobs<'a>(
    spec: &'a FlowSpec,
    targets: &'a [Vec<HostSet>],
) -> impl Iterator<Item = ((u16, u16), &'a JobSpec, &'a HostSet)> {
    let slots = (1..).zip(&spec.slots).zip(targets);
    slots.flat_map(|((slot, spec), sets)| {
        let jobs = (1..).zip(&spec.jobs).zip(sets);
        jobs.map(move |((number, job), hosts)| ((slot, number), job, hosts))
    })
}

/// Puts hosts with the same values of a tree's labels into one group. Hosts that lack a label have
/// no value of it in common, so they are one group as well.
fn grouped(tree: &TreeSpec, targets: &HostSet, shape: TreeShape, fleet: &Fleet) -> TreeShape {
    if tree.by.is_empty() {
        return TreeShape { groups: Vec::new(), ..shape };
    }
    let mut groups: BTreeMap<Vec<Option<String>>, Vec<HostName>> = BTreeMap::new();
    for host in targets.iter().chain(&shape.root).chain(&shape.done) {
        let labels = fleet.labels(host);
        let values = tree.by.iter().map(|key| labels.get(&**key).cloned()).collect();
        groups.entry(values).or_default().push(host.clone());
    }
    let groups = groups.into_values().map(HostSet::from_names).collect();
    TreeShape { groups, ..shape }
}

fn wrong_root(job: &JobSpec, error: InvalidHostSet) -> Declined {
    match error {
        InvalidHostSet::UnknownHosts(hosts) => {
            rejected(&Rejection::UnknownHosts(job.name.clone(), hosts))
        }
        error => invalid_hosts(&error),
    }
}
