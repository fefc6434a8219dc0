//! From an order to a process.
//!
//! **Admission* decides, before anything is on disk, how an order would be run or why it would not:
//! it looks at the score, the parameters and the user. What the spool counts itself (capacity,
//! concurrency) is left to the spool. *Start* asks the launcher of the attempt's user for the
//! process, once the spool has `starting` on disk. The launcher's answer comes later, and turns
//! what was [`Expected`] into an attempt. Meanwhile score and parameters are in memory alone,
//! because parameters never touch the player's disk.

use std::{
    ffi::{CString, NulError},
    fmt, io,
    path::Path,
    rc::Rc,
    sync::Arc,
};

use orchestra_model::{
    Millis, ScoreName, Timestamp,
    bundle::Seal,
    delivery::{AttemptKey, JobPart, Refusal},
    score::{BuiltIn, ScoreSpec},
    tree::TreePlace,
};
use orchestra_spool::{BootId, Plan, ProcessMark};
use orchestra_units::UnitKey;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{
    attempt::{self, Attempt, Main, Phase, Streams, Told},
    cgroup::{Cgroups, Door, Leaf},
    clock::{self, BootMillis},
    environment::{self, AttemptOf, Surroundings},
    launcher::{Born, Keep, LaunchError, Launchers, NotSent, Ready, Request, TapOf},
    limits::{LimitError, MissingControllers},
    places::{Change, Ground, LocalPlaces, errand},
    poll::{Poller, Token},
    scores::{Image, Interpreter, Score, Scores, Unavailable},
    spool_dir::{SpoolDir, attempt_name},
    stream,
    sys::Settings,
    unit::ExpectedRun,
    users::{Runner, UserError, Users},
};
use crate::config::{Config, RunAs};

/// An order that may start, and what is needed to start it.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    program: Program,
    part: Arc<JobPart>,
    tree: Option<Arc<TreePlace>>,
    pub(crate) runner: Runner,
    /// Whether its bundle was fetched for it. It is fetched once.
    pub(crate) has_fetched: bool,
}

impl Admitted {
    /// Whether it needs a bundle that is not in this depot and has to be fetched.
    pub(crate) fn awaits_bundle(&self, depot: &Path) -> bool {
        let missing = |id| errand::open_bundle(depot, id).is_err();
        !self.has_fetched && self.seal().is_some_and(|seal| missing(seal.statement.id))
    }

    /// What is said of the bundle whose content it needs.
    pub(crate) fn seal(&self) -> Option<&Seal> {
        match &self.program {
            Program::Own(change) => change.delivered(),
            Program::Score(_) => None,
        }
    }
}

/// What an attempt executes.
#[derive(Clone, Debug)]
enum Program {
    Score(Score),
    /// The player itself, which changes a place.
    Own(Change),
}

/// What an order asks for.
#[derive(Debug)]
pub(crate) struct Ordered {
    pub(crate) key: AttemptKey,
    /// The attempt's timeout, if the job asks for less than the score allows.
    pub(crate) timeout: Option<Millis>,
    pub(crate) part: Arc<JobPart>,
    /// Where the task is in its tree, if its job has one.
    pub(crate) tree: Option<Arc<TreePlace>>,
}

/// Decides how an order would be run.
pub(crate) fn admit(
    config: &Config,
    scores: &Scores,
    (places, is_live): (&LocalPlaces, &dyn Fn(AttemptKey) -> bool),
    users: &mut Users,
    cgroups: Option<&Cgroups>,
    ordered: Ordered,
) -> Result<(Plan, Admitted), Refusal> {
    let Ordered { key, timeout, part, tree } = ordered;
    if let Some(what) = BuiltIn::of(&part.score) {
        let ordered = Ordered { key, timeout, part, tree };
        return admit_change(what, (config, places, is_live), users, cgroups, ordered);
    }
    let score = scores.get(&part.score).map_err(unavailable)?;
    let spec = Arc::clone(&score.spec);
    spec.check(&part.params).map_err(|why| Refusal::Parameters(why.to_string()))?;
    let runner = runner_of(&spec, config, users)?;
    let plan = Plan {
        score: part.score.clone(),
        timeout: timeout.map_or(spec.timeout, |timeout| timeout.min(spec.timeout)),
        interface: spec.interface,
        concurrency: spec.concurrency,
        exclusive: spec.exclusive,
        cgroup: cgroups.and_then(|cgroups| cgroups.path_of(key)),
    };
    Ok((plan, Admitted { program: Program::Score(score), part, tree, runner, has_fetched: false }))
}

/// Decides about an order for a score that is built in.
fn admit_change(
    what: BuiltIn,
    (config, places, is_live): (&Config, &LocalPlaces, &dyn Fn(AttemptKey) -> bool),
    users: &mut Users,
    cgroups: Option<&Cgroups>,
    ordered: Ordered,
) -> Result<(Plan, Admitted), Refusal> {
    let Ordered { key, timeout, part, tree } = ordered;
    let spec = what.spec();
    spec.check(&part.params).map_err(|why| Refusal::Parameters(why.to_string()))?;
    let ground = ground(config, is_live);
    let change = places.judge(what, &part, key, &ground)?;
    let runner = match what {
        BuiltIn::Deliver => places.place_of(&change).map_err(Refusal::Bundle)?.owner.clone(),
        BuiltIn::Activate => {
            let own = users.run_as(&RunAs::Caller);
            own.map_err(|why| Refusal::SpawnFailed(orchestra_model::chain(&why)))?
        }
    };
    let plan = Plan {
        score: part.score.clone(),
        timeout: timeout.map_or(spec.timeout, |timeout| timeout.min(spec.timeout)),
        interface: spec.interface,
        concurrency: spec.concurrency,
        exclusive: spec.exclusive,
        cgroup: cgroups.and_then(|cgroups| cgroups.path_of(key)),
    };
    Ok((plan, Admitted { program: Program::Own(change), part, tree, runner, has_fetched: false }))
}

/// What a change of a place is judged by.
fn ground<'a>(config: &'a Config, is_live: &'a dyn Fn(AttemptKey) -> bool) -> Ground<'a> {
    Ground { is_live, domain: &config.domain, depot: &config.depot_dir, now: clock::wall() }
}

/// Who a score runs as.
pub(crate) fn runner_of(
    spec: &ScoreSpec,
    config: &Config,
    users: &mut Users,
) -> Result<Runner, Refusal> {
    let runner = match &spec.user {
        Some(name) => users.named(name),
        None => users.run_as(&config.task_user),
    };
    runner.map_err(|why| match &why {
        UserError::LookUp(_, cause) if is_shortage(cause) => Refusal::Busy,
        _ => Refusal::SpawnFailed(orchestra_model::chain(&why)),
    })
}

/// Returns the refusal of an order whose score may not run.
pub(crate) fn unavailable(why: Unavailable) -> Refusal {
    match why {
        Unavailable::Unknown => Refusal::UnknownScore,
        Unavailable::Disabled(why) => Refusal::ScoreDisabled(why),
    }
}

/// What is needed to start attempts.
pub(crate) struct Stage<'a> {
    pub(crate) config: &'a Config,
    pub(crate) spool_dir: &'a mut SpoolDir,
    pub(crate) cgroups: Option<&'a Cgroups>,
    pub(crate) surroundings: &'a Surroundings,
    pub(crate) places: &'a mut LocalPlaces,
    /// Whether an attempt has not ended.
    pub(crate) is_live: &'a dyn Fn(AttemptKey) -> bool,
    pub(crate) null: BorrowedFd<'a>,
    pub(crate) launchers: &'a mut Launchers<Newborn>,
    pub(crate) poller: &'a Poller,
    pub(crate) now: BootMillis,
}

const LAUNCHER: &str = "the launcher of its user ended while it was starting it";

/// Why it is certain that an attempt has no process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Its pipes and files cannot be made.
    Files(#[source] io::Error),
    /// The run directory of its unit cannot be made.
    RunDir(#[source] io::Error),
    /// The directory that its service keeps on a disk cannot be had.
    StateDir(#[source] io::Error),
    /// Its cgroup cannot be made.
    Cgroup(#[source] io::Error),
    /// This host cannot keep its limits.
    Limits(MissingControllers),
    /// Its limits cannot be set.
    Limit(#[source] LimitError),
    /// Its place cannot be changed.
    Change(Refusal),
    /// Its score cannot be opened.
    Score(#[source] io::Error),
    /// A path holds a NUL byte.
    Environment(#[source] NulError),
    /// The process cannot be made.
    Launch(#[source] LaunchError),
    /// What executes the score is missing.
    Interpreter(Interpreter, #[source] LaunchError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interpreter(interpreter, _) => {
                return write!(f, "cannot start its process; {interpreter}");
            }
            Self::Limits(missing) => return missing.fmt(f),
            Self::Change(refusal) => return refusal.fmt(f),
            Self::Limit(_) => "cannot set its limits",
            Self::Files(_) => "cannot make the files for its output",
            Self::RunDir(_) => "cannot make its run directory",
            Self::StateDir(_) => "cannot give it its state directory",
            Self::Cgroup(_) => "cannot make its cgroup",
            Self::Score(_) => "cannot open the score's copy",
            Self::Environment(_) => "cannot make its environment",
            Self::Launch(_) => "cannot start its process",
        })
    }
}

impl StartError {
    /// Returns the error for a process that was not made.
    pub(crate) fn of_launch(error: LaunchError, image: Option<&Image>) -> Self {
        match (&error, image.and_then(Image::interpreter)) {
            (LaunchError::Spawn(cause), Some(interpreter)) if cause.lacks_an_interpreter() => {
                StartError::Interpreter(interpreter.clone(), error)
            }
            _ => StartError::Launch(error),
        }
    }

    /// Returns what the conductor is told. What this host lacks for the moment is told as `Busy`,
    /// and a spool that cannot be written is not told as the score's fault.
    pub(crate) fn refusal(&self) -> Refusal {
        let shortage = match self {
            Self::Files(cause)
            | Self::RunDir(cause)
            | Self::StateDir(cause)
            | Self::Cgroup(cause)
            | Self::Score(cause) => is_shortage(cause),
            Self::Launch(LaunchError::Gone) => true,
            Self::Launch(cause) => cause.cause().is_some_and(is_shortage),
            Self::Environment(_)
            | Self::Interpreter(..)
            | Self::Limits(_)
            | Self::Limit(_)
            | Self::Change(_) => false,
        };
        match self {
            _ if shortage => Refusal::Busy,
            Self::Change(refusal) => refusal.clone(),
            Self::Files(_) => Refusal::Spool(orchestra_model::chain(self)),
            _ => Refusal::SpawnFailed(orchestra_model::chain(self)),
        }
    }
}

/// Returns whether the host has too many open files or processes, or too little memory, just now.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM))
}

/// An attempt whose process was asked for.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) key: AttemptKey,
    plan: Plan,
    leaf: Option<Leaf>,
    streams: Streams,
    /// Its program, unless that is the player itself.
    image: Option<Rc<Image>>,
    /// Whether no other attempt has lived since it was asked for.
    pub(crate) alone: bool,
    /// Whether it is to be ended as soon as its process exists.
    pub(crate) cancelled: bool,
}

/// What a newborn is for.
#[derive(Debug)]
pub(crate) enum Newborn {
    /// It is the agent.
    Agent,
    /// It is the prober of this token.
    Prober(Token),
    /// It is the guard.
    Guard,
    /// It is an attempt's first process.
    Attempt(Box<Expected>),
    /// It is the first process of the check of this unit.
    Check(UnitKey),
    /// It is the first process of a unit's run.
    Run(Box<ExpectedRun>),
}

/// All that a launcher needs to start an attempt.
struct Prepared {
    program: OwnedFd,
    arguments: Vec<CString>,
    /// What is at its standard input; `None`: nothing.
    input: Option<OwnedFd>,
    environment: Vec<CString>,
    directory: Rc<OwnedFd>,
    door: Option<Door>,
}

impl Stage<'_> {
    /// Makes pipes, files and cgroup of an attempt, and asks its user's launcher for its process.
    /// Returns `Ok(false)` if the launcher has no room now. If it was not asked, what was made is
    /// removed again.
    pub(crate) fn start(
        &mut self,
        key: AttemptKey,
        plan: &Plan,
        admitted: &Admitted,
        alone: bool,
    ) -> Result<bool, StartError> {
        let leaf = match (self.cgroups, &plan.cgroup) {
            (Some(cgroups), Some(path)) => cgroups.make(path).map_err(StartError::Cgroup)?,
            _ => None,
        };
        let prepared = match self.prepare(key, plan, admitted, leaf.as_ref()) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.spool_dir.remove_attempt(&attempt_name(key));
                leaf.as_ref().map(Leaf::remove);
                return Err(error);
            }
        };
        let Prepared { program, arguments, input, environment, directory, door } = &prepared;
        let input = input.as_ref().map_or(self.null, AsFd::as_fd);
        let limit = self.config.output_max;
        let id = self.launchers.fresh_tap();
        let streams = Streams {
            tap: Some(id),
            directory: Some(Rc::clone(directory)),
            limit,
            told: Told::Nothing,
            cut: false,
        };
        let plan = plan.clone();
        let image = match &admitted.program {
            Program::Score(score) => Some(Rc::clone(&score.image)),
            Program::Own(_) => None,
        };
        let expected = Expected { key, plan, leaf, streams, image, alone, cancelled: false };
        let newborn = Newborn::Attempt(Box::new(expected));
        let user = &admitted.runner.identity;
        let request = Request {
            program: program.as_fd(),
            arguments,
            environment,
            descriptors: &[input],
            tap: Some(TapOf {
                id,
                directory: directory.as_fd(),
                keep: Keep::First(limit),
                ready: Ready::Unasked,
            }),
            cgroup: door.as_ref().map(Door::entrance),
            limits: &[],
            settings: Settings::default(),
            // A score may use sudo or the like; the agent may not.
            no_new_privileges: false,
        };
        let directories = Some((directory, Ready::Unasked));
        let sent = self.launchers.send(self.poller, user, &request, directories, newborn, self.now);
        let (newborn, result) = match sent {
            Ok(()) => return Ok(true),
            Err(NotSent::Later(newborn)) => (newborn, Ok(false)),
            Err(NotSent::Never(newborn, error)) => (newborn, Err(StartError::Launch(error))),
        };
        if let Newborn::Attempt(expected) = newborn {
            expected.clear_away(self.spool_dir);
        }
        result
    }

    fn prepare(
        &mut self,
        key: AttemptKey,
        plan: &Plan,
        admitted: &Admitted,
        leaf: Option<&Leaf>,
    ) -> Result<Prepared, StartError> {
        let Admitted { program, part, tree, runner, .. } = admitted;
        let of = AttemptOf { key, part, tree: tree.as_deref(), runner };
        let environment = environment::of_attempt(self.surroundings, &of, &self.config.scores_dir);
        let environment = environment.map_err(StartError::Environment)?;
        let name = CString::new(plan.score.as_str()).map_err(StartError::Environment)?;
        let (program, arguments, input) = match program {
            Program::Score(score) => {
                (score.image.open().map_err(StartError::Score)?, vec![name], None)
            }
            Program::Own(change) => {
                let ground = ground(self.config, self.is_live);
                let begun = self.places.begin(change, key, &ground);
                let input = begun.map_err(StartError::Change)?;
                // This very program, because both have to understand the errand.
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                let own = rustix::fs::open("/proc/self/exe", flags, Mode::empty());
                let own = own.map_err(|error| StartError::Score(error.into()))?;
                (own, vec![c"player".to_owned(), c"change".to_owned()], Some(input))
            }
        };
        let directory = self.spool_dir.make_attempt(key);
        let directory = Rc::new(directory.map_err(StartError::Files)?);
        let owner = runner.identity.as_ref();
        stream::make_pipes(directory.as_fd(), owner).map_err(StartError::Files)?;
        let door = leaf.map(Leaf::door).transpose().map_err(StartError::Cgroup)?;
        Ok(Prepared { program, arguments, input, environment, directory, door })
    }
}

/// Returns what tells a newborn from every other process.
pub(crate) fn mark_of(born: &Born, boot: BootId, now: BootMillis) -> ProcessMark {
    let (pid, start_ticks) = (born.pid.unsigned_abs(), born.start_ticks);
    ProcessMark { pid, start_ticks, boot, started_at: clock::wall(), boot_ms: now.0 }
}

impl Expected {
    /// Returns the attempt, now that its process exists.
    pub(crate) fn born(self, born: Born, boot: BootId, now: BootMillis) -> (Attempt, ProcessMark) {
        let (mark, ended) = (mark_of(&born, boot, now), born.ended);
        let (main, started_at) = (Main::born(born), mark.started_at);
        let deadline = now.after(self.plan.timeout.0);
        let mut attempt = self.attempt(Some(main), Some(started_at), deadline, Phase::Running);
        if let Some(wait_status) = ended {
            attempt.main_ended(wait_status, now);
        }
        (attempt, mark)
    }

    /// Returns a lost attempt, because it will never be known whether there was a process. What
    /// there may be is hunted and killed.
    pub(crate) fn lost(self, now: BootMillis) -> Attempt {
        self.attempt(None, None, now, attempt::lost(LAUNCHER, now))
    }

    fn attempt(
        self,
        main: Option<Main>,
        started_at: Option<Timestamp>,
        deadline: BootMillis,
        phase: Phase,
    ) -> Attempt {
        Attempt {
            key: self.key,
            leaf: self.leaf,
            main,
            ours: true,
            alone: self.alone,
            started_at,
            deadline,
            interface: self.plan.interface,
            streams: self.streams,
            phase,
        }
    }

    /// Removes what was made for an attempt that has no process and never will. Returns its cgroup
    /// if something is still dying in it.
    pub(crate) fn clear_away(self, spool_dir: &SpoolDir) -> Option<Leaf> {
        spool_dir.remove_attempt(&attempt_name(self.key));
        self.leaf.filter(|leaf| !leaf.remove())
    }

    /// Returns why it has no process.
    pub(crate) fn why_not(&self, error: LaunchError) -> StartError {
        StartError::of_launch(error, self.image.as_deref())
    }

    /// Returns the score that was to start.
    pub(crate) fn score(&self) -> &ScoreName {
        &self.plan.score
    }
}
