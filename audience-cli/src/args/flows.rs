//! Verbs of `orc` about flows: waiting for them, asking about them, steering them.

use orchestra_model::{
    ids::{FlowId, Part, Reference},
    limits,
    names::JobName,
};

use super::{Shared, Waiting, what::settings, whole_flows};
use crate::{error::Failure, flow::file::Overrides, flow::ids::only, input::Inputs, targets};

/// `orc wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc wait last\n  orc wait 42-44 --wait-timeout 10m")]
pub struct WaitArgs {
    /// 42 or last; several: 1,3,5-8
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// How to wait.
    #[command(flatten)]
    pub waiting: Waiting,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl WaitArgs {
    /// Which flows; `None` is `last`.
    pub fn flows(&self) -> Result<Vec<Option<FlowId>>, Failure> {
        whole_flows(&self.ids, "orc wait")
    }
}

/// `orc cancel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc cancel last\n  orc cancel 42 --abandon")]
pub struct CancelArgs {
    /// 42 or last; several: 1,3,5-8
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Call tasks lost now that were sent to players which are not attached
    #[arg(long)]
    pub abandon: bool,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl CancelArgs {
    /// Which flows; `None` is `last`.
    pub fn flows(&self) -> Result<Vec<Option<FlowId>>, Failure> {
        whole_flows(&self.ids, "orc cancel")
    }
}

/// `orc pause` and `orc resume`.
#[derive(Debug, clap::Args)]
pub struct SteerArgs {
    /// 42 or last; several: 1,3,5-8
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl SteerArgs {
    /// Which flows, for the verb; `None` is `last`.
    pub fn flows(&self, verb: &str) -> Result<Vec<Option<FlowId>>, Failure> {
        whole_flows(&self.ids, verb)
    }
}

/// `orc explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc explain last\n  orc explain 42/web@fe3.east.example.com")]
pub struct ExplainArgs {
    /// 42, last, 42.1, 42.1.2 or 42/NAME, also with @HOST
    #[arg(value_name = "ID")]
    id: String,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl ExplainArgs {
    /// What is to be explained.
    pub fn reference(&self) -> Result<Reference, Failure> {
        only(&self.id, "orc explain takes one id, like 42 or 42.1.2@db3")
    }
}

/// `orc promote`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc promote last\n  orc promote 42 --job web")]
pub struct PromoteArgs {
    /// 42, last or 42/NAME
    #[arg(value_name = "ID")]
    id: String,
    /// Only this job [default: all that wait for a canary]
    #[arg(long, value_name = "NAME")]
    job: Option<JobName>,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl PromoteArgs {
    /// Which flow, and which job of it; `None` is `last`, and all jobs.
    pub fn target(&self) -> Result<(Option<FlowId>, Option<JobName>), Failure> {
        const WHAT: &str = "orc promote takes a flow or one job of it, like 42 or 42/web";
        let reference = only(&self.id, WHAT)?;
        match (reference.part, reference.host, self.job.clone()) {
            (Part::Flow, None, job) => Ok((reference.flow, job)),
            (Part::Named(job), None, None) => Ok((reference.flow, Some(job))),
            _ => Err(Failure::usage(WHAT)),
        }
    }
}

/// `orc retry`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Of a flow that has not ended: its failed tasks get further attempts. Of one that has: a new flow
runs what is unfinished; its parameters were erased, so --set gives them again.

Examples:
  orc retry 42 --job web -w 'fe[1-3]'
  orc retry last --set install/version=1.2.4 --wait")]
pub struct RetryArgs {
    /// 42, last or 42/NAME, also with @HOST
    #[arg(value_name = "ID")]
    id: String,
    /// Only this job [default: all]
    #[arg(long, value_name = "NAME")]
    job: Option<JobName>,
    /// Only on these hosts, of a flow that has not ended [default: all]
    #[arg(short = 'w', long = "on", value_name = "HOSTS")]
    hosts: Option<String>,
    /// A parameter of a flow that has ended: JOB/KEY=VALUE, or KEY=VALUE where one job is meant
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Wait for the verdict; the exit code tells it
    #[arg(short = 'W', long)]
    wait: bool,
    /// How to wait.
    #[command(flatten)]
    waiting: Waiting,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

/// What is to run again.
#[derive(Debug)]
pub struct Retry {
    /// Which flow; `None` is `last`.
    pub flow: Option<FlowId>,
    /// Which job; `None` for all.
    pub job: Option<JobName>,
    /// On which hosts; empty for all.
    pub hosts: String,
    /// Parameters; a flow's name is not among them.
    pub set: Overrides,
    /// How to wait, where that was asked for.
    pub wait: Option<Waiting>,
}

impl RetryArgs {
    /// Reads what is to be read, and checks what can be checked here.
    pub fn validate(&self, inputs: &mut Inputs<'_>) -> Result<Retry, Failure> {
        const WHAT: &str = "orc retry takes a flow, one job of it, or a host: 42, 42/web, 42@fe3";
        let reference = only(&self.id, WHAT)?;
        let job = match (reference.part, self.job.clone()) {
            (Part::Flow, job) => job,
            (Part::Named(job), None) => Some(job),
            _ => return Err(Failure::usage(WHAT)),
        };
        let hosts = match (&self.hosts, reference.host) {
            (Some(hosts), None) => {
                let hosts = inputs.hosts(hosts, "the host set", limits::HOSTSET_BYTES)?;
                targets::without(&hosts, &[])?
            }
            (None, host) => host.map(|host| host.to_string()).unwrap_or_default(),
            (Some(_), Some(_)) => {
                return Err(Failure::usage("hosts are given twice: @HOST and -w"));
            }
        };
        let wait = self.waiting.clone().only_with(self.wait)?;
        Ok(Retry { flow: reference.flow, job, hosts, set: settings(&self.set, inputs)?, wait })
    }
}
