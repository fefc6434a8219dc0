//! Command lines: what clap reads, and what it means once validated.
//!
//! The structs that derive clap's traits are the definitions of the programs: help, and later
//! manual pages and completions, come from them. Each turns into a validated command with a
//! method of its own, which reads files and standard input where the words ask for it.

mod flows;
mod ids;
mod ledger;
mod status;
mod submit;
mod what;

use orchestra_model::{limits, time::Millis};

pub(crate) use crate::orc::{
    Asking, DrainArgs, LogsArgs, OrcArgs, PlayersArgs, PlayersVerb, ReleasePlayersArgs, ScoresArgs,
    UndrainArgs, Verb,
};
pub use flows::{CancelArgs, ExplainArgs, PromoteArgs, Retry, RetryArgs, SteerArgs, WaitArgs};
pub(crate) use ids::only;
pub use ids::{folded, references, whole_flows};
pub use ledger::{LedgerArgs, LedgerVerb, ReleaseArgs};
pub use status::{Shape, StatusArgs};
pub use submit::{PlanArgs, Submit, SubmitArgs, Task};

pub(crate) use crate::shared::CONNECTION_HELP;
pub use crate::shared::Shared;
use crate::{error::Failure, input::Inputs, targets};

/// How to wait, for `submitjob --wait` and `orc wait`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Waiting {
    /// Stop waiting after this; the flow goes on (exit 124)
    #[arg(long, value_name = "DURATION")]
    pub wait_timeout: Option<Millis>,
    /// While waiting, a line of JSON per change on standard output
    #[arg(long, conflicts_with = "json")]
    pub jsonl: bool,
}

impl Waiting {
    /// How to wait, where `--wait` asks for it; else these must not be given.
    fn only_with(self, wait: bool) -> Result<Option<Self>, Failure> {
        if !wait && (self.wait_timeout.is_some() || self.jsonl) {
            return Err(
                Failure::usage("--wait-timeout and --jsonl say how to wait").hint("add --wait")
            );
        }
        Ok(wait.then_some(self))
    }
}

/// Hosts that a verb is about, with words joined to one expression.
pub(crate) fn hosts(words: &[String], inputs: &mut Inputs<'_>) -> Result<String, Failure> {
    let read = |word: &String| inputs.hosts(word, "the host set", limits::HOSTSET_BYTES);
    let expression = words.iter().map(read).collect::<Result<Vec<_>, _>>()?.join(" ");
    targets::without(&expression, &[])
}

/// Why an operator does something; others will read it.
pub(crate) fn reason(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("a reason is needed: others will read it"),
        text if text.len() > limits::REASON_BYTES => Err("a reason has at most 1000 bytes"),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
