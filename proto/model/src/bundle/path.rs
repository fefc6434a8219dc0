//! Names and paths in a bundle: bytes, as Linux has them.

use std::fmt;

use crate::{foreign, limits};

/// The name of a file, directory or link in its directory: 1 to [`limits::BUNDLE_NAME_BYTES`] bytes,
/// none of them `/` or NUL, and neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(Box<[u8]>);

/// Why bytes are no [`EntryName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntryName {
    #[error("its name is empty")]
    Empty,
    #[error("its name is longer than {} bytes", limits::BUNDLE_NAME_BYTES)]
    TooLong,
    #[error("its name has a slash or a NUL byte")]
    Byte,
    #[error("its name is . or .., which leads elsewhere")]
    Dots,
}

impl EntryName {
    /// Checks the bytes of a name.
    pub fn new(bytes: &[u8]) -> Result<Self, InvalidEntryName> {
        match bytes {
            [] => Err(InvalidEntryName::Empty),
            b"." | b".." => Err(InvalidEntryName::Dots),
            _ if bytes.len() > limits::BUNDLE_NAME_BYTES => Err(InvalidEntryName::TooLong),
            _ if bytes.iter().any(|byte| matches!(byte, b'/' | 0)) => Err(InvalidEntryName::Byte),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// The name's bytes, which need not be UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

/// The names that lead to an entry from the top of its bundle. It is ordered as manifests are: a
/// directory before what is in it, and names by their bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BundlePath(Vec<EntryName>);

impl BundlePath {
    /// The names, the outermost first; none for the top itself.
    pub fn names(&self) -> &[EntryName] {
        &self.0
    }

    /// How many names there are.
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// Makes it the path of an entry called `name` at `depth`, counted from 1, of which everything
    /// above is on the present path.
    pub fn turn_to(&mut self, depth: u16, name: EntryName) {
        self.0.truncate(usize::from(depth).saturating_sub(1));
        self.0.push(name);
    }

    /// How many bytes it has with its slashes.
    pub fn len_in_bytes(&self) -> usize {
        let names: usize = self.0.iter().map(|name| name.0.len()).sum();
        names + self.0.len().saturating_sub(1)
    }

    /// The path as a program gives it to the system: names with slashes between them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let names: Vec<&[u8]> = self.0.iter().map(EntryName::as_bytes).collect();
        names.join(&b'/')
    }
}

/// For people: what a terminal might obey is written out.
impl fmt::Display for BundlePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.to_bytes()))
    }
}

impl fmt::Debug for BundlePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes of a path on one line.
fn shown(bytes: &[u8]) -> String {
    let safe = foreign::lines(bytes);
    foreign::OneLine(&String::from_utf8_lossy(&safe)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_none() {
        let longest = vec![b'x'; 255];
        for good in [&b"a"[..], b"...", b".git", b"\xff\n", &longest] {
            assert_eq!(EntryName::new(good).unwrap().as_bytes(), good);
        }
        let long = vec![b'x'; 300];
        for (wrong, why) in [
            (&b""[..], InvalidEntryName::Empty),
            (b".", InvalidEntryName::Dots),
            (b"..", InvalidEntryName::Dots),
            (b"a/b", InvalidEntryName::Byte),
            (b"/", InvalidEntryName::Byte),
            (b"a\0", InvalidEntryName::Byte),
            (&long, InvalidEntryName::TooLong),
        ] {
            assert_eq!(EntryName::new(wrong), Err(why));
        }
    }

    #[test]
    fn a_path_is_shown_as_it_can_be_read() {
        let mut path = BundlePath::default();
        path.turn_to(1, EntryName::new(b"a\x1b[2J").unwrap());
        path.turn_to(2, EntryName::new(b"\xff\n").unwrap());
        assert_eq!(path.to_string(), "a\\u{1b}[2J/\\xff\\n");
        assert_eq!(path.len_in_bytes(), path.to_bytes().len());
        path.turn_to(1, EntryName::new(b"b").unwrap());
        assert_eq!(path.to_string(), "b");
    }
}
