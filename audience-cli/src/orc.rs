//! `orc` and its verbs. Those about one flow are in `flows`, about limits in `ledger`.

use orchestra_model::{ids::Reference, names::ScoreName};

use crate::args::{
    CONNECTION_HELP, CancelArgs, ExplainArgs, LedgerArgs, PlanArgs, PromoteArgs, RetryArgs, Shared,
    SteerArgs, WaitArgs, hosts as hosts_of, only, reason,
};
use crate::{
    conductor::Conductor, deployment::Deployment, error::Failure, hosts, input::Inputs, sandbox,
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
#[expect(clippy::large_enum_variant, reason = "there is one, and it lives as long as the program")]
pub(crate) enum Verb {
    /// Ask the conductor, or tell it something.
    #[command(flatten)]
    Asking(Asking),
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
    /// List players
    Players(PlayersArgs),
    /// Let nothing new start on players; what runs goes on
    Drain(DrainArgs),
    /// Let drained players work again
    Undrain(UndrainArgs),
    /// List scores: who holds which version
    Scores(ScoresArgs),
    /// Show what a task wrote, attempt by attempt
    Logs(LogsArgs),
    /// Show which hosts hold which cells, and release hosts that count as down
    Ledger(LedgerArgs),
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
            Asking::Players(args) => args.shared(),
            Asking::Drain(args) => &args.shared,
            Asking::Undrain(args) => &args.shared,
            Asking::Scores(args) => &args.shared,
            Asking::Logs(args) => &args.shared,
            Asking::Ledger(args) => args.shared(),
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

/// `orc players`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Examples:\n  orc players 'fe[1-6]' --absent --json
  orc players release fe3 --reason 'its spool was copied from fe2; removed'"
)]
pub struct PlayersArgs {
    /// What to do instead of listing them.
    #[command(subcommand)]
    pub verb: Option<PlayersVerb>,
    /// Only these
    #[arg(value_name = "HOSTS")]
    pub hosts: Option<String>,
    /// Only those that are attached
    #[arg(long)]
    pub attached: bool,
    /// Only those that are not
    #[arg(long, conflicts_with = "attached")]
    pub absent: bool,
    /// Only those that are drained
    #[arg(long)]
    pub drained: bool,
    /// Only those that are quarantined
    #[arg(long)]
    pub quarantined: bool,
    /// What every command takes.
    #[command(flatten)]
    shared: Shared,
}

impl PlayersArgs {
    /// What every command takes.
    pub(crate) fn shared(&self) -> &Shared {
        match &self.verb {
            Some(PlayersVerb::Release(args)) => &args.shared,
            None => &self.shared,
        }
    }
}

/// What is done with players.
#[derive(Debug, clap::Subcommand)]
pub enum PlayersVerb {
    /// Go on with quarantined players, whatever they claim
    Release(ReleasePlayersArgs),
}

/// `orc players release`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is in flight to them is lost. Look at the hosts first: a player is quarantined
because it claims orders that this conductor cannot have given.

Examples:
  orc players release fe3 --reason 'its spool was copied from fe2; removed'
  orc players release 'fe[1-6]' --reason 'they were attached to a test conductor'")]
pub struct ReleasePlayersArgs {
    /// Which; those that are not quarantined stay as they are
    #[arg(value_name = "HOSTS", required = true)]
    hosts: Vec<String>,
    /// Why; others will read it
    #[arg(long, value_name = "WHY", value_parser = reason)]
    pub reason: String,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl ReleasePlayersArgs {
    /// Which players.
    pub fn hosts(&self, inputs: &mut Inputs<'_>) -> Result<String, Failure> {
        hosts_of(&self.hosts, inputs)
    }
}

/// `orc scores`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc scores restart-apache\n  orc scores --drift -w @frontend")]
pub struct ScoresArgs {
    /// Only this one
    #[arg(value_name = "SCORE")]
    pub score: Option<ScoreName>,
    /// Only on these hosts
    #[arg(short = 'w', long = "on", value_name = "HOSTS")]
    pub hosts: Option<String>,
    /// Only scores that differ or are missing somewhere, with the hosts
    #[arg(long)]
    pub drift: bool,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

/// `orc drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc drain fe3.east.example.com --reason 'disk is replaced'
  orc drain @rack=r7 --reason 'power works, 14 h'")]
pub struct DrainArgs {
    /// Which players
    #[arg(value_name = "HOSTS", required = true)]
    hosts: Vec<String>,
    /// Why; others will read it
    #[arg(long, value_name = "WHY", value_parser = reason)]
    pub reason: String,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl DrainArgs {
    /// Which players.
    pub fn hosts(&self, inputs: &mut Inputs<'_>) -> Result<String, Failure> {
        hosts_of(&self.hosts, inputs)
    }
}

/// `orc undrain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc undrain fe3.east.example.com
  orc undrain @rack=r7")]
pub struct UndrainArgs {
    /// Which players
    #[arg(value_name = "HOSTS", required = true)]
    hosts: Vec<String>,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl UndrainArgs {
    /// Which players.
    pub fn hosts(&self, inputs: &mut Inputs<'_>) -> Result<String, Failure> {
        hosts_of(&self.hosts, inputs)
    }
}

/// `orc logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc logs 42.1.1@db3\n  orc logs 42/web@fe3 --json")]
pub struct LogsArgs {
    /// A task: 42.1.2@db3, 42/NAME@db3, or 42@db3
    #[arg(value_name = "ID")]
    id: String,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl LogsArgs {
    /// Which task.
    pub fn reference(&self) -> Result<Reference, Failure> {
        only(&self.id, "orc logs takes one task, like 42.1.2@db3")
    }
}
