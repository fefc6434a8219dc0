//! `orc sandbox start`: a sandbox that goes on by itself.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::Stdio,
};

use orchestra_client::Exit;

use super::{
    fleet::Fleet,
    launch::{claim, supervisor},
    place::programs,
    process::code_of,
    record::{READY, Record},
};
use crate::{console::narrate, error::Failure};

const EXAMPLES: &str = "
Examples:
  eval \"$(orc sandbox start --players 'fe[1-6]')\"
  submitjob load -w @all --wait; orc sandbox stop";

/// `orc sandbox start`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Start {
    #[command(flatten)]
    fleet: Fleet,
}

impl Start {
    /// Prints the variables that lead to the sandbox, for the shell to read.
    pub(super) fn run(self) -> Result<u8, Failure> {
        let fleet = &self.fleet;
        let (place, temporary) = claim(fleet)?;
        let what = "starting the sandbox's supervisor";
        let failed = |error: io::Error| Failure::broken(what).because(error);
        let mut supervisor = supervisor(fleet, &place, temporary)?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        // The stream of a sandbox that did not get ready ends without a word; the sandbox has told
        // why itself.
        let mut ready = String::new();
        if let Some(stdout) = supervisor.stdout.take() {
            BufReader::new(stdout).read_line(&mut ready).map_err(failed)?;
        }
        if ready.trim_end() != READY {
            let status = supervisor.wait().map_err(failed)?;
            narrate(format_args!("sandbox: kept in {}", place.root().display()));
            return Ok(code_of(status.code().filter(|code| *code != 0), status.signal()));
        }

        let record = Record::read(&place)?;
        let variables = place.variables(record.conductor, &programs()?, std::env::var_os("PATH"));
        let mut text = String::new();
        for (name, value) in variables {
            text += &format!("export {name}={}\n", shell_quoted(&value.to_string_lossy()));
        }
        io::stdout().write_all(text.as_bytes()).map_err(|error| {
            Failure::broken("writing the variables to standard output").because(error)
        })?;
        Ok(Exit::Ok.code())
    }
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn variables_survive_the_shell() {
        for text in ["plain", "with space", "it's", "$HOME `x` \\ \"", ""] {
            let script = format!("printf %s {}", shell_quoted(text));
            let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
