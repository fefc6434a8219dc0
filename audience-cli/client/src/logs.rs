//! Logs: reads what one instance of a service wrote, or an attempt writes, over one connection.

use orchestra_model::{
    ids::JobId,
    names::{HostName, ServiceName},
    service::{LogChunk, LogQuery, Ordinal},
};
use orchestra_proto::v1;
use tonic::Streaming;

use crate::{Client, Unheard, client::invalid, watch::opened};

/// An instance of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceInstance {
    Ordinal(Ordinal),
    Host(HostName),
}

/// A log that is read.
pub struct LogChunks {
    stream: Streaming<v1::LogChunk>,
    what: String,
}

impl LogChunks {
    /// Returns the next bytes; `None` once everything that was asked for was told.
    pub async fn next(&mut self) -> Result<Option<LogChunk>, Unheard> {
        match self.stream.message().await {
            Ok(Some(chunk)) => {
                let read = chunk.try_into().map_err(|error| invalid(&self.what, error));
                Ok(Some(read?))
            }
            Ok(None) => Ok(None),
            Err(status) => Err(Unheard::of(&self.what, &status)),
        }
    }
}

impl Client {
    /// Begins to read what an instance wrote. If the connection is lost, the caller may go on with
    /// a query from the last chunk's place.
    pub async fn read_log(
        &mut self,
        service: &ServiceName,
        instance: &ServiceInstance,
        query: &LogQuery,
    ) -> Result<LogChunks, Unheard> {
        use v1::read_logs_request::Instance as Wire;
        let (instance, of) = match instance {
            ServiceInstance::Ordinal(ordinal) => (Wire::Ordinal(ordinal.0), format!("/{ordinal}")),
            ServiceInstance::Host(host) => (Wire::Host(host.to_string()), format!("@{host}")),
        };
        let request = v1::ReadLogsRequest {
            service: service.to_string(),
            instance: Some(instance),
            query: Some(query.into()),
        };
        self.begin_log(request, format!("reading the log of {service}{of}")).await
    }

    /// Begins to read what an attempt writes that runs, or what its host keeps of one that is over. Where
    /// there is neither ([`Exit::NoSuchFlow`](crate::Exit::NoSuchFlow)), what it wrote is in its end.
    pub async fn read_attempt(
        &mut self,
        job: JobId,
        host: &HostName,
        attempt: u32,
        query: &LogQuery,
    ) -> Result<LogChunks, Unheard> {
        let of = v1::LogOfAttempt { job: Some(job.into()), host: host.to_string(), attempt };
        let request = v1::ReadLogsRequest {
            service: String::new(),
            instance: Some(v1::read_logs_request::Instance::Attempt(of)),
            query: Some(query.into()),
        };
        self.begin_log(request, format!("reading what {job}@{host}#{attempt} writes")).await
    }

    async fn begin_log(
        &mut self,
        request: v1::ReadLogsRequest,
        what: String,
    ) -> Result<LogChunks, Unheard> {
        let stream = opened(&what, self.rpc.read_logs(request)).await?;
        Ok(LogChunks { stream, what })
    }
}
