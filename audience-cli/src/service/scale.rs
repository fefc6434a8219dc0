//! `orc service scale`.

use std::str::FromStr;

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::names::{LabelValue, ServiceName};

use super::change::change;
use crate::{error::Failure, program::Program, verb::Verb};

/// `orc service scale`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc service scale web 5
  orc service scale web east=3")]
pub(crate) struct Scale {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// How many instances; with a zone where it is placed by zones
    #[arg(value_name = "[ZONE=]N")]
    amount: Amount,
    /// Also if the service belongs to a file of the conductor
    #[arg(long)]
    take_over: bool,
}

/// So many instances, in a zone or in whichever.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Amount {
    zone: Option<LabelValue>,
    count: u32,
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (zone, count) = match text.rsplit_once('=') {
            Some((zone, count)) => (Some(zone), count),
            None => (None, text),
        };
        let zone = zone.map(LabelValue::new).transpose().map_err(|error| error.to_string())?;
        let count = count.parse().map_err(|_| "expected a whole number from 0 on".to_owned())?;
        Ok(Amount { zone, count })
    }
}

impl Verb for Scale {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let Amount { zone, count } = self.amount;
        let asked = ServiceAsk::Scale { zone, count, take_over: self.take_over };
        change(&self.name, &asked, "scaled", program)
    }
}
