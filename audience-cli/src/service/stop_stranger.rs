//! `orc service stop-stranger`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::names::ServiceName;

use super::change::change;
use crate::{error::Failure, program::Program, verb::Verb, words::hosts};

/// `orc service stop-stranger`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc service stop-stranger web -w 'fe[1-3]' --yes
  orc service stop-stranger web --yes")]
pub(crate) struct StopStranger {
    /// The name of their service, which need not be there
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// Only on these hosts
    #[arg(short = 'w', long = "on", value_name = "HOSTS")]
    hosts: Option<String>,
    /// It is meant: their runs end
    #[arg(long)]
    yes: bool,
}

impl Verb for StopStranger {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let Self { name, hosts: expression, yes } = self;
        if !yes {
            let what = format!(
                "orc service stop-stranger ends runs of {name}, and nothing starts \
                                them again"
            );
            let meant = format!("if that is meant: orc service stop-stranger {name} --yes");
            return Err(Failure::usage(what).hint(meant));
        }
        let hosts = expression.map_or(Ok(String::new()), |expression| hosts(&[expression]))?;
        change(&name, &ServiceAsk::StopStrangers(hosts), "stopped", program)
    }
}
