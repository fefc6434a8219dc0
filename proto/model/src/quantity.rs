//! `N` or `N%`, and which way each use of it rounds.

use std::{fmt, str::FromStr};

use crate::whole;

/// A number of hosts, or a share of them in whole percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// So many hosts, whatever the total.
    Count(u32),
    /// So many percent of the total, 0 to 100.
    Percent(u8),
}

impl Quantity {
    /// Everything.
    pub const ALL: Quantity = Quantity::Percent(100);

    /// Whether it asks for nothing, however large the total.
    pub fn is_zero(self) -> bool {
        matches!(self, Quantity::Count(0) | Quantity::Percent(0))
    }

    /// For concurrency: rounded down, at least 1 (25 % of 150 is 37). Promise 13.
    pub fn window_of(self, total: u32) -> u32 {
        self.floor_of(total).max(1)
    }

    /// For success, quorum and canary: rounded up, never above the total (80 % of 9 is 8).
    pub fn threshold_of(self, total: u32) -> u32 {
        match self {
            Quantity::Count(n) => n.min(total),
            Quantity::Percent(p) => {
                let hundredfold = u64::from(p) * u64::from(total);
                u32::try_from(hundredfold.div_ceil(100)).unwrap_or(total)
            }
        }
    }

    /// For `max_failures`: rounded down (10 % of 9 is 0).
    pub fn floor_of(self, total: u32) -> u32 {
        match self {
            Quantity::Count(n) => n,
            Quantity::Percent(p) => {
                u32::try_from(u64::from(p) * u64::from(total) / 100).unwrap_or(total)
            }
        }
    }
}

/// Why a text is not a [`Quantity`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{:?}: expected a number of hosts like 5, or a share in whole percent like 20%", .0)]
pub struct InvalidQuantity(String);

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let invalid = || InvalidQuantity(text.chars().take(40).collect());
        let (digits, percent) = match text.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        let n: u32 = whole(digits).ok_or_else(invalid)?;
        if !percent {
            return Ok(Quantity::Count(n));
        }
        match u8::try_from(n) {
            Ok(p) if p <= 100 => Ok(Quantity::Percent(p)),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quantity::Count(n) => write!(f, "{n}"),
            Quantity::Percent(p) => write!(f, "{p}%"),
        }
    }
}

impl serde::Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of hosts like 5, or a share in whole percent like \"20%\"")
            }

            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Quantity, E> {
                u32::try_from(n).map(Quantity::Count).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Quantity, E> {
                u32::try_from(n).map(Quantity::Count).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quantity, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_as_product_says() {
        assert_eq!(Quantity::Percent(25).window_of(150), 37);
        assert_eq!(Quantity::Percent(1).window_of(3), 1);
        assert_eq!(Quantity::Percent(80).threshold_of(9), 8);
        assert_eq!(Quantity::Percent(100).threshold_of(9), 9);
        assert_eq!(Quantity::Percent(0).threshold_of(9), 0);
        assert_eq!(Quantity::Percent(1).threshold_of(1_000_000), 10_000);
        assert_eq!(Quantity::Percent(10).floor_of(9), 0);
        assert_eq!(Quantity::Count(12).threshold_of(9), 9);
    }

    #[test]
    fn a_threshold_is_never_below_its_share() {
        for total in 0..300 {
            for p in 0..=100 {
                let need = Quantity::Percent(p).threshold_of(total);
                assert!(u64::from(need) * 100 >= u64::from(p) * u64::from(total));
                assert!(need <= total);
                let tolerated = Quantity::Percent(p).floor_of(total);
                assert!(u64::from(tolerated) * 100 <= u64::from(p) * u64::from(total));
            }
        }
    }

    #[test]
    fn only_whole_numbers_are_read() {
        assert_eq!("5".parse(), Ok(Quantity::Count(5)));
        assert_eq!("50%".parse(), Ok(Quantity::Percent(50)));
        for bad in [
            "",
            "%",
            "-1",
            "+1",
            "1.5%",
            "101%",
            "5 %",
            "05",
            "-0",
            "00",
            "020%",
            "4294967296",
            "x",
        ] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
    }
}
