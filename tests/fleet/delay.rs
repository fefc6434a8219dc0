//! How long an emulated process runs: a distribution, drawn from without system calls.

use std::{fmt, str::FromStr, time::Duration};

use orchestra_model::Millis;

/// How long attempts take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Delay {
    /// They are over at once.
    #[default]
    None,
    /// Evenly distributed between two bounds, which may be the same.
    Between(Duration, Duration),
    /// Exponentially distributed around a mean; at most ten times that.
    Around(Duration),
}

/// A text is no delay.
#[derive(Debug)]
pub(crate) struct InvalidDelay(String);

impl fmt::Display for InvalidDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(f, "{text:?} is none of `0`, `10ms`, `5ms..50ms`, `exp:20ms`")
    }
}

impl std::error::Error for InvalidDelay {}

impl FromStr for Delay {
    type Err = InvalidDelay;

    fn from_str(text: &str) -> Result<Self, InvalidDelay> {
        let length = |part: &str| {
            let parsed: Result<Millis, _> = part.parse();
            parsed.map(Millis::to_std).map_err(|_| InvalidDelay(text.to_owned()))
        };
        if text == "0" {
            return Ok(Self::None);
        }
        if let Some(mean) = text.strip_prefix("exp:") {
            return Ok(Self::Around(length(mean)?));
        }
        match text.split_once("..") {
            None => length(text).map(|same| Self::Between(same, same)),
            Some((from, to)) => {
                let (from, to) = (length(from)?, length(to)?);
                if from > to {
                    return Err(InvalidDelay(text.to_owned()));
                }
                Ok(Self::Between(from, to))
            }
        }
    }
}

impl Delay {
    /// One length.
    pub(crate) fn draw(self, chance: &mut Chance) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Between(from, to) => from + (to - from).mul_f64(chance.next()),
            Self::Around(mean) => mean.mul_f64((-(1.0 - chance.next()).ln()).min(10.0)),
        }
    }
}

/// xorshift64*: small, quick, and the same again for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        // Any state but zero will do.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Evenly distributed, at least 0 and below 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_distributions() {
        let ms = Duration::from_millis;
        let parse = |text: &str| text.parse::<Delay>().ok();
        assert_eq!(parse("0"), Some(Delay::None));
        assert_eq!(parse("10ms"), Some(Delay::Between(ms(10), ms(10))));
        assert_eq!(parse("5ms..1s"), Some(Delay::Between(ms(5), ms(1_000))));
        assert_eq!(parse("exp:20ms"), Some(Delay::Around(ms(20))));
        for bad in ["", "x", "5", "2s..1s", "exp:", "1ms.."] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn draws_are_where_they_should_be() {
        let mut chance = Chance::new(7);
        let (from, to) = (Duration::from_millis(5), Duration::from_millis(15));
        let mut mean = |delay: Delay| {
            (0..10_000).map(|_| delay.draw(&mut chance).as_secs_f64()).sum::<f64>() / 10_000.0
        };
        assert!((mean(Delay::Between(from, to)) - 0.010).abs() < 0.000_3);
        assert!((mean(Delay::Around(to)) - 0.015).abs() < 0.001);
        assert_eq!(mean(Delay::None), 0.0);
    }
}
