//! `orc brake release`.

use std::str::FromStr;

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::{names::ServiceName, service::BrakeScope};

use crate::{
    error::Failure, program::Program, service::change, verb::Verb, view::service::BrakeReleased,
};

/// `orc brake release`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc brake release web
  orc brake release zone/east")]
pub(crate) struct Release {
    /// What is braked: a service, fleet, or a zone as zone/NAME
    #[arg(value_name = "ON")]
    on: On,
}

/// What is braked.
#[derive(Clone, Debug)]
enum On {
    Service(ServiceName),
    Players(BrakeScope),
}

impl FromStr for On {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if let Some(scope) = BrakeScope::from_word(word) {
            return scope.map(On::Players).map_err(|invalid| invalid.to_string());
        }
        let name = word.strip_prefix("service/").unwrap_or(word);
        ServiceName::new(name).map(On::Service).map_err(|invalid| invalid.to_string())
    }
}

impl Verb for Release {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        match self.on {
            On::Service(service) => {
                change(&service, &ServiceAsk::ReleaseBrake, "brake_released", program)
            }
            On::Players(scope) => program.ask(async |client, console| {
                client.release_brake(&scope).await?;
                console.answer(BrakeReleased(&scope))?;
                Ok(Exit::Ok)
            }),
        }
    }
}
