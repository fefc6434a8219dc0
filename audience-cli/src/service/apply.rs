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
    waiting::{Patience, Wanted, until_ready},
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
  orc service apply db.yaml web.yaml --wait --timeout 15m")]
pub(crate) struct Apply {
    /// A service, in YAML, TOML or JSON; - is standard input. Several are applied by one flow
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
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
        let specs = read_all(&self.files)?;
        let patience = self.patience.only_with(self.wait)?;
        let take_over = self.take_over;
        if self.plan {
            return program.ask(async |client, console| {
                let planned = client.plan_services(&specs, take_over).await?;
                let plans = specs.iter().zip(&planned).map(|(spec, (versions, plan))| Planned {
                    name: &spec.name,
                    versions,
                    plan,
                });
                console.answer_each(plans.collect(), "plans")?;
                Ok(Exit::Ok)
            });
        }
        program
            .ask(async |client, console| apply(&specs, take_over, patience, client, console).await)
    }
}

/// Reads services from files, each once.
fn read_all(files: &[String]) -> Result<Vec<ServiceSpec>, Failure> {
    let mut stdin = io::stdin().lock();
    let mut inputs = Inputs::new(&mut stdin);
    let specs: Vec<ServiceSpec> =
        files.iter().map(|file| read(file, &mut inputs)).collect::<Result<_, _>>()?;
    for (nth, spec) in specs.iter().enumerate() {
        if let Some(before) = specs[..nth].iter().position(|before| before.name == spec.name) {
            let what = format!("reading the services from {}", files.join(", "));
            let why =
                format!("both {} and {} are service {}", files[before], files[nth], spec.name);
            return Err(Failure::usage(what).because(why).hint("apply one of them"));
        }
    }
    Ok(specs)
}

/// Reads a service from a file.
fn read(given: &str, inputs: &mut Inputs<'_>) -> Result<ServiceSpec, Failure> {
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

/// Applies services, tells what came of it, and waits where that was asked for.
async fn apply(
    specs: &[ServiceSpec],
    take_over: bool,
    patience: Option<Patience>,
    client: &mut Client,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let applied = client.apply_services(specs, take_over).await;
    let answers = applied.map_err(|failure| may_be_done(failure, &specs[0].name))?;
    // With --wait and --json there is one document, at the end.
    if patience.is_none() || !console.answers_in_json() {
        let is_followed = patience.is_some();
        let asked = specs.iter().zip(&answers).map(|(spec, answer)| Asked {
            what: "applied",
            answer,
            of_strangers: false,
            is_followed,
            note: note(spec),
        });
        console.answer_each(asked.collect(), "all_applied")?;
        console.finish()?;
    }
    let Some(patience) = patience else { return Ok(Exit::Ok) };
    let wanted = specs.iter().zip(&answers).map(|(spec, answer)| Wanted {
        name: &spec.name,
        version: Some(answer.version),
        made: answer.flow,
    });
    until_ready(&wanted.collect::<Vec<_>>(), From::Beginning, patience, client, console).await
}
