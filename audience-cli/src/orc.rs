//! `orc`: the list of its nouns. Each noun knows its own verbs.

use orchestra_client::config::Environment;

use crate::{
    audit::Audit,
    brake::Brake,
    bundle::Bundle,
    conductor::Conductor,
    deployment::Deployment,
    doctor::Doctor,
    error::Failure,
    flow, hosts,
    import::Import,
    ledger::Ledger,
    manual, place, player,
    policy::{Policy, WhoAmI},
    sandbox, score,
    service::Service,
    shared::CONNECTION_HELP,
    task,
    top::Top,
    verb::With,
    zones::Zones,
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
    pub(crate) noun: Noun,
}

/// What to do, in the order of the help text.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Noun {
    #[command(flatten)]
    Flow(flow::Verbs),
    #[command(flatten)]
    Player(player::Verbs),
    #[command(flatten)]
    Score(score::Verbs),
    #[command(flatten)]
    Place(place::Verbs),
    #[command(flatten)]
    Task(task::Verbs),
    /// Show who holds which cells, and release hosts that count as down
    Ledger(Ledger),
    /// Services: what is kept running, where, in which version
    Service(Service),
    /// What is left undone because too much seems wrong at once
    Brake(Brake),
    /// Show zones: their players, and what holds replacements back
    Zones(With<Zones>),
    /// What uses most of its host: units, or players
    Top(With<Top>),
    /// Deployments: apps, environments, and what may happen to them at once
    Deployment(Deployment),
    /// Bundles: directories, published to pass from host to host unchanged
    Bundle(Bundle),
    #[command(flatten)]
    Hosts(hosts::Verbs),
    /// Who did what: submitted, cancelled, drained and so on
    Audit(Audit),
    /// Who may do what
    Policy(Policy),
    /// Show who you are to the conductor, and what you may do
    #[command(name = "whoami")]
    WhoAmI(With<WhoAmI>),
    /// Ask or tell the conductor itself
    Conductor(Conductor),
    /// Find what stands between this machine and a conductor
    Doctor(With<Doctor>),
    /// Turn a file of another tool into one of ours
    Import(With<Import>),
    #[command(flatten)]
    Manual(manual::Verbs),
    /// Run a whole fleet on this machine, to try things out
    #[command(subcommand)]
    Sandbox(sandbox::Verbs),
}

impl Noun {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self {
            Noun::Flow(verb) => verb.run(environment),
            Noun::Player(verb) => verb.run(environment),
            Noun::Score(verb) => verb.run(environment),
            Noun::Place(verb) => verb.run(environment),
            Noun::Task(verb) => verb.run(environment),
            Noun::Ledger(ledger) => ledger.run(environment),
            Noun::Service(service) => service.run(environment),
            Noun::Brake(brake) => brake.run(environment),
            Noun::Zones(verb) => verb.run(environment),
            Noun::Top(verb) => verb.run(environment),
            Noun::Deployment(deployment) => deployment.run(environment),
            Noun::Bundle(bundle) => bundle.run(environment),
            Noun::Hosts(verb) => verb.run(environment),
            Noun::Audit(audit) => audit.run(environment),
            Noun::Policy(policy) => policy.run(environment),
            Noun::WhoAmI(verb) => verb.run(environment),
            Noun::Conductor(conductor) => conductor.run(environment),
            Noun::Doctor(verb) => verb.run(environment),
            Noun::Import(verb) => verb.run(environment),
            Noun::Manual(verb) => verb.run(&environment),
            Noun::Sandbox(verb) => Ok(verb.run()),
        }
    }
}

#[cfg(test)]
mod tests;
