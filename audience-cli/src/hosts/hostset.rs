//! `orc hostset`: here, and without the conductor unless the set has groups or labels.

use std::io;

use orchestra_client::Exit;
use orchestra_document::check_host_set;
use orchestra_model::{hostset::HostSet, limits};

use crate::{
    error::Failure,
    input::Inputs,
    program::Program,
    targets::needs_conductor,
    verb::Verb,
    view::hosts::{Form, Resolved},
};

/// `orc hostset`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orc hostset -c '@frontend!@canary'\n  orc hostset -e 'fe[01-10/2]'"
)]
pub(crate) struct Hostset {
    /// A host set; several words are one expression. @… is looked up by the conductor
    #[arg(value_name = "HOSTS", required = true)]
    hosts: Vec<String>,
    /// Expand: a host a line
    #[arg(short = 'e', long, group = "form")]
    expand: bool,
    /// Fold (the default)
    #[arg(short = 'f', long, group = "form")]
    fold: bool,
    /// Count
    #[arg(short = 'c', long, group = "form")]
    count: bool,
}

impl Verb for Hostset {
    /// An empty set is told like any other, and the exit code says that it is empty.
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let set = resolve(&self.expression()?, program)?;
        let exit = if set.is_empty() { Exit::Hosts } else { Exit::Ok };
        program.console.answer(&Resolved { set, form: self.form() })?;
        Ok(exit)
    }
}

impl Hostset {
    fn expression(&self) -> Result<String, Failure> {
        let mut stdin = io::stdin().lock();
        let mut inputs = Inputs::new(&mut stdin);
        let read = |word: &String| inputs.hosts(word, "the host set", limits::HOSTSET_BYTES);
        let words = self.hosts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(words.join(" "))
    }

    fn form(&self) -> Form {
        if self.expand {
            Form::Expanded
        } else if self.count {
            Form::Count
        } else {
            Form::Folded
        }
    }
}

/// The hosts of an expression, from the conductor where only it can know them.
fn resolve(expression: &str, program: &mut Program) -> Result<HostSet, Failure> {
    let wrong = |error| Failure::usage("reading the host set").because(error);
    if !needs_conductor(expression) {
        return HostSet::parse_plain(expression).map_err(wrong);
    }
    check_host_set(expression).map_err(wrong)?;
    let folded = program.ask(async |client, _| Ok(client.resolve(expression).await?))?;
    HostSet::parse_plain(&folded)
        .map_err(|error| Failure::broken("reading the conductor's answer").because(error))
}
