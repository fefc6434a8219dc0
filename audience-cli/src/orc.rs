//! `orc`: the list of its nouns. Each noun knows its own verbs.

use orchestra_client::config::Environment;

use crate::{
    conductor::Conductor, deployment::Deployment, error::Failure, flow, hosts, ledger::Ledger,
    player, sandbox, score, shared::CONNECTION_HELP, task,
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
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do, in the order of the help text.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    #[command(flatten)]
    Flow(flow::Verb),
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
    Sandbox(sandbox::Verb),
}

impl Verb {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self {
            Verb::Flow(verb) => verb.run(environment),
            Verb::Player(verb) => verb.run(environment),
            Verb::Score(verb) => verb.run(environment),
            Verb::Task(verb) => verb.run(environment),
            Verb::Ledger(ledger) => ledger.run(environment),
            Verb::Deployment(deployment) => deployment.run(environment),
            Verb::Hosts(verb) => verb.run(environment),
            Verb::Conductor(conductor) => conductor.run(environment),
            Verb::Sandbox(verb) => Ok(verb.run()),
        }
    }
}

#[cfg(test)]
mod tests;
