//! `submitjob`, and `orc plan`, which takes the same.

use orchestra_model::delivery::RequestId;

use super::{
    CONNECTION_HELP, Shared, Waiting,
    what::{VALUES, WhatArgs},
};
use crate::{client::Wanted, error::Failure, input::Inputs};

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
    /// Submit under this request id; with nothing else, ask what became of it
    #[arg(long, value_name = "ID", value_parser = request_id, conflicts_with = "plan")]
    request_id: Option<RequestId>,
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

/// What `submitjob` is to do.
#[derive(Debug)]
pub enum Task {
    /// Submit this.
    Submit(Wanted),
    /// Tell what became of an earlier request.
    Ask(RequestId),
}

/// A validated submission, and what to do after it.
#[derive(Debug)]
pub struct Submit {
    /// What is to be done.
    pub task: Task,
    /// Whether only a plan is wanted.
    pub plan: bool,
    /// How to wait, where that was asked for.
    pub wait: Option<Waiting>,
    /// What every command takes.
    pub shared: Shared,
}

impl SubmitArgs {
    /// Reads what is to be read, and checks what can be checked here.
    pub fn validate(self, inputs: &mut Inputs<'_>) -> Result<Submit, Failure> {
        let wait = self.waiting.only_with(self.wait)?;
        let (plan, shared, request) = (self.plan, self.shared, self.request_id);
        if let (Some(request), true) = (request, self.what.is_empty()) {
            return Ok(Submit { task: Task::Ask(request), plan, wait, shared });
        }
        let require_same_score = self.what.require_same_score;
        let allow_unknown = self.what.allow_unknown;
        let submission = self.what.submission(inputs)?;
        let wanted = Wanted {
            submission,
            require_same_score,
            allow_unknown,
            if_plan: self.if_plan,
            request,
        };
        Ok(Submit { task: Task::Submit(wanted), plan, wait, shared })
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
        let allow_unknown = self.what.allow_unknown;
        let submission = self.what.submission(inputs)?;
        Ok(Wanted { submission, require_same_score, allow_unknown, if_plan: None, request: None })
    }
}

/// A request id as an error tells it.
fn request_id(text: &str) -> Result<RequestId, &'static str> {
    const EXPECTED: &str = "expected 32 hexadecimal digits, as an error told them";
    let mut id = [0; 16];
    if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(EXPECTED);
    }
    for (byte, at) in id.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| EXPECTED)?;
    }
    Ok(RequestId(id))
}

/// A digest as `plan` prints it. An empty one, as from a variable that is not set, would be no
/// condition at all.
fn digest(text: &str) -> Result<String, &'static str> {
    match text.len() {
        1..=64 if text.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(text.to_ascii_lowercase()),
        _ => Err("expected up to 64 hexadecimal digits, as orc plan prints them"),
    }
}
