//! What a run's first process is like when it begins, and with it those that it makes.

use std::{fmt, str::FromStr};

use super::upkeep::InvalidUpkeep;

/// What a run's first process is given before it becomes another user and executes its score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessRule {
    /// How many files it may open, from 64 to 1,073,741,816 (2^30 - 8); `None`: as many as its player
    /// was started with.
    pub nofile: Option<u32>,
    /// How willingly it gives way to others, from -20 to 19; `None`: as its player does.
    pub nice: Option<i8>,
    /// How soon the kernel kills it where the host lacks memory, from -1000 to 1000; `None`: as soon as
    /// its player.
    pub oom_score_adj: Option<i16>,
    /// What others may not do with files that it makes; `None`: 022.
    pub umask: Option<Umask>,
    /// Whether it has a directory of its own on a disk, which nobody removes.
    pub state_dir: bool,
}

/// Bits that are taken off the mode of new files, from 0 to 0o777.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Umask(u16);

/// Fewer files than that, and a usual program does not even start.
const NOFILE_LEAST: u32 = 64;
/// More than that, and no kernel can be told to allow it.
const NOFILE_MOST: u32 = (1 << 30) - 8;
const NICE_LEAST: i8 = -20;
const NICE_MOST: i8 = 19;
const OOM_SCORE_MOST: i16 = 1_000;
const UMASK_MOST: u16 = 0o777;

impl ProcessRule {
    pub(super) fn check(&self) -> Result<(), InvalidUpkeep> {
        let wrong = |field, problem| Err(InvalidUpkeep { field, problem });
        let Self { nofile, nice, oom_score_adj, umask: _, state_dir: _ } = self;
        if nofile.is_some_and(|most| !(NOFILE_LEAST..=NOFILE_MOST).contains(&most)) {
            return wrong("nofile", "it is not from 64 to 1073741816");
        }
        if nice.is_some_and(|nice| !(NICE_LEAST..=NICE_MOST).contains(&nice)) {
            return wrong("nice", "it is not from -20 to 19");
        }
        if oom_score_adj.is_some_and(|score| !(-OOM_SCORE_MOST..=OOM_SCORE_MOST).contains(&score)) {
            return wrong("oom_score_adj", "it is not from -1000 to 1000");
        }
        Ok(())
    }
}

impl Umask {
    /// `None` for what is above 0o777.
    pub fn new(bits: u16) -> Option<Self> {
        (bits <= UMASK_MOST).then_some(Umask(bits))
    }

    /// The bits, from 0 to 0o777.
    pub fn bits(self) -> u16 {
        self.0
    }
}

/// As people write it: `027`.
impl fmt::Display for Umask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03o}", self.0)
    }
}

/// Why a text is no [`Umask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUmask;

impl fmt::Display for InvalidUmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected three digits from 0 to 7, in quotes: \"027\"")
    }
}

impl std::error::Error for InvalidUmask {}

/// Three octal digits, or four of which the first is 0.
impl FromStr for Umask {
    type Err = InvalidUmask;

    fn from_str(text: &str) -> Result<Self, InvalidUmask> {
        let digits = text.strip_prefix('0').filter(|rest| rest.len() == 3).unwrap_or(text);
        let is_octal = digits.len() == 3 && digits.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let bits = u16::from_str_radix(digits, 8).ok().filter(|_| is_octal);
        bits.and_then(Umask::new).ok_or(InvalidUmask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_umask_is_three_octal_digits() {
        for (text, bits) in [("022", 0o22), ("0027", 0o27), ("777", 0o777), ("000", 0)] {
            assert_eq!(text.parse::<Umask>().map(Umask::bits), Ok(bits), "{text}");
        }
        for bad in ["", "22", "1777", "028", "-22", "+22", "0o22", "00022", "u=rwx"] {
            assert_eq!(bad.parse::<Umask>(), Err(InvalidUmask), "{bad}");
        }
        assert_eq!(Umask(0o7).to_string(), "007");
    }

    #[test]
    fn what_no_kernel_takes_is_refused() {
        let plain = ProcessRule::default();
        let fields = |rule: ProcessRule| rule.check().map_err(|wrong| wrong.field);
        assert_eq!(fields(plain), Ok(()));
        for nofile in [0, 63, NOFILE_MOST + 1] {
            assert_eq!(fields(ProcessRule { nofile: Some(nofile), ..plain }), Err("nofile"));
        }
        for nice in [-21, 20] {
            assert_eq!(fields(ProcessRule { nice: Some(nice), ..plain }), Err("nice"));
        }
        for score in [-1_001, 1_001] {
            let rule = ProcessRule { oom_score_adj: Some(score), ..plain };
            assert_eq!(fields(rule), Err("oom_score_adj"));
        }
        let most = ProcessRule {
            nofile: Some(64),
            nice: Some(-20),
            oom_score_adj: Some(-1_000),
            umask: Umask::new(0o777),
            state_dir: true,
        };
        assert_eq!(fields(most), Ok(()));
    }
}
