//! A program as a child: started, looked for, killed as `kill -9` does, started again.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use orchestra_harness::{Config, Lifeline, Names};

use crate::{
    authority::Authority,
    trouble::{During as _, Result, Trouble},
};

/// A program that runs. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    /// What it printed first: where it listens, if it does.
    first_line: String,
}

impl Running {
    /// Starts a program and waits for its first line. Its standard error is appended to `log`.
    fn start(program: &Path, arguments: &[&str], lifeline: &Lifeline, log: &Path) -> Result<Self> {
        let mut running = Self::start_silent(program, arguments, lifeline, log)?;
        let out = running.child.stdout.take();
        let out = out.ok_or_else(|| Trouble::new("a child without an output"))?;
        BufReader::new(out).read_line(&mut running.first_line).during("reading from a child")?;
        if running.first_line.is_empty() {
            return Err(Trouble::new(format!(
                "{} did not start\n{}",
                program.display(),
                tail(log)
            )));
        }
        Ok(running)
    }

    /// Starts a program that prints nothing, and waits for nothing of it.
    pub(crate) fn start_silent(
        program: &Path,
        arguments: &[&str],
        lifeline: &Lifeline,
        log: &Path,
    ) -> Result<Self> {
        let what = format!("starting {}", program.display());
        let log = OpenOptions::new().create(true).append(true).open(log).during(&what)?;
        let mut child = Command::new(program)
            .args(arguments)
            .args(lifeline.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .during(&what)?;
        let input = child.stdin.take();
        Ok(Self { child, input, first_line: String::new() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it said that it listens.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        self.first_line.trim().parse().during("reading where it listens")
    }

    /// Writes an empty line to its standard input.
    pub(crate) fn prod(&mut self) -> Result<()> {
        let written = self.input.as_mut().map_or(Ok(()), |input| input.write_all(b"\n"));
        written.during("writing to a child")
    }

    /// Ends it at once; when this returns, it is gone.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself: gone is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the bare server of the same run, which is this very program; with orders if it is to
/// `echo`.
pub(crate) fn start_bare(
    authority: &Authority,
    dir: &Path,
    lifeline: &Lifeline,
    echo: bool,
) -> Result<Running> {
    let program = std::env::current_exe().during("finding this program")?;
    let ca = authority.path("");
    let mut arguments = vec!["bare", "--ca", &ca, "--name", authority.conductor.as_str()];
    arguments.extend(echo.then_some("--echo"));
    Running::start(&program, &arguments, lifeline, &dir.join("bare.log"))
}

/// Our own conductor: its directory, and whether it runs.
#[derive(Debug)]
pub(crate) struct Conductor {
    program: PathBuf,
    dir: PathBuf,
    authority: ConductorFiles,
    address: SocketAddr,
    running: Option<Running>,
}

#[derive(Debug)]
struct ConductorFiles {
    name: String,
    domain: String,
    ca: String,
    cert: String,
    key: String,
}

impl Conductor {
    /// Writes its directory down; does not start it.
    pub(crate) fn new(
        program: PathBuf,
        dir: PathBuf,
        authority: &Authority,
        players: &str,
    ) -> Result<Self> {
        fs::create_dir_all(&dir).during("making the conductor's directory")?;
        fs::write(dir.join("players"), format!("{players}\n"))
            .during("writing the players file")?;
        let name = authority.conductor.to_string();
        let files = ConductorFiles {
            ca: authority.path("ca.pem"),
            cert: authority.path(&format!("conductor/{name}.pem")),
            key: authority.path(&format!("conductor/{name}.key")),
            domain: authority.domain().to_string(),
            name,
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self { program, dir, authority: files, address, running: None })
    }

    /// Where things of its configuration are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Kills it, and puts the database of another state directory in place of its own.
    pub(crate) fn restore(&mut self, from: &Path) -> Result<()> {
        const WHAT: &str = "copying a store";
        const DATABASE: &str = "orchestra.db";
        self.kill();
        let state = self.dir.join("state");
        DirBuilder::new().recursive(true).mode(0o700).create(&state).during(WHAT)?;
        for beside in ["orchestra.db-wal", "orchestra.db-shm"] {
            match fs::remove_file(state.join(beside)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).during(WHAT);
                }
                _ => {}
            }
        }
        fs::copy(from.join(DATABASE), state.join(DATABASE)).during(WHAT)?;
        Ok(())
    }

    /// The last line of its log that has `text` in it.
    pub(crate) fn logged(&self, text: &str) -> Option<String> {
        let log = fs::read(self.dir.join("log")).ok()?;
        let log = String::from_utf8_lossy(&log);
        log.lines().rfind(|line| line.contains(text)).map(str::to_owned)
    }

    /// Starts it, on the port that it had before if there was one; returns when it listens.
    pub(crate) fn start(&mut self, lifeline: &Lifeline) -> Result<()> {
        self.kill();
        let ConductorFiles { name, domain, ca, cert, key } = &self.authority;
        let names = Names { conductor: name, domain };
        let state = self.dir.join("state");
        let config = Config::of_conductor(names, &self.address.to_string(), &state)
            .tls(ca, cert, key)
            .tables("[limits]\nreload_removal = \"100%\"\n");
        config.write(&self.dir.join("conductor.toml")).during("writing conductor.toml")?;
        let config_dir = self.dir.display().to_string();
        let arguments = ["--config-dir", &config_dir, "--new-store"];
        let running = Running::start(&self.program, &arguments, lifeline, &self.dir.join("log"))?;
        self.address = running.address()?;
        self.running = Some(running);
        Ok(())
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }

    /// Where it listens, or did.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Running::pid)
    }

    /// How much its store takes on disk, in bytes.
    pub(crate) fn store_bytes(&self) -> u64 {
        let files = fs::read_dir(self.dir.join("state")).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
    }
}

/// The end of a log, for messages.
fn tail(log: &Path) -> String {
    const LINES: usize = 10;
    let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let skipped = text.lines().count().saturating_sub(LINES);
    text.lines().skip(skipped).collect::<Vec<_>>().join("\n")
}
