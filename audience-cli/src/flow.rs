//! Flows: submitting them, asking about them, waiting for them, steering them.

mod cancel;
mod chosen;
mod explain;
mod file;
pub(crate) mod limits;
mod list;
mod pause;
mod plan;
mod promote;
mod resume;
mod retry;
mod several;
mod start;
pub(crate) mod status;
mod steer;
pub(crate) mod submit;
mod tree;
pub(crate) mod wait;
mod what;

use orchestra_client::config::Environment;

#[cfg(test)]
pub(crate) use self::file::{Overrides, read as read_file};
use crate::{error::Failure, verb::With};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verbs {
    /// Tell what a submission would do; send nothing
    Plan(Box<With<plan::Plan>>),
    /// Tell why a flow, a job or a task is where it is
    Explain(With<explain::Explain>),
    /// Show who serves whom in a flow's trees
    Tree(With<tree::Tree>),
    /// Wait for flows to end; the exit code tells the verdict
    Wait(With<wait::Wait>),
    /// Let nothing new of flows start; what runs goes on
    Pause(With<pause::Pause>),
    /// Let paused flows go on
    Resume(With<resume::Resume>),
    /// Let the tasks start that wait for a canary
    Promote(With<promote::Promote>),
    /// Run again what ended and is not ok
    Retry(With<retry::Retry>),
    /// Cancel flows
    Cancel(With<cancel::Cancel>),
    /// List flows, newest first
    Flows(With<list::List>),
}

impl Verbs {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self {
            Verbs::Plan(verb) => verb.run(environment),
            Verbs::Explain(verb) => verb.run(environment),
            Verbs::Tree(verb) => verb.run(environment),
            Verbs::Wait(verb) => verb.run(environment),
            Verbs::Pause(verb) => verb.run(environment),
            Verbs::Resume(verb) => verb.run(environment),
            Verbs::Promote(verb) => verb.run(environment),
            Verbs::Retry(verb) => verb.run(environment),
            Verbs::Cancel(verb) => verb.run(environment),
            Verbs::Flows(verb) => verb.run(environment),
        }
    }
}
