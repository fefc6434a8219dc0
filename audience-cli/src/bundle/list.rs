//! `orc bundle list`.

use orchestra_client::Exit;
use orchestra_model::BundleName;

use super::{DepotArgs, failed};
use crate::{
    error::Failure,
    program::Program,
    verb::Verb,
    view::bundle::{List as Listed, RegisteredList},
};

/// `orc bundle list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc bundle list site --depot /srv/depot --json
  orc bundle list --registered")]
pub(crate) struct List {
    /// Only bundles of this name
    #[arg(value_name = "NAME")]
    name: Option<BundleName>,
    #[command(flatten)]
    depot: DepotArgs,
    /// Those that the conductor knows, in place of a depot's
    #[arg(long, conflicts_with = "depot")]
    registered: bool,
}

impl Verb for List {
    /// What is damaged is listed too, since nobody can tell whose it is.
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        if self.registered {
            return program.ask(async |client, console| {
                console.answer(RegisteredList(client.bundles(self.name.as_ref()).await?))?;
                Ok(Exit::Ok)
            });
        }
        let depot = self.depot.depot();
        let listed = depot.list().map_err(|error| failed("listing bundles".to_owned(), error))?;
        let is_wanted = |name: &BundleName| self.name.as_ref().is_none_or(|wanted| wanted == name);
        let bundles = listed
            .into_iter()
            .filter(|listed| listed.as_ref().map_or(true, |bundle| is_wanted(bundle.name())))
            .collect();
        program.console.answer(Listed(bundles))?;
        Ok(Exit::Ok)
    }
}
