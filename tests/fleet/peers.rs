//! The same work with other tools, where they are installed: what a rate is worth is told by
//! theirs, on the same machine, a moment later. docs/fleet.md says what each comparison means.
//!
//! - Tasks that do nothing, for one named worker each: `gearman` and `nats`, whose clients and
//!   workers are ours and speak the little of the protocol that this takes.
//! - Processes that end at once: `processes`, by the tools' own programs.
//!
//! Everything listens on loopback, writes into a directory of its own, and is gone afterwards.

mod gearman;
mod nats;
mod processes;

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    args::Args,
    delay::Delay,
    figures::Report,
    trouble::{During as _, Result, Trouble},
};

/// The longest that tasks which do nothing are given to one peer: as long as ours, at most this.
const MOST: Duration = Duration::from_secs(10);
/// Longer than anything takes that is only waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon something that is waited for is looked at again.
const SOON: Duration = Duration::from_millis(5);

/// Adds what peers make of tasks that do nothing: each for one of as many workers as there are
/// players, and as many of them under way. `ours` is our rate.
pub(crate) async fn no_ops(args: &Args, dir: &Path, ours: f64, report: &mut Report) -> Result<()> {
    if args.delay != Delay::None {
        report.text("peers", "peers", "left out: their workers know no --delay");
        return Ok(());
    }
    let work = Work {
        workers: args.players,
        outstanding: args.players * args.in_flight.max(1),
        time: args.time().min(MOST),
    };
    let stored = gearman::Jobs::Stored;
    for (name, jobs) in [("gearmand", gearman::Jobs::InMemory), ("gearmand_sqlite3", stored)] {
        let rate = match find("gearmand") {
            Some(program) => Some(gearman::rate(&program, &fresh(dir, name)?, work, jobs).await),
            None => None,
        };
        tell(report, name, ours, rate);
    }
    let rate = match find("nats-server") {
        Some(program) => Some(nats::rate(&program, &fresh(dir, "nats")?, work).await),
        None => None,
    };
    tell(report, "nats", ours, rate);
    Ok(())
}

/// Adds what peers make of so many processes that end at once, as many of them at the same time as
/// our player runs. `ours` is our rate.
pub(crate) async fn processes(
    dir: &Path,
    work: processes::Work<'_>,
    ours: f64,
    report: &mut Report,
) -> Result<()> {
    let rate = match find("clush") {
        Some(program) => Some(processes::clush(&program, &fresh(dir, "clush")?, work).await),
        None => None,
    };
    tell(report, "clush", ours, rate);
    let rate = match find("hq") {
        Some(program) => Some(processes::hyperqueue(&program, &fresh(dir, "hq")?, work).await),
        None => None,
    };
    tell(report, "hq", ours, rate);
    Ok(())
}

pub(crate) use processes::Work as Processes;

/// Adds a peer's rate, and ours as a multiple of it; or why there is none, which takes nothing
/// away from our own figures.
fn tell(report: &mut Report, name: &str, ours: f64, rate: Option<Result<f64>>) {
    let shown = name.replace('_', ", ");
    match rate {
        None => report.text(name, &shown, "not installed"),
        Some(Err(trouble)) => {
            report.text(name, &shown, &format!("failed: {}", orchestra_model::chain(&trouble)));
        }
        Some(Ok(rate)) => {
            let what = format!("{shown}, tasks a second");
            report.number(&format!("{name}_rate"), &what, rate);
            let what = format!("ours, as a multiple of {shown}");
            report.number(&format!("{name}_ratio"), &what, ours / rate);
        }
    }
}

/// A program that is installed.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Servers are where users do not look.
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(more).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// An empty directory.
fn fresh(dir: &Path, name: &str) -> Result<PathBuf> {
    const WHAT: &str = "making a peer's directory";
    let dir = dir.join("peers").join(format!("{name}-{}", process::id()));
    if dir.exists() {
        fs::remove_dir_all(&dir).during(WHAT)?;
    }
    fs::create_dir_all(&dir).during(WHAT)?;
    Ok(dir)
}

/// Tasks that do nothing.
#[derive(Clone, Copy, Debug)]
struct Work {
    /// Who does them; each task is for one of these.
    workers: usize,
    /// How many are under way at any time.
    outstanding: usize,
    time: Duration,
}

impl Work {
    /// Keeps so many tasks under way, by turns for each worker, and returns how many a second have
    /// ended. `ended` hears of every end; `submit` adds the request of a task for a worker.
    async fn keep_busy(
        self,
        mut ended: mpsc::UnboundedReceiver<()>,
        mut to_server: OwnedWriteHalf,
        mut submit: impl FnMut(usize, &mut Vec<u8>),
    ) -> Result<f64> {
        let mut out = Vec::new();
        let mut next = (0..self.workers).cycle();
        let (mut room, mut tasks) = (self.outstanding, 0);
        let begin = Instant::now();
        while begin.elapsed() < self.time {
            next.by_ref().take(room).for_each(|worker| submit(worker, &mut out));
            to_server.write_all(&out).await.during("submitting to a peer")?;
            out.clear();
            let mut ends = Vec::new();
            let heard = timeout(PATIENCE, ended.recv_many(&mut ends, 1_024)).await;
            room = heard.during("waiting for a peer")?;
            tasks += room;
            if room == 0 {
                return Err(Trouble::new("it closed the connection"));
            }
        }
        Ok(tasks as f64 / begin.elapsed().as_secs_f64())
    }
}

/// Those who do the tasks, and whoever listens to the server beside them.
#[derive(Debug, Default)]
struct Workers(JoinSet<Result<()>>);

impl Workers {
    fn add(&mut self, worker: impl Future<Output = Result<()>> + Send + 'static) {
        self.0.spawn(worker);
    }

    /// Ends them; fails if one of them had ended before.
    fn end(mut self) -> Result<()> {
        match self.0.try_join_next() {
            None => Ok(()),
            Some(Ok(Err(trouble))) => Err(trouble),
            Some(_) => Err(Trouble::new("a worker ended")),
        }
    }
}

/// What comes from a server, in pieces that it arrives in.
#[derive(Debug)]
struct Incoming {
    from_server: OwnedReadHalf,
    read: BytesMut,
}

impl Incoming {
    /// The next message, by whatever `cut` finds at the beginning of what has come.
    async fn next<M>(&mut self, cut: impl Fn(&mut BytesMut) -> Result<Option<M>>) -> Result<M> {
        loop {
            if let Some(message) = cut(&mut self.read)? {
                return Ok(message);
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<()> {
        match self.from_server.read_buf(&mut self.read).await.during("reading from a peer")? {
            0 => Err(Trouble::new("the peer closed the connection")),
            _ => Ok(()),
        }
    }
}

/// Connects, as soon as somebody listens.
async fn connect(address: SocketAddr) -> Result<(Incoming, OwnedWriteHalf)> {
    let deadline = Instant::now() + PATIENCE;
    let stream = loop {
        match TcpStream::connect(address).await {
            Err(_) if Instant::now() < deadline => sleep(SOON).await,
            connected => break connected.during("connecting to a peer")?,
        }
    };
    stream.set_nodelay(true).during("connecting to a peer")?;
    let (from_server, to_server) = stream.into_split();
    Ok((Incoming { from_server, read: BytesMut::new() }, to_server))
}

/// A port of loopback that was free just now: these servers do not all say which one they took.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("looking for a port")?;
    listener.local_addr().during("looking for a port")
}

/// A peer's program that runs until this is dropped, or we are gone, however that happens: a shell
/// stands between us that kills it when its own input ends, whatever signals our group is sent.
#[derive(Debug)]
struct Guarded {
    shell: Child,
    input: Option<ChildStdin>,
}

impl Guarded {
    fn start(program: &Path, arguments: &[&str], log: &Path) -> Result<Self> {
        const GUARD: &str = "trap : HUP INT QUIT TERM; \"$@\" </dev/null & \
             until read -r _ || test $? -lt 128; do :; done; kill -9 $! 2>/dev/null; wait";
        let what = format!("starting {}", program.display());
        let log = File::options().create(true).append(true).open(log).during(&what)?;
        let mut shell = Command::new("/bin/sh")
            .args(["-c", GUARD, "sh"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().during(&what)?)
            .stderr(log)
            .spawn()
            .during(&what)?;
        let input = shell.stdin.take();
        Ok(Self { shell, input })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.input.take());
        // Gone is gone.
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ends_with_its_guard() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut guarded = Guarded::start(Path::new("/bin/sleep"), &["3600"], &log).unwrap();
        drop(guarded.input.take());
        // The shell waits for the program that it has killed.
        let status = guarded.shell.wait().unwrap();
        assert!(status.success(), "{status}: {}", std::fs::read_to_string(&log).unwrap());
    }
}
