//! `orc pause`.

use orchestra_client::{Client, Exit};

use super::steer::each;
use crate::{error::Failure, program::Program, verb::Verb, words::ids::whole_flows};

/// `orc pause`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc pause last\n  orc pause 42,44-46")]
pub(crate) struct Pause {
    /// 42 or last; several: 1,3,5-8
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

impl Verb for Pause {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let flows = whole_flows(&self.ids, "orc pause")?;
        program.ask(async |client, console| {
            let pause = async |client: &mut Client, flow| client.pause(flow).await;
            each(&flows, "pausing flows", client, console, pause).await
        })
    }
}
