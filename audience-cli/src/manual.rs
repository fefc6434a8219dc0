//! Help, completions and man pages, from the definitions by which the programs read their command lines.

mod help;
pub(crate) mod short;

use std::path::PathBuf;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use crate::{
    console::{narrate, print},
    error::Failure,
    flow::{status::StatusArgs, submit::SubmitArgs},
    orc::OrcArgs,
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verbs {
    /// Tell of exit codes, host sets or JSON, or of a verb
    Help(help::Help),
    /// Print completions of the three programs, or of one, for a shell
    Completions(Completions),
    /// Write man pages of the three programs into a directory
    Man(Man),
}

/// `orc completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  source <(orc completions bash)
  orc completions fish >~/.config/fish/completions/orc.fish")]
pub(crate) struct Completions {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_enum, value_name = "SHELL", hide_possible_values = true)]
    shell: Shell,
    /// submitjob, getstatus or orc, for a file of its own, as zsh wants it; all three if not given
    #[arg(value_parser = ["submitjob", "getstatus", "orc"], hide_possible_values = true)]
    program: Option<String>,
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
    pub(crate) fn run(self) -> Result<u8, Failure> {
        match self {
            Verbs::Help(verb) => verb.run(),
            Verbs::Completions(verb) => verb.run(),
            Verbs::Man(verb) => verb.run(),
        }
    }
}

impl Completions {
    fn run(self) -> Result<u8, Failure> {
        let mut text = Vec::new();
        let is_meant = |name: &str| self.program.as_deref().is_none_or(|one| one == name);
        for mut program in programs().into_iter().filter(|it| is_meant(it.get_name())) {
            let name = program.get_name().to_owned();
            clap_complete::generate(self.shell, &mut program, name, &mut text);
        }
        print(&String::from_utf8_lossy(&text))?;
        Ok(0)
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
