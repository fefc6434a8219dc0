//! Moments and lengths. A *timeout* is a length, a *deadline* a moment.

use std::{fmt, str::FromStr};

use crate::{limits, whole};

/// A moment: milliseconds since the Unix epoch, as told by whoever owns a clock. Engines are
/// given one that never runs back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment that much later, at most the end of time.
    #[must_use]
    pub fn after(self, length: Millis) -> Timestamp {
        Timestamp(self.0.saturating_add(length.0))
    }

    /// How long after `earlier` this is; nothing where it is not.
    pub fn since(self, earlier: Timestamp) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// A moment of a player's clock, which may be set to anything, as far as it can be true of something
/// that happened between two moments of ours.
pub fn believed(told: Timestamp, from: Timestamp, until: Timestamp) -> Timestamp {
    told.clamp(from, until.max(from))
}

/// A length of time in milliseconds, at most [`limits::DURATION_MS`] where it was read from a
/// person. Prints and reads as `1h30m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// So many seconds.
    pub const fn seconds(n: u64) -> Millis {
        Millis(n * 1_000)
    }

    /// So many days.
    pub const fn days(n: u64) -> Millis {
        Millis::minutes(n * 24 * 60)
    }

    /// So many minutes.
    pub const fn minutes(n: u64) -> Millis {
        Millis(n * 60_000)
    }

    /// This time as a standard duration.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl std::ops::Add for Millis {
    type Output = Millis;

    fn add(self, other: Millis) -> Millis {
        Millis(self.0.saturating_add(other.0))
    }
}

const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0;
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, length) in UNITS {
            if left >= length {
                write!(f, "{}{unit}", left / length)?;
                left %= length;
            }
        }
        Ok(())
    }
}

/// Why a text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{:?}: expected a duration like 500ms, 30s, 10m, 1h30m or 7d, at most ten years", .0)]
pub struct InvalidDuration(String);

impl FromStr for Millis {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = || InvalidDuration(text.chars().take(40).collect());
        let mut rest = text;
        let mut total: u64 = 0;
        // Each unit once, the longest first: `1h1h` is a slip, and so is `30m1h`.
        let mut units = UNITS.iter();
        if rest.is_empty() {
            return Err(invalid());
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let n: u64 = whole(&rest[..digits]).ok_or_else(invalid)?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (_, length) =
                units.find(|(unit, _)| *unit == &rest[..letters]).ok_or_else(invalid)?;
            rest = &rest[letters..];
            total = n
                .checked_mul(*length)
                .and_then(|part| total.checked_add(part))
                .filter(|sum| *sum <= limits::DURATION_MS)
                .ok_or_else(invalid)?;
        }
        Ok(Millis(total))
    }
}

impl serde::Serialize for Millis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Millis {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_they_print() {
        for text in ["0s", "1ms", "1s", "1h30m", "7d", "1d2h3m4s5ms"] {
            let read: Millis = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        assert_eq!("90m".parse(), Ok(Millis::minutes(90)));
        assert_eq!(Millis::minutes(90).to_string(), "1h30m");
    }

    #[test]
    fn a_duration_has_a_unit_and_a_bound() {
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "-0s",
            "01s",
            "1h05m",
            "1.5s",
            "1 s",
            "1w",
            "99999999999999999999s",
            "4000d",
            "1ſ",
            "1h1h",
            "30m1h",
            "1s1s",
            "1ms1s",
            "1d1h1d",
        ] {
            assert!(bad.parse::<Millis>().is_err(), "{bad}");
        }
    }
}
