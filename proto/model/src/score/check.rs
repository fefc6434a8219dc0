//! Holding a job's parameters against what its score declares.
//!
//! The conductor asks before it stores a flow, and the player asks again before it starts an
//! attempt: the last word is with the side that holds the score. No message repeats a value, as
//! it may be a secret.

use std::fmt;

use super::{ParamKind, ParamSpec, ScoreSpec, pattern};
use crate::{
    names::{HostName, ParamKey},
    nearest::nearest,
    params::Params,
    whole,
};

/// Everything that is wrong with the parameters of one job: at least one problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RefusedParams(pub Vec<ParamProblem>);

/// One parameter, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamProblem {
    /// The parameter.
    pub key: ParamKey,
    /// The rule that it breaks.
    pub rule: BrokenRule,
}

/// A rule that a parameter broke. Never carries the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokenRule {
    /// The score does not take it; perhaps this one was meant.
    Undeclared(Option<ParamKey>),
    /// It must be given.
    Missing,
    /// The value is not of this kind.
    Kind(ParamKind),
    /// The value has so many bytes, and may have so many.
    TooLong(usize, u32),
    /// The value does not match this pattern from start to end.
    Pattern(String),
    /// The score's pattern cannot be used, so no value can be shown to match it.
    UnusablePattern,
}

impl fmt::Display for RefusedParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ParamProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, rule } = self;
        match rule {
            BrokenRule::Undeclared(None) => {
                write!(f, "parameter {key}: the score takes no such parameter")
            }
            BrokenRule::Undeclared(Some(meant)) => write!(
                f,
                "parameter {key}: the score takes no such parameter; did you mean {meant}?"
            ),
            BrokenRule::Missing => write!(f, "parameter {key}: it must be given"),
            BrokenRule::Kind(kind) => write!(f, "parameter {key}: expected {}", Expected(kind)),
            BrokenRule::TooLong(bytes, most) => {
                write!(f, "parameter {key}: it has {bytes} bytes; at most {most} are allowed")
            }
            BrokenRule::Pattern(pattern) => {
                write!(f, "parameter {key}: it does not match the pattern {pattern}")
            }
            BrokenRule::UnusablePattern => {
                write!(f, "parameter {key}: the score's pattern for it cannot be used")
            }
        }
    }
}

/// A kind in words.
struct Expected<'a>(&'a ParamKind);

impl fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            ParamKind::String => "a text",
            ParamKind::Integer => "a whole number that fits 64 bits, without leading zeros",
            ParamKind::Number => "a finite decimal number, without leading zeros",
            ParamKind::Boolean => "true or false",
            ParamKind::Choice(choices) => return write!(f, "one of {}", choices.join(", ")),
            ParamKind::Host => "a host name, in lower case",
            ParamKind::Path => "an absolute path without '.', '..' or empty components",
        })
    }
}

impl ScoreSpec {
    /// Checks the parameters of a job, all of them, before any of them is used.
    ///
    /// A score that declares nothing takes any well-formed parameters.
    pub fn check(&self, params: &Params) -> Result<(), RefusedParams> {
        let Some(declared) = &self.params else {
            return Ok(());
        };
        let given = params.iter().filter_map(|(key, value)| {
            let rule = match declared.get(key) {
                Some(spec) => spec.check(value).err()?,
                None => BrokenRule::Undeclared(self.meant(key)),
            };
            Some(ParamProblem { key: key.clone(), rule })
        });
        let missing = declared
            .iter()
            .filter(|(key, spec)| spec.required && params.get(key.as_str()).is_none())
            .map(|(key, _)| ParamProblem { key: key.clone(), rule: BrokenRule::Missing });
        let mut problems: Vec<_> = given.chain(missing).collect();
        problems.sort_by(|a, b| a.key.cmp(&b.key));
        if problems.is_empty() { Ok(()) } else { Err(RefusedParams(problems)) }
    }

    /// Whether the value of a parameter may be shown or logged: only where it is declared, and
    /// not as sensitive.
    pub fn may_show(&self, key: &ParamKey) -> bool {
        let declared = self.params.as_ref().and_then(|params| params.get(key));
        declared.is_some_and(|spec| !spec.sensitive)
    }

    fn meant(&self, key: &ParamKey) -> Option<ParamKey> {
        let declared = self.params.as_ref()?;
        let meant = nearest(key.as_str(), declared.keys().map(ParamKey::as_str))?;
        declared.get_key_value(meant).map(|(key, _)| key.clone())
    }
}

impl ParamSpec {
    /// The length goes first: it bounds what the pattern has to read.
    fn check(&self, value: &str) -> Result<(), BrokenRule> {
        if let Some(most) = self.max_length
            && value.len() > most as usize
        {
            return Err(BrokenRule::TooLong(value.len(), most));
        }
        if !self.kind.admits(value) {
            return Err(BrokenRule::Kind(self.kind.clone()));
        }
        let Some(text) = &self.pattern else {
            return Ok(());
        };
        // It was compiled when the `.conf` was read, but this spec may have come over the wire.
        match pattern::compile(text) {
            Err(_) => Err(BrokenRule::UnusablePattern),
            Ok(pattern) if pattern.matches(value) => Ok(()),
            Ok(_) => Err(BrokenRule::Pattern(text.clone())),
        }
    }
}

/// Whether a text begins as a number that all programs read alike: digits, after a `-` at most. A
/// leading zero makes it octal to some, and no number to others.
fn is_plain_number(value: &str) -> bool {
    match value.strip_prefix('-').unwrap_or(value).as_bytes() {
        [b'0', second, ..] => !second.is_ascii_digit(),
        [first, ..] => first.is_ascii_digit(),
        [] => false,
    }
}

impl ParamKind {
    fn admits(&self, value: &str) -> bool {
        match self {
            Self::String => true,
            Self::Integer => whole::<i64>(value).is_some(),
            Self::Number => is_plain_number(value) && value.parse().is_ok_and(f64::is_finite),
            Self::Boolean => matches!(value, "true" | "false"),
            Self::Choice(choices) => choices.iter().any(|choice| choice == value),
            Self::Host => HostName::new(value).is_ok(),
            Self::Path => is_plain_path(value),
        }
    }
}

/// Whether every component of the path is a name, so that reading it means what it says.
fn is_plain_path(value: &str) -> bool {
    let Some(components) = value.strip_prefix('/') else {
        return false;
    };
    !value.contains('\0')
        && components.split('/').all(|component| !matches!(component, "" | "." | ".."))
}
