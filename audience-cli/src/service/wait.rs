//! `orc service wait`.

use orchestra_client::Exit;
use orchestra_model::{names::ServiceName, service::ServiceVersion};

use super::waiting::{Patience, Wanted, until_ready};
use crate::{error::Failure, flow::wait::From, program::Program, verb::Verb, words::number};

/// `orc service wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 ready everywhere; 2 failed, reverted or stopped; 4 ready but on hosts that
cannot be reached; 5 superseded by a newer version; 7 Ctrl-C; 124 the timeout ran out.

Examples:
  orc service wait db web
  orc service wait web --version 7 --timeout 15m")]
pub(crate) struct Wait {
    /// Which
    #[arg(value_name = "NAME", required = true)]
    names: Vec<ServiceName>,
    /// For this version [default: the one that is wanted]
    #[arg(long, value_name = "N", value_parser = number(1..=u64::MAX))]
    version: Option<u64>,
    #[command(flatten)]
    patience: Patience,
}

impl Verb for Wait {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        if self.version.is_some() && self.names.len() > 1 {
            let what = "--version is of one service, and several are named";
            return Err(Failure::usage(what).hint("wait for each with a command of its own"));
        }
        program.ask(async |client, console| {
            let version = self.version.map(ServiceVersion);
            let wanted = |name| Wanted { name, version, made: None };
            let services: Vec<_> = self.names.iter().map(wanted).collect();
            until_ready(&services, From::Now, self.patience, client, console).await
        })
    }
}
