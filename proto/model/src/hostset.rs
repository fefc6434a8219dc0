//! Host sets: `fe[1-6].east.example.com,db[01-10/2]!db05`, `@frontend&@cluster=east`.
//!
//! A [`HostSet`] is a sorted list of names without duplicates. Its order is *natural*: numbers
//! inside names compare by value, then by how they are padded, so that `fe2` comes before `fe10`.
//! Wherever hosts are taken one after another (a canary, a window) they are taken in this order.
//!
//! The grammar, read from left to right without precedence:
//!
//! ```text
//! set     = operand { operator operand }
//! operator= ","  union (so are spaces and line ends)      "!"  minus
//!           "&"  intersection                             "^"  in one of the two, not in both
//! operand = NAME | "@all" | "@" GROUP | "@" KEY "=" VALUE
//! NAME    = a host name in which any part may be RANGES
//! RANGES  = "[" range { "," range } "]", or the same in braces
//! range   = N | N "-" M | N "-" M "/" STEP
//! ```
//!
//! Zero padding is kept. Upper-case letters of host names are lowered, as DNS takes them for the
//! same; groups and labels keep their case. Printing folds: parsing what was printed gives the
//! same set, as long as it stays within [`limits::HOSTSET_BYTES`](crate::limits::HOSTSET_BYTES).
//!
//! What groups, labels and hosts exist is the conductor's knowledge and comes in through
//! [`Groups`]. Where it is at hand, a name that nobody knows is an error wherever it stands: one
//! that is misspelt behind a `!` would take nobody away, and the work would reach whom it should
//! not.

use std::{cmp::Ordering, collections::BTreeSet, fmt};

use crate::names::{GroupName, HostName};

mod digits;
mod error;
mod fold;
mod foreign;
mod order;
mod parse;
mod place;
mod scan;
mod table;

pub use error::InvalidHostSet;
pub use order::natural_order;
pub use place::PlaceInText;

/// Hosts in natural order, each once.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct HostSet(Vec<HostName>);

/// Where a host set's `@` words are looked up. Only what an operator wrote down may answer, never
/// what a player says of itself.
pub trait Groups {
    /// `@all`: every host there is.
    fn all(&self) -> HostSet;

    /// `@NAME`; `None` where there is no such group.
    fn group(&self, name: &GroupName) -> Option<HostSet>;

    /// `@KEY=VALUE`: the hosts with that label; `None` where no host has it.
    fn labelled(&self, key: &str, value: &str) -> Option<HostSet>;

    /// Every host there is, where that is known: an expression that names any other is refused.
    fn hosts(&self) -> Option<&HostSet> {
        None
    }

    /// Whether anything can be looked up at all; where not, every `@` is refused as
    /// [`InvalidHostSet::NeedsConductor`].
    fn reachable(&self) -> bool {
        true
    }
}

/// What becomes of an expression that names what nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It is refused.
    Refused,
    /// What is unknown is left out, and told.
    LeftOut,
}

/// What an expression stands for, and what whoever wrote it should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The hosts.
    pub hosts: HostSet,
    /// Those that a list names more than once: they count once.
    pub repeated: HostSet,
    /// Hosts that nobody knows: they were left out.
    pub unknown: HostSet,
    /// Groups and labels that nobody has, without their `@`: they were left out.
    pub words: BTreeSet<String>,
    /// Hosts that a `!` takes away from a set that does not have them.
    pub vain: HostSet,
}

/// No groups to look anything up in: every `@` is an error that says so.
#[derive(Clone, Copy, Debug)]
pub struct NoGroups;

impl Groups for NoGroups {
    fn all(&self) -> HostSet {
        HostSet::default()
    }

    fn group(&self, _name: &GroupName) -> Option<HostSet> {
        None
    }

    fn labelled(&self, _key: &str, _value: &str) -> Option<HostSet> {
        None
    }

    fn reachable(&self) -> bool {
        false
    }
}

impl HostSet {
    /// Reads an expression, looking up `@` words in `groups`. Blank text is the empty set.
    ///
    /// Time and memory are bounded whatever the text says: sizes are known before anything is
    /// expanded.
    pub fn parse(text: &str, groups: &dyn Groups) -> Result<HostSet, InvalidHostSet> {
        Self::resolve(text, groups, Unknown::Refused).map(|resolved| resolved.hosts)
    }

    /// Reads an expression as [`HostSet::parse`] does, and tells what is strange about it.
    pub fn resolve(
        text: &str,
        groups: &dyn Groups,
        unknown: Unknown,
    ) -> Result<Resolved, InvalidHostSet> {
        parse::resolve(text, groups, unknown)
    }

    /// Reads an expression without `@` words.
    pub fn parse_plain(text: &str) -> Result<HostSet, InvalidHostSet> {
        Self::parse(text, &NoGroups)
    }

    /// Reads an expression, without `@` words, that says which hosts there are. What it takes away
    /// has to be there: nobody else can tell that it is misspelt.
    pub fn define(text: &str) -> Result<HostSet, InvalidHostSet> {
        let resolved = Self::resolve(text, &NoGroups, Unknown::Refused)?;
        match resolved.vain.is_empty() {
            true => Ok(resolved.hosts),
            false => Err(InvalidHostSet::Vain(resolved.vain)),
        }
    }

    /// The set of these names, in whatever order and however often they come.
    pub fn from_names(names: impl IntoIterator<Item = HostName>) -> HostSet {
        let names: Vec<HostName> = names.into_iter().collect();
        let order = order::in_order(names.len(), |place| names[place as usize].as_str());
        HostSet(order.into_iter().map(|place| names[place as usize].clone()).collect())
    }

    /// How many hosts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hosts in natural order.
    pub fn iter(&self) -> std::slice::Iter<'_, HostName> {
        self.0.iter()
    }

    /// The hosts in natural order.
    pub fn as_slice(&self) -> &[HostName] {
        &self.0
    }

    /// Whether `host` is one of them.
    pub fn contains(&self, host: &HostName) -> bool {
        self.0.binary_search_by(|own| natural_order(own.as_str(), host.as_str())).is_ok()
    }

    /// Hosts of either.
    #[must_use]
    pub fn union(&self, other: &HostSet) -> HostSet {
        self.merge(other, true, true, true)
    }

    /// Hosts of this set that are not in `other`.
    #[must_use]
    pub fn minus(&self, other: &HostSet) -> HostSet {
        self.merge(other, true, false, false)
    }

    /// Hosts of both.
    #[must_use]
    pub fn intersection(&self, other: &HostSet) -> HostSet {
        self.merge(other, false, true, false)
    }

    /// Hosts of one of the two, not of both.
    #[must_use]
    pub fn symmetric_difference(&self, other: &HostSet) -> HostSet {
        self.merge(other, true, false, true)
    }

    /// The hosts that `known` does not know: what an error lists.
    #[must_use]
    pub fn unknown(&self, known: impl Fn(&HostName) -> bool) -> HostSet {
        HostSet(self.iter().filter(|host| !known(host)).cloned().collect())
    }

    /// Prints as `fe[1-6] (6)`: folded, with the number of hosts.
    pub fn counted(&self) -> impl fmt::Display + '_ {
        struct Counted<'a>(&'a HostSet);
        impl fmt::Display for Counted<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format!("{} ({})", self.0, self.0.len()))
            }
        }
        Counted(self)
    }

    /// One walk over both sets that keeps what is only here, in both, only there.
    fn merge(&self, other: &HostSet, mine: bool, both: bool, theirs: bool) -> HostSet {
        let (mut left, mut right) = (self.0.as_slice(), other.0.as_slice());
        let mut kept = Vec::with_capacity(match (mine, theirs) {
            (true, true) => left.len() + right.len(),
            (true, false) => left.len(),
            (false, true) => right.len(),
            (false, false) => left.len().min(right.len()),
        });
        while let ([a, left_rest @ ..], [b, right_rest @ ..]) = (left, right) {
            let order = natural_order(a.as_str(), b.as_str());
            let (host, keep) = match order {
                Ordering::Less => (a, mine),
                Ordering::Equal => (a, both),
                Ordering::Greater => (b, theirs),
            };
            if keep {
                kept.push(host.clone());
            }
            if order.is_le() {
                left = left_rest;
            }
            if order.is_ge() {
                right = right_rest;
            }
        }
        if mine {
            kept.extend_from_slice(left);
        }
        if theirs {
            kept.extend_from_slice(right);
        }
        HostSet(kept)
    }
}

/// Folded: `fe[1-6].east.example.com,db[1-3]`. Nothing where the set is empty.
impl fmt::Display for HostSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&fold::fold(&self.0))
    }
}

impl fmt::Debug for HostSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostSet({self})")
    }
}

impl FromIterator<HostName> for HostSet {
    fn from_iter<I: IntoIterator<Item = HostName>>(names: I) -> HostSet {
        HostSet::from_names(names)
    }
}

impl IntoIterator for HostSet {
    type Item = HostName;
    type IntoIter = std::vec::IntoIter<HostName>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a HostSet {
    type Item = &'a HostName;
    type IntoIter = std::slice::Iter<'a, HostName>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
