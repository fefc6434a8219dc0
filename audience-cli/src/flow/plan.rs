//! `orc plan` and `submitjob --plan`: what a submission would do. Nothing is sent to players.

use std::io;

use orchestra_client::{ConditionalSubmission, Exit};

use super::what::{VALUES, What};
use crate::{
    error::Failure,
    input::Inputs,
    program::Program,
    verb::Verb,
    view::{flow::plan::Foreseen, one_line},
};

/// `orc plan`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "orc plan SCORE [KEY=VALUE]... (-w HOSTS | --one-of HOSTS) [OPTIONS]\n       \
                      orc plan --flow FILE|- [--set KEY=VALUE]... [OPTIONS]",
    after_help = format!("{VALUES}\n
Examples:
  orc plan restart-apache -w @frontend
  submitjob --flow deploy.yaml --if-plan \"$(orc plan --flow deploy.yaml --digest)\"")
)]
pub(crate) struct Plan {
    #[command(flatten)]
    what: What,
    /// Print the plan's digest alone, for submitjob --if-plan
    #[arg(long, conflicts_with = "json")]
    digest: bool,
}

impl Verb for Plan {
    fn run(mut self, program: &mut Program) -> Result<Exit, Failure> {
        let mut stdin = io::stdin().lock();
        let mut inputs = Inputs::new(&mut stdin);
        self.what.settle(&mut inputs, program)?;
        let wanted = self.what.wanted(&mut inputs)?;
        drop(stdin);
        show(&wanted, self.digest, program)
    }
}

/// Plans, and tells the plan or its digest alone. A submission that would be refused is a failure,
/// and a person is told no waves of it.
pub(super) fn show(
    wanted: &ConditionalSubmission,
    digest_alone: bool,
    program: &mut Program,
) -> Result<Exit, Failure> {
    program.ask(async |client, console| {
        let planned = client.plan(wanted).await?;
        let spec = &wanted.submission.spec;
        console.answer(Foreseen { planned: &planned, spec, digest_alone })?;
        console.finish()?;
        let Some(refusal) = &planned.refusal else { return Ok(Exit::Ok) };
        let refusal = one_line(refusal);
        Err(Failure::broken(format!("submitted now, it would be refused: {refusal}")))
    })
}
