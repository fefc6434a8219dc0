//! Sizes in bytes: `512MiB`.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::whole;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// What a size is written in, largest first.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Why a text is not a [`ByteSize`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{:?}: expected a size like 512MiB or 2GiB (B, KiB, MiB, GiB)", .0)]
pub struct InvalidByteSize(String);

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, InvalidByteSize> {
        let read = UNITS.iter().find_map(|(unit, bytes)| {
            let digits = text.strip_suffix(unit)?;
            whole::<u64>(digits)?.checked_mul(*bytes)
        });
        read.map(ByteSize).ok_or_else(|| InvalidByteSize(text.chars().take(40).collect()))
    }
}

/// In the largest unit of which it is a whole number.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole =
            UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        let (unit, bytes) = whole.unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

impl ByteSize {
    /// For people: with few digits, as in `63.9MiB`.
    pub fn rounded(self) -> RoundedSize {
        RoundedSize(self)
    }
}

/// A size as people read it: with one decimal below 100, and rounded down.
#[derive(Clone, Copy, Debug)]
pub struct RoundedSize(ByteSize);

impl fmt::Display for RoundedSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ByteSize(size)) = *self;
        let unit = UNITS.iter().find(|(_, bytes)| size >= *bytes).unwrap_or(&("B", 1));
        let text = match unit {
            (unit, bytes) if *bytes > 1 && size / bytes < 100 => {
                let tenths = u128::from(size) * 10 / u128::from(*bytes);
                format!("{}.{}{unit}", tenths / 10, tenths % 10)
            }
            (unit, bytes) => format!("{}{unit}", size / bytes),
        };
        f.pad(&text)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_as_it_is_written() {
        for (text, bytes, shown) in [
            ("512MiB", 512 << 20, "512MiB"),
            ("2048MiB", 2 << 30, "2GiB"),
            ("0B", 0, "0B"),
            ("1025B", 1025, "1025B"),
            ("8KiB", 8 << 10, "8KiB"),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string(), shown);
        }
        for (bytes, rounded) in
            [(0, "0B"), (1023, "1023B"), (64 << 20, "64.0MiB"), (100 << 20, "100MiB")]
        {
            assert_eq!(ByteSize(bytes).rounded().to_string(), rounded);
        }
        assert_eq!(ByteSize((64 << 20) - 1).rounded().to_string(), "63.9MiB");
        assert_eq!(ByteSize(u64::MAX).rounded().to_string(), "17179869183GiB");
        for bad in
            ["", "5", "MiB", "-1KiB", "+1KiB", "-0B", "01KiB", "4MB", "1.5GiB", "99999999999GiB"]
        {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }
}
