//! Why a text is not a host set.

use std::{borrow::Cow, fmt};

use super::{HostSet, PlaceInText};
use crate::{
    limits,
    names::{GroupName, InvalidName},
};

/// Why a text is not a host set. `at` is where in the text the fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidHostSet {
    /// The text is longer than [`limits::HOSTSET_BYTES`].
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The grammar does not allow it.
    Syntax {
        at: PlaceInText,
        /// What is wrong, and what would be right.
        problem: Cow<'static, str>,
    },
    /// A name that it spells, or expands to, is none.
    Name {
        at: PlaceInText,
        /// The name and the rule that it breaks.
        name: InvalidName,
    },
    /// It would expand to more than [`limits::HOSTSET_HOSTS`] names.
    TooMany {
        /// The operand that goes beyond the bound.
        at: PlaceInText,
    },
    /// So many operators over such large sets that evaluating them would take too long.
    TooMuchWork {
        /// The operand at which the bound was reached.
        at: PlaceInText,
    },
    /// An `@` word where no groups are at hand.
    NeedsConductor {
        /// The word.
        at: PlaceInText,
    },
    /// There is no group of that name.
    UnknownGroup {
        /// The name.
        name: GroupName,
        at: PlaceInText,
    },
    /// No host has that label.
    UnknownLabel {
        /// The label's key.
        key: GroupName,
        /// The label's value.
        value: GroupName,
        at: PlaceInText,
    },
    /// It names hosts that nobody knows, whether it adds them or takes them away.
    UnknownHosts(HostSet),
    /// It says which hosts there are, and takes away some that it does not have.
    Vain(HostSet),
}

impl fmt::Display for InvalidHostSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(
                f,
                "the host set is {bytes} bytes long; at most {} are allowed",
                limits::HOSTSET_BYTES
            ),
            Self::Syntax { at, problem } => write!(f, "{at}: {problem}"),
            Self::Name { at, name } => {
                write!(f, "{at}: {:?} is not a {}: {}", name.text, name.kind, name.rule)
            }
            Self::TooMany { at } => write!(
                f,
                "{at}: it expands to too many hosts; at most {} are allowed",
                limits::HOSTSET_HOSTS
            ),
            Self::TooMuchWork { at } => {
                write!(f, "{at}: too many operators over large sets; write it with fewer")
            }
            Self::NeedsConductor { at } => write!(
                f,
                "{at}: groups and labels are known to the conductor only; name the hosts, or ask \
                 the conductor"
            ),
            Self::UnknownGroup { name, at } => write!(f, "{at}: there is no group {name}"),
            Self::UnknownLabel { key, value, at } => {
                write!(f, "{at}: no host has the label {key}={value}")
            }
            Self::Vain(hosts) => {
                write!(f, "`!` takes away {hosts}, which the set before it does not have")
            }
            Self::UnknownHosts(hosts) => write!(
                f,
                "{} unknown {}: {hosts}",
                hosts.len(),
                if hosts.len() == 1 { "host" } else { "hosts" },
            ),
        }
    }
}

impl std::error::Error for InvalidHostSet {}
