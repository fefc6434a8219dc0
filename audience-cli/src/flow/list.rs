//! `orc flows`, and `getstatus` without an id.

use orchestra_client::Exit;
use orchestra_model::flow_filter::FlowFilter;

use super::chosen::Conditions;
use crate::{
    error::Failure,
    program::{Program, now},
    verb::Verb,
    view::flow::Flows,
    words::number,
};

/// How many flows are listed if nobody says.
const USUAL: u32 = 20;

/// `orc flows`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc flows --alive --score restart-apache --host fe7
  orc flows --by alice --state failed --since 2d")]
pub(crate) struct List {
    /// Only those that have not ended
    #[arg(long)]
    alive: bool,
    #[command(flatten)]
    conditions: Conditions,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = USUAL, value_parser = number(1..=u32::MAX))]
    limit: u32,
}

impl Verb for List {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let wanted = FlowFilter { alive: self.alive, ..self.conditions.filter() };
        program.ask(async |client, console| {
            let flows = client.flows(&wanted, self.limit).await?;
            console.list(Flows::new(now()), flows).await?;
            Ok(Exit::Ok)
        })
    }
}

/// Lists the newest flows; 0 is the conductor's own limit.
pub(super) fn newest(program: &mut Program) -> Result<Exit, Failure> {
    program.ask(async |client, console| {
        let flows = client.flows(&FlowFilter::default(), 0).await?;
        console.list(Flows::new(now()), flows).await?;
        Ok(Exit::Ok)
    })
}
