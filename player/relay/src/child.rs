//! One player that fetches one bundle here: it shows its ticket, gets a place or hears that there is
//! none, and is sent what it asks for, each part as soon as that is there.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use orchestra_bundle::{Depot, DepotError, ServedBundle, ServedPart};
use orchestra_certs::{TicketJudge, TicketRefused, roles};
use orchestra_model::{
    HostName,
    bundle::{BundleId, BundlePart},
    chain,
    relay::{FrameHead, RelayFrame, SignedTicket},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, WriteHalf},
    sync::{Semaphore, mpsc, watch},
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    frames::{self, Frame, FrameError},
    rate::Rate,
};

/// How long a child may take to show its ticket.
const TICKET_WITHIN: Duration = Duration::from_secs(10);
/// A child that asks for nothing for so long gives its place to somebody else.
const IDLE_FOR: Duration = Duration::from_secs(60);
/// How often a child hears that what it asks for is still to come: four times before it would leave.
const WAITING_EVERY: Duration = Duration::from_millis(500);
/// How often it is looked whether what is asked for has come, while somebody waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How often it is looked whether a ticket is still good.
const JUDGED_EVERY: Duration = Duration::from_secs(5);
/// Most parts that a child may ask for at once.
const ASKED: usize = 64;

/// What all children share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) depot: Depot,
    pub(crate) places: Semaphore,
    pub(crate) rate: Rate,
    /// Replaced when the certificates are read again.
    pub(crate) judge: watch::Receiver<Arc<TicketJudge>>,
}

/// Why a child was not served any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChildError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the ticket is not taken: {0}")]
    Ticket(#[from] TicketRefused),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Depot(#[from] DepotError),
}

/// Serves a peer until it leaves, or has to. Returns how many bytes of bundles it was sent.
pub(crate) async fn serve<S>(
    stream: S,
    role: orchestra_certs::Role,
    player: HostName,
    shared: Arc<Shared>,
) -> Result<u64, ChildError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    let mut child = Child { frames: frames::incoming(reader), writer, player, shared };
    let served = child.serve(role).await;
    if let Err(why) = &served {
        child.tell(why).await;
    }
    served
}

struct Child<S> {
    frames: mpsc::Receiver<Result<Frame, FrameError>>,
    writer: WriteHalf<S>,
    /// The peer's name, from its certificate.
    player: HostName,
    shared: Arc<Shared>,
}

/// What a child asks for, and until when it may.
struct Fetching {
    bundle: BundleId,
    ticket: SignedTicket,
    /// When it was judged last.
    judged: Instant,
    wanted: VecDeque<BundlePart>,
    /// When something was said last.
    said: Instant,
    /// When it asked last.
    asked: Instant,
    sent: u64,
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Child<S> {
    async fn serve(&mut self, role: orchestra_certs::Role) -> Result<u64, ChildError> {
        if !roles::FETCHES_FROM_RELAYS.contains(&role) {
            return Err(ChildError::Refused(format!("a {role} fetches nothing from relays")));
        }
        self.write(RelayFrame::Hello, &[]).await?;
        let ticket = match timeout(TICKET_WITHIN, self.frames.recv()).await {
            Ok(Some(frame)) => self.ticket_of(frame?)?,
            Ok(None) => return Ok(0),
            Err(_) => return Err(ChildError::Refused("it showed no ticket".to_owned())),
        };
        let shared = Arc::clone(&self.shared);
        let Ok(_place) = shared.places.try_acquire() else {
            self.write(RelayFrame::Busy, &[]).await?;
            return Ok(0);
        };
        let bundle = ticket.ticket.bundle;
        let depot = self.shared.depot.clone();
        let served = blocking(move || depot.serve(bundle)).await?;
        let Some(served) = served else {
            return Err(ChildError::Refused(format!("nothing of {bundle} is in its depot")));
        };
        self.write(RelayFrame::Opened, &[]).await?;
        let now = Instant::now();
        let wanted = VecDeque::new();
        let (judged, said, asked) = (now, now, now);
        let fetching = Fetching { bundle, ticket, judged, wanted, said, asked, sent: 0 };
        self.answer(served, fetching).await
    }

    /// Reads a frame that has to be a ticket which is good for this child.
    fn ticket_of(&self, frame: Frame) -> Result<SignedTicket, ChildError> {
        let (RelayFrame::Ticket, body) = frame else {
            return Err(ChildError::Refused("it showed no ticket".to_owned()));
        };
        let signed = SignedTicket::decode(&body);
        let signed = signed.map_err(|why| ChildError::Refused(why.to_string()))?;
        self.judge(&signed)?;
        Ok(signed)
    }

    fn judge(&self, signed: &SignedTicket) -> Result<(), TicketRefused> {
        let judge = Arc::clone(&self.shared.judge.borrow());
        judge.judge(signed, &self.player, SystemTime::now())
    }

    /// Sends what is asked for, until the child leaves or its time is over.
    async fn answer(
        &mut self,
        mut served: ServedBundle,
        mut fetching: Fetching,
    ) -> Result<u64, ChildError> {
        loop {
            self.judge_again(&mut fetching)?;
            let has_sent;
            (served, has_sent) = self.send_next(served, &mut fetching).await?;
            if has_sent {
                // Whatever else was asked for meanwhile is heard, and nobody is waited for.
                while let Ok(frame) = self.frames.try_recv() {
                    self.hear(frame?, &mut fetching)?;
                }
                continue;
            }
            let wake = self.wake(&fetching);
            tokio::select! {
                frame = self.frames.recv() => match frame {
                    Some(frame) => self.hear(frame?, &mut fetching)?,
                    None => return Ok(fetching.sent),
                },
                () = sleep_until(wake) => self.look_at_the_time(&mut fetching).await?,
            }
        }
    }

    fn wake(&self, fetching: &Fetching) -> Instant {
        match fetching.wanted.is_empty() {
            true => (fetching.asked + IDLE_FOR).min(fetching.judged + JUDGED_EVERY),
            false => Instant::now() + LOOK_EVERY,
        }
    }

    /// Judges the ticket again, if that is due: its time may be over, or its conductor revoked.
    fn judge_again(&self, fetching: &mut Fetching) -> Result<(), ChildError> {
        let now = Instant::now();
        if now >= fetching.judged + JUDGED_EVERY {
            self.judge(&fetching.ticket)?;
            fetching.judged = now;
        }
        Ok(())
    }

    async fn look_at_the_time(&mut self, fetching: &mut Fetching) -> Result<(), ChildError> {
        let now = Instant::now();
        if fetching.wanted.is_empty() && now >= fetching.asked + IDLE_FOR {
            let idle = format!("it asked for nothing for {} s", IDLE_FOR.as_secs());
            return Err(ChildError::Refused(idle));
        }
        if !fetching.wanted.is_empty() {
            self.say_waiting(fetching).await?;
        }
        Ok(())
    }

    async fn say_waiting(&mut self, fetching: &mut Fetching) -> Result<(), ChildError> {
        let now = Instant::now();
        if now >= fetching.said + WAITING_EVERY {
            self.write(RelayFrame::Waiting, &[]).await?;
            fetching.said = now;
        }
        Ok(())
    }

    fn hear(&self, frame: Frame, fetching: &mut Fetching) -> Result<(), ChildError> {
        let refuse = |why: &str| Err(ChildError::Refused(why.to_owned()));
        match frame {
            (RelayFrame::Ask(part), _) => {
                if fetching.wanted.len() >= ASKED {
                    return refuse("it asks for too much at once");
                }
                fetching.wanted.push_back(part);
                fetching.asked = Instant::now();
                Ok(())
            }
            (RelayFrame::Ticket, _) => {
                let ticket = self.ticket_of(frame)?;
                if ticket.ticket.bundle != fetching.bundle {
                    return refuse("its next ticket is for another bundle");
                }
                fetching.ticket = ticket;
                Ok(())
            }
            _ => refuse("it says what relays say"),
        }
    }

    /// Sends the first part that is asked for and is here. Returns whether there was one.
    async fn send_next(
        &mut self,
        mut served: ServedBundle,
        fetching: &mut Fetching,
    ) -> Result<(ServedBundle, bool), ChildError> {
        if fetching.wanted.is_empty() {
            return Ok((served, false));
        }
        let wanted: Vec<BundlePart> = fetching.wanted.iter().copied().collect();
        let (back, found) = blocking(move || {
            served.look(SystemTime::now())?;
            let found = first_found(&served, &wanted)?;
            Ok((served, found))
        })
        .await?;
        served = back;
        match found {
            Found::Part(at, bytes) => {
                let Some(part) = fetching.wanted.remove(at) else { return Ok((served, false)) };
                self.send(part, &bytes, fetching).await?;
                Ok((served, true))
            }
            Found::Coming => Ok((served, false)),
            Found::Absent(part) => {
                Err(ChildError::Refused(format!("{} is not in its depot", name_of(part))))
            }
        }
    }

    async fn send(
        &mut self,
        part: BundlePart,
        bytes: &[u8],
        fetching: &mut Fetching,
    ) -> Result<(), ChildError> {
        let from = self.shared.rate.reserve(bytes.len(), Instant::now());
        while Instant::now() < from {
            let next = from.min(Instant::now() + WAITING_EVERY);
            sleep_until(next).await;
            self.say_waiting(fetching).await?;
        }
        self.write(RelayFrame::Part(part), bytes).await?;
        fetching.said = Instant::now();
        fetching.sent += bytes.len() as u64;
        Ok(())
    }

    async fn write(&mut self, frame: RelayFrame, body: &[u8]) -> Result<(), ChildError> {
        Ok(frames::write(&mut self.writer, frame, body).await?)
    }

    /// Tells the child why it is not served, as far as it can still hear it.
    async fn tell(&mut self, why: &ChildError) {
        let text = match why {
            ChildError::Frame(FrameError::Io(_) | FrameError::Slow) => return,
            why => chain(why),
        };
        let mut end = text.len().min(FrameHead::REASON_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        // It may be gone, and the log has the reason.
        let _ = self.write(RelayFrame::Refused, &text.as_bytes()[..end]).await;
    }
}

/// What there is of what is asked for.
enum Found {
    /// The part at this place, and its bytes.
    Part(usize, Vec<u8>),
    Coming,
    /// This one is not here and will not be.
    Absent(BundlePart),
}

fn first_found(served: &ServedBundle, wanted: &[BundlePart]) -> Result<Found, DepotError> {
    let mut bytes = Vec::new();
    let mut absent = None;
    for (at, part) in wanted.iter().enumerate() {
        match served.read(*part, &mut bytes)? {
            ServedPart::Here => return Ok(Found::Part(at, bytes)),
            ServedPart::Coming => {}
            ServedPart::Absent => absent = absent.or(Some(*part)),
        }
    }
    Ok(absent.map_or(Found::Coming, Found::Absent))
}

fn name_of(part: BundlePart) -> String {
    match part {
        BundlePart::ManifestPiece(_) => "its manifest".to_owned(),
        // People count from 1, as `orc bundle verify` does.
        BundlePart::Chunk(number) => format!("chunk {}", u64::from(number) + 1),
    }
}

/// Runs what may wait for the disk where that hurts nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DepotError> + Send + 'static,
) -> Result<T, ChildError> {
    match spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        // It panicked, which the log tells, or the relay is ending.
        Err(_) => Err(ChildError::Refused("it is ending".to_owned())),
    }
}
