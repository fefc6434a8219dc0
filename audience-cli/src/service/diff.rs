//! `orc service diff`.

use orchestra_client::{AppliedVersion, Exit};
use orchestra_model::{names::ServiceName, service::ServiceVersion};

use super::show::{find, version};
use crate::{
    error::Failure, program::Program, verb::Verb, view::service::Differences, words::number,
};

/// `orc service diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc service diff web 6\n  orc service diff web 6 7 --json")]
pub(crate) struct Diff {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// From this version
    #[arg(value_name = "VERSION", value_parser = number(1..=u64::MAX))]
    from: u64,
    /// To this one [default: the one that is wanted]
    #[arg(value_name = "VERSION", value_parser = number(1..=u64::MAX))]
    to: Option<u64>,
}

impl Verb for Diff {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let from = ServiceVersion(self.from);
            let to = match self.to {
                Some(to) => ServiceVersion(to),
                None => find(&self.name, client).await?.record.version,
            };
            let versions = client.service_versions(&self.name).await?;
            let (before, after) =
                (version(&versions, from, &self.name)?, version(&versions, to, &self.name)?);
            let is_between =
                |own: &&AppliedVersion| own.version > from.min(to) && own.version <= from.max(to);
            let between = versions.iter().filter(is_between);
            console.answer(Differences::new(before, after, between))?;
            Ok(Exit::Ok)
        })
    }
}
