//! `orc service wait`.

use orchestra_client::Exit;
use orchestra_model::{names::ServiceName, service::ServiceVersion};

use super::waiting::{Patience, until_ready};
use crate::{error::Failure, flow::wait::From, program::Program, verb::Verb, words::number};

/// `orc service wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 ready everywhere; 2 failed, reverted or stopped; 4 ready but on hosts that
cannot be reached; 5 superseded by a newer version; 7 Ctrl-C; 124 the timeout ran out.

Examples:
  orc service wait web
  orc service wait web --version 7 --timeout 15m")]
pub(crate) struct Wait {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// For this version [default: the one that is wanted]
    #[arg(long, value_name = "N", value_parser = number(1..=u64::MAX))]
    version: Option<u64>,
    #[command(flatten)]
    patience: Patience,
}

impl Verb for Wait {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let version = self.version.map(ServiceVersion);
            until_ready(&self.name, version, From::Now, self.patience, client, console).await
        })
    }
}
