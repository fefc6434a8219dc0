//! `orc service show`.

use orchestra_client::{AppliedVersion, Client, Exit};
use orchestra_model::{
    names::ServiceName,
    service::{ServiceStatus, ServiceVersion},
};

use crate::{
    error::Failure,
    program::Program,
    verb::Verb,
    view::service::{Shown, Spec},
};

/// `orc service show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc service show web\n  orc service show web --spec")]
pub(crate) struct Show {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// What was applied, as a file, with every default
    #[arg(long)]
    spec: bool,
}

impl Verb for Show {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let status = find(&self.name, client).await?;
            if self.spec {
                let versions = client.service_versions(&self.name).await?;
                let wanted = version(&versions, status.record.version, &self.name)?;
                console.answer(Spec(wanted))?;
            } else {
                console.answer(Shown(&status))?;
            }
            Ok(Exit::Ok)
        })
    }
}

/// Returns a service. If there is none, the failure says how to see which there are.
pub(super) async fn find(
    name: &ServiceName,
    client: &mut Client,
) -> Result<ServiceStatus, Failure> {
    client.service(name).await.map_err(|unheard| with_hint(unheard.into()))
}

/// Adds to a failure, if there is no such service, how to see which there are.
pub(super) fn with_hint(failure: Failure) -> Failure {
    match failure.exit {
        Exit::NoSuchFlow => failure.hint("orc service list"),
        _ => failure,
    }
}

/// Returns one of a service's versions.
pub(super) fn version<'a>(
    versions: &'a [AppliedVersion],
    wanted: ServiceVersion,
    name: &ServiceName,
) -> Result<&'a AppliedVersion, Failure> {
    versions.iter().find(|version| version.version == wanted).ok_or_else(|| {
        let what = format!("asking for version {wanted} of service {name}: it is not kept");
        Failure::new(Exit::NoSuchFlow, what).hint(format!("orc service history {name}"))
    })
}
