//! A pretend player: a spool that a test writes by hand, and sessions over the real protocol.

use std::{collections::VecDeque, sync::atomic::AtomicU8, sync::atomic::Ordering};

use bytes::Bytes;
use orchestra_certs::Role;
use orchestra_proto::v1::{
    self, command::Kind, from_player, players_client::PlayersClient, to_player,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::{Place, ended, exited, soon};

/// A score in working order, of which a player may hold this version or that.
pub(crate) fn score(name: &str, version: u8) -> v1::ScoreOffer {
    let spec = v1::ScoreSpec { timeout_ms: 60_000, disruptive: true, ..Default::default() };
    v1::ScoreOffer {
        name: name.to_owned(),
        hash: Bytes::copy_from_slice(&[version; 32]),
        state: Some(v1::score_offer::State::Spec(spec)),
    }
}

/// A player that is not attached: what it would say of itself.
#[derive(Clone)]
pub(crate) struct Player {
    pub(crate) name: String,
    channel: Channel,
    pub(crate) attach: v1::Attach,
    pub(crate) snapshot: v1::Snapshot,
}

impl Player {
    /// A player with an empty spool of its own, room for four, and the score of all jobs here.
    pub(crate) async fn new(place: &Place, address: &str, name: &str) -> Player {
        static SPOOLS: AtomicU8 = AtomicU8::new(1);
        let spool = [SPOOLS.fetch_add(1, Ordering::Relaxed); 16];
        Player {
            name: name.to_owned(),
            channel: place.connect(address, Role::Player, name).await,
            attach: v1::Attach {
                protocol: 1,
                version: "0.0.0-pretend".to_owned(),
                boot_id: "boot".to_owned(),
                snapshot: Bytes::new(),
            },
            snapshot: v1::Snapshot {
                spool_id: Bytes::copy_from_slice(&spool),
                max_tasks: 4,
                scores: vec![score("hello", 1)],
                ..Default::default()
            },
        }
    }

    /// Puts the player on a new connection, as after a restart of the conductor.
    pub(crate) async fn reconnect(&mut self, place: &Place, address: &str) {
        self.channel = place.connect(address, Role::Player, &self.name).await;
    }

    /// Writes into the spool that it has answered for this order of the session's store.
    pub(crate) fn mark(&mut self, session: &Session, order: u64) {
        let store_id = session.welcome.store_id.clone();
        let (term, evidence) = (session.welcome.term, session.evidence.clone());
        self.snapshot.marks = vec![v1::StoreMark { store_id, mark: order, term, evidence }];
    }

    /// Opens a stream and says nothing yet.
    pub(crate) async fn open(&self) -> Stream {
        let (outgoing, frames) = mpsc::unbounded_channel();
        let channel = self.channel.clone();
        // Headers come once the conductor has something to say.
        let call = tokio::spawn(async move {
            PlayersClient::new(channel)
                .attach(UnboundedReceiverStream::new(frames))
                .await
                .map(tonic::Response::into_inner)
        });
        Stream { player: self.name.clone(), outgoing, call }
    }

    /// The frame that this player attaches with.
    pub(crate) fn attach_frame(&self) -> from_player::Frame {
        let snapshot = self.snapshot.encode_to_vec().into();
        from_player::Frame::Attach(v1::Attach { snapshot, ..self.attach.clone() })
    }

    /// Attaches; the reason, where it is refused.
    pub(crate) async fn try_attach(&self) -> Result<Session, String> {
        let stream = self.open().await;
        stream.say(self.attach_frame());
        stream.session().await
    }

    /// Attaches, and fails where it is refused.
    pub(crate) async fn attach(&self) -> Session {
        self.try_attach().await.unwrap()
    }
}

/// A stream on which the conductor has not spoken yet.
pub(crate) struct Stream {
    player: String,
    outgoing: mpsc::UnboundedSender<v1::FromPlayers>,
    call: tokio::task::JoinHandle<Result<Streaming<v1::ToPlayers>, Status>>,
}

impl Stream {
    /// Says one frame.
    pub(crate) fn say(&self, frame: from_player::Frame) {
        self.say_all([v1::FromPlayer { player: self.player.clone(), frame: Some(frame) }]);
    }

    /// Says these in one message.
    pub(crate) fn say_all(&self, frames: impl IntoIterator<Item = v1::FromPlayer>) {
        // The conductor may have ended the stream, which is told by what it says.
        let _ = self.outgoing.send(v1::FromPlayers { frames: frames.into_iter().collect() });
    }

    /// Whether the conductor has answered, which it does at once only to refuse.
    pub(crate) fn is_answered(&self) -> bool {
        self.call.is_finished()
    }

    /// Why the conductor ended it without a word.
    pub(crate) async fn failed(self) -> Status {
        match soon("an answer", self.call).await.unwrap() {
            Err(status) => status,
            Ok(mut incoming) => soon("the end", incoming.message()).await.unwrap_err(),
        }
    }

    /// What the conductor answers an attach.
    pub(crate) async fn session(self) -> Result<Session, String> {
        let call = soon("an answer to the attach", self.call).await.unwrap();
        let mut session = Session {
            player: self.player,
            outgoing: self.outgoing,
            incoming: call.map_err(|status| status.message().to_owned())?,
            ready: VecDeque::new(),
            welcome: v1::Welcome::default(),
            evidence: None,
            jobs: 0,
        };
        match session.frame().await {
            to_player::Frame::Welcome(welcome) => session.welcome = welcome,
            to_player::Frame::Refused(refused) => return Err(refused.reason),
            other => panic!("neither welcome nor refusal: {other:?}"),
        }
        Ok(session)
    }
}

/// A player that was let in.
pub(crate) struct Session {
    player: String,
    outgoing: mpsc::UnboundedSender<v1::FromPlayers>,
    incoming: Streaming<v1::ToPlayers>,
    ready: VecDeque<v1::ToPlayer>,
    pub(crate) welcome: v1::Welcome,
    /// What the conductor proved last of the orders that it has issued.
    evidence: Option<v1::Evidence>,
    /// How many job parts came.
    pub(crate) jobs: usize,
}

impl Session {
    /// Says this, about itself.
    pub(crate) fn say(&self, frame: from_player::Frame) {
        self.say_all([self.frame_of(frame)]);
    }

    /// Says these in one message.
    pub(crate) fn say_all(&self, frames: impl IntoIterator<Item = v1::FromPlayer>) {
        // The conductor may have ended the session, which is told by `end`.
        let _ = self.outgoing.send(v1::FromPlayers { frames: frames.into_iter().collect() });
    }

    pub(crate) fn frame_of(&self, frame: from_player::Frame) -> v1::FromPlayer {
        v1::FromPlayer { player: self.player.clone(), frame: Some(frame) }
    }

    pub(crate) fn report(&self, report: &v1::Report) {
        self.say(from_player::Frame::Report(report.encode_to_vec().into()));
    }

    /// The next frame but a hello; or how the stream ended.
    pub(crate) async fn next(&mut self) -> Result<to_player::Frame, Option<Status>> {
        loop {
            let frame = self.any().await?;
            if let to_player::Frame::Command(bytes) = &frame {
                let command = v1::Command::decode(bytes.clone()).unwrap();
                if self.note_proof(&command) {
                    continue;
                }
            }
            return Ok(frame);
        }
    }

    /// Keeps what a command proves. Whether it is a hello, which says nothing else.
    fn note_proof(&mut self, command: &v1::Command) -> bool {
        let (order, job, attempt, mac) = match command.kind.as_ref().unwrap() {
            Kind::Hello(hello) => (hello.issued, None, 0, &hello.mac),
            Kind::Order(order) => {
                let key = order.key.as_ref().unwrap();
                (order.number, key.job, key.attempt, &order.mac)
            }
            _ => return false,
        };
        assert_eq!(mac.len(), 16, "each is proven");
        let proof = Some(v1::Proof { term: command.term, mac: mac.clone() });
        self.evidence = Some(v1::Evidence { order, job, attempt, proof });
        job.is_none()
    }

    async fn any(&mut self) -> Result<to_player::Frame, Option<Status>> {
        while self.ready.is_empty() {
            let what = format!("a frame for {}", self.player);
            match soon(&what, self.incoming.message()).await {
                Ok(Some(batch)) => self.ready.extend(batch.frames),
                Ok(None) => return Err(None),
                Err(status) => return Err(Some(status)),
            }
        }
        let frame = self.ready.pop_front().unwrap();
        assert_eq!(frame.player, self.player);
        Ok(frame.frame.unwrap())
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> to_player::Frame {
        let player = self.player.clone();
        self.next().await.unwrap_or_else(|end| panic!("{player}'s stream ended: {end:?}"))
    }

    /// The next command.
    pub(crate) async fn command(&mut self) -> Kind {
        match self.frame().await {
            to_player::Frame::Command(bytes) => {
                let command = v1::Command::decode(bytes).unwrap();
                assert_eq!(command.store_id, self.welcome.store_id);
                assert_eq!(command.term, self.welcome.term);
                command.kind.unwrap()
            }
            other => panic!("no command but {other:?}"),
        }
    }

    /// The next order, after its job part where one comes.
    pub(crate) async fn order(&mut self) -> v1::Order {
        loop {
            match self.command().await {
                Kind::Job(_) => self.jobs += 1,
                Kind::Order(order) => return order,
                other => panic!("no order but {other:?}"),
            }
        }
    }

    /// The next acknowledgement.
    pub(crate) async fn acknowledged(&mut self) -> v1::AttemptKey {
        match self.command().await {
            Kind::Acknowledge(acknowledge) => acknowledge.key.unwrap(),
            other => panic!("no acknowledgement but {other:?}"),
        }
    }

    /// How the conductor ends it.
    pub(crate) async fn end(&mut self) -> Option<Status> {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }

    /// Answers the next order with success, and waits for the acknowledgement.
    pub(crate) async fn obey(&mut self) -> v1::Order {
        let order = self.order().await;
        self.report(&ended(&order, &exited(0)));
        assert_eq!(self.acknowledged().await, order.key.clone().unwrap());
        order
    }

    /// Answers every order with success until the stream ends, acknowledged or not.
    pub(crate) async fn obey_all(mut self) {
        while let Ok(frame) = self.next().await {
            if let to_player::Frame::Command(bytes) = frame
                && let Some(Kind::Order(order)) = v1::Command::decode(bytes).unwrap().kind
            {
                self.report(&ended(&order, &exited(0)));
            }
        }
    }

    /// A player that lives and reads nothing: what it says goes out, what it is told piles up.
    pub(crate) fn deaf(self) -> Deaf {
        Deaf { _outgoing: self.outgoing, incoming: self.incoming }
    }
}

/// A session that nobody reads.
pub(crate) struct Deaf {
    _outgoing: mpsc::UnboundedSender<v1::FromPlayers>,
    pub(crate) incoming: Streaming<v1::ToPlayers>,
}
