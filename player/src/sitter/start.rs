//! From an order to a process.
//!
//! *Admission* says, before anything is on disk, how an order would be run or why it would not:
//! it looks at the score, the parameters, the user. What the spool counts itself (capacity,
//! concurrency) it leaves to the spool. *Start* makes the process once the spool has `starting` on
//! disk. Score and parameters wait between the two in memory alone: parameters never touch the
//! player's disk.

use std::{
    ffi::{CString, NulError},
    fmt, io,
    rc::Rc,
    sync::Arc,
};

use orchestra_model::{
    Millis,
    delivery::{AttemptKey, JobPart, Refusal},
};
use orchestra_spool::{BootId, Plan, ProcessMark};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{
    attempt::{Attempt, Main, Phase, Tap},
    capture::{Capture, Pipe, Stream},
    cgroup::{Cgroups, Door, Leaf},
    clock::{self, BootMillis, BootNanos},
    environment::{self, Surroundings},
    procfs::Stat,
    scores::{Score, Scores, Unavailable},
    spool_dir::SpoolDir,
    sys::{self, FileLimit, Spawn},
    users::{Runner, Users},
};
use crate::config::Config;

/// An order that may start, and what is needed to start it.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    score: Score,
    part: Arc<JobPart>,
    runner: Runner,
}

/// Says how an order would be run.
pub(crate) fn admit(
    config: &Config,
    scores: &Scores,
    users: &mut Users,
    cgroups: Option<&Cgroups>,
    key: AttemptKey,
    timeout: Option<Millis>,
    part: Arc<JobPart>,
) -> Result<(Plan, Admitted), Refusal> {
    let score = scores.get(&part.score).map_err(|why| match why {
        Unavailable::Unknown => Refusal::UnknownScore,
        Unavailable::Disabled(why) => Refusal::ScoreDisabled(why),
    })?;
    let spec = Arc::clone(&score.spec);
    spec.check(&part.params).map_err(|why| Refusal::Parameters(why.to_string()))?;
    let runner = match &spec.user {
        Some(name) => users.named(name),
        None => users.run_as(&config.task_user),
    };
    let runner = runner.map_err(|why| Refusal::SpawnFailed(crate::chain(&why)))?;
    let plan = Plan {
        score: part.score.clone(),
        timeout: timeout.map_or(spec.timeout, |timeout| timeout.min(spec.timeout)),
        interface: spec.interface,
        concurrency: spec.concurrency,
        exclusive: spec.exclusive,
        cgroup: cgroups.and_then(|cgroups| cgroups.path_of(key)),
    };
    Ok((plan, Admitted { score, part, runner }))
}

/// Where attempts are started.
pub(crate) struct Stage<'a> {
    pub(crate) config: &'a Config,
    pub(crate) spool_dir: &'a mut SpoolDir,
    pub(crate) cgroups: Option<&'a Cgroups>,
    pub(crate) surroundings: &'a Surroundings,
    pub(crate) null: BorrowedFd<'a>,
    pub(crate) file_limit: FileLimit,
    pub(crate) boot: BootId,
}

/// Why an attempt has no process, for certain.
#[derive(Debug)]
pub(crate) enum StartError {
    /// Its pipes and files cannot be made.
    Files(io::Error),
    /// Its cgroup cannot be made.
    Cgroup(io::Error),
    /// Its score cannot be opened.
    Score(io::Error),
    /// A path holds a NUL byte.
    Environment(NulError),
    /// The process cannot be made.
    Spawn(sys::SpawnError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files(_) => "cannot make the files for its output",
            Self::Cgroup(_) => "cannot make its cgroup",
            Self::Score(_) => "cannot open the score's copy",
            Self::Environment(_) => "cannot make its environment",
            Self::Spawn(_) => "cannot start its process",
        })
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Files(cause) | Self::Cgroup(cause) | Self::Score(cause) => Some(cause),
            Self::Environment(cause) => Some(cause),
            Self::Spawn(cause) => Some(cause),
        }
    }
}

impl StartError {
    /// What the conductor is told: a spool that cannot be written is not the score's fault.
    pub(crate) fn refusal(&self) -> Refusal {
        let why = crate::chain(self);
        match self {
            Self::Files(_) => Refusal::Spool(why),
            _ => Refusal::SpawnFailed(why),
        }
    }
}

impl Stage<'_> {
    /// Makes the process of an attempt, with its pipes, files and cgroup. What was made is removed
    /// again where that fails.
    pub(crate) fn start(
        &mut self,
        key: AttemptKey,
        plan: &Plan,
        admitted: &Admitted,
    ) -> Result<(Attempt, ProcessMark), StartError> {
        let leaf = match (self.cgroups, &plan.cgroup) {
            (Some(cgroups), Some(path)) => cgroups.make(path).map_err(StartError::Cgroup)?,
            _ => None,
        };
        let started = self.start_in(key, plan, admitted, leaf.as_ref());
        if started.is_err() {
            self.spool_dir.remove_attempt(&super::spool_dir::attempt_name(key));
            leaf.as_ref().map(Leaf::remove);
        }
        let (main, process, streams) = started?;
        let attempt = Attempt {
            key,
            leaf,
            main: Some(main),
            ours: true,
            alone: true,
            started_at: Some(process.started_at),
            deadline: BootMillis(process.boot_ms).after(plan.timeout.0),
            interface: plan.interface,
            streams,
            phase: Phase::Running,
        };
        Ok((attempt, process))
    }

    fn start_in(
        &mut self,
        key: AttemptKey,
        plan: &Plan,
        admitted: &Admitted,
        leaf: Option<&Leaf>,
    ) -> Result<(Main, ProcessMark, [Tap; 2]), StartError> {
        let Admitted { score, part, runner } = admitted;
        let scores_dir = &self.config.scores_dir;
        let environment = environment::of_attempt(self.surroundings, key, part, scores_dir, runner);
        let environment = environment.map_err(StartError::Environment)?;
        let name = CString::new(plan.score.as_str()).map_err(StartError::Environment)?;
        let program = score.image.open().map_err(StartError::Score)?;
        let dir = self.spool_dir.make_attempt(key, runner.identity.as_ref());
        let dir = Rc::new(dir.map_err(StartError::Files)?);
        let tap = |stream| self.tap(&dir, stream, runner).map_err(StartError::Files);
        let (stdout, to_stdout) = tap(Stream::Stdout)?;
        let (stderr, to_stderr) = tap(Stream::Stderr)?;
        let door = leaf.map(Leaf::door).transpose().map_err(StartError::Cgroup)?;
        let (wall, before) = (clock::wall(), BootNanos::now());
        let spawned = sys::spawn(&Spawn {
            program: program.as_fd(),
            arguments: &[name],
            environment: &environment,
            descriptors: &[self.null, to_stdout.as_fd(), to_stderr.as_fd()],
            identity: runner.identity.as_ref(),
            cgroup: door.as_ref().map(Door::entrance),
            file_limit: self.file_limit,
            // A score may be made to use sudo or the like; the agent may not.
            no_new_privileges: false,
        });
        let spawned = spawned.map_err(StartError::Spawn)?;
        let pid = spawned.pid.as_raw_nonzero().get();
        // To ask for it is one of the dearest parts of a start. Nobody but us can reap it, so it
        // is there, even if it has ended.
        let start_ticks = BootNanos::tick_between(before, BootNanos::now())
            .or_else(|| Stat::of(pid).map(|stat| stat.start_ticks))
            .unwrap_or(0);
        let main = Main { pid, start_ticks, pidfd: spawned.pidfd, child: true, gone: false };
        let mark = ProcessMark {
            pid: pid.unsigned_abs(),
            start_ticks,
            boot: self.boot,
            started_at: wall,
            boot_ms: before.millis().0,
        };
        Ok((main, mark, [stdout, stderr]))
    }

    fn tap(
        &self,
        dir: &Rc<OwnedFd>,
        stream: Stream,
        runner: &Runner,
    ) -> io::Result<(Tap, OwnedFd)> {
        let (pipe, writer) = Pipe::create(dir.as_fd(), stream, runner.identity.as_ref())?;
        let capture = Capture::new(Rc::clone(dir), stream, self.config.output_max);
        Ok((Tap { capture: Some(capture), pipe: Some(pipe) }, writer))
    }
}
