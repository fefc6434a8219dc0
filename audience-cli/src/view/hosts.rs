//! Groups, apps and labels: what may stand after an `@`.

use std::io;

use orchestra_proto::v1::{self, GroupKind};
use serde::Serialize;

use super::style::one_line;

/// Writes a group as a line.
pub fn line(out: &mut dyn io::Write, group: &v1::Group) -> io::Result<()> {
    let name = format!("@{}", one_line(&group.name));
    writeln!(out, "{name:<24} {:<5} {} ({})", kind(group), one_line(&group.hosts), group.count)
}

/// The word for what a group is.
fn kind(group: &v1::Group) -> &'static str {
    match group.kind() {
        GroupKind::All => "all",
        GroupKind::App => "app",
        GroupKind::Label => "label",
        GroupKind::Group | GroupKind::Unspecified => "group",
    }
}

/// A group in JSON.
#[derive(Serialize)]
pub struct Group<'a> {
    name: &'a str,
    kind: &'static str,
    hosts: &'a str,
    count: u32,
}

impl<'a> From<&'a v1::Group> for Group<'a> {
    fn from(group: &'a v1::Group) -> Self {
        Self { name: &group.name, kind: kind(group), hosts: &group.hosts, count: group.count }
    }
}
