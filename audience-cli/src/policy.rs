//! `orc policy`: who may do what; and `orc whoami`.

mod check;
mod diff;
mod list;

use orchestra_client::{Exit, config::Environment};

use crate::{
    error::Failure,
    program::Program,
    verb::{Verb, With},
};

/// `orc policy`.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_subcommand = true,
    after_help = "Examples:
  orc policy check alice submit deploy-web '@app=web'
  orc policy diff new-policy.toml"
)]
pub(crate) struct Policy {
    #[command(subcommand)]
    verb: Verbs,
}

#[derive(Debug, clap::Subcommand)]
enum Verbs {
    /// List the rules in force
    List(With<list::List>),
    /// Tell whether somebody may do something, and where
    Check(With<check::Check>),
    /// Tell what everybody would lose and gain with another policy.toml
    Diff(With<diff::Diff>),
}

impl Policy {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self.verb {
            Verbs::List(verb) => verb.run(environment),
            Verbs::Check(verb) => verb.run(environment),
            Verbs::Diff(verb) => verb.run(environment),
        }
    }
}

/// `orc whoami`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc whoami\n  orc whoami --json")]
pub(crate) struct WhoAmI;

impl Verb for WhoAmI {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            console.answer(client.who_am_i().await?)?;
            Ok(Exit::Ok)
        })
    }
}
