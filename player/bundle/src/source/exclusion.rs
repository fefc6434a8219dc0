//! Patterns of what is left out: `*.o`, `build`, `docs/*.tmp`.

use std::{fmt, str::FromStr};

use orchestra_model::bundle::BundlePath;

/// A pattern. `*` stands for any bytes of one name, `?` for one byte. A pattern without a slash fits
/// that name anywhere; one with a slash fits the path from the top of the bundle. What is in a
/// directory that fits is left out with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    text: String,
    /// Of each name from the top, or of one name anywhere.
    names: Vec<Vec<u8>>,
    from_top: bool,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: expected a pattern like *.o or docs/*.tmp, without empty names, . and ..")]
pub struct InvalidExclusion(String);

impl FromStr for Exclusion {
    type Err = InvalidExclusion;

    fn from_str(text: &str) -> Result<Self, InvalidExclusion> {
        let inner = text.strip_prefix('/').unwrap_or(text);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let names: Vec<Vec<u8>> = inner.split('/').map(|name| name.as_bytes().to_vec()).collect();
        if names.iter().any(|name| matches!(&**name, b"" | b"." | b".." | b"**")) {
            return Err(InvalidExclusion(text.chars().take(80).collect()));
        }
        let from_top = text.starts_with('/') || names.len() > 1;
        Ok(Self { text: text.to_owned(), names, from_top })
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Exclusion {
    /// Whether an entry at this path is left out.
    pub(super) fn fits(&self, path: &BundlePath) -> bool {
        let names = path.names();
        if !self.from_top {
            return names.last().is_some_and(|name| name_fits(&self.names[0], name.as_bytes()));
        }
        names.len() == self.names.len()
            && self.names.iter().zip(names).all(|(own, name)| name_fits(own, name.as_bytes()))
    }
}

/// Whether a name fits. After a mismatch the last `*` takes one byte more; an earlier one never has to.
fn name_fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                read = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use orchestra_model::bundle::EntryName;
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> BundlePath {
        let mut path = BundlePath::default();
        for (depth, name) in (1..).zip(text.split('/')) {
            path.turn_to(depth, EntryName::new(name.as_bytes()).unwrap());
        }
        path
    }

    #[test]
    fn a_pattern_is_of_a_name_anywhere_or_of_a_path() {
        for (pattern, fits, does_not) in [
            ("*.o", &["x.o", "a/b.o", ".o"][..], &["x.c", "x.o/y", "o"][..]),
            ("build", &["build", "a/build"], &["builds", "build/x"]),
            ("/build", &["build"], &["a/build"]),
            ("docs/*.tmp", &["docs/x.tmp"], &["a/docs/x.tmp", "docs/a/x.tmp", "x.tmp"]),
            ("a?c*", &["abc", "axcd"], &["ac", "xabc"]),
            ("cache/", &["cache", "a/cache"], &["caches"]),
        ] {
            let pattern: Exclusion = pattern.parse().unwrap();
            assert!(fits.iter().all(|it| pattern.fits(&path(it))), "{pattern}");
            assert!(!does_not.iter().any(|it| pattern.fits(&path(it))), "{pattern}");
        }
        for wrong in ["", "/", "a//b", "../x", "./x", "a/.", "**/x"] {
            assert!(wrong.parse::<Exclusion>().is_err(), "{wrong}");
        }
    }

    /// Says the same, slowly.
    fn reference(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                (0..=name.len()).any(|taken| reference(rest, &name[taken..]))
            }
            (Some((byte, pattern)), Some((read, name))) => {
                (*byte == b'?' || byte == read) && reference(pattern, name)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_name_fits_as_the_definition_has_it(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
            let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(name_fits(pattern, name), reference(pattern, name));
        }
    }
}
