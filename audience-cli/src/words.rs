//! Words of command lines that mean the same for every verb: ids, host sets, and reasons.

pub(crate) mod ids;

use std::io;

use orchestra_model::limits;

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

/// Why an operator does something.
pub(crate) fn reason(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("a reason is needed: others will read it"),
        text if text.len() > limits::REASON_BYTES => Err("a reason has at most 1000 bytes"),
        text => Ok(text.to_owned()),
    }
}
