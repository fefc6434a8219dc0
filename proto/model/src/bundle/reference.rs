//! How somebody names a bundle: `myapp`, `myapp@42`, or the beginning of its id.

use std::{fmt, str::FromStr};

use super::{BundleId, HASH_TAG};
use crate::{limits, names::BundleName, names::InvalidName, whole};

/// Which bundle of a name: 1 to [`limits::BUNDLE_SERIAL`]. A host takes none that is lower than the
/// highest that it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleSerial(u64);

/// Why a number is no serial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: expected a serial, a whole number from 1 to {most}", most = limits::BUNDLE_SERIAL)]
pub struct InvalidSerial(String);

impl BundleSerial {
    /// The first one.
    pub const FIRST: Self = Self(1);

    pub fn new(number: u64) -> Result<Self, InvalidSerial> {
        let fits = (1..=limits::BUNDLE_SERIAL).contains(&number);
        if fits { Ok(Self(number)) } else { Err(InvalidSerial(number.to_string())) }
    }

    pub fn get(self) -> u64 {
        self.0
    }

    /// The next one, if there is one.
    pub fn next(self) -> Result<Self, InvalidSerial> {
        Self::new(self.0 + 1)
    }
}

impl fmt::Display for BundleSerial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BundleSerial {
    type Err = InvalidSerial;

    fn from_str(text: &str) -> Result<Self, InvalidSerial> {
        let invalid = || InvalidSerial(format!("{:?}", text.chars().take(40).collect::<String>()));
        whole::<u64>(text).and_then(|number| Self::new(number).ok()).ok_or_else(invalid)
    }
}

/// Names one bundle of a depot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleReference {
    /// The one with the highest serial of this name.
    Newest(BundleName),
    /// That one.
    Numbered(BundleName, BundleSerial),
    /// The one whose id begins so; at least eight digits after the tag.
    Id(String),
}

/// Why a text names no bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBundleReference {
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(transparent)]
    Serial(#[from] InvalidSerial),
    #[error("{0:?}: expected {HASH_TAG} and 8 to 64 hexadecimal digits")]
    Id(String),
}

/// Fewest digits of an id that are taken for one.
const FEWEST_DIGITS: usize = 8;

impl BundleReference {
    /// Whether this names that bundle, or may: of a name there is a newest one only among others.
    pub fn fits(&self, id: BundleId, name: &BundleName, serial: BundleSerial) -> bool {
        match self {
            Self::Newest(wanted) => wanted == name,
            Self::Numbered(wanted, number) => wanted == name && *number == serial,
            Self::Id(start) => id.to_string().starts_with(start),
        }
    }
}

impl FromStr for BundleReference {
    type Err = InvalidBundleReference;

    fn from_str(text: &str) -> Result<Self, InvalidBundleReference> {
        if let Some(digits) = text.strip_prefix(HASH_TAG) {
            let is_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            return if is_hex && (FEWEST_DIGITS..=64).contains(&digits.len()) {
                Ok(Self::Id(text.to_owned()))
            } else {
                Err(InvalidBundleReference::Id(text.chars().take(80).collect()))
            };
        }
        match text.split_once('@') {
            Some((name, serial)) => Ok(Self::Numbered(BundleName::new(name)?, serial.parse()?)),
            None => Ok(Self::Newest(BundleName::new(text)?)),
        }
    }
}

impl fmt::Display for BundleReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest(name) => name.fmt(f),
            Self::Numbered(name, serial) => write!(f, "{name}@{serial}"),
            Self::Id(start) => f.write_str(start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_as_it_is_written() {
        for text in ["myapp", "my-app.x@42", "sha256-0123abcd"] {
            assert_eq!(text.parse::<BundleReference>().unwrap().to_string(), text);
        }
        for wrong in ["", "@1", "x@", "x@0", "x@-1", "X@1", "sha256-12", "sha256-0123ABCD", "x@1@2"]
        {
            assert!(wrong.parse::<BundleReference>().is_err(), "{wrong}");
        }
        let last = BundleSerial::new(limits::BUNDLE_SERIAL).unwrap();
        assert!(last.next().is_err() && BundleSerial::new(limits::BUNDLE_SERIAL + 1).is_err());
    }
}
