//! Watching a flow: its events as they happen, over one connection.

use orchestra_model::ids::FlowId;
use orchestra_proto::{Watched, v1};
use tokio::time::timeout;
use tonic::{Response, Status, Streaming};

use crate::{
    Client,
    client::{ANSWER, flow_ref, shown},
    failure::Failure,
    refusal::{failure, is_lost},
};

pub use orchestra_proto::v1::Cursor;

/// Why a stream ended early.
#[derive(Debug)]
pub enum Unheard {
    /// The connection was lost, or the conductor asks to try again. Another stream may go on.
    Lost(Failure),
    /// Another stream would end the same way.
    Refused(Failure),
}

impl From<Failure> for Unheard {
    fn from(failure: Failure) -> Self {
        Unheard::Refused(failure)
    }
}

impl From<Unheard> for Failure {
    fn from(unheard: Unheard) -> Self {
        match unheard {
            Unheard::Lost(failure) | Unheard::Refused(failure) => failure,
        }
    }
}

impl Unheard {
    pub(crate) fn of(what: &str, status: &Status) -> Self {
        let failure = failure(what, status);
        if is_lost(status) { Unheard::Lost(failure) } else { Unheard::Refused(failure) }
    }
}

/// What a watcher is told of tasks, beside jobs and the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// Each change of each task, and tasks that were never sent when their job ends.
    EveryEnd,
    /// Each change of a task.
    EveryTask,
    /// Tasks that went wrong, and those whose player went away or came back.
    Trouble,
}

/// One message of a watch.
#[derive(Debug)]
pub struct Heard {
    /// What happened, or the flow's status.
    pub event: Watched,
    /// The position up to which the watcher knows everything after this; `None` if it is not known
    /// yet.
    pub cursor: Option<Cursor>,
}

/// A flow that is watched.
pub struct WatchStream {
    stream: Streaming<v1::WatchEvent>,
    what: String,
}

impl WatchStream {
    /// Returns the next event. A stream does not end by itself: the caller stops at the final
    /// status.
    pub async fn next(&mut self) -> Result<Heard, Unheard> {
        let what = &self.what;
        let message = match self.stream.message().await {
            Ok(Some(message)) => message,
            Ok(None) => {
                let end = Failure::broken(format!("{what}: the conductor ended the stream"));
                return Err(Unheard::Lost(end));
            }
            Err(status) => return Err(Unheard::of(what, &status)),
        };
        let cursor = message.cursor.clone();
        match Watched::try_from(message) {
            Ok(event) => Ok(Heard { event, cursor }),
            Err(error) => Err(Failure::broken(what).because(error).into()),
        }
    }
}

impl Client {
    /// Begins to watch a flow, from a cursor on or from now.
    pub async fn watch(
        &mut self,
        flow: Option<FlowId>,
        since: Option<Cursor>,
        hears: Hears,
    ) -> Result<WatchStream, Unheard> {
        let what = format!("waiting for flow {}", shown(flow));
        let flow = Some(flow_ref(flow));
        let (every_end, quiet) = (hears == Hears::EveryEnd, hears == Hears::Trouble);
        let request = v1::WatchRequest { flow, since, every_end, snapshots: true, quiet };
        let stream = opened(&what, self.rpc.watch(request)).await?;
        Ok(WatchStream { stream, what })
    }
}

/// Awaits the beginning of a stream that may be begun again. A conductor that is silent counts as lost.
pub(crate) async fn opened<T>(
    what: &str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Unheard> {
    let answer = match timeout(ANSWER, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::unavailable(format!("no answer within {ANSWER:?}"))),
    };
    answer.map_err(|status| Unheard::of(what, &status))
}
