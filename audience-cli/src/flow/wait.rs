//! `orc wait`, and how `submitjob --wait` and `orc retry --wait` wait: by events, never by polling.

mod block;
mod following;
mod teller;
mod told;
mod watcher;

use orchestra_client::{Client, Exit};
use orchestra_model::{ids::FlowId, time::Millis};

use super::{
    chosen::Chosen,
    several::Several,
    status::{Shape, Written},
};
use crate::{console::Console, error::Failure, program::Program, verb::Verb};

pub(crate) use following::{Following, From};
use watcher::Target;
pub(super) use watcher::Watcher;

/// `orc wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
-b, -L and --diff then show what tasks wrote, as getstatus does.

Examples:
  orc wait last -b
  orc wait --score restart-apache --wait-timeout 10m")]
pub(crate) struct Wait {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    waiting: Waiting,
}

// Flattened into verbs that wait, whose help this is not.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Waiting {
    /// Stop waiting after this; the flow goes on (exit 124)
    #[arg(long, value_name = "DURATION")]
    pub(super) wait_timeout: Option<Millis>,
    /// While waiting, a line of JSON per change on standard output
    #[arg(long, conflicts_with_all = ["json", "gather", "lines", "diff"])]
    jsonl: bool,
    #[command(flatten)]
    at_end: AtEnd,
}

/// What is shown of tasks once the flow has ended: the flags of `getstatus`. Hidden, because the help
/// of `--wait` tells of them.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
struct AtEnd {
    #[arg(short = 'b', long, hide = true)]
    gather: bool,
    #[arg(short = 'L', long, hide = true)]
    lines: bool,
    #[arg(long, hide = true, conflicts_with_all = ["gather", "lines"])]
    diff: bool,
}

impl AtEnd {
    fn shape(self) -> Option<Shape> {
        let Self { gather, lines, diff } = self;
        Written { gather, lines, diff }.shape()
    }
}

impl Waiting {
    /// Returns how to wait, if `--wait` asks for it. Without `--wait`, flags that say how to wait
    /// are refused.
    pub(super) fn only_with(self, wait: bool) -> Result<Option<Self>, Failure> {
        if !wait && (self.wait_timeout.is_some() || self.jsonl) {
            return Err(
                Failure::usage("--wait-timeout and --jsonl say how to wait").hint("add --wait")
            );
        }
        if !wait && self.at_end.shape().is_some() {
            let what = "-b, -L and --diff show what tasks wrote, once they have ended";
            return Err(Failure::usage(what).hint("add --wait, or ask later: getstatus last -b"));
        }
        Ok(wait.then_some(self))
    }

    /// Returns whether standard output gets something else than the flow's id: a line of JSON for each
    /// change, one document at the end, or what tasks wrote.
    pub(super) fn has_an_answer(&self, console: &Console) -> bool {
        self.jsonl || console.answers_in_json() || self.at_end.shape().is_some()
    }
}

impl Verb for Wait {
    /// Waits for one flow after the other, under one timeout. After the timeout the remaining flows
    /// are looked at once, because some may have ended.
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let chosen = self.chosen.read("orc wait")?;
        if program.console.answers_in_json() && !chosen.is_one() {
            return Err(Failure::usage("waiting for several flows with --json")
                .hint("--jsonl tells of several; or getstatus --json afterwards"));
        }
        program.ask(async |client, console| {
            let flows = chosen.flows(client, console).await?;
            let mut watcher = Watcher::new(&self.waiting, From::Now)?;
            let mut several = Several::new("waiting for flows", flows.len());
            for flow in flows {
                let target = flow.map_or(Target::Last, Target::Flow);
                match watcher.watch(client, target, console).await {
                    // The person wants to leave.
                    Ok(Exit::NotOver) => return Ok(Exit::NotOver),
                    Ok(exit) => several.took(exit),
                    Err(failure) => several.failed(flow, failure)?,
                }
            }
            Ok(several.finish())
        })
    }
}

/// Waits for a flow if that was asked for; otherwise it is enough that the flow was accepted.
pub(super) async fn until_end(
    wait: Option<&Waiting>,
    from: From,
    flow: FlowId,
    client: &mut Client,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let Some(waiting) = wait else { return Ok(Exit::Ok) };
    let mut watcher = Watcher::new(waiting, from)?;
    watcher.watch(client, Target::Flow(flow), console).await
}
