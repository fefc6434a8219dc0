//! Players: who is there, and who gets no new work.

mod drain;
mod list;
mod release;
mod undrain;

use orchestra_client::config::Environment;

use crate::{error::Failure, verb::With};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verbs {
    /// List players
    Players(Players),
    /// Let nothing new start on players; what runs goes on
    Drain(With<drain::Drain>),
    /// Let drained players work again
    Undrain(With<undrain::Undrain>),
}

/// `orc players`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Examples:\n  orc players 'fe[1-6]' --absent --json
  orc players release fe3 --reason 'its spool was copied from fe2; removed'"
)]
pub(crate) struct Players {
    /// What to do instead of listing them.
    #[command(subcommand)]
    verb: Option<PlayersVerb>,
    #[command(flatten)]
    list: With<list::List>,
}

#[derive(Debug, clap::Subcommand)]
enum PlayersVerb {
    /// Go on with quarantined players, whatever they claim
    Release(With<release::Release>),
}

impl Verbs {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self {
            Verbs::Players(Players { verb: Some(PlayersVerb::Release(verb)), .. }) => {
                verb.run(environment)
            }
            Verbs::Players(Players { verb: None, list }) => list.run(environment),
            Verbs::Drain(verb) => verb.run(environment),
            Verbs::Undrain(verb) => verb.run(environment),
        }
    }
}
