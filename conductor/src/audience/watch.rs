//! Watching a flow: its status, its changes, its final status.

use orchestra_model::FlowId;
use orchestra_proto::v1::{self, watch_event::Event};
use tokio::sync::mpsc;
use tonic::Status;

use super::{AudienceService, Sender};
use crate::driver::Request as Ask;

/// Events that wait for a slow watcher before it is told the whole status instead.
const EVENTS: usize = 1_024;

impl AudienceService {
    /// Sends status, events, status, until the flow has ended or nobody listens.
    pub(super) async fn send_events(
        self,
        id: FlowId,
        events: Sender<v1::WatchEvent>,
    ) -> Result<(), Status> {
        loop {
            let (watcher, mut changes) = mpsc::channel(EVENTS);
            let living = self.ask(|reply| Ask::Watch(id, watcher, reply)).await?;
            let is_over = living.is_none();
            let status = match living {
                Some(status) => status,
                None => self.status_of(id).await?,
            };
            let status = v1::WatchEvent { event: Some(Event::Status((&status).into())) };
            if events.send(Ok(status)).await.is_err() || is_over {
                return Ok(());
            }
            loop {
                let event = tokio::select! {
                    event = changes.recv() => event,
                    () = events.closed() => return Ok(()),
                };
                // Over, or behind: either way the whole status is what to tell next.
                let Some(event) = event else { break };
                if events.send(Ok((&event).into())).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
