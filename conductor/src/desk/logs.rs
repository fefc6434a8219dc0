//! Reads on their players the logs of units, and what attempts write or have written.

use orchestra_model::{
    AudienceName, HostName, HostSet, JobId, ServiceName,
    delivery::AttemptKey,
    policy::Right,
    service::{
        InstanceStatus, LogChunk, LogEnd, LogPart, LogQuery, LogSource, Ordinal, ServiceStatus,
    },
};
use orchestra_policy::What;

use super::{Desk, Recipient, Stopped, rights::sees_service, services::unknown};
use crate::{
    declined::{Declined, Ground},
    driver::{Carries, Request},
    lines::Line,
};

/// How an instance of a service is named.
#[derive(Clone, Debug)]
pub(crate) enum WhichInstance {
    Ordinal(Ordinal),
    Host(HostName),
}

/// Whose log is meant.
#[derive(Clone, Debug)]
pub(crate) enum WhichLog {
    Instance(ServiceName, WhichInstance),
    Attempt { job: JobId, host: HostName, attempt: u32 },
}

impl Desk {
    /// Reads the log of an instance of a service, or what an attempt writes, or what is kept of one that is over.
    pub(crate) async fn read_logs(
        &self,
        which: WhichLog,
        query: LogQuery,
        by: AudienceName,
        to: &impl Recipient<LogChunk>,
    ) -> Result<(), Stopped> {
        let (host, line, of) = self.find_log(which, &by).await?;
        let mut reading = self.readings.begin(line, (of.clone(), query), by)?;
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
                LogPart::End(end) => return Ok(judge(&host, &of, end)?),
            }
        }
    }

    /// Declines a log that somebody may not read. Returns on which host it is, and what its player
    /// has to be able to do.
    pub(crate) async fn check_log(
        &self,
        which: &WhichLog,
        by: &AudienceName,
    ) -> Result<(HostName, Carries), Declined> {
        match which {
            WhichLog::Instance(service, instance) => {
                let status = self.service_status(service).await?;
                let seen = self.sight(by);
                let status = status.filter(|status| sees_service(&seen, status));
                let status = status.ok_or_else(|| unknown(service))?;
                let what = What::Service(service.as_str());
                self.check_right(by, Right::ReadOutput, what, None)?;
                let host = find(&status, instance)?.host.clone();
                let on = HostSet::from_names([host.clone()]);
                self.check_right(by, Right::ReadOutput, what, Some(&on))?;
                Ok((host, Carries::Units))
            }
            WhichLog::Attempt { job, host, .. } => {
                self.check_sees_flow(by, job.flow).await?;
                self.check_names(job.flow, &[*job], host).await?;
                let on = HostSet::from_names([host.clone()]);
                self.check_reads_output(by, job.flow, Some(&on)).await?;
                Ok((host.clone(), Carries::AttemptLogs))
            }
        }
    }

    /// Returns on which host a log is, the way to its player, and what it is called there.
    async fn find_log(
        &self,
        which: WhichLog,
        by: &AudienceName,
    ) -> Result<(HostName, Line, LogSource), Declined> {
        let (host, carries) = self.check_log(&which, by).await?;
        let asked = host.clone();
        let line = self.ask(|reply| Request::Line(asked, carries, reply)).await?;
        let of = match which {
            WhichLog::Instance(service, _) => LogSource::Unit(service),
            WhichLog::Attempt { job, attempt, .. } => {
                LogSource::Attempt(AttemptKey { store: line.header.store, job, attempt })
            }
        };
        Ok((host, line, of))
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
fn judge(host: &HostName, of: &LogSource, end: LogEnd) -> Result<(), Declined> {
    let (ground, why) = match end {
        LogEnd::All => return Ok(()),
        LogEnd::Gone => (
            Ground::Unknown,
            match of {
                LogSource::Unit(_) => format!("{host} has no unit of the service"),
                LogSource::Attempt(key) => format!(
                    "attempt {key} does not run on {host}, which keeps no more of it than its end tells"
                ),
            },
        ),
        LogEnd::Failed(why) => (Ground::Internal, format!("{host} cannot read it: {why}")),
        LogEnd::TooMany => (Ground::TooMuch, format!("{host} has as many logs read as it may")),
    };
    Err(Declined::new(ground, why))
}
