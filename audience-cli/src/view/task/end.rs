//! Reads the end of an attempt for people. A part that cannot be read is told as such, and does not
//! hide the rest.

use orchestra_model::{
    chain,
    delivery::{AttemptEnd, EndBytes, EndSummary},
};
use orchestra_proto::{Invalid, decode_end, summarize_end};

/// An end, as much of it as can be read.
#[derive(Debug)]
pub(crate) struct ReadEnd {
    /// How and when it ended, or why that cannot be read.
    pub(crate) summary: Result<EndSummary, String>,
    /// The whole end with its output, or why that cannot be read.
    pub(crate) whole: Result<AttemptEnd, String>,
}

impl From<&EndBytes> for ReadEnd {
    fn from(end: &EndBytes) -> Self {
        let why = |error: Invalid| chain(&error);
        Self { summary: summarize_end(end).map_err(why), whole: decode_end(end).map_err(why) }
    }
}
