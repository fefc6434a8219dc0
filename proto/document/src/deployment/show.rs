//! The canonical form as text.

use std::collections::BTreeMap;

use orchestra_model::{
    HostSet, Quantity,
    deployment::{Constraint, Deployment},
    names::AppName,
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_saphyr::FlowSeq;

use crate::Format;

/// Deployments as a file that means the same: names in order, host sets folded, what is empty left
/// out. Equal deployments have the same text, and reading it gives equal ones.
///
/// Reading needs host sets that fold to no more than
/// [`HOSTSET_BYTES`](orchestra_model::limits::HOSTSET_BYTES), which only groups of very many
/// unlike names exceed.
pub fn show<'a>(deployments: impl IntoIterator<Item = &'a Deployment>, format: Format) -> String {
    let by_name = |lists| -> BTreeMap<&str, Body<'a>> {
        let body =
            |deployment: &'a Deployment| (deployment.name.as_str(), Body { deployment, lists });
        deployments.into_iter().map(body).collect()
    };
    let text = match format {
        Format::Json => serde_json::to_string_pretty(&by_name(Lists::Plain)).ok(),
        Format::Toml => toml::to_string(&by_name(Lists::Plain)).ok(),
        Format::Yaml => {
            let options = serde_saphyr::ser_options! {
                prefer_block_scalars: false,
                compact_list_indent: false,
            };
            serde_saphyr::to_string_with_options(&by_name(Lists::OnOneLine), options).ok()
        }
    };
    // Tables with names for keys, numbers and text can be written in all three.
    let mut text = text.unwrap_or_default();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// One deployment in the canonical form, without its name, which is the key before it:
/// `{"apps": …, "envs": …, "constraints": …}`.
#[derive(Clone, Copy, Debug)]
pub struct Canonical<'a>(pub &'a Deployment);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Body { deployment: self.0, lists: Lists::Plain }.serialize(serializer)
    }
}

/// How a sequence is written.
#[derive(Clone, Copy)]
enum Lists {
    Plain,
    /// `[a, b]` also where a list would have a line for each member.
    OnOneLine,
}

struct Body<'a> {
    deployment: &'a Deployment,
    lists: Lists,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Deployment { name: _, apps, envs, constraints } = self.deployment;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("apps", &folded(apps))?;
        if !envs.is_empty() {
            let envs: BTreeMap<_, _> = envs.iter().map(|(k, values)| (k, folded(values))).collect();
            map.serialize_entry("envs", &envs)?;
        }
        if !constraints.is_empty() {
            let body = |constraint| ConstraintBody { constraint, lists: self.lists };
            let constraints: BTreeMap<_, _> =
                constraints.iter().map(|(k, constraint)| (k, body(constraint))).collect();
            map.serialize_entry("constraints", &constraints)?;
        }
        map.end()
    }
}

fn folded<K: Ord>(sets: &BTreeMap<K, HostSet>) -> BTreeMap<&K, String> {
    sets.iter().map(|(name, hosts)| (name, hosts.to_string())).collect()
}

struct ConstraintBody<'a> {
    constraint: &'a Constraint,
    lists: Lists,
}

impl Serialize for ConstraintBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Constraint { concurrency, sequence } = self.constraint;
        let mut map = serializer.serialize_map(None)?;
        if !concurrency.is_empty() {
            let limits: BTreeMap<&AppName, Limit> =
                concurrency.iter().map(|(app, limit)| (app, Limit(*limit))).collect();
            map.serialize_entry("concurrency", &limits)?;
        }
        match self.lists {
            _ if sequence.is_empty() => {}
            Lists::Plain => map.serialize_entry("sequence", sequence)?,
            Lists::OnOneLine => {
                let lists: Vec<FlowSeq<&Vec<AppName>>> = sequence.iter().map(FlowSeq).collect();
                map.serialize_entry("sequence", &lists)?;
            }
        }
        map.end()
    }
}

/// A count is a number, a share is text.
struct Limit(Quantity);

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Quantity::Count(count) => serializer.serialize_u32(count),
            share @ Quantity::Percent(_) => serializer.collect_str(&share),
        }
    }
}
