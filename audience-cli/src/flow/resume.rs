//! `orc resume`.

use orchestra_client::{Client, Exit};

use super::steer::each;
use crate::{error::Failure, program::Program, verb::Verb, words::ids::whole_flows};

/// `orc resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc resume last\n  orc resume 42,44-46")]
pub(crate) struct Resume {
    /// 42 or last; several: 1,3,5-8
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

impl Verb for Resume {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let flows = whole_flows(&self.ids, "orc resume")?;
        program.ask(async |client, console| {
            let resume = async |client: &mut Client, flow| client.resume(flow).await;
            each(&flows, "resuming flows", client, console, resume).await
        })
    }
}
