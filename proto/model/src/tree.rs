//! Trees: jobs whose tasks each fetch from a host that has ended already.
//!
//! A task's *parent* is the host that serves it. Which host that is, is decided when the task is
//! sent, and is part of its record from then on.

use std::{fmt, sync::Arc};

use crate::{
    hostset::{HostSet, InvalidHostSet},
    names::HostName,
};

/// Most children that a host may serve at once.
pub const MOST_BRANCHES: u32 = 64;
/// Most label keys by which a tree's hosts are grouped.
pub const MOST_LABELS: usize = 8;
/// Most hosts that a task is told as its ancestors, and as the root.
pub const TOLD_HOSTS: usize = 16;
/// The deepest level that a task is told; those below are told this one.
pub const TOLD_DEPTH: u32 = 1_024;

/// How the tasks of a job follow a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeSpec {
    /// How many children a host serves at once, from 1 to [`MOST_BRANCHES`].
    pub branches: u32,
    /// Label keys: hosts with the same values are a group, which is entered by one host and then
    /// served by its own. At most [`MOST_LABELS`]; none: all hosts are one group.
    pub by: Vec<Arc<str>>,
    /// A host set expression: hosts that have it already. `None`: the first host has no parent.
    pub root: Option<String>,
    /// What a task waits for.
    pub advance: Advance,
    /// What becomes of a task whose planned parent ended without being ok.
    pub orphans: Orphans,
}

impl Default for TreeSpec {
    fn default() -> Self {
        Self {
            branches: 2,
            by: Vec::new(),
            root: None,
            advance: Advance::Host,
            orphans: Orphans::Adopt,
        }
    }
}

impl TreeSpec {
    /// The first value that makes no sense.
    pub fn problem(&self) -> Option<&'static str> {
        if self.branches == 0 || self.branches > MOST_BRANCHES {
            Some("tree.branches is from 1 to 64: so many children does a host serve at once")
        } else if self.by.len() > MOST_LABELS {
            Some("tree.by names more than 8 labels")
        } else if self.by.iter().enumerate().any(|(at, key)| self.by[..at].contains(key)) {
            Some("tree.by names a label twice")
        } else {
            None
        }
    }
}

/// What a task of a tree waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Advance {
    /// A host that can serve it.
    #[default]
    Host,
    /// Also that nothing nearer to the root is in flight.
    Generation,
}

/// What becomes of a waiting task whose planned parent ended without being ok.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orphans {
    /// Any host of its group that can serve takes it.
    #[default]
    Adopt,
    /// A host of the root takes it where one can, else any host of its group.
    Root,
    /// It is skipped.
    Skip,
}

/// The hosts of a job's tree, resolved when the job was submitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeShape {
    /// The hosts of [`TreeSpec::root`].
    pub root: HostSet,
    /// Hosts that ended ok in the job of the ended flow that this job repeats.
    pub done: HostSet,
    /// The groups, each with its hosts of the job, of the root and of `done`. Empty: all hosts are
    /// one group.
    pub groups: Vec<HostSet>,
}

impl TreeShape {
    /// As text: a line for the root, one for what is done, one for each group.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n", self.root, self.done);
        for group in &self.groups {
            text.push_str(&group.to_string());
            text.push('\n');
        }
        text
    }

    /// Reads what [`TreeShape::to_text`] wrote.
    pub fn from_text(text: &str) -> Result<Self, InvalidHostSet> {
        let mut lines = text.lines();
        let mut set = || match lines.next() {
            None | Some("") => Ok(HostSet::default()),
            Some(line) => HostSet::parse_plain(line),
        };
        let (root, done) = (set()?, set()?);
        let groups = lines.map(HostSet::parse_plain).collect::<Result<_, _>>()?;
        Ok(Self { root, done, groups })
    }
}

/// Who serves a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Nobody: the task's host is the first that gets it.
    Nobody,
    Host(HostName),
}

impl Parent {
    /// The host, if there is one.
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Parent::Nobody => None,
            Parent::Host(host) => Some(host),
        }
    }

    /// Reads what is displayed: a host's name, or nothing for [`Parent::Nobody`].
    pub fn from_word(word: &str) -> Result<Self, crate::names::InvalidName> {
        match word {
            "" => Ok(Parent::Nobody),
            host => HostName::new(host).map(Parent::Host),
        }
    }
}

/// The host's name; nothing for nobody.
impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.host().map_or("", HostName::as_str))
    }
}

/// Where a task is in its tree, as its score is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreePlace {
    /// `ORC_TREE_PARENT`; empty for nobody.
    pub parent: Parent,
    /// `ORC_TREE_ANCESTORS`: the parent, the parent's parent and so on, at most [`TOLD_HOSTS`].
    pub ancestors: Vec<HostName>,
    /// `ORC_TREE_ROOT`: hosts of [`TreeSpec::root`], at most [`TOLD_HOSTS`].
    pub root: Vec<HostName>,
    /// `ORC_TREE_DEPTH`: how many ancestors there are, up to [`TOLD_DEPTH`].
    pub depth: u32,
    /// `ORC_TREE_CHILDREN`: the hosts that are planned to be served by this one, at most
    /// [`MOST_BRANCHES`].
    pub children: Vec<HostName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> HostSet {
        HostSet::parse_plain(text).unwrap()
    }

    #[test]
    fn a_shape_reads_as_it_was_written() {
        for (root, done, groups) in [
            ("", "", vec![]),
            ("build1", "", vec![]),
            ("", "fe[1-3]", vec!["fe[1-9]", "db[1-4]"]),
            ("b1,b2", "fe7", vec!["b1,fe[1-900]"]),
        ] {
            let set = |text: &str| if text.is_empty() { HostSet::default() } else { hosts(text) };
            let groups = groups.into_iter().map(hosts).collect();
            let shape = TreeShape { root: set(root), done: set(done), groups };
            assert_eq!(TreeShape::from_text(&shape.to_text()), Ok(shape));
        }
    }

    #[test]
    fn branches_and_labels_have_bounds() {
        let tree = TreeSpec::default();
        assert_eq!(tree.problem(), None);
        for branches in [0, 65] {
            assert!(TreeSpec { branches, ..tree.clone() }.problem().is_some(), "{branches}");
        }
        for branches in [1, 64] {
            assert_eq!(TreeSpec { branches, ..tree.clone() }.problem(), None, "{branches}");
        }
        let by = |keys: &[&str]| TreeSpec {
            by: keys.iter().map(|key| Arc::from(*key)).collect(),
            ..tree.clone()
        };
        assert_eq!(by(&["site", "rack"]).problem(), None);
        assert!(by(&["site", "site"]).problem().is_some());
        assert!(by(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]).problem().is_some());
    }
}
