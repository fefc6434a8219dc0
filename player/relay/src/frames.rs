//! Frames on a connection, read on a task of their own and written within a time.

use std::{io, time::Duration};

use orchestra_model::relay::{FrameHead, InvalidFrameHead, RelayFrame};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    time::timeout,
};

/// How long a frame may take to be written. Who reads slower than 35 KiB a second gives its place to
/// somebody else.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);
/// Frames of a child that wait to be looked at.
const WAITING_FRAMES: usize = 64;

/// Why a frame did not come or go.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Invalid(#[from] InvalidFrameHead),
    #[error("it did not take a frame within {} s", WRITTEN_WITHIN.as_secs())]
    Slow,
}

/// A frame with its body.
pub(crate) type Frame = (RelayFrame, Vec<u8>);

/// Frames as they come, until the connection ends or something that is no frame comes.
pub(crate) fn incoming<R>(reader: R) -> mpsc::Receiver<Result<Frame, FrameError>>
where
    R: AsyncRead + Send + Unpin + 'static,
{
    let (sender, receiver) = mpsc::channel(WAITING_FRAMES);
    tokio::spawn(read_all(reader, sender));
    receiver
}

async fn read_all<R: AsyncRead + Unpin>(
    mut reader: R,
    sender: mpsc::Sender<Result<Frame, FrameError>>,
) {
    loop {
        let frame = tokio::select! {
            frame = read(&mut reader) => frame,
            () = sender.closed() => return,
        };
        let is_last = frame.is_err();
        if sender.send(frame).await.is_err() || is_last {
            return;
        }
    }
}

async fn read<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Frame, FrameError> {
    let mut head = [0; FrameHead::BYTES];
    reader.read_exact(&mut head).await?;
    let FrameHead { frame, body } = FrameHead::decode(head)?;
    // No child sends bodies but tickets, so nobody makes us claim memory for a chunk.
    let is_of_a_relay = matches!(frame, RelayFrame::Part(_) | RelayFrame::Refused);
    if is_of_a_relay {
        return Err(InvalidFrameHead::Kind(head[0]).into());
    }
    let mut bytes = vec![0; body];
    reader.read_exact(&mut bytes).await?;
    Ok((frame, bytes))
}

/// Writes a frame.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    frame: RelayFrame,
    body: &[u8],
) -> Result<(), FrameError> {
    let head = FrameHead::encode(frame, body.len());
    let written = timeout(WRITTEN_WITHIN, async {
        writer.write_all(&head).await?;
        writer.write_all(body).await?;
        writer.flush().await
    });
    match written.await {
        Ok(written) => Ok(written?),
        Err(_) => Err(FrameError::Slow),
    }
}
