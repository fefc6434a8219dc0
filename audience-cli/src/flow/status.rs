//! `getstatus`: flows, parts of flows, tasks and what they wrote.
//!
//! Tasks are written page by page as they come, in text and in JSON, so that a listing of a million
//! needs the memory of one page. Only gathering (`-b`, `--diff`) collects, within its own bound.

mod asking;
mod json;
mod text;

use orchestra_client::{Client, Exit, TaskFilter};
use orchestra_model::ids::{FlowId, FlowPart, Reference};

use super::{
    list::newest,
    wait::{From, Waiting, Watcher},
};
use crate::{
    console::Console,
    error::Failure,
    program::Program,
    shared::CONNECTION_HELP,
    verb::{Verb, With},
    view::task::Failures,
    words::ids::references,
};
use asking::Asking;
pub(crate) use asking::chosen;

/// Most tasks that did not end ok that are listed one by one.
const LISTED: u32 = 1_000;

const CODES: &str = "\
Exit code: 0 ok, 2 failed or partial, 4 only unreachable, 5 cancelled, 7 not over yet, 8 no such
flow; of several the first of 1, 8, 6, 3, 2, 4, 5, 7 that occurs";

const EXAMPLES: &str = "
Examples:
  getstatus last --watch
  getstatus 42.1.1 --failed -b";

/// Tell where flows stand; without an id, the newest flows, a line each
#[derive(Debug, clap::Parser)]
#[command(name = "getstatus", version, after_help = format!("{CODES}\n{CONNECTION_HELP}\n{EXAMPLES}"))]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) status: With<Status>,
}

// Flattened into `getstatus`, whose help this is not.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// 42, last, 42.1, 42.1.2 or 42/NAME, also with @HOST; several: 1,3,5-8
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// First show how flows go on until they end
    #[arg(long)]
    watch: bool,
    /// A line for each task
    #[arg(long)]
    tasks: bool,
    /// Only tasks that did not end ok
    #[arg(long)]
    failed: bool,
    /// The hosts of tasks alone, folded: submitjob SCORE -w "$(getstatus last --failed --hosts)"
    #[arg(long, conflicts_with_all = ["gather", "lines", "diff", "response", "json"])]
    hosts: bool,
    #[command(flatten)]
    written: Written,
    /// What tasks answered: host: KEY=VALUE
    #[arg(long, conflicts_with_all = ["gather", "lines", "diff"])]
    response: bool,
}

// Flattened into `getstatus`, whose help this is not.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Written {
    /// What tasks wrote, gathered by identical text
    #[arg(short = 'b', long)]
    pub(super) gather: bool,
    /// What tasks wrote, line by line: host: line, and host! line of standard error; with -b gathered
    #[arg(short = 'L', long)]
    pub(super) lines: bool,
    /// How what tasks wrote differs from what most of them wrote
    #[arg(long, conflicts_with_all = ["gather", "lines"])]
    pub(super) diff: bool,
}

impl Written {
    /// How it is shown; `None` if it is not asked for.
    pub(super) fn shape(self) -> Option<Shape> {
        match (self.gather, self.lines, self.diff) {
            (true, true, _) => Some(Shape::GatheredLines),
            (true, ..) => Some(Shape::Gathered),
            (_, true, _) => Some(Shape::Lines),
            (.., true) => Some(Shape::Differences),
            _ => None,
        }
    }
}

/// How much is told of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Flows, slots and jobs, and failures folded.
    Summary,
    /// A line a task.
    Tasks,
    /// Outputs, gathered.
    Gathered,
    /// Outputs, gathered, line by line.
    GatheredLines,
    /// Outputs, as differences from the most common.
    Differences,
    /// Outputs, line by line.
    Lines,
    Responses,
    /// A host set.
    Hosts,
}

impl Verb for Status {
    /// The exit code is that of the worst.
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let references = self.references()?;
        if references.is_empty() {
            return newest(program);
        }
        program.ask(async |client, console| {
            if self.watch {
                let mut watcher = Watcher::new(&Waiting::default(), From::Now)?;
                for reference in &references {
                    if let Some(exit) = watcher.show(client, reference.flow, console).await? {
                        return Ok(exit);
                    }
                }
            }
            let mut asking = Asking {
                client,
                references: &references,
                shape: self.shape(),
                only_failed: self.failed,
                exit: Exit::Ok,
            };
            console.stream(&mut asking).await?;
            Ok(asking.exit)
        })
    }
}

/// Shows what the tasks of one flow wrote.
pub(super) async fn written(
    flow: FlowId,
    shape: Shape,
    client: &mut Client,
    console: &mut Console,
) -> Result<(), Failure> {
    let references = [Reference { flow: Some(flow), part: FlowPart::Flow, host: None }];
    let (only_failed, exit) = (false, Exit::Ok);
    let mut asking = Asking { client, references: &references, shape, only_failed, exit };
    console.stream(&mut asking).await
}

impl Status {
    /// What is asked for; empty for the newest flows.
    fn references(&self) -> Result<Vec<Reference>, Failure> {
        if self.ids.is_empty() && (self.shape() != Shape::Summary || self.failed) {
            return Err(Failure::usage("asking for tasks: which flow?").hint("getstatus last"));
        }
        if self.ids.is_empty() && self.watch {
            return references(&["last".to_owned()]);
        }
        references(&self.ids)
    }

    fn shape(&self) -> Shape {
        if let Some(shape) = self.written.shape() {
            shape
        } else if self.hosts {
            Shape::Hosts
        } else if self.response {
            Shape::Responses
        } else if self.tasks || self.failed {
            Shape::Tasks
        } else {
            Shape::Summary
        }
    }
}

/// Collects what did not end ok. Many tasks come folded, because many may ask for them at once; few are
/// listed, with all that is known of each.
pub(super) async fn failures(
    client: &mut Client,
    flow: FlowId,
    filter: &TaskFilter,
) -> Result<Failures, Failure> {
    let mut failures = Failures::default();
    let mut pages = client.failures(flow, filter).await?;
    let (mut groups, mut count) = (Vec::new(), 0);
    while let Some(group) = pages.next_item().await? {
        count += group.tasks;
        groups.push(group);
    }
    if count > LISTED {
        groups.iter().for_each(|group| failures.add_group(group));
        return Ok(failures);
    }
    let mut tasks = client.tasks(flow, filter).await?;
    while let Some(task) = tasks.next_item().await? {
        failures.add(&task);
    }
    Ok(failures)
}
