//! `orc audit export`.

use orchestra_client::{AuditQuery, Exit};
use orchestra_model::audit::AuditJson;

use crate::{error::Failure, program::Program, verb::Verb, view::when};

/// `orc audit export`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orc audit export > audit.jsonl\n  orc audit export --after 1200"
)]
pub(crate) struct Export {
    /// Only lines above this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
}

impl Verb for Export {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let after = Some(self.after);
        program.ask(async |client, console| {
            let query = AuditQuery { after, limit: u32::MAX, ..AuditQuery::default() };
            let mut lines = client.audit(query).await?;
            while let Some(line) = lines.next_item().await? {
                console.answer_line(&AuditJson::new(&line, when(line.at)))?;
            }
            Ok(Exit::Ok)
        })
    }
}
