//! Command lines: what clap reads, and what it means once validated.
//!
//! The structs that derive clap's traits are the definitions of the programs: help, and later
//! manual pages and completions, come from them. Each turns into a validated command with a
//! method of its own, which reads files and standard input where the words ask for it.

mod flows;
mod status;
mod submit;
mod what;

use orchestra_model::time::Millis;

pub(crate) use crate::flow::ids::{references, whole_flows};
pub(crate) use crate::orc::{Asking, OrcArgs, Verb};
pub use flows::{CancelArgs, ExplainArgs, PromoteArgs, Retry, RetryArgs, SteerArgs, WaitArgs};
pub use status::{Shape, StatusArgs};
pub use submit::{PlanArgs, Submit, SubmitArgs, Task};

use crate::error::Failure;
pub(crate) use crate::shared::CONNECTION_HELP;
pub use crate::shared::Shared;

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

#[cfg(test)]
mod tests;
