//! `orc`: its nouns and their verbs.

use crate::{
    args::{
        CONNECTION_HELP, CancelArgs, ExplainArgs, PlanArgs, PromoteArgs, RetryArgs, Shared,
        SteerArgs, WaitArgs,
    },
    conductor::Conductor,
    deployment::Deployment,
    hosts,
    ledger::Ledger,
    player, sandbox, score, task,
};

const EXAMPLES: &str = "
Examples:
  orc wait last --wait-timeout 10m
  orc explain 42";

/// Everything else that an operator asks of Orchestra
#[derive(Debug, clap::Parser)]
#[command(name = "orc", version, after_help = format!("{CONNECTION_HELP}\n{EXAMPLES}"),
          disable_help_subcommand = true)]
pub struct OrcArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Ask the conductor, or tell it something.
    #[command(flatten)]
    Asking(Asking),
    #[command(flatten)]
    Player(player::Verb),
    #[command(flatten)]
    Score(score::Verb),
    #[command(flatten)]
    Task(task::Verb),
    /// Show which hosts hold which cells, and release hosts that count as down
    Ledger(Ledger),
    /// Deployments: apps, environments, and what may happen to them at once
    Deployment(Deployment),
    #[command(flatten)]
    Hosts(hosts::Verb),
    /// Ask or tell the conductor itself
    Conductor(Conductor),
    /// Run a whole fleet on this machine, to try things out
    #[command(subcommand)]
    Sandbox(sandbox::Args),
}

/// What the conductor is asked or told.
#[derive(Debug, clap::Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, and it lives as long as the program")]
pub(crate) enum Asking {
    /// Tell what a submission would do; send nothing
    Plan(PlanArgs),
    /// Tell why a flow, a job or a task is where it is
    Explain(ExplainArgs),
    /// Wait for flows to end; the exit code tells the verdict
    Wait(WaitArgs),
    /// Let nothing new of flows start; what runs goes on
    #[command(after_help = "Examples:\n  orc pause last\n  orc pause 42,44-46")]
    Pause(SteerArgs),
    /// Let paused flows go on
    #[command(after_help = "Examples:\n  orc resume last\n  orc resume 42,44-46")]
    Resume(SteerArgs),
    /// Let the tasks start that wait for a canary
    Promote(PromoteArgs),
    /// Run again what ended and is not ok
    Retry(RetryArgs),
    /// Cancel flows
    Cancel(CancelArgs),
    /// List flows, newest first
    Flows(FlowsArgs),
}

impl Asking {
    /// What every command takes.
    pub(crate) fn shared(&self) -> &Shared {
        match self {
            Asking::Plan(args) => &args.shared,
            Asking::Explain(args) => &args.shared,
            Asking::Wait(args) => &args.shared,
            Asking::Pause(args) | Asking::Resume(args) => &args.shared,
            Asking::Promote(args) => &args.shared,
            Asking::Retry(args) => &args.shared,
            Asking::Cancel(args) => &args.shared,
            Asking::Flows(args) => &args.shared,
        }
    }
}

/// `orc flows`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc flows --alive\n  orc flows -n 100 --json")]
pub struct FlowsArgs {
    /// Only those that have not ended
    #[arg(long)]
    pub alive: bool,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}
