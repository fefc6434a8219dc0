//! Why a text is not a host set.

use std::borrow::Cow;

use super::{HostSet, PlaceInText};
use crate::{
    limits,
    names::{GroupName, InvalidName},
};

/// Why a text is not a host set. `at` is where in the text the fault is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostSet {
    /// The text is longer than [`limits::HOSTSET_BYTES`].
    #[error("the host set is {bytes} bytes long; at most {} are allowed", limits::HOSTSET_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The grammar does not allow it.
    #[error("{at}: {problem}")]
    Syntax {
        at: PlaceInText,
        /// What is wrong, and what would be right.
        problem: Cow<'static, str>,
    },
    /// A name that it spells, or expands to, is none.
    #[error("{at}: {:?} is not a {}: {}", .name.text, .name.kind, .name.rule)]
    Name {
        at: PlaceInText,
        /// The name and the rule that it breaks.
        name: InvalidName,
    },
    /// It would expand to more than [`limits::HOSTSET_HOSTS`] names.
    #[error("{at}: it expands to too many hosts; at most {} are allowed", limits::HOSTSET_HOSTS)]
    TooMany {
        /// The operand that goes beyond the bound.
        at: PlaceInText,
    },
    /// So many operators over such large sets that evaluating them would take too long.
    #[error("{at}: too many operators over large sets; write it with fewer")]
    TooMuchWork {
        /// The operand at which the bound was reached.
        at: PlaceInText,
    },
    /// An `@` word where no groups are at hand.
    #[error(
        "{at}: groups and labels are known to the conductor only; name the hosts, or ask the \
         conductor"
    )]
    NeedsConductor {
        /// The word.
        at: PlaceInText,
    },
    /// There is no group of that name.
    #[error("{at}: there is no group {name}")]
    UnknownGroup {
        /// The name.
        name: GroupName,
        at: PlaceInText,
    },
    /// No host has that label.
    #[error("{at}: no host has the label {key}={value}")]
    UnknownLabel {
        /// The label's key.
        key: GroupName,
        /// The label's value.
        value: GroupName,
        at: PlaceInText,
    },
    /// It names hosts that nobody knows, whether it adds them or takes them away.
    #[error("{} unknown {}: {}", .0.len(), if .0.len() == 1 { "host" } else { "hosts" }, .0)]
    UnknownHosts(HostSet),
    /// It says which hosts there are, and takes away some that it does not have.
    #[error("`!` takes away {0}, which the set before it does not have")]
    Vain(HostSet),
}
