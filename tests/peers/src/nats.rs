//! NATS: a request for each task, on the subject of one worker, which answers it. Text protocol,
//! over plain TCP.

use std::path::Path;

use bytes::{Buf as _, BytesMut};
use orchestra_harness::trouble::{During as _, Result, Trouble};
use tokio::{io::AsyncWriteExt as _, net::tcp::OwnedWriteHalf, sync::mpsc};

use crate::peer::{Guarded, Incoming, Work, Workers, connect, free_address};

/// Where answers go.
const INBOX: &str = "_INBOX.fleet";

/// Requests a second.
pub(super) async fn rate(program: &Path, dir: &Path, work: Work) -> Result<f64> {
    let address = free_address()?;
    let port = address.port().to_string();
    let arguments = ["-a", "127.0.0.1", "-p", &port];
    let _server = Guarded::start(program, &arguments, &dir.join("log"))?;
    let mut workers = Workers::default();
    for number in 0..work.workers {
        let subscriber = Subscriber::new(connect(address).await?, &subject(number)).await?;
        workers.add(subscriber.answer());
    }
    let Subscriber { incoming, to_server } =
        Subscriber::new(connect(address).await?, INBOX).await?;
    let (ended, ends) = mpsc::unbounded_channel();
    workers.add(listen(incoming, ended));
    let submit = |worker: usize, out: &mut Vec<u8>| publish(&subject(worker), INBOX, out);
    let rate = work.keep_busy(ends, to_server, submit).await?;
    workers.end()?;
    Ok(rate)
}

/// The client's other half. It is never so long idle that it would be asked whether it is there.
async fn listen(mut incoming: Incoming, ended: mpsc::UnboundedSender<()>) -> Result<()> {
    loop {
        if let Said::Message { .. } = incoming.next(cut).await? {
            ended.send(()).during("counting")?;
        }
    }
}

fn subject(worker: usize) -> String {
    format!("p{}", worker + 1)
}

fn publish(subject: &str, answer_to: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("PUB {subject} {answer_to} 0\r\n\r\n").as_bytes());
}

struct Subscriber {
    incoming: Incoming,
    to_server: OwnedWriteHalf,
}

impl Subscriber {
    /// One whose subscription is known to the server.
    async fn new(
        (mut incoming, mut to_server): (Incoming, OwnedWriteHalf),
        subject: &str,
    ) -> Result<Self> {
        let hello = "CONNECT {\"verbose\":false,\"pedantic\":false}";
        let hello = format!("{hello}\r\nSUB {subject} 1\r\nPING\r\n");
        to_server.write_all(hello.as_bytes()).await.during("subscribing")?;
        while incoming.next(cut).await? != Said::Pong {}
        Ok(Self { incoming, to_server })
    }

    /// Answers whatever comes with nothing, all of a piece at once.
    async fn answer(mut self) -> Result<()> {
        let mut out = Vec::new();
        loop {
            while let Some(said) = cut(&mut self.incoming.read)? {
                match said {
                    Said::Message { answer_to } => {
                        out.extend_from_slice(format!("PUB {answer_to} 0\r\n\r\n").as_bytes());
                    }
                    Said::Ping => out.extend_from_slice(b"PONG\r\n"),
                    Said::Pong | Said::Other => {}
                }
            }
            self.to_server.write_all(&out).await.during("answering a peer")?;
            out.clear();
            self.incoming.more().await?;
        }
    }
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Message {
        answer_to: String,
    },
    Ping,
    Pong,
    /// What it is, and that all is well.
    Other,
}

/// Takes a whole message from the beginning.
fn cut(read: &mut BytesMut) -> Result<Option<Said>> {
    let Some(end) = read.windows(2).position(|bytes| bytes == b"\r\n") else { return Ok(None) };
    let line = String::from_utf8_lossy(&read[..end]).into_owned();
    let words: Vec<&str> = line.split(' ').collect();
    let (said, payload) = match words[..] {
        // MSG subject subscription [answer-to] length
        ["MSG", _, _, ref rest @ ..] => {
            let length = rest.last().and_then(|length| length.parse::<usize>().ok());
            let length = length.ok_or_else(|| Trouble::new(format!("nats-server said {line}")))?;
            let answer_to = rest[..rest.len() - 1].concat();
            (Said::Message { answer_to }, length + 2)
        }
        ["PING"] => (Said::Ping, 0),
        ["PONG"] => (Said::Pong, 0),
        ["-ERR", ..] => return Err(Trouble::new(format!("nats-server said {line}"))),
        _ => (Said::Other, 0),
    };
    let length = end + 2 + payload;
    if read.len() < length {
        return Ok(None);
    }
    read.advance(length);
    Ok(Some(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_where_they_end() {
        let text = "INFO {}\r\nPONG\r\nMSG p1 1 _INBOX.x 2\r\nok\r\nMSG _INBOX.x 1 0\r\n\r\nMSG p1 1 0\r\n";
        let mut read = BytesMut::from(text);
        let mut said = || cut(&mut read).unwrap();
        assert_eq!((said(), said()), (Some(Said::Other), Some(Said::Pong)));
        let message = |answer_to: &str| Some(Said::Message { answer_to: answer_to.to_owned() });
        assert_eq!((said(), said()), (message("_INBOX.x"), message("")));
        assert_eq!(said(), None, "the rest comes later");
        assert!(cut(&mut BytesMut::from("-ERR 'Authorization Violation'\r\n")).is_err());
    }
}
