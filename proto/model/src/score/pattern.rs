//! The regular expression of a parameter.
//!
//! Who writes it is trusted, what it is matched against is not: matching takes time linear in the
//! value (no backtracking), and the bounds here keep the factor small.

use std::fmt;

use regex_lite::{Regex, RegexBuilder};

use crate::limits;

/// Most memory of a compiled pattern, in bytes: room for a bounded repetition of a host name's
/// length, while the longest value is still matched within a fraction of a second.
const COMPILED_BYTES: usize = 64 << 10;

/// A pattern that a whole value must match.
pub(super) struct Pattern(Regex);

/// Why a text is not a pattern.
#[derive(Debug)]
pub enum InvalidPattern {
    /// It has more than [`limits::PATTERN_BYTES`].
    TooLong,
    /// It is not a regular expression, or one that would take too much memory.
    Syntax(regex_lite::Error),
}

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "a pattern has at most {} bytes", limits::PATTERN_BYTES)
            }
            Self::Syntax(error) => write!(f, "not a regular expression: {error}"),
        }
    }
}

/// Checks that a text is a pattern that a parameter may have.
pub fn check_pattern(text: &str) -> Result<(), InvalidPattern> {
    compile(text).map(drop)
}

/// Reads a pattern in the syntax of the `regex-lite` crate, where `\w`, `\d` and `\s` are ASCII.
pub(super) fn compile(text: &str) -> Result<Pattern, InvalidPattern> {
    if text.len() > limits::PATTERN_BYTES {
        return Err(InvalidPattern::TooLong);
    }
    let build = |text: &str| {
        RegexBuilder::new(text).size_limit(COMPILED_BYTES).build().map_err(InvalidPattern::Syntax)
    };
    // Also by itself, lest an unmatched parenthesis step out of the group below.
    build(text)?;
    // Unlike `^` and `$`, these two mean the ends of the value whatever flags the pattern sets:
    // no line of a longer value matches in its stead, and no final line end is overlooked.
    build(&format!(r"\A(?:{text})\z")).map(Pattern)
}

impl Pattern {
    pub(super) fn matches(&self, value: &str) -> bool {
        self.0.is_match(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        compile(pattern).unwrap().matches(value)
    }

    #[test]
    fn the_whole_value_matches_or_none_of_it() {
        assert!(matches("^[a-z0-9.+-]+$", "libc6"));
        assert!(matches("[a-z]+", "abc"));
        assert!(matches("a|ab", "ab"), "a shorter alternative does not win");
        assert!(matches("", ""));
        for pattern in ["^[a-z]+$", "[a-z]+", "(?m)^[a-z]+$", "(?s)[a-z]+", "(?m)[a-z]+$|[a-z]+"] {
            for value in ["abc\n", "\nabc", "abc\nrm -rf", "x;y\nabc", "abc ", "abc\r\n", "abc\r"] {
                assert!(!matches(pattern, value), "{pattern:?} {value:?}");
            }
        }
    }

    #[test]
    fn no_pattern_steps_out_of_its_group() {
        for bad in ["a)|(?:b", "a)", "(a", "(?x)a # (", "(?x)a # comment", "[", "a{2", "*", r"\"] {
            assert!(compile(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn patterns_are_bounded() {
        assert!(compile(&"a".repeat(limits::PATTERN_BYTES)).is_ok());
        assert!(matches!(
            compile(&"a".repeat(limits::PATTERN_BYTES + 1)),
            Err(InvalidPattern::TooLong)
        ));
        assert!(compile("[a-z0-9._-]{1,253}").is_ok());
        assert!(compile("((a{1,100}){1,100}){1,100}").is_err());
        assert!(compile(&"(".repeat(200)).is_err());
    }

    #[test]
    fn a_pattern_that_would_make_backtracking_explode_does_not() {
        let pattern = compile("(a*)*(a|aa)*b").unwrap();
        assert!(!pattern.matches(&"a".repeat(limits::PARAM_VALUE_BYTES)));
    }
}
