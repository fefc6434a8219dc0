//! Follows one flow to its end, over as many connections as that takes.
//!
//! A lost connection is no verdict: the next stream begins with what changed since the last cursor,
//! and changes that were told already are dropped.

use orchestra_client::{Backoff, Client, Cursor, Heard, Hears, Unheard};
use orchestra_model::{ids::FlowId, status::FlowStatus};
use orchestra_proto::Watched;

use super::{teller::Teller, told::Told};
use crate::{console::Console, error::Failure, view::flow::events::line};

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
    teller: Teller,
    backoff: Backoff,
    jsonl: bool,
}

impl Following {
    pub(crate) fn new(id: Option<FlowId>, from: From, jsonl: bool, console: &Console) -> Self {
        let teller = Teller::new(jsonl, console);
        // A block shows how things stand, however they came to be so.
        let is_all = jsonl || (from == From::Beginning && !teller.is_block());
        Self {
            id,
            // The empty cursor says that nothing was told of the flow yet.
            cursor: is_all.then(Cursor::default),
            told: Told::default(),
            teller,
            backoff: Backoff::new(),
            jsonl,
        }
    }

    /// Whether a block shows the flow.
    pub(super) fn has_block(&self) -> bool {
        self.teller.is_block()
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
        let ended = self.over_connections(client, console).await;
        self.leave(console);
        ended
    }

    /// Takes what is shown off the terminal, because the following is over, or is given up.
    pub(crate) fn leave(&mut self, console: &Console) {
        self.teller.leave(console);
    }

    async fn over_connections(
        &mut self,
        client: &mut Client,
        console: &mut Console,
    ) -> Result<Box<FlowStatus>, Failure> {
        loop {
            match self.follow(client, console).await {
                Ok(status) => return Ok(status),
                Err(Unheard::Refused(failure)) => return Err(failure),
                Err(Unheard::Lost(why)) => self.teller.lose(&why, console),
            }
            let Self { id, teller, backoff, .. } = self;
            let asker = client.clone();
            let reconnect = async {
                backoff.pause(None).await;
                client.reconnect(None).await
            };
            if let Some(older) = teller.meanwhile(reconnect, &asker, *id, console).await? {
                teller.note(older, console);
            }
        }
    }

    /// Follows one stream to the flow's end.
    async fn follow(
        &mut self,
        client: &mut Client,
        console: &mut Console,
    ) -> Result<Box<FlowStatus>, Unheard> {
        let hears = match (self.jsonl, self.teller.is_block()) {
            (true, _) => Hears::EveryEnd,
            // A block asks for the picture anew whenever something happened.
            (_, true) => Hears::EveryTask,
            _ => Hears::Trouble,
        };
        let mut events = client.watch(self.id, self.cursor.clone(), hears).await?;
        // A conductor of the first release has no cursors, and tells nothing anew.
        let mut has_cursors = true;
        loop {
            let next = self.teller.meanwhile(events.next(), client, self.id, console).await?;
            let Heard { event: heard, cursor } = next;
            self.backoff = Backoff::new();
            if let Watched::Status(_) = &heard {
                has_cursors = cursor.is_some();
            }
            let is_anew = has_cursors && cursor.is_none();
            self.cursor = cursor.or(self.cursor.take());
            match &heard {
                Watched::Status(status) => self.id = Some(status.summary.id),
                Watched::Event(event) => {
                    self.id = Some(event.flow());
                    if !self.told.takes(event, is_anew) {
                        continue;
                    }
                }
                Watched::Restored => {}
            }
            self.tell(&heard, client, console).await?;
            if let Watched::Status(status) = heard
                && status.summary.state.is_final()
            {
                return Ok(status);
            }
        }
    }

    /// Tells one message of the stream.
    async fn tell(
        &mut self,
        heard: &Watched,
        client: &mut Client,
        console: &mut Console,
    ) -> Result<(), Failure> {
        self.teller.tell(heard, console);
        self.tell_program(heard, console)?;
        // The event says that the flow stopped, and the status says why. Without an answer the
        // stream is lost too, or the next status tells.
        if matches!(heard, Watched::Event(_))
            && self.teller.asks_why()
            && let Ok(status) = client.flow(self.id).await
        {
            self.teller.tell_why(&status, console);
            self.tell_program(&Watched::Status(Box::new(status)), console)?;
        }
        Ok(())
    }

    /// Writes a line of JSON, if that was asked for.
    fn tell_program(&self, heard: &Watched, console: &mut Console) -> Result<(), Failure> {
        if self.jsonl { console.answer_line(&line(heard)) } else { Ok(()) }
    }
}
