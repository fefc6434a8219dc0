//! Words of command lines that mean the same for every verb: ids, host sets, and reasons.

pub(crate) mod ids;

use std::{fmt::Display, io, ops::RangeInclusive, str::FromStr};

use orchestra_model::{limits, whole};

use crate::{error::Failure, input::Inputs, targets};

/// Hosts that a verb is about: words that are one expression together. Some may come from standard
/// input.
pub(crate) fn hosts(words: &[String]) -> Result<String, Failure> {
    let mut stdin = io::stdin().lock();
    let mut inputs = Inputs::new(&mut stdin);
    let read = |word: &String| inputs.hosts(word, "the host set", limits::HOSTSET_BYTES);
    let expression = words.iter().map(read).collect::<Result<Vec<_>, _>>()?.join(" ");
    targets::without(&expression, &[])
}

/// The hosts that an operator does something with, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct HostsAndReason {
    /// Which hosts
    #[arg(value_name = "HOSTS", required = true)]
    hosts: Vec<String>,
    /// Why; others will read it
    #[arg(long, value_name = "WHY", value_parser = reason)]
    reason: String,
}

impl HostsAndReason {
    /// Returns the expression of the hosts, and the reason.
    pub(crate) fn read(self) -> Result<(String, String), Failure> {
        Ok((hosts(&self.hosts)?, self.reason))
    }
}

/// Reads a whole number within bounds, as the parser of a flag.
pub(crate) fn number<T>(bounds: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + Display + PartialOrd + Clone,
{
    move |text| {
        let (least, most) = (bounds.start(), bounds.end());
        let number = whole(text).filter(|number| bounds.contains(number));
        number.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
    }
}

/// Why an operator does something.
pub(crate) fn reason(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("a reason is needed: others will read it"),
        text if text.len() > limits::REASON_BYTES => Err("a reason has at most 1000 bytes"),
        text => Ok(text.to_owned()),
    }
}
