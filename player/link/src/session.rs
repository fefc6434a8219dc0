//! One session: from dialling a conductor to the end of the stream.
//!
//! ```text
//! dial ─▶ Open, Snapshot ─▶ Attach ─▶ Welcome ─▶ pump both ways ─▶ end
//!   │           │              │         │              │
//!   └───────────┴──────────────┴─────────┴──────────────┴─▶ failed, redirected, to be reattached
//! ```
//!
//! Invariants:
//!
//! - Nothing but `attach` goes to the conductor before its welcome, nothing but `Open` to the
//!   sitter.
//! - Every frame from the conductor must name this player, by the name in its certificate; else the
//!   session ends.
//! - Both directions hold a bounded amount. More waits in the socket, in the stream, or at its
//!   source.
//! - The sitter gets a `Closed` for every `Open`.
//! - The session ends if the sitter is silent, because a player that takes no orders must not count
//!   as attached.
//!
//! Left to others: when and where to try again ([`crate::serve`]), and what commands and reports
//! mean.

use std::time::Duration;

use bytes::Bytes;
use orchestra_model::{
    HostName,
    delivery::{AgentSession, Term},
    limits,
};
use orchestra_proto::{
    PROTOCOL,
    v1::{
        self, FromPlayer, FromPlayers, ToPlayer, ToPlayers, Welcome, from_player,
        players_client::PlayersClient, to_player,
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use super::{
    batch::Batch,
    dial::Dial,
    failure::{SessionFailure, shown},
    link::{Link, LinkError, Sink, SitterPatience, Source},
};
use crate::{
    aside::{Aside, HeardAside},
    endpoint::Endpoint,
    ipc::{ToAgent, ToSitter},
};

/// Longest wait for the sitter's snapshot, and for the conductor's answer to it.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest wait for the conductor to end its half of a stream. We wait so that it does not see this
/// session and the next one at once.
const HANG_UP: Duration = Duration::from_secs(1);
/// Commands are read from the stream while less than this waits for the sitter.
const COMMANDS: usize = 1 << 20;
/// The time between two looks at a sitter whose frames are not being read.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// How a session went.
#[derive(Debug)]
pub(super) struct Ended {
    /// Why it is over.
    pub(super) why: End,
    /// The session from its welcome on; `None` if there was no welcome.
    pub(super) accepted: Option<Accepted>,
}

/// A session that the conductor accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    /// The time from the welcome to the end.
    pub(super) lasted: Duration,
    /// Within which time the conductor asked the player to come back if the session is lost.
    pub(super) come_back_within: Option<Duration>,
}

/// Why a session is over.
#[derive(Debug)]
pub(super) enum End {
    /// The sitter wants another session at once.
    Reattach,
    /// The conductor redirected us to these endpoints.
    Redirect(Vec<Endpoint>),
    /// It failed.
    Failed(SessionFailure),
}

impl From<SessionFailure> for End {
    fn from(failure: SessionFailure) -> Self {
        End::Failed(failure)
    }
}

/// What a session begins with.
#[derive(Debug)]
pub(super) struct Session<'a, D> {
    /// Makes the connection.
    pub(super) dial: &'a D,
    /// Whom to dial.
    pub(super) endpoint: &'a Endpoint,
    pub(super) id: AgentSession,
    /// The id of this boot of the host.
    pub(super) boot_id: &'a str,
}

impl<D: Dial> Session<'_, D> {
    /// Runs the session to its end. Fails only if the sitter has gone.
    pub(super) async fn run<R: Source, W: Sink>(
        &self,
        link: &mut Link<R, W>,
        aside: &mut Aside,
    ) -> Result<Ended, LinkError> {
        let Link { from_sitter, to_sitter } = link;
        let dialled = tokio::select! {
            dialled = self.dial.dial(self.endpoint) => dialled,
            gone = from_sitter.discard() => return Err(gone),
        };
        let (channel, player) = match dialled {
            Ok(dialled) => dialled,
            Err(failure) => return Ok(Ended { why: failure.into(), accepted: None }),
        };
        say(to_sitter, ToSitter::Open { session: self.id }).await?;
        aside.forget_reports();
        let ended = self.attach(channel, player, from_sitter, to_sitter, aside).await?;
        aside.tell(HeardAside::Detached).await;
        say(to_sitter, ToSitter::Closed { session: self.id }).await?;
        Ok(ended)
    }

    async fn attach(
        &self,
        channel: Channel,
        player: HostName,
        from_sitter: &mut impl Source,
        to_sitter: &mut impl Sink,
        aside: &mut Aside,
    ) -> Result<Ended, LinkError> {
        let ended = |why| Ok(Ended { why, accepted: None });
        let snapshot = match timeout(ANSWER, self.snapshot(from_sitter)).await {
            Ok(snapshot) => snapshot?,
            Err(_) => return ended(SessionFailure::NoSnapshot.into()),
        };
        // One message waits while another is on its way. Batches grow meanwhile.
        let (outbound, messages) = mpsc::channel(1);
        let deadline = Instant::now() + ANSWER;
        let opening = async {
            // This cannot fail or wait: the queue is empty, and its other end is held here.
            let _ = outbound.send(self.attach_message(&player, snapshot)).await;
            let mut client = PlayersClient::new(channel)
                .max_decoding_message_size(limits::MESSAGE_BYTES)
                .max_encoding_message_size(limits::MESSAGE_BYTES);
            client.attach(ReceiverStream::new(messages)).await
        };
        let inbound = tokio::select! {
            opened = opening => match opened {
                Ok(response) => response.into_inner(),
                Err(status) => return ended(SessionFailure::Stream(status).into()),
            },
            early = self.reattach(from_sitter) => {
                return early.and_then(|()| ended(End::Reattach));
            }
            () = sleep_until(deadline) => return ended(SessionFailure::NoWelcome.into()),
        };
        let mut pump = Pump {
            id: self.id,
            endpoint: self.endpoint,
            batch: Batch::new(player.clone()),
            player,
            welcomed: None,
            patience: from_sitter.patience(),
            asked: None,
            ask_at: Instant::now(),
            inbound,
            from_sitter,
            to_sitter,
            aside,
            names_sources: false,
        };
        let why = pump.run(&outbound, deadline).await?;
        let accepted = pump.welcomed.take().map(|Welcomed { at, come_back_within }| Accepted {
            lasted: at.elapsed(),
            come_back_within,
        });
        if !matches!(why, End::Failed(_)) {
            drop(outbound);
            pump.hang_up().await?;
        }
        Ok(Ended { why, accepted })
    }

    async fn snapshot(&self, from_sitter: &mut impl Source) -> Result<Bytes, LinkError> {
        loop {
            match from_sitter.receive().await? {
                ToAgent::Snapshot { session, bytes } if session == self.id => return Ok(bytes),
                _ => {}
            }
        }
    }

    /// Waits until the sitter wants another session instead of this one.
    async fn reattach(&self, from_sitter: &mut impl Source) -> Result<(), LinkError> {
        let wanted = ToAgent::Reattach { session: self.id };
        while from_sitter.receive().await? != wanted {}
        Ok(())
    }

    fn attach_message(&self, player: &HostName, snapshot: Bytes) -> FromPlayers {
        let attach = v1::Attach {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: self.boot_id.to_owned(),
            snapshot,
        };
        let frame = Some(from_player::Frame::Attach(attach));
        FromPlayers { frames: vec![FromPlayer { player: player.to_string(), frame }] }
    }
}

/// Sends one frame to the sitter at once. Frames without opaque bytes are never too long.
async fn say(to_sitter: &mut impl Sink, frame: ToSitter) -> Result<(), LinkError> {
    let _ = to_sitter.push(frame);
    to_sitter.flush().await
}

/// What happened next.
enum Next {
    Message(Result<Option<ToPlayers>, tonic::Status>),
    Frame(ToAgent),
    Fetch(v1::FetchReport),
    Sent(bool),
    Silent,
    Nothing,
}

/// What is remembered of a welcome.
struct Welcomed {
    at: Instant,
    come_back_within: Option<Duration>,
}

/// A stream that stands, and what is on its way over it.
struct Pump<'a, R, W> {
    id: AgentSession,
    endpoint: &'a Endpoint,
    player: HostName,
    welcomed: Option<Welcomed>,
    patience: Option<SitterPatience>,
    /// Since when the sitter owes an answer.
    asked: Option<Instant>,
    ask_at: Instant,
    inbound: Streaming<ToPlayers>,
    batch: Batch,
    from_sitter: &'a mut R,
    to_sitter: &'a mut W,
    aside: &'a mut Aside,
    /// Whether the conductor names sources of bundles; not before its welcome.
    names_sources: bool,
}

impl<R: Source, W: Sink> Pump<'_, R, W> {
    /// Carries frames until something ends the session.
    async fn run(
        &mut self,
        outbound: &mpsc::Sender<FromPlayers>,
        deadline: Instant,
    ) -> Result<End, LinkError> {
        loop {
            let next = tokio::select! {
                message = self.inbound.message(), if self.to_sitter.queued() < COMMANDS => {
                    Next::Message(message)
                }
                frame = self.from_sitter.receive(), if !self.batch.is_full() => Next::Frame(frame?),
                Some(report) = self.aside.reports.recv(),
                    if self.names_sources && !self.batch.is_full() =>
                {
                    Next::Fetch(report)
                }
                permit = outbound.reserve(), if !self.batch.is_empty() => {
                    // The receiver is gone when the stream has ended; `inbound` says why.
                    Next::Sent(permit.map(|permit| permit.send(self.batch.take())).is_ok())
                }
                flushed = self.to_sitter.flush(), if self.to_sitter.queued() > 0 => {
                    flushed?;
                    Next::Nothing
                }
                () = sleep_until(deadline), if self.welcomed.is_none() => {
                    return Ok(SessionFailure::NoWelcome.into());
                }
                // While the conductor takes nothing, frames of the sitter are not read, so its
                // answers wait too.
                () = sleep_until(self.ask_at), if self.asks() => {
                    if self.ask() { Next::Silent } else { Next::Nothing }
                }
                () = sleep(LOOK_AFTER), if self.batch.is_full() => {
                    if self.from_sitter.is_closed() {
                        return Err(LinkError::Closed);
                    }
                    Next::Nothing
                }
            };
            let ended = match next {
                Next::Message(message) => self.on_message(message).await,
                Next::Frame(frame) => self.on_frames(frame)?,
                Next::Fetch(report) => {
                    self.batch.push_fetch(report);
                    None
                }
                Next::Sent(true) | Next::Nothing => None,
                Next::Silent => match self.from_sitter.ready()? {
                    Some(frame) => self.on_frames(frame)?,
                    None => self.patience.map(|of| SessionFailure::SitterSilent(of.silent).into()),
                },
                Next::Sent(false) => {
                    let ended = timeout(HANG_UP, self.inbound.message()).await;
                    match ended {
                        Ok(message) => self.on_message(message).await,
                        Err(_) => Some(SessionFailure::Ended.into()),
                    }
                }
            };
            if let Some(end) = ended {
                return Ok(end);
            }
        }
    }

    fn asks(&self) -> bool {
        self.patience.is_some() && self.welcomed.is_some() && !self.batch.is_full()
    }

    /// Asks the sitter whether it is there, unless it owes an answer already. Returns whether it
    /// has owed an answer for too long.
    fn ask(&mut self) -> bool {
        let Some(SitterPatience { silent, .. }) = self.patience else { return false };
        let now = Instant::now();
        if let Some(asked) = self.asked {
            self.ask_at = asked + silent;
            return now >= self.ask_at;
        }
        // A frame without opaque bytes is never too long.
        let _ = self.to_sitter.push(ToSitter::Ask { session: self.id });
        (self.asked, self.ask_at) = (Some(now), now + silent);
        false
    }

    /// Notes that the sitter has sent something.
    fn heard(&mut self) {
        if let (Some(patience), Some(_)) = (self.patience, self.asked.take()) {
            self.ask_at = Instant::now() + patience.ask;
        }
    }

    /// Waits, for a bounded time, until the conductor has ended its half too.
    async fn hang_up(&mut self) -> Result<(), LinkError> {
        let ended = async { while let Ok(Some(_)) = self.inbound.message().await {} };
        tokio::select! {
            _ = timeout(HANG_UP, ended) => Ok(()),
            gone = self.from_sitter.discard() => Err(gone),
        }
    }

    /// Takes a frame of the sitter, and all that are ready behind it.
    fn on_frames(&mut self, first: ToAgent) -> Result<Option<End>, LinkError> {
        self.heard();
        let mut next = Some(first);
        while let Some(frame) = next {
            match frame {
                ToAgent::Report { session, bytes } if session == self.id => {
                    self.batch.push(bytes);
                }
                ToAgent::Reattach { session } if session == self.id => {
                    return Ok(Some(End::Reattach));
                }
                _ => {}
            }
            next = if self.batch.is_full() { None } else { self.from_sitter.ready()? };
        }
        Ok(None)
    }

    async fn on_message(
        &mut self,
        message: Result<Option<ToPlayers>, tonic::Status>,
    ) -> Option<End> {
        match message {
            Ok(Some(message)) => {
                for frame in message.frames {
                    if let Err(end) = self.on_frame(frame).await {
                        return Some(end);
                    }
                }
                None
            }
            Ok(None) => Some(SessionFailure::Ended.into()),
            Err(status) => Some(SessionFailure::Stream(status).into()),
        }
    }

    async fn on_frame(&mut self, frame: ToPlayer) -> Result<(), End> {
        if frame.player != self.player.as_str() {
            return Err(SessionFailure::OtherPlayer(frame.player).into());
        }
        match frame.frame {
            Some(to_player::Frame::Welcome(welcome)) => self.on_welcome(&welcome).await,
            Some(to_player::Frame::Sources(sources)) => {
                self.aside.tell(HeardAside::Sources(sources)).await;
                Ok(())
            }
            Some(to_player::Frame::Refused(refused)) => {
                Err(SessionFailure::Refused(refused.reason).into())
            }
            Some(to_player::Frame::Redirect(redirect)) => {
                let known = redirect.conductors.iter().filter_map(|text| text.parse().ok());
                Err(End::Redirect(known.collect()))
            }
            Some(to_player::Frame::Command(bytes)) => self.on_command(bytes),
            Some(to_player::Frame::Probe(_)) => {
                self.batch.push_alive();
                Ok(())
            }
            // A frame of a later release, which agents may ignore.
            None => Ok(()),
        }
    }

    async fn on_welcome(&mut self, welcome: &Welcome) -> Result<(), End> {
        if self.welcomed.is_some() {
            return Err(SessionFailure::Unexpected("a second welcome").into());
        }
        if welcome.protocol != PROTOCOL {
            return Err(SessionFailure::Protocol(welcome.protocol).into());
        }
        let store = orchestra_proto::store_id(&welcome.store_id)
            .map_err(|_| SessionFailure::Unexpected("a welcome without a store id"))?;
        let come_back_within = match welcome.come_back_within_ms {
            0 => None,
            ms => Some(Duration::from_millis(ms.into())),
        };
        self.welcomed = Some(Welcomed { at: Instant::now(), come_back_within });
        tracing::info!(
            player = %self.player,
            conductor = %self.endpoint,
            version = shown(&welcome.version),
            %store,
            term = welcome.term,
            "attached"
        );
        self.names_sources = welcome.names_sources;
        let names_sources = self.names_sources;
        self.aside.tell(HeardAside::Attached { names_sources }).await;
        self.forward(ToSitter::Welcomed { session: self.id, store, term: Term(welcome.term) })
    }

    fn on_command(&mut self, bytes: Bytes) -> Result<(), End> {
        if self.welcomed.is_none() {
            return Err(SessionFailure::Unexpected("a command before its welcome").into());
        }
        self.forward(ToSitter::Command { session: self.id, bytes })
    }

    fn forward(&mut self, frame: ToSitter) -> Result<(), End> {
        self.to_sitter.push(frame).map_err(|error| SessionFailure::TooLong(error).into())
    }
}
