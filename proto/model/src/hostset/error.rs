//! Why a text is not a host set.

use std::fmt;

use crate::{
    limits,
    names::{GroupName, InvalidName},
};

/// Why a text is not a host set.
///
/// `text` is the operand at fault, shortened for showing; `at` is where in the whole text the
/// fault is, in characters from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidHostSet {
    /// The text is longer than [`limits::HOSTSET_BYTES`].
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The grammar does not allow it.
    Syntax {
        /// The operand.
        text: String,
        /// Position in the whole text.
        at: usize,
        /// What is wrong, and what would be right.
        problem: &'static str,
    },
    /// A name that it spells, or expands to, is none.
    Name {
        /// The operand.
        text: String,
        /// Position in the whole text.
        at: usize,
        /// The name and the rule that it breaks.
        source: InvalidName,
    },
    /// It would expand to more than [`limits::HOSTSET_HOSTS`] names.
    TooMany {
        /// The operand that goes beyond the bound.
        text: String,
        /// Position in the whole text.
        at: usize,
    },
    /// So many operators over such large sets that evaluating them would take too long.
    TooMuchWork {
        /// The operand at which the bound was reached.
        text: String,
        /// Position in the whole text.
        at: usize,
    },
    /// An `@` word where no groups are at hand.
    NeedsConductor {
        /// The word.
        text: String,
        /// Position in the whole text.
        at: usize,
    },
    /// There is no group of that name.
    UnknownGroup {
        /// The name.
        name: GroupName,
        /// Position in the whole text.
        at: usize,
    },
    /// No host has that label.
    UnknownLabel {
        /// The label's key.
        key: GroupName,
        /// The label's value.
        value: GroupName,
        /// Position in the whole text.
        at: usize,
    },
}

impl fmt::Display for InvalidHostSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(
                f,
                "the host set is {bytes} bytes long; at most {} are allowed",
                limits::HOSTSET_BYTES
            ),
            Self::Syntax { text, at, problem } => {
                write!(f, "host set {text:?}, character {at}: {problem}")
            }
            Self::Name { text, at, source } => {
                write!(f, "host set {text:?}, character {at}: not a {}", source.kind)
            }
            Self::TooMany { text, at } => write!(
                f,
                "host set {text:?}, character {at}: it expands to too many hosts; at most {} are \
                 allowed",
                limits::HOSTSET_HOSTS
            ),
            Self::TooMuchWork { text, at } => write!(
                f,
                "host set {text:?}, character {at}: too many operators over large sets; write it \
                 with fewer"
            ),
            Self::NeedsConductor { text, at } => write!(
                f,
                "host set {text:?}, character {at}: groups and labels are known to the conductor \
                 only; name the hosts, or ask the conductor"
            ),
            Self::UnknownGroup { name, at } => {
                write!(f, "host set \"@{name}\", character {at}: there is no group {name}")
            }
            Self::UnknownLabel { key, value, at } => write!(
                f,
                "host set \"@{key}={value}\", character {at}: no host has the label {key}={value}"
            ),
        }
    }
}

impl std::error::Error for InvalidHostSet {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Name { source, .. } => Some(source),
            _ => None,
        }
    }
}
