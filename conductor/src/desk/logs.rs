//! Reads the logs of units on their players.

use orchestra_model::{
    AudienceName, HostName, ServiceName,
    service::{InstanceStatus, LogChunk, LogEnd, LogPart, LogQuery, Ordinal, ServiceStatus},
};

use super::{Desk, Recipient, Stopped, services::unknown};
use crate::{
    declined::{Declined, Ground},
    driver::{Request, ServiceQuestion},
};

/// How an instance of a service is named.
#[derive(Clone, Debug)]
pub(crate) enum WhichInstance {
    Ordinal(Ordinal),
    Host(HostName),
}

impl Desk {
    /// Reads the log of an instance of a service.
    pub(crate) async fn read_logs(
        &self,
        service: ServiceName,
        which: &WhichInstance,
        query: LogQuery,
        by: AudienceName,
        to: &impl Recipient<LogChunk>,
    ) -> Result<(), Stopped> {
        let asked = service.clone();
        let ask = |reply| Request::AboutServices(ServiceQuestion::Status(asked, reply));
        let status = self.ask(ask).await?.ok_or_else(|| unknown(&service))?;
        let host = find(&status, which)?.host.clone();
        let line = self.ask(|reply| Request::Line(host.clone(), reply)).await?;
        let mut reading = self.readings.begin(line, (service, query), by)?;
        loop {
            let part = tokio::select! {
                part = reading.next() => part?,
                () = to.gone() => return Err(Stopped::Gone),
            };
            match part {
                LogPart::Chunk(chunk) => {
                    let cost = chunk.cost();
                    to.give(chunk).await?;
                    reading.give_back(cost);
                }
                LogPart::End(end) => return Ok(judge(&host, end)?),
            }
        }
    }
}

fn find<'a>(
    status: &'a ServiceStatus,
    which: &WhichInstance,
) -> Result<&'a InstanceStatus, Declined> {
    let is_meant = |instance: &&InstanceStatus| match which {
        WhichInstance::Ordinal(ordinal) => instance.instance.ordinal == *ordinal,
        WhichInstance::Host(host) => instance.host == *host,
    };
    status.instances.iter().find(is_meant).ok_or_else(|| {
        let name = &status.record.name;
        let what = match which {
            WhichInstance::Ordinal(ordinal) => format!("{name}/{ordinal}"),
            WhichInstance::Host(host) => format!("{name}@{host}"),
        };
        Declined::new(Ground::Unknown, format!("there is no instance {what}"))
    })
}

/// Returns an error if a reading ended otherwise than it should.
fn judge(host: &HostName, end: LogEnd) -> Result<(), Declined> {
    let (ground, why) = match end {
        LogEnd::All => return Ok(()),
        LogEnd::Gone => (Ground::Unknown, format!("{host} has no unit of the service")),
        LogEnd::Failed(why) => (Ground::Internal, format!("{host} cannot read it: {why}")),
        LogEnd::TooMany => (Ground::TooMuch, format!("{host} has as many logs read as it may")),
    };
    Err(Declined::new(ground, why))
}
