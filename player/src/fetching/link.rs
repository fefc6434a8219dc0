//! A connection to one relay: frames out as the engine asks, frames in as they come. It decides nothing,
//! and its end is told once.

use std::{io, sync::Arc, time::Duration};

use orchestra_certs::{ConnectError, Credentials, LoadError, NewestLists, TlsFiles, connect};
use orchestra_model::{
    HostName,
    bundle::{BundlePart, BundleShape},
    chain,
    relay::{FrameHead, InvalidFrameHead, RelayFrame},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    task::spawn_blocking,
};

/// Longest wait for TCP and TLS. The engine leaves a silent source long before.
const LIMIT: Duration = Duration::from_secs(10);

/// How much of a part is read at once, after which the source counts as heard.
const PIECE: usize = 64 << 10;

/// What a link is told to say.
#[derive(Debug)]
pub(super) enum Say {
    Ask(BundlePart),
    /// A further ticket, as it is sent.
    Ticket(Arc<[u8]>),
}

/// What has come over a link.
#[derive(Debug)]
pub(super) enum Heard {
    Opened,
    Bytes,
    Busy,
    Refused(String),
    Part(BundlePart, Vec<u8>),
    /// What no relay says.
    Breach(String),
    Closed(String),
}

/// Whom to reach, and as whom.
pub(super) struct Destination {
    pub(super) host: HostName,
    pub(super) address: String,
    pub(super) ticket: Arc<[u8]>,
    pub(super) shape: BundleShape,
    pub(super) domain: HostName,
    pub(super) files: TlsFiles,
    pub(super) newest: NewestLists,
}

/// Why a link ends.
#[derive(Debug, thiserror::Error)]
enum LinkEnd {
    #[error("this player's certificate cannot be used")]
    Credentials(#[source] LoadError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the connection ended")]
    Io(#[from] io::Error),
    #[error("reading this player's certificate did not end")]
    Reading,
}

/// Runs a link until it ends. The last thing that is told is `Busy`, `Refused`, `Breach` or `Closed`.
pub(super) async fn run(
    to: Destination,
    says: mpsc::UnboundedReceiver<Say>,
    heard: mpsc::Sender<Heard>,
) {
    let last = match talk(&to, says, &heard).await {
        Ok(last) => last,
        Err(why) => Heard::Closed(chain(&why)),
    };
    // Nobody listens when the engine has hung up.
    let _ = heard.send(last).await;
}

async fn talk(
    to: &Destination,
    says: mpsc::UnboundedReceiver<Say>,
    heard: &mpsc::Sender<Heard>,
) -> Result<Heard, LinkEnd> {
    let (files, domain, newest) = (to.files.clone(), to.domain.clone(), to.newest.clone());
    let read = spawn_blocking(move || Credentials::load_after(&files, &domain, &newest));
    let credentials = read.await.map_err(|_| LinkEnd::Reading)?.map_err(LinkEnd::Credentials)?;
    let config = credentials.relay_client_config(&to.host).map_err(LinkEnd::Credentials)?;
    let stream = connect(&to.address, config, LIMIT).await?;
    let (reader, mut writer) = tokio::io::split(stream);
    send(&mut writer, RelayFrame::Ticket, &to.ticket).await?;
    tokio::select! {
        ended = speak(writer, says) => match ended? {},
        ended = listen(reader, to.shape, heard) => Ok(ended?),
    }
}

/// Nothing is ever this.
enum Never {}

/// Says what there is to say. It ends by an error alone, or is dropped with the link.
async fn speak<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut says: mpsc::UnboundedReceiver<Say>,
) -> Result<Never, io::Error> {
    while let Some(say) = says.recv().await {
        match say {
            Say::Ask(part) => send(&mut writer, RelayFrame::Ask(part), &[]).await?,
            Say::Ticket(ticket) => send(&mut writer, RelayFrame::Ticket, &ticket).await?,
        }
    }
    // The driver has hung up, and drops this.
    std::future::pending().await
}

async fn send<W: AsyncWrite + Unpin>(
    writer: &mut W,
    frame: RelayFrame,
    body: &[u8],
) -> Result<(), io::Error> {
    writer.write_all(&FrameHead::encode(frame, body.len())).await?;
    writer.write_all(body).await?;
    writer.flush().await
}

async fn listen<R: AsyncRead + Unpin>(
    mut reader: R,
    shape: BundleShape,
    heard: &mpsc::Sender<Heard>,
) -> Result<Heard, io::Error> {
    loop {
        let mut head = [0; FrameHead::BYTES];
        reader.read_exact(&mut head).await?;
        let FrameHead { frame, body } = match FrameHead::decode(head) {
            Ok(head) => head,
            Err(why @ (InvalidFrameHead::Kind(_) | InvalidFrameHead::Length { .. })) => {
                return Ok(Heard::Breach(why.to_string()));
            }
        };
        let told = match frame {
            RelayFrame::Hello | RelayFrame::Waiting => Heard::Bytes,
            RelayFrame::Opened => Heard::Opened,
            RelayFrame::Busy => return Ok(Heard::Busy),
            RelayFrame::Refused => {
                let mut why = vec![0; body];
                reader.read_exact(&mut why).await?;
                return Ok(Heard::Refused(String::from_utf8_lossy(&why).into_owned()));
            }
            RelayFrame::Part(part) => {
                if shape.place_of(part).is_none_or(|(_, len)| len != body as u64) {
                    return Ok(Heard::Breach(format!("{body} bytes are no {part:?}")));
                }
                let mut bytes = vec![0; body];
                for piece in bytes.chunks_mut(PIECE) {
                    reader.read_exact(piece).await?;
                    // That the channel is full says that there is much to look at already.
                    let _ = heard.try_send(Heard::Bytes);
                }
                Heard::Part(part, bytes)
            }
            RelayFrame::Ticket | RelayFrame::Ask(_) => {
                return Ok(Heard::Breach("it says what children say".to_owned()));
            }
        };
        if heard.send(told).await.is_err() {
            return Ok(Heard::Closed("hung up".to_owned()));
        }
    }
}
