//! What many attempts of a flow write, as they write it, over one connection.

use orchestra_model::{
    ids::{FlowId, JobId},
    names::HostName,
    service::{LogChunk, LogStream},
};
use orchestra_proto::{Invalid, stream_from_wire, v1};
use tonic::Streaming;

use crate::{
    AttemptLog, Client, ListPage as _, Unheard,
    client::{flow_ref, invalid},
    watch::opened,
};

/// One execution of a task, with its host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Execution {
    pub job: JobId,
    pub host: HostName,
    /// Counted from 1.
    pub attempt: u32,
}

/// What a follower is told.
#[derive(Debug)]
pub enum OutputPart {
    /// Some of what an attempt writes.
    Written { of: Execution, stream: LogStream, chunk: LogChunk },
    /// An attempt has ended. What was not told of it before is in its end.
    Ended(AttemptLog),
}

/// Output that is followed.
pub struct OutputParts {
    stream: Streaming<v1::OutputPart>,
    what: String,
}

impl OutputParts {
    /// Returns the next part; `None` once the flow has ended and everything was told.
    pub async fn next(&mut self) -> Result<Option<OutputPart>, Unheard> {
        match self.stream.message().await {
            Ok(Some(part)) => {
                let read = read(part).map_err(|error| invalid(&self.what, error))?;
                Ok(Some(read))
            }
            Ok(None) => Ok(None),
            Err(status) => Err(Unheard::of(&self.what, &status)),
        }
    }
}

fn read(part: v1::OutputPart) -> Result<OutputPart, Invalid> {
    use v1::output_part::Part;
    let missing = || Invalid::field("OutputPart.part");
    Ok(match part.part.ok_or_else(missing)? {
        Part::Ended(log) => OutputPart::Ended(log.items()?.into_iter().next().ok_or_else(missing)?),
        Part::Written(written) => {
            let v1::WrittenOutput { job, host, attempt, stream, chunk } = written;
            let job = job.ok_or_else(|| Invalid::field("WrittenOutput.job"))?;
            let chunk = chunk.ok_or_else(|| Invalid::field("WrittenOutput.chunk"))?;
            let host = HostName::new(&host).map_err(|_| Invalid::field("WrittenOutput.host"))?;
            OutputPart::Written {
                of: Execution { job: (&job).try_into()?, host, attempt },
                stream: stream_from_wire(stream, "WrittenOutput.stream")?,
                chunk: chunk.try_into()?,
            }
        }
    })
}

impl Client {
    /// Begins to follow what attempts of a flow write: of one slot and job, each counted from 1, or of
    /// all (0); on some hosts, or on all (empty). If the connection is lost, the same again tells
    /// everything anew.
    pub async fn follow_output(
        &mut self,
        flow: FlowId,
        (slot, job): (u16, u16),
        hosts: &str,
    ) -> Result<OutputParts, Unheard> {
        let what = format!("following flow {flow}");
        let request = v1::FollowOutputRequest {
            flow: Some(flow_ref(Some(flow))),
            slot: slot.into(),
            job: job.into(),
            job_name: String::new(),
            hosts: hosts.to_owned(),
        };
        let stream = opened(&what, self.rpc.follow_output(request)).await?;
        Ok(OutputParts { stream, what })
    }
}
