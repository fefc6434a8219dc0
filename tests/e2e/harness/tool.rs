//! `submitjob`, `getstatus`, `orc`: run as an operator runs them.

use std::{
    fs::{self, File},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{binaries, process, within};

/// Longest that a tool may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A tool that is about to be run.
#[derive(Debug)]
pub(crate) struct Tool {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    input: Option<PathBuf>,
    out: Option<OwnedFd>,
    err: Option<OwnedFd>,
}

impl Tool {
    /// A program of the workspace with an environment of its own alone.
    pub(crate) fn new(program: &str, arguments: &[&str]) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            environment: vec![("LANG".to_owned(), "C.UTF-8".to_owned())],
            input: None,
            out: None,
            err: None,
        }
    }

    /// With a variable more; one that is set again has the last value.
    #[must_use]
    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With a file as its standard input, which is empty otherwise.
    #[must_use]
    pub(crate) fn input(mut self, path: &Path) -> Self {
        self.input = Some(path.to_owned());
        self
    }

    /// With this as its standard output, of which nothing is told then.
    #[must_use]
    pub(crate) fn out(mut self, out: OwnedFd) -> Self {
        self.out = Some(out);
        self
    }

    /// With this as its standard error, of which nothing is told then.
    #[must_use]
    pub(crate) fn err(mut self, err: OwnedFd) -> Self {
        self.err = Some(err);
        self
    }

    /// Starts it.
    pub(crate) fn start(self) -> Running {
        let output = tempfile::tempdir().expect("a directory");
        let stream = |name: &str| File::create(output.path().join(name)).expect("a file");
        let (out, err) = (stream("out"), stream("err"));
        let input = match &self.input {
            Some(path) => Stdio::from(File::open(path).expect("the input is there")),
            None => Stdio::null(),
        };
        let child = Command::new(binaries::path(&self.program))
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment)
            .stdin(input)
            .stdout(self.out.unwrap_or_else(|| out.into()))
            .stderr(self.err.unwrap_or_else(|| err.into()))
            .spawn()
            .expect("the program can be started");
        let command = format!("{} {}", self.program, self.arguments.join(" "));
        Running { command, child, output, since: Instant::now() }
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Ran {
        self.start().wait()
    }
}

/// A tool that runs; killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    command: String,
    child: Child,
    output: TempDir,
    since: Instant,
}

impl Running {
    /// Waits until it ends.
    pub(crate) fn wait(mut self) -> Ran {
        let what = format!("{} to end", self.command);
        let status = within(PATIENCE, &what, || self.ended());
        let took = self.since.elapsed();
        Ran {
            status,
            out: self.so_far("out"),
            err: self.so_far("err"),
            took,
            command: self.command.clone(),
        }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// What it has written to `out` or `err` until now.
    pub(crate) fn so_far(&self, stream: &str) -> String {
        let bytes = fs::read(self.output.path().join(stream)).expect("the file is there");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.child.id() as i32, signal);
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended: then both fail, and nothing is left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a tool ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// How.
    pub(crate) status: ExitStatus,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
    /// How long it took, from its start on.
    pub(crate) took: Duration,
    command: String,
}

impl Ran {
    /// Its exit code.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Fails unless it exited with `code`.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert!(self.code() == Some(code), "expected exit {code} of {self}");
        self
    }

    /// Fails unless its standard error holds `text`.
    #[track_caller]
    pub(crate) fn complains(self, text: &str) -> Self {
        assert!(self.err.contains(text), "expected {text:?} in the complaints of {self}");
        self
    }

    /// Fails unless its standard output holds `text`.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.out.contains(text), "expected {text:?} in the answer of {self}");
        self
    }

    /// The number that is all of its standard output: a flow's id.
    #[track_caller]
    pub(crate) fn id(&self) -> u64 {
        let id = self.out.strip_suffix('\n').and_then(|text| text.parse().ok());
        id.unwrap_or_else(|| panic!("expected a flow's id alone from {self}"))
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error} in the JSON of {self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, status, took, out, err } = self;
        let shown = |text: &str| match text.char_indices().nth(4_000) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        };
        write!(
            f,
            "{command}: {status} after {took:?}\n--- out:\n{}\n--- err:\n{}",
            shown(out),
            shown(err)
        )
    }
}
