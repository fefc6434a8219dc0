//! `orc explain`: why something waits, down to who holds what.

use orchestra_client::Exit;

use crate::{
    error::Failure,
    program::Program,
    service::{explain::tell, logs},
    verb::Verb,
    words::ids::only,
};

/// `orc explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc explain 42/web@fe3.east.example.com\n  orc explain web/3")]
pub(crate) struct Explain {
    /// 42, last, 42.1, 42.1.2 or 42/NAME, also with @HOST; a service, or an instance: web, web/3, web@HOST
    #[arg(value_name = "ID")]
    id: String,
}

impl Verb for Explain {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        if let Some(service) = logs::service(&self.id) {
            let (name, of) = service?;
            return program
                .ask(async |client, console| tell(&name, of.as_ref(), client, console).await);
        }
        let reference = only(&self.id, "orc explain takes one id, like 42 or 42.1.2@db3")?;
        program.ask(async |client, console| {
            console.answer(&client.explain(&reference).await?)?;
            Ok(Exit::Ok)
        })
    }
}
