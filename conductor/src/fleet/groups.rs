//! `groups.toml`: lines `NAME = "HOSTS"`. A group may name labels, `@all`, and other groups of the
//! file, in any order. It cannot name an app, because deployments may use groups, so neither could
//! be read first.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use orchestra_document::{Format, Node, Problems};
use orchestra_model::{
    HostSet, chain,
    hostset::{Groups, InvalidHostSet},
    names::GroupName,
};

use super::Fleet;

/// Most groups that are nested in one another, because each level takes stack.
const DEPTH: usize = 64;

/// Why the groups cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidGroups {
    /// The text is not a table of host sets by names of groups.
    Content(#[source] Problems),
    /// A group has the name of every host.
    Reserved(GroupName),
    /// A group's host set does not parse.
    Hosts(GroupName, #[source] Box<InvalidHostSet>),
    /// A group names hosts that the players file does not.
    UnknownHosts(GroupName, HostSet),
    /// Groups name each other in a circle: each names the next, and the last names the first.
    Cycle(Vec<GroupName>),
    /// A group is nested too deeply.
    TooDeep(GroupName),
}

impl fmt::Display for InvalidGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(_) => f.write_str("expected lines NAME = \"HOSTS\""),
            Self::Reserved(name) => write!(
                f,
                "a group cannot be named {name}: @all is every host of the players file; give it \
                 another name"
            ),
            Self::Hosts(group, cause) => {
                write!(f, "the host set of group {group} is wrong")?;
                match **cause {
                    InvalidHostSet::UnknownGroup { .. } => f.write_str(
                        " (a group may name @all, labels and groups of this file, and no app of \
                         a deployment)",
                    ),
                    _ => Ok(()),
                }
            }
            Self::UnknownHosts(group, hosts) => {
                write!(f, "group {group} names hosts that the players file does not: {hosts}")
            }
            Self::Cycle(groups) => {
                f.write_str("groups name each other in a circle: ")?;
                for name in groups {
                    write!(f, "@{name} names ")?;
                }
                match groups.first() {
                    Some(first) => write!(f, "@{first}"),
                    None => Ok(()),
                }
            }
            Self::TooDeep(name) => {
                write!(f, "group {name} is within more than {DEPTH} others, one within the other")
            }
        }
    }
}

/// Reads the groups of a fleet whose players and labels were read before. Of groups that are wrong
/// all problems are told.
pub(super) fn read(text: &str, fleet: &Fleet) -> Result<BTreeMap<GroupName, HostSet>, Problems> {
    let mut problems = Problems::default();
    let texts = read_texts(text, &mut problems);
    if let Err(content) = problems.into_result() {
        return Err(one(&InvalidGroups::Content(content)));
    }
    if let Some(name) = texts.keys().find(|name| name.as_str().eq_ignore_ascii_case("all")) {
        return Err(one(&InvalidGroups::Reserved(name.clone())));
    }
    let reading = Reading { fleet, texts: &texts, progress: RefCell::default() };
    // A group that is wrong may be named by many others, which all fail by it.
    let mut wrong: Vec<String> = Vec::new();
    for name in texts.keys() {
        if let Err(why) = reading.resolve(name) {
            let is_told = match &why {
                InvalidGroups::Cycle(groups) => !reading.note_cycle(groups),
                why => wrong.contains(&chain(why)),
            };
            if !is_told {
                wrong.push(chain(&why));
            }
        }
    }
    let mut problems = Problems::default();
    wrong.iter().for_each(|why| problems.add("", why));
    problems.into_result().map(|()| reading.progress.into_inner().done)
}

fn one(why: &InvalidGroups) -> Problems {
    let mut problems = Problems::default();
    problems.add("", chain(why));
    problems
}

/// Reads the host set of each group as text.
fn read_texts(text: &str, problems: &mut Problems) -> BTreeMap<GroupName, String> {
    let groups = match Format::Toml.parse(text) {
        Ok(Node::Map(groups)) => groups,
        Ok(other) => {
            problems.add("", format_args!("found {}", other.kind()));
            return BTreeMap::new();
        }
        Err(malformed) => {
            problems.add("", malformed);
            return BTreeMap::new();
        }
    };
    let mut texts = BTreeMap::new();
    for (key, hosts) in groups {
        match (GroupName::new(&key), hosts) {
            (Ok(name), Node::Text(hosts)) => drop(texts.insert(name, hosts)),
            (Ok(name), other) => {
                let problem = format_args!("expected a host set in quotes, found {}", other.kind());
                problems.add_at(key.line(), name.as_str(), problem);
            }
            (Err(error), _) => problems.add_at(key.line(), "", error),
        }
    }
    texts
}

/// Groups that are resolved or are being resolved, because other groups name them.
struct Reading<'a> {
    fleet: &'a Fleet,
    texts: &'a BTreeMap<GroupName, String>,
    progress: RefCell<Progress>,
}

#[derive(Default)]
struct Progress {
    done: BTreeMap<GroupName, HostSet>,
    /// The groups that are being resolved; each is named by the one before it.
    path: Vec<GroupName>,
    /// Why a group that was looked up could not be resolved.
    failed: Option<InvalidGroups>,
    /// The groups of circles that were found.
    circles: BTreeSet<GroupName>,
}

impl Reading<'_> {
    /// Resolves a group that no other one is waiting for, or one that is named by the last of those
    /// that do.
    fn resolve(&self, name: &GroupName) -> Result<HostSet, InvalidGroups> {
        let resolved = self.resolve_further(name);
        if resolved.is_err() {
            // Each of those that waited fails too.
            self.progress.borrow_mut().path.clear();
        }
        resolved
    }

    /// Remembers the groups of a circle. Returns whether it is a new one.
    fn note_cycle(&self, groups: &[GroupName]) -> bool {
        let known = &mut self.progress.borrow_mut().circles;
        let before = known.len();
        known.extend(groups.iter().cloned());
        known.len() > before
    }

    fn resolve_further(&self, name: &GroupName) -> Result<HostSet, InvalidGroups> {
        if let Some(hosts) = self.enter(name)? {
            return Ok(hosts);
        }
        let text = self.texts.get(name).map_or("", String::as_str);
        let parsed = HostSet::parse(text, self);
        let mut progress = self.progress.borrow_mut();
        if let Some(failed) = progress.failed.take() {
            return Err(failed);
        }
        let hosts = parsed.map_err(|cause| match cause {
            InvalidHostSet::UnknownHosts(hosts) => InvalidGroups::UnknownHosts(name.clone(), hosts),
            cause => InvalidGroups::Hosts(name.clone(), Box::new(cause)),
        })?;
        progress.path.pop();
        progress.done.insert(name.clone(), hosts.clone());
        Ok(hosts)
    }

    /// Returns the hosts of a group that was resolved before; else begins to resolve it.
    fn enter(&self, name: &GroupName) -> Result<Option<HostSet>, InvalidGroups> {
        let mut progress = self.progress.borrow_mut();
        if let Some(hosts) = progress.done.get(name) {
            return Ok(Some(hosts.clone()));
        }
        if let Some(at) = progress.path.iter().position(|open| open == name) {
            return Err(InvalidGroups::Cycle(progress.path.split_off(at)));
        }
        if progress.path.len() >= DEPTH {
            return Err(InvalidGroups::TooDeep(name.clone()));
        }
        progress.path.push(name.clone());
        Ok(None)
    }
}

impl Groups for Reading<'_> {
    fn all(&self) -> HostSet {
        self.fleet.all()
    }

    fn group(&self, name: &GroupName) -> Option<HostSet> {
        if !self.texts.contains_key(name) {
            return None;
        }
        match self.resolve(name) {
            Ok(hosts) => Some(hosts),
            Err(why) => {
                self.progress.borrow_mut().failed = Some(why);
                None
            }
        }
    }

    fn labelled(&self, key: &str, value: &str) -> Option<HostSet> {
        self.fleet.labelled(key, value)
    }

    fn hosts(&self) -> Option<&HostSet> {
        Some(self.fleet.hosts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(text: &str) -> Result<BTreeMap<GroupName, HostSet>, String> {
        let mut fleet = Fleet::default();
        fleet.read_players("fe[1-6] app=web\ndb[1-3]\n").unwrap();
        read(text, &fleet).map_err(|problems| problems.to_string())
    }

    fn set(groups: &BTreeMap<GroupName, HostSet>, name: &str) -> String {
        groups[&GroupName::new(name).unwrap()].to_string()
    }

    #[test]
    fn groups_name_groups_wherever_they_stand() {
        let groups = groups(
            "a = \"@web!@z\"\nweb = \"@app=web\"\nz = \"fe[1-2]\"\nb = \"@a,@db\"\n\
             db = \"@all!@web\"\nempty = \"\"\n",
        )
        .unwrap();
        assert_eq!(set(&groups, "a"), "fe[3-6]");
        assert_eq!(set(&groups, "b"), "db[1-3],fe[3-6]");
        assert_eq!(set(&groups, "db"), "db[1-3]");
        assert_eq!(set(&groups, "empty"), "");
    }

    #[test]
    fn what_cannot_be_a_group_is_named() {
        for (text, why) in [
            ("all = \"fe[1-2]\"\n", "a group cannot be named all: @all is every host"),
            ("All = \"fe[1-2]\"\n", "a group cannot be named All"),
            ("a = \"@b\"\nb = \"@c,db1\"\nc = \"@a\"\n", "@a names @b names @c names @a"),
            ("deep = \"@deep\"\n", "groups name each other in a circle: @deep names @deep"),
            ("top = \"@a\"\na = \"@b\"\nb = \"@a\"\n", "circle: @a names @b names @a"),
            ("a = \"h03\"\n", "group a names hosts that the players file does not: h03"),
            ("a = \"@all!h03\"\n", "group a names hosts that the players file does not: h03"),
            ("b = \"@a\"\na = \"@all!h03\"\n", "group a names hosts that the players file"),
            ("a = \"@front\"\n", "group a is wrong (a group may name @all, labels and groups of"),
            ("a = \"@front\"\n", "character 1: there is no group front"),
            ("b = \"@a\"\na = \"fe[\"\n", "the host set of group a is wrong: host set \"fe[\""),
            (
                "a = 1\n",
                "expected lines NAME = \"HOSTS\": line 1: a: expected a host set in quotes, found",
            ),
            (
                "\n\"a b\" = \"fe1\"\n",
                "expected lines NAME = \"HOSTS\": line 2: group name \"a b\"",
            ),
            ("a = 1\n\"a b\" = \"fe1\"\nc = []\n", "3 problems\n  line 1: a: expected"),
            (
                "a = \"@b\"\nb = \"@a\"\nc = \"@d\"\nd = \"h03\"\ne = \"fe[\"\n",
                "3 problems\n  groups name each other in a circle: @a names @b names @a\n  group d \
                 names hosts that the players file does not: h03\n  the host set of group e is wrong",
            ),
        ] {
            let told = groups(text).unwrap_err();
            assert!(told.contains(why), "{text:?}: {told}");
        }
    }

    #[test]
    fn groups_are_within_one_another_so_deep_and_no_deeper() {
        let chain = |depth: usize| {
            let link = |n: usize| format!("g{n} = \"@g{}\"\n", n + 1);
            let links: String = (1..depth).map(link).collect();
            groups(&format!("{links}g{depth} = \"fe1\"\n"))
        };
        assert_eq!(set(&chain(DEPTH).unwrap(), "g1"), "fe1");
        assert!(chain(DEPTH + 1).unwrap_err().contains("within more than 64 others"));
    }
}
