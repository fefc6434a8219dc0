//! Completions of the three programs. What the programs take comes from their definitions; what there is
//! at the moment (hosts, groups, scores, flows, deployments, services) from the conductor, by
//! `orc candidates`, which the scripts call with the words of the command line.

pub(super) mod candidates;
mod place;
mod scripts;

use clap_complete::Shell;

use super::programs;
use crate::{console::print, error::Failure};

/// `orc completions`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Names of hosts, groups, scores, flows, deployments and services are asked of the \
conductor, where it answers within 100ms (ORCHESTRA_COMPLETION_WITHIN). `orc` has to be in the path.

Examples:
  source <(orc completions bash)
  orc completions fish >~/.config/fish/completions/orc.fish"
)]
pub(crate) struct Completions {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_enum, value_name = "SHELL", hide_possible_values = true)]
    shell: Shell,
    /// submitjob, getstatus or orc, for a file of its own, as zsh wants it; all three if not given
    #[arg(value_parser = ["submitjob", "getstatus", "orc"], hide_possible_values = true)]
    program: Option<String>,
}

impl Completions {
    pub(super) fn run(self) -> Result<u8, Failure> {
        let is_meant = |name: &str| self.program.as_deref().is_none_or(|one| one == name);
        for mut program in programs().into_iter().filter(|it| is_meant(it.get_name())) {
            let name = program.get_name().to_owned();
            let mut script = Vec::new();
            clap_complete::generate(self.shell, &mut program, &name, &mut script);
            let script = String::from_utf8_lossy(&script);
            print(&scripts::with_names(self.shell, &name, &script))?;
        }
        Ok(0)
    }
}
