//! Values that several kinds of documents have: host sets, parameters, yes or no.

use std::collections::BTreeMap;

use orchestra_model::{
    hostset::{Groups, HostSet, InvalidHostSet},
    names::GroupName,
    params::Params,
};

use crate::{Fields, Node, Problems};

/// Checks everything of a host set expression but whether groups, labels and hosts exist.
pub fn check_host_set(expression: &str) -> Result<(), InvalidHostSet> {
    HostSet::parse(expression, &AnyGroup).map(drop)
}

/// Knows every group and label, and nobody in them.
struct AnyGroup;

impl Groups for AnyGroup {
    fn all(&self) -> HostSet {
        HostSet::default()
    }

    fn group(&self, _name: &GroupName) -> Option<HostSet> {
        Some(HostSet::default())
    }

    fn labelled(&self, _key: &str, _value: &str) -> Option<HostSet> {
        Some(HostSet::default())
    }
}

impl Fields<'_> {
    /// A field that is `true` or `false`.
    pub fn yes_or_no(&mut self, name: &'static str, problems: &mut Problems) -> Option<bool> {
        match self.get(name, problems)? {
            Node::Bool(value) => Some(*value),
            other => {
                let found = other.kind();
                self.note(name, format_args!("expected true or false, found {found}"), problems);
                None
            }
        }
    }

    /// A field that is a host set expression, or a list of them that are joined.
    pub fn host_set(&mut self, name: &'static str, problems: &mut Problems) -> Option<String> {
        let text = match self.get(name, problems)? {
            Node::Text(text) => text.clone(),
            Node::List(nodes) => self.joined(name, nodes, problems),
            other => {
                let found = other.kind();
                self.note(name, format_args!("expected a host set, found {found}"), problems);
                return None;
            }
        };
        let problem = match check_host_set(&text) {
            Ok(()) if text.trim().is_empty() => "it names no hosts".to_owned(),
            Ok(()) => return Some(text),
            Err(error) => error.to_string(),
        };
        self.note(name, problem, problems);
        None
    }

    fn joined(&self, name: &str, nodes: &[Node], problems: &mut Problems) -> String {
        let mut parts = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node {
                // Joined by commas, `a&b` would be taken together with what is before it.
                Node::Text(text) if text.contains(['&', '^', '!']) => self.note(
                    name,
                    "the members of a list are joined; write an expression with &, ^ or ! as one \
                     text",
                    problems,
                ),
                Node::Text(text) => parts.push(text.as_str()),
                other => {
                    let found = other.kind();
                    self.note(name, format_args!("expected host sets, found {found}"), problems);
                }
            }
        }
        parts.join(",")
    }

    /// The field `params` as texts by key, not checked yet; `place` is that of `params`.
    pub fn param_values(
        &mut self,
        place: &str,
        problems: &mut Problems,
    ) -> BTreeMap<String, String> {
        self.values_of("params", place, problems)
    }

    /// A field that holds parameters under another name, as [`Fields::param_values`].
    pub fn values_of(
        &mut self,
        name: &'static str,
        place: &str,
        problems: &mut Problems,
    ) -> BTreeMap<String, String> {
        let mut pairs = BTreeMap::new();
        match self.get(name, problems) {
            Some(Node::Map(own)) => {
                for (key, value) in own {
                    let shown: String = key.chars().take(80).collect();
                    match param_value(value) {
                        Ok(text) => drop(pairs.insert(key.to_string(), text)),
                        Err(problem) => problems.add(place, format_args!("{shown}: {problem}")),
                    }
                }
            }
            Some(other) => {
                let found = other.kind();
                problems.add(place, format_args!("expected a table of fields, found {found}"));
            }
            None => {}
        }
        pairs
    }
}

/// Parameters of these texts; `None` where they are wrong, which is noted.
pub fn read_params(
    pairs: BTreeMap<String, String>,
    place: &str,
    problems: &mut Problems,
) -> Option<Params> {
    Params::from_pairs(pairs)
        .map_err(|error| match std::error::Error::source(&error) {
            Some(cause) => problems.add(place, format_args!("{error}: {cause}")),
            None => problems.add(place, error),
        })
        .ok()
}

/// A parameter's value as the score will see it. Never part of a message.
fn param_value(node: &Node) -> Result<String, &'static str> {
    match node {
        Node::Text(text) => Ok(text.clone()),
        Node::Bool(value) => Ok(value.to_string()),
        Node::Whole(n) => Ok(n.to_string()),
        Node::Spelt(_) | Node::Fraction(_) => {
            Err("quote this number, so that it reaches the score as it is written")
        }
        Node::Date => Err("quote this date, so that it reaches the score as it is written"),
        Node::Null => Err("it is empty; write \"\" for an empty text"),
        Node::List(_) | Node::Map(_) => Err("a value is text, a whole number, true or false"),
    }
}
