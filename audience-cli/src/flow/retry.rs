//! `orc retry`: the id of the flow that goes on alone on standard output, everything else on
//! standard error.
//!
//! A flow that has not ended goes on, with its parameters. For an ended flow a new one is made, and
//! parameters that may be secret have to be given again: `--set` names jobs, and the request has slots
//! and jobs by number.

mod places;

use std::io;

use orchestra_client::{Client, Exit, RetryOf};
use orchestra_model::{
    ids::{FlowId, FlowPart},
    limits,
    names::JobName,
    status::FlowStatus,
};

use super::{
    file::Overrides,
    submit::goes_on,
    wait::{From, Waiting, until_end},
    what::settings,
};
use crate::{
    console::Console, error::Failure, input::Inputs, program::Program, targets, verb::Verb,
    view::flow::Retried, words::ids::only,
};

/// `orc retry`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Of a flow that has not ended: its failed tasks get further attempts. Of one that has: a new flow
runs what is unfinished, with its parameters; those that may be secret were erased: --set gives them.

Examples:
  orc retry 42 --job web -w 'fe[1-3]'
  orc retry last --set install/version=1.2.4 --wait")]
pub(crate) struct Retry {
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
    /// Wait for the verdict; -b, -L or --diff then show outputs
    #[arg(short = 'W', long)]
    wait: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// What is to run again.
#[derive(Debug)]
struct Again {
    /// Which flow; `None` is `last`.
    flow: Option<FlowId>,
    /// Which job; `None` for all.
    job: Option<JobName>,
    /// On which hosts; empty for all.
    hosts: String,
    /// Parameters; a flow's name is not among them.
    set: Overrides,
    /// How to wait, where that was asked for.
    wait: Option<Waiting>,
}

impl Verb for Retry {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let again = self.validate(&mut Inputs::new(&mut io::stdin().lock()))?;
        program.ask(async |client, console| retry(&again, client, console).await)
    }
}

impl Retry {
    /// Reads what is to be read, and checks what can be checked here.
    fn validate(self, inputs: &mut Inputs<'_>) -> Result<Again, Failure> {
        const WHAT: &str = "orc retry takes a flow, one job of it, or a host: 42, 42/web, 42@fe3";
        let reference = only(&self.id, WHAT)?;
        let job = match (reference.part, self.job) {
            (FlowPart::Flow, job) => job,
            (FlowPart::Named(job), None) => Some(job),
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
        let wait = self.waiting.only_with(self.wait)?;
        Ok(Again { flow: reference.flow, job, hosts, set: settings(&self.set, inputs)?, wait })
    }
}

/// Runs again what ended and is not ok, and waits if that was asked for.
async fn retry(again: &Again, client: &mut Client, console: &mut Console) -> Result<Exit, Failure> {
    // The flow is known by its number from here on, because the answer may change which flow is
    // `last`.
    let flow = client.flow(again.flow).await?;
    let answer = client.retry(&retry_of(&flow, again)?).await?;
    let (old, new) = (flow.summary.id, answer.flow);
    let tasks = match answer.tasks {
        1 => "1 task".to_owned(),
        n => format!("{n} tasks"),
    };
    if new == old {
        console.narrate(format_args!("{tasks} of flow {old} again"));
    } else {
        console.narrate(format_args!("flow {new} runs what flow {old} left: {tasks}"));
    }
    let wait = again.wait.as_ref();
    if !wait.is_some_and(|wait| wait.has_an_answer(console)) {
        let retried = Retried { new, old, tasks: answer.tasks };
        let told = console.answer(retried).and_then(|()| console.finish());
        told.map_err(|failure| goes_on(failure, new))?;
    }
    // Nothing was told of a new flow yet.
    let from = if new == old { From::Now } else { From::Beginning };
    until_end(wait, from, new, client, console).await
}

fn retry_of(flow: &FlowStatus, again: &Again) -> Result<RetryOf, Failure> {
    let id = flow.summary.id;
    let ended = flow.summary.state.is_final();
    let unset = again.set.everywhere.is_empty() && again.set.of_job.is_empty();
    if !ended && !unset {
        return Err(Failure::usage(format!(
            "setting parameters of flow {id}, which has not ended: it still has its own"
        )));
    }
    if ended && !again.hosts.is_empty() {
        return Err(Failure::usage(format!(
            "retrying on some hosts of flow {id}, which has ended: a new flow has all that is \
             unfinished"
        ))
        .hint("submitjob SCORE -w HOSTS runs one score on some hosts"));
    }
    Ok(RetryOf {
        flow: id,
        ended,
        job: again.job.clone(),
        hosts: again.hosts.clone(),
        params: places::of(flow, again.job.as_ref(), &again.set)?,
    })
}

#[cfg(test)]
mod tests;
