//! Processes that end at once, by programs of other tools: ClusterShell's `clush`, which starts
//! them itself, and HyperQueue, whose one worker does.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use orchestra_harness::trouble::Result;
use tokio::time::sleep;

use crate::peer::{Guarded, PATIENCE, SOON, run};

/// What runs.
const PROGRAM: &str = "/bin/true";

/// How often it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processes {
    pub(crate) times: usize,
    /// How many at once.
    pub(crate) at_once: u32,
}

impl Processes {
    fn rate(self, time: Duration) -> f64 {
        self.times as f64 / time.as_secs_f64()
    }

    /// Longer than anybody takes.
    fn limit(self) -> Duration {
        PATIENCE + self.times as u32 * Duration::from_millis(20)
    }
}

/// Processes a second, of a `clush` that has so many nodes and reaches them by running something
/// here.
pub(super) async fn clush(program: &Path, dir: &Path, work: Processes) -> Result<f64> {
    let mut clush = silent(program);
    // Nothing of how it is set up on this machine.
    clush.env("CLUSTERSHELL_CFGDIR", dir).args(["-R", "exec", "-n", "-S"]);
    clush.args(["-f", &work.at_once.to_string(), "-w", &format!("p[1-{}]", work.times)]);
    Ok(work.rate(run(clush.arg(PROGRAM), work.limit()).await?))
}

/// Tasks a second, from the submission of an array to its end, by one worker that says it has as
/// many cores as there are to be processes at once.
pub(super) async fn hyperqueue(program: &Path, dir: &Path, work: Processes) -> Result<f64> {
    let (server_dir, log) = (dir.join("server").display().to_string(), dir.join("log"));
    let of_server = ["--server-dir", &server_dir];
    let with = |arguments: &[&'static str]| [&of_server[..], arguments].concat();
    let _server =
        Guarded::start(program, &with(&["server", "start", "--host", "127.0.0.1"]), &log)?;
    let hq = |arguments: &[&str]| {
        let mut hq = silent(program);
        hq.args(of_server).args(arguments).current_dir(dir);
        hq
    };
    let deadline = Instant::now() + PATIENCE;
    while let Err(trouble) = run(&mut hq(&["server", "info"]), PATIENCE).await {
        if Instant::now() > deadline {
            return Err(trouble);
        }
        sleep(SOON).await;
    }
    let cores = work.at_once.to_string();
    let worker = [&with(&["worker", "start", "--cpus"])[..], &[&cores]].concat();
    let _worker = Guarded::start(program, &worker, &log)?;
    run(&mut hq(&["worker", "wait", "1"]), PATIENCE).await?;
    let array = format!("1-{}", work.times);
    let submit = ["submit", "--wait", "--array", &array, "--stdout", "none", "--stderr", "none"];
    let time = run(hq(&submit).arg("--").arg(PROGRAM), work.limit()).await?;
    Ok(work.rate(time))
}

/// A program whose output nobody wants.
fn silent(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}
