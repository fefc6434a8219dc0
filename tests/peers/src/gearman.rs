//! gearmand: one client that submits over one connection, and workers each of which can do the
//! jobs of one function, named after it. Binary protocol, documented in gearmand's `PROTOCOL`.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::{Buf as _, Bytes, BytesMut};
use orchestra_harness::trouble::{During as _, Result, Trouble};
use tokio::{io::AsyncWriteExt as _, net::tcp::OwnedWriteHalf, sync::mpsc};

use crate::peer::{Guarded, Incoming, Work, Workers, connect, free_address};

/// What becomes of a job that is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Jobs {
    /// The client hears of its end.
    InMemory,
    /// It is in a database before its submission is answered, and nobody hears of its end.
    Stored,
}

/// Jobs a second.
pub(super) async fn rate(program: &Path, dir: &Path, work: Work, jobs: Jobs) -> Result<f64> {
    let address = free_address()?;
    let port = address.port().to_string();
    let database = format!("--libsqlite3-db={}", dir.join("jobs.db").display());
    let mut arguments = vec!["-L", "127.0.0.1", "-p", &port, "-b", "1024", "-l", "stderr"];
    if jobs == Jobs::Stored {
        arguments.extend(["-q", "libsqlite3", &database]);
    }
    let _server = Guarded::start(program, &arguments, &dir.join("log"))?;
    let (ended, ends) = mpsc::unbounded_channel();
    let mut workers = Workers::default();
    for number in 0..work.workers {
        let ended = ended.clone();
        let ended = move || jobs == Jobs::InMemory || ended.send(()).is_ok();
        let (incoming, to_server) = connect(address).await?;
        workers.add(Worker::ready(incoming, to_server, number).await?.serve(ended));
    }
    let (incoming, to_server) = connect(address).await?;
    workers.add(listen(incoming, jobs, ended));
    let number = AtomicU64::new(0);
    let submit = |worker: usize, out: &mut Vec<u8>| {
        // A stored job is known by this.
        let unique = number.fetch_add(1, Ordering::Relaxed);
        let kind = if jobs == Jobs::Stored { Kind::SubmitInBackground } else { Kind::Submit };
        request(kind, format!("{}\0{unique}\0", function(worker)).as_bytes(), out);
    };
    let rate = work.keep_busy(ends, to_server, submit).await?;
    workers.end()?;
    Ok(rate)
}

/// The client's other half.
async fn listen(
    mut incoming: Incoming,
    jobs: Jobs,
    ended: mpsc::UnboundedSender<()>,
) -> Result<()> {
    loop {
        match incoming.next(cut).await? {
            (WORK_COMPLETE, _) if jobs == Jobs::InMemory => {
                ended.send(()).during("counting")?;
            }
            (JOB_CREATED | WORK_COMPLETE, _) => {}
            other => return Err(unexpected(other)),
        }
    }
}

fn function(worker: usize) -> String {
    format!("p{}", worker + 1)
}

struct Worker {
    incoming: Incoming,
    to_server: OwnedWriteHalf,
}

impl Worker {
    /// One whose function is known to the server.
    async fn ready(
        mut incoming: Incoming,
        mut to_server: OwnedWriteHalf,
        number: usize,
    ) -> Result<Self> {
        let mut out = Vec::new();
        request(Kind::CanDo, function(number).as_bytes(), &mut out);
        request(Kind::Grab, &[], &mut out);
        to_server.write_all(&out).await.during("registering a worker")?;
        match incoming.next(cut).await? {
            (NO_JOB, _) => {}
            other => return Err(unexpected(other)),
        }
        let mut worker = Self { incoming, to_server };
        worker.send(|out| request(Kind::Sleep, &[], out)).await?;
        Ok(worker)
    }

    /// Does what is there, and sleeps until there is more.
    async fn serve(mut self, ended: impl Fn() -> bool) -> Result<()> {
        loop {
            match self.incoming.next(cut).await? {
                (NOOP, _) => self.send(|out| request(Kind::Grab, &[], out)).await?,
                (NO_JOB, _) => self.send(|out| request(Kind::Sleep, &[], out)).await?,
                (JOB_ASSIGN, job) => {
                    let handle = job.split(|byte| *byte == 0).next().unwrap_or_default();
                    let result = [handle, b"\0"].concat();
                    self.send(|out| {
                        request(Kind::Complete, &result, out);
                        request(Kind::Grab, &[], out);
                    })
                    .await?;
                    if !ended() {
                        return Ok(());
                    }
                }
                other => return Err(unexpected(other)),
            }
        }
    }

    async fn send(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let mut out = Vec::new();
        fill(&mut out);
        self.to_server.write_all(&out).await.during("answering a peer")
    }
}

/// What a client or a worker says.
#[derive(Clone, Copy, Debug)]
enum Kind {
    CanDo = 1,
    Sleep = 4,
    Submit = 7,
    Grab = 9,
    Complete = 13,
    SubmitInBackground = 18,
}

// What a server says.
const NOOP: u32 = 6;
const JOB_CREATED: u32 = 8;
const NO_JOB: u32 = 10;
const JOB_ASSIGN: u32 = 11;
const WORK_COMPLETE: u32 = 13;

fn request(kind: Kind, data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\0REQ");
    out.extend_from_slice(&(kind as u32).to_be_bytes());
    // A few bytes.
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    out.extend_from_slice(data);
}

/// Takes a whole answer from the beginning.
fn cut(read: &mut BytesMut) -> Result<Option<(u32, Bytes)>> {
    const HEAD: usize = 12;
    let Some(mut head) = read.get(..HEAD) else { return Ok(None) };
    if !head.starts_with(b"\0RES") {
        return Err(Trouble::new("this is not gearman's protocol"));
    }
    head.advance(4);
    let (kind, length) = (head.get_u32(), head.get_u32() as usize);
    if read.len() < HEAD + length {
        return Ok(None);
    }
    read.advance(HEAD);
    Ok(Some((kind, read.split_to(length).freeze())))
}

fn unexpected((kind, data): (u32, Bytes)) -> Trouble {
    let text = String::from_utf8_lossy(&data).replace('\0', " ");
    Trouble::new(format!("gearmand sent a message of kind {kind}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_cut_where_they_end() {
        let mut read =
            BytesMut::from(&b"\0RES\0\0\0\x0a\0\0\0\0\0RES\0\0\0\x08\0\0\0\x03H:1\0R"[..]);
        assert_eq!(cut(&mut read).unwrap(), Some((NO_JOB, Bytes::new())));
        assert_eq!(cut(&mut read).unwrap(), Some((JOB_CREATED, Bytes::from_static(b"H:1"))));
        assert_eq!(cut(&mut read).unwrap(), None, "the rest comes later");
        assert!(cut(&mut BytesMut::from(&b"HTTP/1.1 400"[..])).is_err());
        let mut out = Vec::new();
        request(Kind::CanDo, b"p1", &mut out);
        assert_eq!(out, b"\0REQ\0\0\0\x01\0\0\0\x02p1");
    }
}
