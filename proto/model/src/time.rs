//! Moments and lengths. A *timeout* is a length, a *deadline* a moment.

use std::{fmt, str::FromStr};

use crate::{limits, whole};

/// A moment: milliseconds since the Unix epoch, as told by whoever owns a clock. Engines are
/// given one that never runs back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The second that it lies in, as people and logs have it: `2026-12-01T02:23:41Z`.
    pub fn to_utc(self) -> String {
        let seconds = self.0 / 1_000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Years begin in March here, so that a leap day is the last one (Hinnant, chrono-compatible
        // low-level date algorithms, `civil_from_days`). 719,468 days lie between March of year 0 and
        // 1970, and 146,097 are 400 years.
        let day = days + 719_468;
        let (era, of_era) = (day / 146_097, day % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year + u64::from(month <= 2);
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

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
    fn moments_are_told_in_universal_time() {
        let told = |seconds: u64| Timestamp(seconds * 1_000 + 999).to_utc();
        assert_eq!(told(0), "1970-01-01T00:00:00Z");
        assert_eq!(told(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(told(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(told(1_709_251_200), "2024-03-01T00:00:00Z");
        assert_eq!(told(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(told(1_796_092_199), "2026-12-01T02:29:59Z");
    }

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
