//! `orc service endpoints`.

use std::time::Duration;

use orchestra_client::{AppliedVersion, Backoff, Client, Exit, Unheard};
use orchestra_model::{
    names::ServiceName,
    service::{InstanceStatus, ServiceStatus},
};

use super::show::{find, with_hint};
use crate::{
    console::Console,
    error::Failure,
    program::Program,
    verb::Verb,
    view::service::{Endpoints, Known, NewEndpoints},
};

/// How long after one look at a service the next follows: there are no events of units. A look fetches
/// every instance.
const PAUSE: Duration = Duration::from_secs(1);

/// `orc service endpoints`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orc service endpoints web\n  orc service endpoints web --watch"
)]
pub(crate) struct EndpointsOf {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// Go on, and tell what comes (+) and goes (-); with --json all of them, a line for each change
    #[arg(long)]
    watch: bool,
}

impl Verb for EndpointsOf {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            if self.watch {
                return Watching::new(&self.name).follow(client, console).await;
            }
            let status = find(&self.name, client).await?;
            let versions = client.service_versions(&self.name).await?;
            console.answer(Endpoints { status: &status, versions: &versions })?;
            Ok(Exit::Ok)
        })
    }
}

/// Endpoints that are followed, over as many connections as it takes.
struct Watching<'a> {
    name: &'a ServiceName,
    versions: Vec<AppliedVersion>,
    /// What was told last; `None` at first.
    told: Option<Known>,
    backoff: Backoff,
}

impl<'a> Watching<'a> {
    fn new(name: &'a ServiceName) -> Self {
        Self { name, versions: Vec::new(), told: None, backoff: Backoff::new() }
    }

    /// Tells each change until the reader is gone.
    async fn follow(mut self, client: &mut Client, console: &mut Console) -> Result<Exit, Failure> {
        while !console.is_closed() {
            let status = self.look(client, console).await?;
            let endpoints = Endpoints { status: &status, versions: &self.versions };
            let known = endpoints.known();
            if self.told.as_ref() != Some(&known) {
                let before = self.told.take();
                console.answer(NewEndpoints { endpoints, before: before.as_ref() })?;
                console.finish()?;
                self.told = Some(known);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(Exit::Ok)
    }

    /// Returns the service as it is now. While it cannot be asked for, what was told stands.
    async fn look(
        &mut self,
        client: &mut Client,
        console: &Console,
    ) -> Result<ServiceStatus, Failure> {
        loop {
            match self.ask(client).await {
                Ok(status) => {
                    self.backoff = Backoff::new();
                    return Ok(status);
                }
                Err(Unheard::Lost(why)) => console.narrate(format_args!("{why}; trying again")),
                Err(Unheard::Refused(failure)) => return Err(with_hint(failure)),
            }
            self.backoff.pause(None).await;
            if let Some(older) = client.reconnect(None).await? {
                console.narrate(older);
            }
        }
    }

    /// Asks for the service, and for its versions where an instance has one that is not known yet.
    async fn ask(&mut self, client: &mut Client) -> Result<ServiceStatus, Unheard> {
        let status = client.service(self.name).await?;
        if !self.knows_versions(&status) {
            let versions = client.service_versions(self.name).await;
            self.versions = versions.map_err(|failure| match failure.exit {
                Exit::Away => Unheard::Lost(failure),
                _ => Unheard::Refused(failure),
            })?;
        }
        Ok(status)
    }

    fn knows_versions(&self, status: &ServiceStatus) -> bool {
        let is_known = |instance: &InstanceStatus| {
            let version = instance.report.as_ref().map(|report| report.version);
            version.is_none_or(|it| self.versions.iter().any(|version| version.version == it))
        };
        status.instances.iter().all(is_known)
    }
}
