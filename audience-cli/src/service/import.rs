//! `orc service import`.

use orchestra_client::Exit;
use orchestra_document::service::{Values, show};
use orchestra_model::names::{ScoreName, ServiceName};

use crate::{
    error::Failure,
    import::{
        cerebro::{Job, Said},
        read,
    },
    program::Program,
    verb::Verb,
    view::import::Imported,
};

/// `orc service import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc service import portal.json --score run-portal >portal.yaml
  orc service apply portal.yaml --plan")]
pub(crate) struct Import {
    /// A job, as Cerebro's job_update_cfg took it; - is standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// The installed score that starts what the job's command did
    #[arg(long, value_name = "SCORE")]
    score: Option<ScoreName>,
    /// The installed score that does what the job's deployment_recipe did
    #[arg(long, value_name = "SCORE")]
    prepare: Option<ScoreName>,
    /// How the service is called; the name of the job's task where it is not given
    #[arg(long, value_name = "NAME")]
    name: Option<ServiceName>,
}

impl Verb for Import {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let (name, text) = read(&self.file, "the job")?;
        let said = Said { score: self.score, name: self.name, prepare: self.prepare };
        let job = Job::read(&text, said).map_err(|problems| {
            Failure::usage(format!("reading {name} as a job of Cerebro's")).because(problems)
        })?;
        program.console.answer(Imported {
            written: show(&job.spec, Values::Told),
            notes: job.notes,
            next: "orc service apply FILE --plan tells what it would do",
        })?;
        Ok(Exit::Ok)
    }
}
