//! What it takes to measure another tool: its program, which does not outlive us, a connection to it,
//! and work that is kept under way.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use orchestra_harness::trouble::{During as _, Result, Trouble};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Longer than anything takes that is only waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How soon something that is waited for is looked at again.
pub(crate) const SOON: Duration = Duration::from_millis(5);

/// A program that is installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Servers are where users do not look.
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(more).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// An empty directory.
pub(crate) fn fresh(dir: &Path, name: &str) -> Result<PathBuf> {
    let dir = dir.join(name);
    fs::create_dir(&dir).during("making a peer's directory")?;
    Ok(dir)
}

/// Tasks that do nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// Who does them; each task is for one of these.
    pub(crate) workers: usize,
    /// How many are under way at any time.
    pub(crate) outstanding: usize,
    pub(crate) time: Duration,
}

impl Work {
    /// Keeps so many tasks under way, by turns for each worker, and returns how many a second have
    /// ended. `ended` hears of every end; `submit` adds the request of a task for a worker.
    pub(crate) async fn keep_busy(
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
pub(crate) struct Workers(JoinSet<Result<()>>);

impl Workers {
    pub(crate) fn add(&mut self, worker: impl Future<Output = Result<()>> + Send + 'static) {
        self.0.spawn(worker);
    }

    /// Ends them; fails if one of them had ended before.
    pub(crate) fn end(mut self) -> Result<()> {
        match self.0.try_join_next() {
            None => Ok(()),
            Some(Ok(Err(trouble))) => Err(trouble),
            Some(_) => Err(Trouble::new("a worker ended")),
        }
    }
}

/// What comes from a server, in pieces that it arrives in.
#[derive(Debug)]
pub(crate) struct Incoming {
    from_server: OwnedReadHalf,
    pub(crate) read: BytesMut,
}

impl Incoming {
    /// The next message, by whatever `cut` finds at the beginning of what has come.
    pub(crate) async fn next<M>(
        &mut self,
        cut: impl Fn(&mut BytesMut) -> Result<Option<M>>,
    ) -> Result<M> {
        loop {
            if let Some(message) = cut(&mut self.read)? {
                return Ok(message);
            }
            self.more().await?;
        }
    }

    pub(crate) async fn more(&mut self) -> Result<()> {
        match self.from_server.read_buf(&mut self.read).await.during("reading from a peer")? {
            0 => Err(Trouble::new("the peer closed the connection")),
            _ => Ok(()),
        }
    }
}

/// Connects, as soon as somebody listens.
pub(crate) async fn connect(address: SocketAddr) -> Result<(Incoming, OwnedWriteHalf)> {
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
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("looking for a port")?;
    listener.local_addr().during("looking for a port")
}

/// A peer's program that runs until this is dropped, or we are gone, however that happens: a shell
/// stands between us that kills it when its own input ends, whatever signals our group is sent.
#[derive(Debug)]
pub(crate) struct Guarded {
    shell: Child,
    input: Option<ChildStdin>,
}

impl Guarded {
    pub(crate) fn start(program: &Path, arguments: &[&str], log: &Path) -> Result<Self> {
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

/// Runs a program to its end, and returns how long that took. Killed if it takes longer than that,
/// or if nobody waits for it any more.
pub(crate) async fn run(command: &mut Command, limit: Duration) -> Result<Duration> {
    let what = format!("running {}", command.get_program().display());
    let begin = Instant::now();
    command.stdin(Stdio::null());
    let mut child = Killed(command.spawn().during(&what)?);
    loop {
        match child.0.try_wait().during(&what)? {
            Some(status) if status.success() => return Ok(begin.elapsed()),
            Some(status) => return Err(Trouble::new(format!("{what}: {status}"))),
            None if begin.elapsed() > limit => {
                return Err(Trouble::new(format!("{what} took longer than {limit:?}")));
            }
            None => sleep(SOON).await,
        }
    }
}

/// A child that does not outlive this.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself: gone is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
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
