//! How an attempt ended, read for people. What cannot be read of it is told, and hides nothing
//! else.

use orchestra_model::{
    chain,
    delivery::{AttemptEnd, EndBytes, EndSummary},
};
use orchestra_proto::{Invalid, decode_end, summarize_end};

/// An end as far as it can be read.
#[derive(Debug)]
pub(crate) struct ReadEnd {
    /// How it ended and when; otherwise why that cannot be read.
    pub(crate) summary: Result<EndSummary, String>,
    /// What it said as well; otherwise why that cannot be read.
    pub(crate) whole: Result<AttemptEnd, String>,
}

impl From<&EndBytes> for ReadEnd {
    fn from(end: &EndBytes) -> Self {
        let why = |error: Invalid| chain(&error);
        Self { summary: summarize_end(end).map_err(why), whole: decode_end(end).map_err(why) }
    }
}
