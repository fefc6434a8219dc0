//! A conductor: as a child process, or within the test where its patience is to be short.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use conductor::{Options, Patience};
use orchestra_harness::Lifeline;
use rustix::process::{Pid, Signal, kill_process};

use super::{Place, eventually};

/// A child process; it is gone when this is dropped.
pub(crate) struct Conductor {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub(crate) address: String,
}

/// How a start is meant to go.
pub(crate) enum RunsAs {
    /// It listens.
    Listening(Conductor),
    /// It ended, with this status and this on standard error.
    Ended(ExitStatus, String),
}

impl Conductor {
    /// Starts one; it listens when this returns.
    pub(crate) fn start(place: &Place) -> Conductor {
        Self::start_with(place, &[])
    }

    /// Starts a conductor with further arguments.
    pub(crate) fn start_with(place: &Place, arguments: &[&str]) -> Conductor {
        match Self::try_start(place, arguments) {
            RunsAs::Listening(conductor) => conductor,
            RunsAs::Ended(status, log) => panic!("the conductor ended with {status}:\n{log}"),
        }
    }

    /// Starts one that is meant to refuse, and returns what it says.
    pub(crate) fn start_refused(place: &Place) -> String {
        match Self::try_start(place, &[]) {
            RunsAs::Listening(_) => panic!("the conductor started"),
            RunsAs::Ended(status, log) => {
                assert_eq!(status.code(), Some(1), "{log}");
                log.lines().last().unwrap_or_default().to_owned()
            }
        }
    }

    /// Starts one, and returns when it listens or has ended.
    pub(crate) fn try_start(place: &Place, arguments: &[&str]) -> RunsAs {
        let log = place.path("log");
        // Where the store is missing, and was there, no test means to have another one.
        let is_first = fs::read_dir(place.path("state")).is_ok_and(|mut all| all.next().is_none());
        let is_new = is_first || !place.path("state").exists();
        let began = fs::metadata(&log).map_or(0, |file| file.len());
        let stderr = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_conductor"))
            .arg("--config-dir")
            .arg(place.dir())
            .args(Lifeline::of_this_process().arguments())
            .args(is_new.then_some("--new-store"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        if address.is_empty() {
            let status = child.wait().unwrap();
            let said = fs::read(&log).unwrap().split_off(usize::try_from(began).unwrap());
            return RunsAs::Ended(status, String::from_utf8(said).unwrap());
        }
        RunsAs::Listening(Conductor { child, log, address })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it, and those before it in the same place, have logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log holds this: it is written a moment after what it tells of.
    pub(crate) async fn logged(&self, text: &str) {
        let what = format!("the log to say: {text}\n{}", self.log());
        eventually(&what, async || self.log().contains(text).then_some(())).await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        eventually("the conductor to end", async || self.child.try_wait().unwrap()).await
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// The most memory that it had at once, in bytes.
    pub(crate) fn peak_memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() << 10
    }
}

impl Drop for Conductor {
    fn drop(&mut self) {
        // It may have ended, and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A conductor within the test's own process. It stops by itself when this is dropped.
pub(crate) struct Embedded {
    _lifeline: OwnedFd,
    pub(crate) address: String,
}

impl Embedded {
    /// Starts one that waits for players no longer than this.
    pub(crate) async fn start(place: &Place, patience: Patience) -> Embedded {
        let (read, write) = std::io::pipe().unwrap();
        let options = Options {
            config_dir: place.dir().to_owned(),
            lifeline: Some(File::from(OwnedFd::from(read))),
            patience,
            new_store: true,
            ..Options::default()
        };
        std::thread::spawn(move || conductor::serve(options));
        let file = place.path("state/address");
        let address = eventually("the address", async || fs::read_to_string(&file).ok()).await;
        Embedded { _lifeline: write.into(), address: address.trim().to_owned() }
    }
}
