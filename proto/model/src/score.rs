//! What a score's `.conf` says, and what parameters it lets pass.

use std::{collections::BTreeMap, fmt};

use crate::{
    names::{ParamKey, ScoreName},
    time::Millis,
};

mod built_in;
mod check;
mod held;
mod offers;
mod pattern;

pub use built_in::BuiltIn;
pub use check::{BrokenRule, ParamProblem, RefusedParams};
pub use held::{HeldScore, Holdings};
pub use offers::{Offers, WeakOffers};
pub use pattern::{InvalidPattern, check_pattern};

/// SHA-256 of a score's bytes: what runs is what was hashed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScoreHash(pub [u8; 32]);

impl ScoreHash {
    /// Its first twelve digits: enough for people to tell versions of a score apart.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl fmt::Display for ScoreHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ScoreHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One score as a player offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreOffer {
    pub name: ScoreName,
    /// What its file holds; `None` where it could not be read.
    pub hash: Option<ScoreHash>,
    /// Its `.conf`, or why it is disabled.
    pub spec: Result<ScoreSpec, String>,
}

/// A `.conf`, with defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreSpec {
    /// For people.
    pub description: String,
    /// Whether standard output is a response.
    pub interface: Interface,
    /// Of one attempt; a job may ask for less, not for more.
    pub timeout: Millis,
    /// Run as this user; `None`: the player's task user.
    pub user: Option<String>,
    /// At most this many attempts of it at once on one player; at least 1. `None`: no bound of
    /// its own.
    pub concurrency: Option<u32>,
    /// Alone on its player.
    pub exclusive: bool,
    /// A change, which takes cells; `false`: a look, which takes none.
    pub disruptive: bool,
    /// What parameters it takes; `None`: any well-formed ones.
    pub params: Option<BTreeMap<ParamKey, ParamSpec>>,
}

/// How a score answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interface {
    /// By its exit code alone.
    #[default]
    Env,
    /// Lines `KEY=VALUE` of standard output are the response; the last value of a key wins.
    Pipe,
}

/// One declared parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParamSpec {
    /// What its value must be.
    pub kind: ParamKind,
    /// A regular expression that the whole value must match.
    pub pattern: Option<String>,
    /// Longest value, in bytes.
    pub max_length: Option<u32>,
    /// Whether it must be given.
    pub required: bool,
    /// Whether its value may never be shown or logged.
    pub sensitive: bool,
    /// For people.
    pub description: String,
}

/// The type of a parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ParamKind {
    /// Any text.
    #[default]
    String,
    /// A whole number that fits 64 bits.
    Integer,
    /// A finite decimal number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of these.
    Choice(Vec<String>),
    /// A host name.
    Host,
    /// An absolute path without `.` or `..` components.
    Path,
}

/// The timeout of a score whose `.conf` names none.
pub const DEFAULT_TIMEOUT: Millis = Millis::minutes(10);

impl Default for ScoreSpec {
    fn default() -> Self {
        Self {
            description: String::new(),
            interface: Interface::Env,
            timeout: DEFAULT_TIMEOUT,
            user: None,
            concurrency: None,
            exclusive: false,
            disruptive: true,
            params: None,
        }
    }
}
