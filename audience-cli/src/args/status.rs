//! `getstatus`.

use orchestra_model::ids::Reference;

use super::{CONNECTION_HELP, Shared, references};
use crate::error::Failure;

const CODES: &str = "\
Exit code: 0 ok, 2 failed or partial, 4 only unreachable, 5 cancelled, 7 not over yet, 8 no such
flow; of several the first of 1, 8, 6, 3, 2, 4, 5, 7 that occurs";

const EXAMPLES: &str = "
Examples:
  getstatus last
  getstatus 42.1.1 --failed -b";

/// Tell where flows stand; without an id, the newest flows, a line each
#[derive(Debug, Default, clap::Parser)]
#[command(name = "getstatus", version, after_help = format!("{CODES}\n{CONNECTION_HELP}\n{EXAMPLES}"))]
pub struct StatusArgs {
    /// 42, last, 42.1, 42.1.2 or 42/NAME, also with @HOST; several: 1,3,5-8
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// A line for each task
    #[arg(long)]
    tasks: bool,
    /// Only tasks that did not end ok
    #[arg(long)]
    failed: bool,
    /// What tasks wrote, gathered by identical text
    #[arg(short = 'b', long)]
    gather: bool,
    /// What tasks wrote, line by line: host: line
    #[arg(short = 'L', long, conflicts_with = "gather")]
    lines: bool,
    /// How what tasks wrote differs from what most of them wrote
    #[arg(long, conflicts_with_all = ["gather", "lines"])]
    diff: bool,
    /// What tasks answered: host: KEY=VALUE
    #[arg(long, conflicts_with_all = ["gather", "lines", "diff"])]
    response: bool,
    /// What every command takes.
    #[command(flatten)]
    pub(crate) shared: Shared,
}

/// How much is told of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Flows, slots and jobs, and failures folded.
    Summary,
    /// A line a task.
    Tasks,
    /// Outputs, gathered.
    Gathered,
    /// Outputs, as differences from the most common.
    Differences,
    /// Outputs, line by line.
    Lines,
    /// Responses.
    Responses,
}

impl StatusArgs {
    /// What is asked for; empty for the newest flows.
    pub fn references(&self) -> Result<Vec<Reference>, Failure> {
        if self.ids.is_empty() && (self.shape() != Shape::Summary || self.failed) {
            return Err(Failure::usage("asking for tasks: which flow?").hint("getstatus last"));
        }
        references(&self.ids)
    }

    /// How much is told of tasks.
    pub fn shape(&self) -> Shape {
        if self.gather {
            Shape::Gathered
        } else if self.diff {
            Shape::Differences
        } else if self.lines {
            Shape::Lines
        } else if self.response {
            Shape::Responses
        } else if self.tasks || self.failed {
            Shape::Tasks
        } else {
            Shape::Summary
        }
    }

    /// Whether only tasks that did not end ok are told.
    pub fn only_failed(&self) -> bool {
        self.failed
    }
}
