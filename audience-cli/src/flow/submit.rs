//! `submitjob`: the id alone on standard output, everything else on standard error.

use std::io;

use orchestra_client::{Client, ConditionalSubmission, Exit};
use orchestra_model::{delivery::RequestId, ids::FlowId, time::Millis};

use super::{
    plan,
    wait::{From, Waiting, until_end},
    what::{VALUES, What},
};
use crate::{
    console::Console,
    error::Failure,
    input::Inputs,
    program::Program,
    shared::CONNECTION_HELP,
    verb::{Verb, With},
    view::{flow::Accepted, one_line},
};

const EXAMPLES: &str = "
Examples:
  submitjob restart-apache -w 'fe[1-100]' --parallel 50% --success 95% --wait
  submitjob --flow deploy.yaml --set version=1.2.3 -Wb";

/// Run a score on hosts, or a flow from a file; prints the flow's id
#[derive(Debug, clap::Parser)]
#[command(
    name = "submitjob",
    version,
    after_help = format!("{VALUES}\n{CONNECTION_HELP}\n{EXAMPLES}"),
    override_usage = "submitjob SCORE [KEY=VALUE]... (-w HOSTS | --one-of HOSTS) [OPTIONS]\n       \
                      submitjob --flow FILE|- [--set KEY=VALUE]... [OPTIONS]"
)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) submit: With<Submit>,
}

// Flattened into `submitjob`, whose help this is not.
#[derive(Debug, clap::Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    what: What,
    /// Only tell what would happen: send nothing, store nothing
    #[arg(long, conflicts_with_all = ["if_plan", "wait"])]
    plan: bool,
    /// Refuse unless a plan made now has this digest
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    if_plan: Option<String>,
    /// Submit under this id; with nothing else, ask what became of it
    #[arg(long, value_name = "ID", value_parser = request_id, conflicts_with = "plan")]
    request_id: Option<RequestId>,
    /// Wait for the verdict; -b, -L or --diff then show outputs
    #[arg(short = 'W', long)]
    wait: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// What `submitjob` is to do, once everything is read that it names.
#[derive(Debug)]
struct Order {
    task: Task,
    /// Whether only a plan is wanted.
    plan: bool,
    /// How to wait, where that was asked for.
    wait: Option<Waiting>,
}

#[derive(Debug)]
enum Task {
    Submit(ConditionalSubmission),
    /// Tell what became of an earlier request.
    Ask(RequestId),
}

impl Verb for Submit {
    fn run(mut self, program: &mut Program) -> Result<Exit, Failure> {
        if self.what.picks() && (self.request_id.is_some() || self.if_plan.is_some()) {
            return Err(Failure::usage(
                "--pick picks other hosts each time, so that nothing would be asked for again",
            )
            .hint("name the hosts that were picked: -w HOSTS"));
        }
        // The lock ends here, because a question whether to cancel is answered on that input.
        let order = {
            let mut stdin = io::stdin().lock();
            let mut inputs = Inputs::new(&mut stdin);
            self.what.settle(&mut inputs, program)?;
            self.validate(&mut inputs)?
        };
        match &order.task {
            Task::Submit(wanted) if order.plan => plan::show(wanted, false, program),
            _ => program.ask(async |client, console| submit(order, client, console).await),
        }
    }
}

impl Submit {
    /// Reads what is to be read, and checks what can be checked here.
    fn validate(self, inputs: &mut Inputs<'_>) -> Result<Order, Failure> {
        let wait = self.waiting.only_with(self.wait)?;
        let (plan, request, if_plan) = (self.plan, self.request_id, self.if_plan);
        if let (Some(request), true) = (request, self.what.is_empty()) {
            return Ok(Order { task: Task::Ask(request), plan, wait });
        }
        let wanted = ConditionalSubmission { if_plan, request, ..self.what.wanted(inputs)? };
        Ok(Order { task: Task::Submit(wanted), plan, wait })
    }
}

/// Submits, tells the id, and waits if that was asked for.
async fn submit(order: Order, client: &mut Client, console: &mut Console) -> Result<Exit, Failure> {
    let wait = order.wait.as_ref();
    let (flow, warnings) = match &order.task {
        Task::Submit(wanted) => {
            let patience = wait.and_then(|wait| wait.wait_timeout);
            let answer = client.submit(wanted, patience.map(Millis::to_std)).await?;
            (answer.flow, answer.warnings)
        }
        Task::Ask(request) => (client.submitted(*request).await?, Vec::new()),
    };
    for warning in &warnings {
        let head = console.narration().warning("warning:");
        console.narrate(format_args!("{head} {}", one_line(warning)));
    }
    if wait.is_some_and(|wait| wait.has_an_answer(console)) {
        console.narrate(format_args!("{flow} submitted"));
    } else {
        let told = console.answer(Accepted(flow)).and_then(|()| console.finish());
        told.map_err(|failure| goes_on(failure, flow))?;
    }
    // Nothing was told of the flow yet.
    until_end(wait, From::Beginning, flow, client, console).await
}

/// Adds the flow's id to a failure, because it could not be told on standard output.
pub(super) fn goes_on(failure: Failure, flow: FlowId) -> Failure {
    failure.hint(format!("flow {flow} was accepted all the same: getstatus {flow}"))
}

/// Reads a request id.
fn request_id(text: &str) -> Result<RequestId, &'static str> {
    const EXPECTED: &str = "expected 32 hexadecimal digits, as an error told them";
    let mut id = [0; 16];
    if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(EXPECTED);
    }
    for (byte, at) in id.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| EXPECTED)?;
    }
    Ok(RequestId(id))
}

/// Reads a digest as `plan` prints it. An empty one, as from an unset variable, is refused, because
/// it would be no condition.
fn digest(text: &str) -> Result<String, &'static str> {
    match text.len() {
        1..=64 if text.bytes().all(|b| b.is_ascii_hexdigit()) => Ok(text.to_ascii_lowercase()),
        _ => Err("expected up to 64 hexadecimal digits, as orc plan prints them"),
    }
}

#[cfg(test)]
mod tests;
