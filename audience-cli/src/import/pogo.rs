//! Pogo's constraint files: YAML with apps, environments and constraints, of one namespace without its
//! name, or of several below their names.
//!
//! ```yaml
//! plugins: {targets: Pogo::Plugin::Inline}
//! apps: {frontend: ["foo[1-101].east.example.com"]}
//! envs: {coast: {east: ["foo[1-101].east.example.com"]}}
//! constraints: {coast: {concurrency: [{frontend: 25%}], sequence: [[backend, frontend]]}}
//! ```
//!
//! What a namespace says of limits is read by the very reader of deployments. What it says beside them is
//! taken away before, with a note.

use orchestra_document::{
    Format, Key, Node, Problems,
    deployment::{read_tree, show},
};
use orchestra_model::{Deployment, hostset::NoGroups, names::DeploymentName};

#[cfg(test)]
mod tests;

/// Namespaces as deployments of ours.
#[derive(Debug)]
pub(super) struct Namespaces {
    deployments: Vec<Deployment>,
    /// What was left out, or means something else here; each with its place.
    pub(super) notes: Vec<String>,
}

/// What holds for pogo alone, and what is so here.
const OTHERS: &[(&str, &str)] = &[
    (
        "plugins",
        "nothing is loaded into the conductor; hosts of apps and environments stand in this file, or \
         are groups of groups.toml: @NAME",
    ),
    (
        "globals",
        "they are defaults of pogo's jobs; here each flow says its own, and scores have theirs",
    ),
];

/// The old form, whose environments are not in the file.
const OLD: [&str; 2] = ["appgroups", "sequences"];

/// What holds for every file.
const GENERAL: [&str; 2] = [
    "limits: there a job with `concurrent` was not looked at by constraints; here both hold, unless the \
     job is unthrottled",
    "a host that failed: there it stayed locked until somebody unlocked the job; here it counts in its \
     limits until a later change succeeds there, or orc ledger release",
];

fn is_namespace(fields: &[(Key, Node)]) -> bool {
    has(fields, "apps") || OLD.iter().any(|name| has(fields, name))
}

impl Namespaces {
    /// Whether a text may be such a file.
    pub(super) fn is_likely(text: &str) -> bool {
        let Ok(Node::Map(fields)) = Format::Yaml.parse(text) else { return false };
        is_namespace(&fields)
            || fields
                .iter()
                .any(|(_, node)| matches!(node, Node::Map(fields) if is_namespace(fields)))
    }

    /// Whether a text is one without a name, which none of ours is.
    pub(super) fn is_one(text: &str) -> bool {
        matches!(Format::Yaml.parse(text), Ok(Node::Map(fields)) if is_namespace(&fields))
    }

    /// Reads one. `name` is that of a namespace which has none in the file. Fails with everything that
    /// is wrong, each with its place.
    pub(super) fn read(text: &str, name: &DeploymentName) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let tree = match Format::Yaml.parse(text) {
            Ok(tree) => tree,
            Err(malformed) => {
                problems.add("", malformed);
                return Err(problems);
            }
        };
        let mut notes = Vec::new();
        let Node::Map(fields) = tree else {
            problems.add("", format_args!("expected namespaces, found {}", tree.kind()));
            return Err(problems);
        };
        let fields = without_others("", fields, &mut notes);
        let named = match has(&fields, "apps") || OLD.iter().any(|old| has(&fields, old)) {
            true => vec![(Key::from(name.to_string()), Node::Map(fields))],
            false => fields,
        };
        let mut namespaces = Vec::new();
        for (key, node) in named {
            let Node::Map(fields) = node else {
                namespaces.push((key, node));
                continue;
            };
            for old in OLD.into_iter().filter(|old| has(&fields, old)) {
                problems.add(
                    &key,
                    format_args!(
                        "{old}: of the first form, in which a plugin told the environments of hosts; \
                         write apps, envs with their hosts, and constraints by type of environment"
                    ),
                );
            }
            let fields = without_others(&key, fields, &mut notes);
            let fields = without_short_sequences(&key, fields, &mut notes);
            namespaces.push((key, Node::Map(fields)));
        }
        problems.into_result()?;
        let deployments = read_tree(&Node::Map(namespaces), &NoGroups)?;
        notes.extend(GENERAL.map(str::to_owned));
        Ok(Self { deployments, notes })
    }

    /// The file of deployments, in YAML.
    pub(super) fn file(&self) -> String {
        show(&self.deployments, Format::Yaml)
    }
}

fn has(fields: &[(Key, Node)], name: &str) -> bool {
    fields.iter().any(|(key, _)| &**key == name)
}

/// A place and what is said of it, as one line.
fn note(place: &str, text: &str) -> String {
    if place.is_empty() { text.to_owned() } else { format!("{place}: {text}") }
}

/// Takes away what holds for pogo alone.
fn without_others(
    place: &str,
    fields: Vec<(Key, Node)>,
    notes: &mut Vec<String>,
) -> Vec<(Key, Node)> {
    let mut kept = Vec::new();
    for (key, node) in fields {
        match OTHERS.iter().find(|(name, _)| *name == &*key) {
            Some((name, instead)) => notes.push(note(place, &format!("{name}: {instead}"))),
            None => kept.push((key, node)),
        }
    }
    kept
}

/// Takes away sequences of less than two apps, which order nothing.
fn without_short_sequences(
    place: &str,
    fields: Vec<(Key, Node)>,
    notes: &mut Vec<String>,
) -> Vec<(Key, Node)> {
    let mut kept = fields;
    let constraints = kept.iter_mut().filter(|(key, _)| &**key == "constraints");
    for (_, constraints) in constraints {
        let Node::Map(types) = constraints else { continue };
        for (env, constraint) in types {
            let Node::Map(constraint) = constraint else { continue };
            for (_, lists) in constraint.iter_mut().filter(|(key, _)| &**key == "sequence") {
                let Node::List(lists) = lists else { continue };
                let before = lists.len();
                lists.retain(|list| !matches!(list, Node::List(apps) if apps.len() < 2));
                if lists.len() < before {
                    let text = format!(
                        "constraints {}, sequence: of one app, so it orders nothing",
                        &**env
                    );
                    notes.push(note(place, &text));
                }
            }
        }
    }
    kept
}
