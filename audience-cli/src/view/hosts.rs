//! Groups, apps and labels, which may stand after an `@`; and the hosts of an expression.

use std::io;

use orchestra_client::{Group, GroupKind};
use orchestra_model::{HostName, hostset::HostSet};
use serde::Serialize;

use super::{Listing, Output, Page, Style, one_line};

/// What may stand after an `@`.
pub(crate) struct Groups;

impl Listing for Groups {
    type Item = Group;

    const NOUN: &'static str = "groups";

    fn json(&self, group: &Group) -> impl Serialize {
        OfGroup { name: &group.name, kind: kind(group), hosts: &group.hosts, count: group.count }
    }

    fn text(&self, group: &Group, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let name = format!("@{}", one_line(&group.name));
        writeln!(out, "{name:<24} {:<5} {} ({})", kind(group), one_line(&group.hosts), group.count)
    }
}

/// The word for what a group is.
fn kind(group: &Group) -> &'static str {
    match group.kind {
        GroupKind::All => "all",
        GroupKind::App => "app",
        GroupKind::Label => "label",
        GroupKind::Group => "group",
    }
}

#[derive(Serialize)]
struct OfGroup<'a> {
    name: &'a str,
    kind: &'static str,
    hosts: &'a str,
    count: u32,
}

/// The hosts of an expression.
pub(crate) struct Resolved {
    pub(crate) set: HostSet,
    pub(crate) form: Form,
    /// The same in parts, if that was asked for.
    pub(crate) parts: Option<Vec<HostSet>>,
}

/// How a person is told a host set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A host a line.
    Expanded,
    /// One line.
    Folded,
    /// The number of hosts.
    Count,
}

impl Output for &Resolved {
    fn noun(&self) -> &'static str {
        "hostset"
    }

    fn json(self) -> impl Serialize {
        let set = &self.set;
        let parts = self.parts.as_ref();
        Hostset {
            folded: set.to_string(),
            count: set.len(),
            hosts: set.as_slice(),
            parts: parts.map(|parts| parts.iter().map(HostSet::to_string).collect()),
        }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let set = &self.set;
        if let Some(parts) = &self.parts {
            return parts.iter().try_for_each(|part| writeln!(out, "{part}"));
        }
        match self.form {
            Form::Expanded => set.iter().try_for_each(|host| writeln!(out, "{host}")),
            Form::Folded => writeln!(out, "{set}"),
            Form::Count => writeln!(out, "{}", set.len()),
        }
    }
}

#[derive(Serialize)]
struct Hostset<'a> {
    folded: String,
    count: usize,
    hosts: &'a [HostName],
    parts: Option<Vec<String>>,
}
