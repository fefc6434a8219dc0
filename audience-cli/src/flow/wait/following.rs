//! Follows one flow to its end, over as many connections as that takes.
//!
//! A lost connection is no verdict: the next stream begins with what changed since the last cursor,
//! and changes that were told already are dropped.

use orchestra_client::{Backoff, Client, Cursor, Heard, Unheard};
use orchestra_model::{ids::FlowId, status::FlowStatus};
use orchestra_proto::Watched;

use super::told::Told;
use crate::{
    console::Console,
    error::Failure,
    view::flow::{events::line, progress::Progress},
};

/// From when on a person is told of a flow. A program (`--jsonl`) is told everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Now,
    Beginning,
}

/// A flow that is followed, and what was told of it.
pub(crate) struct Following {
    id: Option<FlowId>,
    /// Everything up to here was told; `None`: from now on.
    cursor: Option<Cursor>,
    told: Told,
    progress: Progress,
    backoff: Backoff,
    jsonl: bool,
}

impl Following {
    pub(crate) fn new(id: Option<FlowId>, from: From, jsonl: bool) -> Self {
        let is_all = jsonl || from == From::Beginning;
        Self {
            id,
            // The empty cursor says that nothing was told of the flow yet.
            cursor: is_all.then(Cursor::default),
            told: Told::default(),
            progress: Progress::default(),
            backoff: Backoff::new(),
            jsonl,
        }
    }

    /// The flow's number, once it is known.
    pub(super) fn id(&self) -> Option<FlowId> {
        self.id
    }

    /// Follows the flow over as many connections as it takes.
    pub(crate) async fn until_end(
        &mut self,
        client: &mut Client,
        console: &mut Console,
    ) -> Result<Box<FlowStatus>, Failure> {
        loop {
            match self.follow(client, console).await {
                Ok(status) => return Ok(status),
                Err(Unheard::Refused(failure)) => return Err(failure),
                Err(Unheard::Lost(why)) => console.narrate(format_args!("{why}; trying again")),
            }
            self.backoff.pause(None).await;
            if let Some(older) = client.reconnect(None).await? {
                console.narrate(older);
            }
        }
    }

    /// Follows one stream to the flow's end.
    async fn follow(
        &mut self,
        client: &mut Client,
        console: &mut Console,
    ) -> Result<Box<FlowStatus>, Unheard> {
        let mut events = client.watch(self.id, self.cursor.clone(), self.jsonl).await?;
        // A conductor of the first release has no cursors, and tells nothing anew.
        let mut has_cursors = true;
        loop {
            let Heard { event: heard, cursor } = events.next().await?;
            self.backoff = Backoff::new();
            if let Watched::Status(_) = &heard {
                has_cursors = cursor.is_some();
            }
            let is_anew = has_cursors && cursor.is_none();
            self.cursor = cursor.or(self.cursor.take());
            if let Watched::Event(event) = &heard {
                self.id = Some(event.flow());
                if !self.told.takes(event, is_anew) {
                    continue;
                }
            }
            if let Some(end) = self.tell(heard, client, console).await? {
                return Ok(end);
            }
        }
    }

    /// Tells one message of the stream. Returns the status if it is the final one.
    async fn tell(
        &mut self,
        heard: Watched,
        client: &mut Client,
        console: &mut Console,
    ) -> Result<Option<Box<FlowStatus>>, Failure> {
        if let Watched::Status(status) = &heard {
            self.id = Some(status.summary.id);
        }
        let style = console.narration();
        for line in self.progress.lines(&heard, style) {
            console.narrate(line);
        }
        self.tell_program(&heard, console)?;
        if let Watched::Status(status) = heard {
            return Ok(Some(status).filter(|status| status.summary.state.is_final()));
        }
        // The event says that the flow stopped, and the status says why. Without an answer the
        // stream is lost too, or the next status tells.
        if self.progress.asks_why()
            && let Ok(status) = client.flow(self.id).await
        {
            for line in self.progress.why(&status, style) {
                console.narrate(line);
            }
            self.tell_program(&Watched::Status(Box::new(status)), console)?;
        }
        Ok(None)
    }

    /// Writes a line of JSON, if that was asked for.
    fn tell_program(&self, heard: &Watched, console: &mut Console) -> Result<(), Failure> {
        if self.jsonl { console.answer_line(&line(heard)) } else { Ok(()) }
    }
}
