//! `orc service apply`.

use std::{io, path::Path};

use orchestra_client::{Client, Exit};
use orchestra_document::{
    Format,
    service::{FILE_BYTES, parse},
};
use orchestra_model::service::ServiceSpec;

use super::{
    change::may_be_done,
    waiting::{Patience, until_ready},
};
use crate::{
    console::Console,
    error::Failure,
    flow::wait::From,
    input::Inputs,
    program::Program,
    verb::Verb,
    view::service::{Asked, Planned},
};

/// `orc service apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc service apply web.yaml --plan
  orc service apply web.yaml --wait --timeout 15m")]
pub(crate) struct Apply {
    /// A service, in YAML, TOML or JSON; - is standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// Tell what would change, host by host; nothing is done
    #[arg(long, conflicts_with = "wait")]
    plan: bool,
    /// Wait until every instance is ready; the exit code tells what came of it
    #[arg(short = 'W', long)]
    wait: bool,
    /// Also where the service belongs to a file of the conductor
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    patience: Patience,
}

impl Verb for Apply {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let spec = read(&self.file)?;
        let patience = self.patience.only_with(self.wait)?;
        let take_over = self.take_over;
        if self.plan {
            return program.ask(async |client, console| {
                let (versions, plan) = client.plan_service(&spec, take_over).await?;
                console.answer(Planned { name: &spec.name, versions: &versions, plan: &plan })?;
                Ok(Exit::Ok)
            });
        }
        program
            .ask(async |client, console| apply(&spec, take_over, patience, client, console).await)
    }
}

/// Reads a service from a file.
fn read(given: &str) -> Result<ServiceSpec, Failure> {
    let mut stdin = io::stdin().lock();
    let mut inputs = Inputs::new(&mut stdin);
    let what = "the service";
    let (name, text) = inputs.document(given, what, FILE_BYTES)?;
    let format = Format::of_path(Path::new(name)).unwrap_or_else(|| Format::sniff(&text));
    parse(&text, format)
        .map_err(|problems| Failure::usage(format!("reading {what} from {name}")).because(problems))
}

/// Returns what whoever applies this has to know, if there is anything.
fn note(spec: &ServiceSpec) -> Option<String> {
    let lease = spec.upkeep.lease()?;
    Some(format!(
        "an outage of the conductor that is longer than its lease ({lease}) stops the service"
    ))
}

/// Applies a service, tells what came of it, and waits where that was asked for.
async fn apply(
    spec: &ServiceSpec,
    take_over: bool,
    patience: Option<Patience>,
    client: &mut Client,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let applied = client.apply_service(spec, take_over).await;
    let answer = applied.map_err(|failure| may_be_done(failure, &spec.name))?;
    // With --wait and --json there is one document, at the end.
    if patience.is_none() || !console.answers_in_json() {
        let is_followed = patience.is_some();
        console.answer(Asked {
            what: "applied",
            answer: &answer,
            of_strangers: false,
            is_followed,
            note: note(spec),
        })?;
        console.finish()?;
    }
    match patience {
        Some(patience) => {
            let version = Some(answer.version);
            until_ready(&spec.name, version, From::Beginning, patience, client, console).await
        }
        None => Ok(Exit::Ok),
    }
}
