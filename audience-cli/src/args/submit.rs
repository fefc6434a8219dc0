//! `submitjob`, and `orc plan`, which takes the same.

use super::{
    CONNECTION_HELP, Shared, Waiting,
    what::{VALUES, WhatArgs},
};
use crate::{error::Failure, flowfile::Submission, input::Inputs};

const EXAMPLES: &str = "
Examples:
  submitjob restart-apache -w 'fe[1-100]' --parallel 50% --success 95% --wait
  submitjob --flow deploy.yaml --set version=1.2.3 -W";

/// Run a score on hosts, or a flow from a file; prints the flow's id
#[derive(Debug, Default, clap::Parser)]
#[command(
    name = "submitjob",
    version,
    after_help = format!("{VALUES}\n{CONNECTION_HELP}\n{EXAMPLES}"),
    override_usage = "submitjob SCORE [KEY=VALUE]... (-w HOSTS | --one-of HOSTS) [OPTIONS]\n       \
                      submitjob --flow FILE|- [--set KEY=VALUE]... [OPTIONS]"
)]
pub struct SubmitArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// Only tell what would happen: send nothing, store nothing
    #[arg(long, conflicts_with_all = ["if_plan", "wait"])]
    plan: bool,
    /// Refuse unless a plan made now has this digest
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    if_plan: Option<String>,
    /// Wait for the verdict; the exit code tells it
    #[arg(short = 'W', long)]
    wait: bool,
    /// How to wait.
    #[command(flatten)]
    waiting: Waiting,
    /// What every command takes.
    #[command(flatten)]
    pub(crate) shared: Shared,
}

/// A validated submission, and what to do after it.
#[derive(Debug)]
pub struct Submit {
    /// What is submitted, under which conditions.
    pub wanted: Wanted,
    /// Whether only a plan is wanted.
    pub plan: bool,
    /// How to wait, where that was asked for.
    pub wait: Option<Waiting>,
    /// What every command takes.
    pub shared: Shared,
}

/// What is submitted, under which conditions.
#[derive(Debug)]
pub struct Wanted {
    /// The flow.
    pub submission: Submission,
    /// Only where all targets offer the same version of their score.
    pub require_same_score: bool,
    /// Only where a plan made now has this digest.
    pub if_plan: Option<String>,
}

impl SubmitArgs {
    /// Reads what is to be read, and checks what can be checked here.
    pub fn validate(self, inputs: &mut Inputs<'_>) -> Result<Submit, Failure> {
        let wait = self.waiting.only_with(self.wait)?;
        let require_same_score = self.what.require_same_score;
        let submission = self.what.submission(inputs)?;
        let wanted = Wanted { submission, require_same_score, if_plan: self.if_plan };
        Ok(Submit { wanted, plan: self.plan, wait, shared: self.shared })
    }
}

/// `orc plan`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "orc plan SCORE [KEY=VALUE]... (-w HOSTS | --one-of HOSTS) [OPTIONS]\n       \
                      orc plan --flow FILE|- [--set KEY=VALUE]... [OPTIONS]",
    after_help = format!("{VALUES}\n
Examples:
  orc plan restart-apache -w @frontend
  submitjob --flow deploy.yaml --if-plan \"$(orc plan --flow deploy.yaml --digest)\"")
)]
pub struct PlanArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// Print the plan's digest alone, for submitjob --if-plan
    #[arg(long, conflicts_with = "json")]
    pub digest: bool,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl PlanArgs {
    /// Reads what is to be read, and checks what can be checked here.
    pub fn validate(self, inputs: &mut Inputs<'_>) -> Result<Wanted, Failure> {
        let require_same_score = self.what.require_same_score;
        let submission = self.what.submission(inputs)?;
        Ok(Wanted { submission, require_same_score, if_plan: None })
    }
}

/// A digest as `plan` prints it. An empty one, as from a variable that is not set, would be no
/// condition at all.
fn digest(text: &str) -> Result<String, &'static str> {
    match text.len() {
        1..=64 if text.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(text.to_ascii_lowercase()),
        _ => Err("expected up to 64 hexadecimal digits, as orc plan prints them"),
    }
}
