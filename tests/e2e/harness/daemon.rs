//! A daemon as a child process: started, killed, told to stop, started again.

use std::{
    fs::{self, File, OpenOptions},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    time::Duration,
};

use orchestra_harness::{Lifeline, until};
use rustix::process::Signal;

use super::{binaries, process};

/// A daemon, running or not.
#[derive(Debug)]
pub(crate) struct Daemon {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    out: PathBuf,
    small_disk: Option<PathBuf>,
    streams: Mutex<Streams>,
    child: Mutex<Option<Child>>,
}

/// Where a daemon's standard streams lead.
#[derive(Debug, Default)]
pub(crate) enum Streams {
    /// Output and log into a file each.
    #[default]
    Files,
    /// As `Files`, but for what this script does before it becomes `"$@"`.
    Script(&'static str),
    /// The log into this pipe.
    Log(OwnedFd),
}

impl Daemon {
    /// One that is not started yet; `log` gets its standard error, over all starts.
    pub(super) fn new(program: &str, arguments: &[&str], log: PathBuf) -> Self {
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        let out = log.with_extension("out");
        Self {
            program: binaries::path(program),
            arguments,
            log,
            out,
            small_disk: None,
            streams: Mutex::default(),
            child: Mutex::default(),
        }
    }

    /// Puts a directory on a disk of 32 MiB, which nobody but the daemon sees, and which goes with it.
    pub(super) fn on_a_small_disk(&mut self, directory: &Path) {
        fs::create_dir(directory).expect("the directory is new");
        self.small_disk = Some(directory.to_owned());
    }

    /// A file on its small disk, by a path that others can use while it runs.
    pub(crate) fn filler(&self) -> PathBuf {
        let directory = self.small_disk.as_ref().expect("it has a small disk");
        let inside = directory.strip_prefix("/").expect("an absolute path");
        Path::new(&format!("/proc/{}/root", self.pid())).join(inside).join("filler")
    }

    /// Sets where its standard streams lead from its next start on.
    pub(crate) fn lead(&self, streams: Streams) {
        *self.streams.lock().expect("no test panicked in here") = streams;
    }

    /// Starts it. It must not be running.
    pub(crate) fn start(&self) {
        self.start_with(&[]);
    }

    /// Starts it with further arguments.
    pub(crate) fn start_with(&self, further: &[&str]) {
        let mut child = self.child.lock().expect("no test panicked in here");
        assert!(child.is_none(), "{} runs already", self.program.display());
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("a log");
        let streams = self.streams.lock().expect("no test panicked in here");
        let mut command = match (&self.small_disk, &*streams) {
            (None, Streams::Script(script)) => {
                let mut command = Command::new("sh");
                command.args(["-c", script, "sh"]).arg(&self.program);
                command
            }
            (None, _) => Command::new(&self.program),
            (Some(directory), _) => {
                let mut command = Command::new("unshare");
                let script = "mount -t tmpfs -o size=32m,mode=0700 none \"$0\" && exec \"$@\"";
                command.args(["--mount", "sh", "-c", script]).arg(directory).arg(&self.program);
                command
            }
        };
        let started = command
            .args(&self.arguments)
            .args(further)
            .args(Lifeline::of_this_process().arguments())
            .stdin(Stdio::null())
            .stdout(File::create(&self.out).expect("a file"))
            .stderr(match &*streams {
                Streams::Log(pipe) => Stdio::from(pipe.try_clone().expect("a descriptor")),
                Streams::Files | Streams::Script(_) => log.into(),
            })
            .spawn();
        *child = Some(started.expect("the program can be started"));
    }

    /// Its process; fails if it is not running.
    pub(crate) fn pid(&self) -> i32 {
        let child = self.child.lock().expect("no test panicked in here");
        child.as_ref().expect("it runs").id() as i32
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Kills it as `kill -9` does; when this returns, it is gone.
    pub(crate) fn kill(&self) {
        let child = self.child.lock().expect("no test panicked in here").take();
        if let Some(mut child) = child {
            // It may have ended by itself: gone is gone.
            let _ = child.kill();
            child.wait().expect("it is our child");
        }
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(&self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&self) -> ExitStatus {
        const PATIENCE: Duration = Duration::from_secs(30);
        let what = format!("{} to end", self.program.display());
        let status = until(PATIENCE, &what, || self.ended().ok_or_else(|| self.log_tail()));
        *self.child.lock().expect("no test panicked in here") = None;
        status
    }

    fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().expect("no test panicked in here");
        child.as_mut().expect("it was started").try_wait().expect("it is our child")
    }

    /// Whether it was started and has not ended.
    pub(crate) fn is_running(&self) -> bool {
        let mut child = self.child.lock().expect("no test panicked in here");
        child.as_mut().is_some_and(|child| child.try_wait().expect("it is our child").is_none())
    }

    /// What it wrote to standard output since it was last started.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// Where its log is, over all starts.
    pub(crate) fn log_file(&self) -> &Path {
        &self.log
    }

    /// Its log, over all starts.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of its log, for messages.
    pub(crate) fn log_tail(&self) -> String {
        const LINES: usize = 25;
        let log = self.log();
        let skipped = log.lines().count().saturating_sub(LINES);
        let tail: Vec<&str> = log.lines().skip(skipped).collect();
        format!("--- the end of {}:\n{}", self.log.display(), tail.join("\n"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}
