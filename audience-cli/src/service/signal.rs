//! `orc service signal`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_document::service::Message;
use orchestra_model::names::ServiceName;

use super::change::{change, on_hosts};
use crate::{error::Failure, program::Program, verb::Verb};

/// `orc service signal`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc service signal web USR1
  orc service signal web QUIT -w fe1")]
pub(crate) struct Signal {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// USR1, SIGUSR1 or 10; none that no program can answer, like KILL
    #[arg(value_name = "SIGNAL")]
    signal: Message,
    /// Only on these of its hosts
    #[arg(short = 'w', long = "on", value_name = "HOSTS")]
    hosts: Option<String>,
}

impl Verb for Signal {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let Message(signal) = self.signal;
        let asked = ServiceAsk::Signal(signal, on_hosts(self.hosts)?);
        change(&self.name, &asked, "signalled", program)
    }
}
