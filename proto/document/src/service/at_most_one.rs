//! That no instance of a service is ever alive twice.

use orchestra_model::service::AtMostOne;

use super::names;
use crate::{Fields, Node, Problems};

/// `true`, `false`, or a table with a lease.
pub(super) fn at_most_one(node: &Node, problems: &mut Problems) -> Option<AtMostOne> {
    match node {
        Node::Bool(true) => return Some(AtMostOne { lease: None }),
        Node::Bool(false) => return None,
        Node::Map(_) => {}
        _ => {
            problems.add("at_most_one", "it is true, or a table with a lease: {lease: 2m}");
            return None;
        }
    }
    let mut fields = Fields::of(node, "at_most_one", problems)?;
    let lease = fields.parsed("lease", problems);
    if !fields.is_given("lease") {
        fields.missing("lease", problems);
    }
    fields.finish(names::AT_MOST_ONE_FIELDS, problems);
    Some(AtMostOne { lease: Some(lease?) })
}
