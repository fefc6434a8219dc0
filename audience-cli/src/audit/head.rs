//! `orc audit head`.

use orchestra_client::{AuditQuery, Exit};
use orchestra_model::audit::AuditJson;

use crate::{error::Failure, program::Program, verb::Verb, view::when};

/// `orc audit head`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orc audit head > audit.head\n  orc audit verify --head audit.head"
)]
pub(crate) struct Head {}

impl Verb for Head {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let query = AuditQuery { limit: 1, ..AuditQuery::default() };
            if let Some(line) = client.audit(query).await?.next_item().await? {
                console.answer_line(&AuditJson::new(&line, when(line.at)))?;
            }
            Ok(Exit::Ok)
        })
    }
}
