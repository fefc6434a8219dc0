//! `orc deployment show`.

use std::io::Write as _;

use orchestra_client::{DeploymentSummary, Exit};
use orchestra_document::{
    Format,
    deployment::{SourceText, parse_all},
};
use orchestra_model::{hostset::NoGroups, names::DeploymentName};

use crate::{
    console::{Answer, Screen, Streamed, unwritten},
    error::Failure,
    program::Program,
    verb::Verb,
    view::{deployment::in_json, json},
};

/// `orc deployment show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc deployment show shop\n  orc deployment show shop --json")]
pub(crate) struct Show {
    /// Which
    #[arg(value_name = "NAME")]
    name: DeploymentName,
}

impl Verb for Show {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let name = self.name;
            let found = client.deployments(Some(&name)).await?.next_item().await?;
            let Some(found) = found else {
                let what = format!("asking for deployment {name}: there is none");
                return Err(Failure::new(Exit::NoSuchFlow, what).hint("orc deployment list"));
            };
            console.stream(&mut Shown { name, found }).await?;
            Ok(Exit::Ok)
        })
    }
}

/// A deployment as the conductor tells it: text in the canonical form. Only JSON needs it parsed.
struct Shown {
    name: DeploymentName,
    found: DeploymentSummary,
}

impl Streamed for Shown {
    async fn text(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        screen.out.write_all(self.found.canonical.as_bytes()).map_err(unwritten)
    }

    async fn json(&mut self, out: &mut Answer) -> Result<(), Failure> {
        let Self { name, found } = self;
        let source =
            SourceText { name: name.as_str(), format: Format::Yaml, text: &found.canonical };
        let parsed = parse_all([source], &NoGroups).map_err(|problems| {
            Failure::broken(format!("reading what the conductor says of deployment {name}"))
                .because(problems)
        })?;
        json::document(out, "deployments", &in_json(&parsed.deployments, false)).map_err(unwritten)
    }
}
