//! `orc service`: what is kept running, where, and in which version.

mod adopt;
mod apply;
mod change;
mod declare_dead;
mod diff;
mod endpoints;
pub(crate) mod explain;
mod history;
mod import;
mod list;
pub(crate) mod logs;
mod pause;
mod rebalance;
mod reload;
mod remove;
mod restart;
mod resume;
mod revert;
mod scale;
mod show;
mod signal;
mod start;
mod stop;
mod stop_stranger;
mod wait;
mod waiting;

use orchestra_client::config::Environment;

pub(crate) use self::change::change;
use crate::{error::Failure, verb::With};

/// `orc service`.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_subcommand = true,
    after_help = "Examples:
  orc service apply web.yaml --wait
  orc service show web"
)]
pub(crate) struct Service {
    #[command(subcommand)]
    verb: Verbs,
}

#[derive(Debug, clap::Subcommand)]
enum Verbs {
    /// Let a service be as a file says; a new version, unless nothing differs
    Apply(With<apply::Apply>),
    /// List services
    List(With<list::List>),
    /// Show one: what is wrong, what is wanted, instances, what happened
    Show(With<show::Show>),
    /// Where ready instances take connections
    Endpoints(With<endpoints::EndpointsOf>),
    /// Wait until every instance is ready; the exit code tells what came of it
    Wait(With<wait::Wait>),
    /// Begin new runs, as careful as an update
    Restart(With<restart::Restart>),
    /// Let runs read their parameters again, as careful as an update
    Reload(With<reload::Reload>),
    /// Send a signal to each run, as careful as an update
    Signal(With<signal::Signal>),
    /// Have more instances, or fewer, of a service that is placed
    Scale(With<scale::Scale>),
    /// Move instances to players that suit better, of a service that is placed
    Rebalance(With<rebalance::Rebalance>),
    /// End all runs until it is started
    Stop(With<stop::Stop>),
    /// Let a stopped service run again
    Start(With<start::Start>),
    /// Do nothing voluntary to it; what runs runs on
    Pause(With<pause::Pause>),
    /// Let it go on, also on hosts that were given up
    Resume(With<resume::Resume>),
    /// End all runs and forget it
    Remove(With<remove::Remove>),
    /// List the versions that are kept, and what each changed
    History(With<history::History>),
    /// Tell what differs between two versions
    Diff(With<diff::Diff>),
    /// Go back to an earlier version
    Revert(With<revert::Revert>),
    /// Take units for its own that a restored store knows nothing of
    Adopt(With<adopt::Adopt>),
    /// End units that a restored store knows nothing of
    StopStranger(With<stop_stranger::StopStranger>),
    /// Turn a job of Cerebro's into a service's file
    #[command(alias = "job_update_cfg")]
    Import(With<import::Import>),
    /// Say that an instance is dead whose player is away, so that it may be replaced
    DeclareDead(With<declare_dead::DeclareDead>),
}

impl Service {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self.verb {
            Verbs::Apply(verb) => verb.run(environment),
            Verbs::List(verb) => verb.run(environment),
            Verbs::Show(verb) => verb.run(environment),
            Verbs::Wait(verb) => verb.run(environment),
            Verbs::Endpoints(verb) => verb.run(environment),
            Verbs::Restart(verb) => verb.run(environment),
            Verbs::Reload(verb) => verb.run(environment),
            Verbs::Signal(verb) => verb.run(environment),
            Verbs::Scale(verb) => verb.run(environment),
            Verbs::Rebalance(verb) => verb.run(environment),
            Verbs::Stop(verb) => verb.run(environment),
            Verbs::Start(verb) => verb.run(environment),
            Verbs::Pause(verb) => verb.run(environment),
            Verbs::Resume(verb) => verb.run(environment),
            Verbs::Remove(verb) => verb.run(environment),
            Verbs::History(verb) => verb.run(environment),
            Verbs::Diff(verb) => verb.run(environment),
            Verbs::Revert(verb) => verb.run(environment),
            Verbs::Adopt(verb) => verb.run(environment),
            Verbs::StopStranger(verb) => verb.run(environment),
            Verbs::Import(verb) => verb.run(environment),
            Verbs::DeclareDead(verb) => verb.run(environment),
        }
    }
}
