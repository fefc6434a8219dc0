//! Help, completions and man pages, from the definitions by which the programs read their command lines.

mod completion;
mod help;
pub(crate) mod short;

use std::path::PathBuf;

use clap::{Command, CommandFactory as _};
use orchestra_client::config::Environment;

use self::completion::{Completions, candidates::Candidates};
use crate::{
    console::narrate,
    error::Failure,
    flow::{status::StatusArgs, submit::SubmitArgs},
    orc::OrcArgs,
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verbs {
    /// Tell of exit codes, host sets, JSON or limits, or of a verb
    Help(help::Help),
    /// Print completions of the three programs, or of one, for a shell
    Completions(Completions),
    /// Tell what may come for the last of these words; for scripts of shells
    #[command(hide = true)]
    Candidates(Candidates),
    /// Write man pages of the three programs into a directory; for packagers, and named in the README
    #[command(hide = true)]
    Man(Man),
}

/// `orc man`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orc man /usr/local/share/man/man1\n  orc man . && man ./orc.1"
)]
pub(crate) struct Man {
    /// Where the pages go; it is there already
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Verbs {
    pub(crate) fn run(self, environment: &Environment) -> Result<u8, Failure> {
        match self {
            Verbs::Help(verb) => verb.run(),
            Verbs::Completions(verb) => verb.run(),
            Verbs::Candidates(verb) => verb.run(environment),
            Verbs::Man(verb) => verb.run(),
        }
    }
}

impl Man {
    fn run(self) -> Result<u8, Failure> {
        let directory = self.directory;
        for program in programs() {
            clap_mangen::generate_to(program, &directory).map_err(|error| {
                Failure::broken(format!("writing man pages into {}", directory.display()))
                    .because(error)
            })?;
        }
        narrate(format_args!("man pages are in {}", directory.display()));
        Ok(0)
    }
}

fn programs() -> [Command; 3] {
    [SubmitArgs::command(), StatusArgs::command(), OrcArgs::command()]
}

/// Breaks a text into lines of at most `room` columns, each indented by so many.
fn wrapped(text: &str, indent: usize, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| line.len() + 1 + word.len() <= room) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(format!("{:indent$}{word}", "")),
        }
    }
    lines
}
