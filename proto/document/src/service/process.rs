//! Ports by name, and what processes are like.

use std::str::FromStr;

use orchestra_model::{
    service::{PortName, PortRule, Ports, ProcessRule},
    whole,
};

use crate::{Fields, Node, Problems, node::Key};

/// A table of names with a port each.
pub(super) fn ports(node: &Node, problems: &mut Problems) -> Ports {
    let Node::Map(own) = node else {
        let found = node.kind();
        problems.add("ports", format_args!("expected a table of fields, found {found}"));
        return Ports::default();
    };
    let mut port = |(name, node): &(Key, Node)| {
        let shown: String = name.chars().take(60).collect();
        let text = match node {
            Node::Text(text) => text.clone(),
            Node::Whole(number) => number.to_string(),
            other => {
                problems.add_at(
                    name.line(),
                    "ports",
                    format_args!("{shown}: found {}", other.kind()),
                );
                return None;
            }
        };
        let read = PortName::new(name).and_then(|name| Ok((name, text.parse::<PortRule>()?)));
        read.map_err(|why| problems.add_at(name.line(), "ports", format_args!("{shown}: {why}")))
            .ok()
    };
    own.iter().filter_map(&mut port).collect()
}

pub(super) fn process(fields: &mut Fields<'_>, problems: &mut Problems) -> ProcessRule {
    let nofile = fields.parsed("nofile", problems).map(|Number(number)| number);
    let nice = fields.parsed("nice", problems).map(|Number(number)| number);
    let oom_score_adj = fields.parsed("oom_score_adj", problems).map(|Number(number)| number);
    let umask = fields.parsed("umask", problems);
    let state_dir = fields.yes_or_no("state_dir", problems).unwrap_or(false);
    ProcessRule { nofile, nice, oom_score_adj, umask, state_dir }
}

struct Number<T>(T);

impl<T: FromStr> FromStr for Number<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown =
            || format!("{:?}: expected a whole number", text.chars().take(40).collect::<String>());
        whole(text).map(Number).ok_or_else(shown)
    }
}
