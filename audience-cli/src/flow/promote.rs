//! `orc promote`.

use orchestra_client::{Client, Exit};
use orchestra_model::{
    ids::{FlowId, FlowPart},
    names::JobName,
};

use super::steer::each;
use crate::{error::Failure, program::Program, verb::Verb, words::ids::only};

/// `orc promote`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc promote last\n  orc promote 42 --job web")]
pub(crate) struct Promote {
    /// 42, last or 42/NAME
    #[arg(value_name = "ID")]
    id: String,
    /// Only this job [default: all that wait for a canary]
    #[arg(long, value_name = "NAME")]
    job: Option<JobName>,
}

impl Verb for Promote {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let (flow, job) = self.target()?;
        program.ask(async |client, console| {
            let promote =
                async |client: &mut Client, flow| client.promote(flow, job.as_ref()).await;
            each(&[flow], "promoting flows", client, console, promote).await
        })
    }
}

impl Promote {
    /// Which flow, and which job of it; `None` is `last`, and all jobs.
    fn target(self) -> Result<(Option<FlowId>, Option<JobName>), Failure> {
        const WHAT: &str = "orc promote takes a flow or one job of it, like 42 or 42/web";
        let reference = only(&self.id, WHAT)?;
        match (reference.part, reference.host, self.job) {
            (FlowPart::Flow, None, job) => Ok((reference.flow, job)),
            (FlowPart::Named(job), None, None) => Ok((reference.flow, Some(job))),
            _ => Err(Failure::usage(WHAT)),
        }
    }
}
