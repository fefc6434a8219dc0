//! `orc scores`: which player holds which score with which hash.

use orchestra_client::Exit;
use orchestra_model::names::ScoreName;

use crate::{error::Failure, program::Program, verb::Verb, view::score::Scores};

/// `orc scores`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc scores restart-apache\n  orc scores --drift -w @frontend")]
pub(crate) struct List {
    /// Only this one, with its parameters and an example
    #[arg(value_name = "SCORE")]
    score: Option<ScoreName>,
    /// Only on these hosts
    #[arg(short = 'w', long = "on", value_name = "HOSTS")]
    hosts: Option<String>,
    /// Only scores that differ or are missing somewhere, with the hosts
    #[arg(long)]
    drift: bool,
}

impl Verb for List {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let hosts = self.hosts.as_deref().unwrap_or_default();
            let (heard, held) = client.scores(hosts, self.score.as_ref()).await?;
            let mut scores = Scores::new(&heard, held);
            if self.score.is_some() {
                scores = scores.detailed();
            }
            if self.drift {
                scores.keep_drift();
            }
            console.answer(scores)?;
            Ok(Exit::Ok)
        })
    }
}
